"""System prompts with a name: Markdown files in the folder `prompts` of the settings, and three of ours.

A file may begin with a block between two lines of `---`, which is kept and not read, and with `# Title`; the
rest is the text. Its name without `.md` is what the persona is called where no title says otherwise.
"""

from __future__ import annotations

import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llama_chat.errors import SettingsError, UsageError
from llama_chat.paths import write_atomically
from llama_chat.sanitize import one_line

SUFFIX = ".md"
MOST_BYTES = 65_536
MOST_FILES = 300
TITLE_LETTERS = 60
_HEAD = re.compile(
    r"\ufeff?(?:---[ \t]*\n(?:.*\n)*?---[ \t]*\n)?\s*(?:#[ \t]+(?P<title>[^\n]*)(?:\n|\Z))?\s*"
)
_DEVICES = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)
"""Names that Windows keeps for itself."""


@dataclass(frozen=True, slots=True)
class Persona:
    """A system prompt and what it is called."""

    name: str
    """Of the file, without its ending; what tells it from all others."""
    title: str
    text: str
    path: Path | None = None
    """None: it comes with the program."""

    @property
    def is_own(self) -> bool:
        """Whether it is a file of the user's."""
        return self.path is not None


BUILT_IN = (
    Persona(
        "plain",
        "Plain",
        "Answer in plain words and as briefly as the question allows. Begin with the answer, without a "
        "preamble and without repeating the question. Use a list only for things that are a list. Say so "
        "when you do not know something, and do not guess at facts, names or numbers.",
    ),
    Persona(
        "teacher",
        "Teacher",
        "You are a patient teacher. Explain one idea at a time, from what I know already to what is new, and "
        "give a small example for each. Avoid jargon, or explain a term when you first use it. Point out "
        "mistakes kindly and say why they are mistakes. End with one short question that shows me whether "
        "I have understood.",
    ),
    Persona(
        "editor",
        "Editor",
        "You are a careful editor. When I give you a text, return it corrected: spelling, grammar, "
        "punctuation, and sentences that are longer than they need to be. Keep my meaning, my tone and the "
        "language that I wrote in, and add nothing of your own. After the text, list the three changes that "
        "matter most, each in a few words.",
    ),
)


@dataclass(frozen=True, slots=True)
class LoadedPersonas:
    """All there are, the user's first, and a line for every file that was passed over."""

    personas: Sequence[Persona] = BUILT_IN
    notices: Sequence[str] = ()

    def find(self, words: str) -> Persona:
        """The one of that name or title, or the only one that begins so.

        Raises:
            UsageError: there is none, or more than one.
        """
        wanted = " ".join(words.split()).casefold()
        by_names = [(each, {each.name.casefold(), each.title.casefold()}) for each in self.personas]
        found = [each for each, names in by_names if wanted in names] or [
            each for each, names in by_names if any(name.startswith(wanted) for name in names)
        ]
        if len(found) == 1:
            return found[0]
        known = ", ".join(one_line(each.title) for each in found or self.personas)
        what = "More than one persona begins with" if found else "There is no persona"
        raise UsageError(f"{what} {one_line(words)!r}.", hint=f"There are: {known}.")

    def of_text(self, text: str) -> Persona | None:
        """The one whose text this is."""
        wanted = text.strip()
        return next((each for each in self.personas if wanted and each.text == wanted), None)

    def has_own(self, title: str) -> bool:
        """Whether the user has a file where the persona of this title would be kept.

        Raises:
            UsageError: it cannot be called so.
        """
        wanted = file_name(title).casefold()
        return any(each.is_own and each.name.casefold() == wanted for each in self.personas)


def load_personas(folder: Path) -> LoadedPersonas:
    """The user's files by title, then those of the program that no file of the same name stands in for."""
    found: list[Persona] = []
    notices: list[str] = []
    for path in _files(folder, notices):
        try:
            found.append(_read(path))
        except OSError as error:
            notices.append(f"prompts/{one_line(path.name)} cannot be read: {error.strerror or error}.")
        except ValueError as error:
            notices.append(f"prompts/{one_line(path.name)} {error}; it is passed over.")
    found.sort(key=lambda each: (each.title.casefold(), each.name))
    names = {each.name.casefold() for each in found}
    return LoadedPersonas((*found, *(each for each in BUILT_IN if each.name not in names)), tuple(notices))


def _files(folder: Path, notices: list[str]) -> Iterator[Path]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == SUFFIX)
    except FileNotFoundError:
        return
    except OSError as error:
        notices.append(f"{folder} cannot be read: {error.strerror or error}.")
        return
    paths = [path for path in paths if not path.name.startswith(".")]
    if len(paths) > MOST_FILES:
        notices.append(f"Of {len(paths):,} files in {folder}, the first {MOST_FILES} are read.")
    yield from paths[:MOST_FILES]


def _read(path: Path) -> Persona:
    """The persona in the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no text for a persona; the end of a sentence that begins with its name.
    """
    content = _content(path)
    head = _head_of(content)
    text = content[head.end() :].rstrip()
    if not text:
        raise ValueError("says nothing")
    title = one_line(head["title"] or "")[:TITLE_LETTERS].strip()
    return Persona(path.stem, title or one_line(path.stem), text, path)


def _content(path: Path) -> str:
    """The file's text, with LF for every line end; raises as `_read`."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
        raise ValueError("is no file")
    if status.st_size > MOST_BYTES:
        raise ValueError(f"is longer than {MOST_BYTES // 1024} kB")
    content = path.read_bytes()
    if b"\0" in content:
        raise ValueError("is no text")
    try:
        return content.decode().replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"is no text in UTF-8 (line {line})") from error


def _head_of(content: str) -> re.Match[str]:
    head = _HEAD.match(content)
    assert head is not None, "all of it may be empty"
    return head


# --- what the user changes --------------------------------------------------------------------------


def file_name(title: str) -> str:
    """A name for the file, without its ending, which every system takes: `Dr. Who?` is `dr-who`.

    Raises:
        UsageError: nothing is left of the title.
    """
    letters = unicodedata.normalize("NFC", title).casefold()
    name = re.sub(r"[\W_]+", "-", letters)[:TITLE_LETTERS].strip("-")
    while (
        len(name.encode()) > 2 * TITLE_LETTERS
    ):  # a name of files ends at 255 bytes, with what tells it apart
        name = name[:-1]
    if not name:
        raise UsageError("A persona needs a name with a letter or a digit in it.")
    return f"{name}-" if _DEVICES.fullmatch(name) else name


def own_path(folder: Path, title: str) -> Path:
    """Where the persona of that title is, or would be kept.

    Raises:
        UsageError: it cannot be called so.
    """
    return folder / f"{file_name(title)}{SUFFIX}"


def save_persona(path: Path, title: str, text: str) -> Persona:
    """Write the text into the file in one step; of one that is there, the head stays as it is.

    Raises:
        SettingsError: it cannot be written, or would not be read again.
    """
    text = text.strip()
    try:
        target = path.resolve()  # a linked file stays a link
        if target.exists():
            content, mode, head = _for_editing(target)
        else:
            content, mode, head = "", 0o600, f"# {one_line(title)[:TITLE_LETTERS]}\n\n"
        new = f"{head}{text}\n"
        if not text or len(new.encode()) > MOST_BYTES:
            why = f"it is longer than {MOST_BYTES // 1024} kB" if text else "it says nothing"
            raise SettingsError(f"The persona was not saved: {why}.")
        write_atomically(target, new.replace("\n", "\r\n" if "\r\n" in content else "\n").encode(), mode=mode)
        return _read(path)
    except (OSError, ValueError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise SettingsError(f"The persona was not saved: {why} ({path}).") from error


def _for_editing(path: Path) -> tuple[str, int, str]:
    """A file's text as it is, its mode, and its head."""
    content = _content(path)
    raw = path.read_bytes().decode()
    return raw, path.stat().st_mode & 0o777, content[: _head_of(content).end()]


def delete_persona(persona: Persona) -> None:
    """Take the file away.

    Raises:
        SettingsError: that cannot be done.
    """
    assert persona.path is not None, "ours cannot be deleted"
    try:
        persona.path.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise SettingsError(f"The persona was not deleted: {why} ({persona.path}).") from error
