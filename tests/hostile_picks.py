"""The cards and lists that choose: personas, presets, files, what was said, how what is typed may go on."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from hostile_stage import Stage, close_cards, reply
from textual import events
from textual.widgets import Input

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.code_files import CodeBlock
from llama_chat.chat.context.figures import ContextRow
from llama_chat.chat.keys import KEY_ACTIONS
from llama_chat.chat.prompt.completing import Offer
from llama_chat.errors import UsageError
from llama_chat.presets import Preset
from llama_chat.ui.screens.attach import AttachScreen, PathList
from llama_chat.ui.screens.context_card import ContextScreen
from llama_chat.ui.screens.key_help import KeyHelpScreen
from llama_chat.ui.screens.key_rows import KeyScreen
from llama_chat.ui.screens.name import NameScreen
from llama_chat.ui.screens.personas import PersonaScreen
from llama_chat.ui.screens.presets import PresetScreen
from llama_chat.ui.screens.said import choose_said
from llama_chat.ui.screens.save_code import SaveCodeScreen
from llama_chat.ui.screens.system_prompt import PersonaText
from llama_chat.ui.widgets.completion_list import CompletionList
from llama_chat.ui.widgets.panel_title import PanelTitle
from llama_chat.ui.widgets.seed_row import SeedRow
from llama_chat.ui.widgets.status_bar import StatusBar


def write_files(folder: Path, lines: Iterable[str], ending: str = "", text: str = "{}\n") -> Path:
    """A new folder of files that are called so, and hold that; what no disk takes is left out."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for line in lines:
        name = line.replace("/", "|").replace("\x00", "0").encode("utf-8", "surrogatepass")[:180]
        with contextlib.suppress(OSError):
            path = folder / os.fsdecode(name + ending.encode())
            path.write_bytes(text.replace("{}", line).encode("utf-8", "replace"))
    return folder


# --- names ----------------------------------------------------------------------------------------------


async def personas(stage: Stage, count: int) -> None:
    """Files of personas: what they are called, their titles and texts, what is asked and said of them."""
    folder = stage.chat.setup.paths.prompts
    for lines in stage.batches(count, 30):
        write_files(folder, lines[::2], ".md", "# {}\n{}\n{}\n")
        for line in lines[1::2]:
            with contextlib.suppress(OSError):
                (folder / f"{len(line)}-{stage.texts.taken}.md").write_bytes(
                    f"# {line}\n{line}".encode("utf-8", "replace")
                )
        stage.chat.action_personas()
        await stage.until(lambda: isinstance(stage.app.screen, PersonaScreen), "the personas")
        screen = stage.app.screen
        assert isinstance(screen, PersonaScreen)
        await stage.until(
            lambda screen=screen: screen._loaded.personas[3:] or screen._loaded.notices, "personas"
        )  # type: ignore[misc]
        await stage.frame()
        await stage.press("end", "up", "down", "d", "up", "end")
        screen.say(lines[0])
        await stage.frame()
        await stage.press("e")
        await close_cards(stage)
        async with stage.card(PersonaText(lines[0], lines[0])):
            pass
    shutil.rmtree(folder, ignore_errors=True)
    stage.chat.action_personas(stage.take(20))
    await stage.frame()


async def presets(stage: Stage, count: int) -> None:
    """Their names and reasons in the card, and the name over the sliders."""
    shelf = stage.chat.presets
    before, sampling = list(shelf._own), stage.chat.bridge.sampling.current
    for lines in stage.batches(count, 12, 40):
        shelf._own[:] = [
            Preset(line, {"temperature": 0.01 * n}, line, is_own=True) for n, line in enumerate(lines, 1)
        ]
        async with stage.card(PresetScreen(stage.chat)):
            await stage.press("end", "up", "down", "d")
            card = stage.app.screen
            assert isinstance(card, PresetScreen)
            card.say(lines[0])
            await stage.frame()
        stage.chat.bridge.sampling.current = replace(sampling, temperature=0.01)
        stage.chat.sampling_changed()
        for title in stage.chat.query(PanelTitle):
            title.show_preset(lines[0])
        await stage.frame()
        with contextlib.suppress(UsageError):
            stage.chat.action_presets(f"save {lines[0]}")
        await stage.frame()
    shelf._own[:] = before
    stage.chat.bridge.sampling.current = sampling
    stage.chat.sampling_changed()


async def names(stage: Stage, count: int) -> None:
    """What is named, what stands there, what is asked about a name, and why it cannot be had."""

    def question(name: str) -> str:
        if len(name) % 2:
            raise UsageError(line, hint=name)
        return f"{line} {name}"

    for line in stage.lines(count, 50):
        card = NameScreen(line, line, placeholder=line, most_letters=200, question=question)
        async with stage.card(card):
            await stage.press("enter")


async def keys(stage: Stage, count: int) -> None:
    """What a settings file calls keys, in the help and where another one is pressed."""
    for line in stage.lines(count, 50):
        action = replace(KEY_ACTIONS[0], keys=(line,), help=line, group=line)
        async with stage.card(KeyHelpScreen([action])):
            pass
        async with stage.card(KeyScreen((), action)):
            pass


# --- files and words ------------------------------------------------------------------------------------


async def attached(stage: Stage, count: int) -> None:
    """Files in the card, by a command, as chips of the prompt and dropped."""
    home = Path(os.environ["LLAMA_CHAT_HOME"])
    for lines in stage.batches(count, 20):
        folder = write_files(home / "to-attach", lines)
        async with stage.card(AttachScreen()):
            listed = stage.app.screen.query_one(PathList)
            listed.type(f"{folder}/[")
            await stage.until(lambda listed=listed: len(listed._entries.get(listed.typed, ())), "files")  # type: ignore[misc]
            await stage.frame()
            await stage.press("down", "tab")
        for file in sorted(folder.iterdir())[:6]:
            stage.chat.prompt.post_message(events.Paste(str(file)))
            await stage.frame()
        stage.chat.prompt.clear_all()
        stage.chat.action_attach(f"{folder}/nothing{lines[0]}".replace("\x00", ""))
        await stage.frame()
        await close_cards(stage)
        stage.chat.prompt.clear_all()


async def completed(stage: Stage, count: int) -> None:
    """Files behind an `@`; and names, what they take and what they do, however they were found."""
    home = Path(os.environ["LLAMA_CHAT_HOME"])
    for lines in stage.batches(count, 8):
        folder = write_files(home / "to-complete", lines)
        stage.chat.prompt.clear_all()
        stage.chat.prompt.insert(f"@{folder}/")
        await stage.until(lambda: stage.chat.completer.is_open, "offers")
        await stage.frame()
        shown = stage.chat.query_one(CompletionList)
        for n, line in enumerate(lines):
            offers = [Offer(line, line, *("", line, "x")[n % 3 :][:1], line if n % 2 else "")] * 2
            shown.show([*offers, *(Offer(each, each) for each in lines)], n % 3 or None)
            await stage.frame()
        await stage.press("down", "tab")
        stage.chat.prompt.clear_all()
        await stage.frame()


async def said_before(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, 25):
        choose_said(stage.chat, lines, "", lambda _text: None)
        await stage.frame()
        stage.app.screen.query_one(Input).value = lines[0]
        await stage.frame()
        await close_cards(stage)


async def saved_code(stage: Stage, count: int) -> None:
    """Paths that cannot be had: why, in the card and in the line above the prompt."""
    writer = OwnThread("code")
    for line in stage.lines(count):
        async with stage.card(SaveCodeScreen([CodeBlock(f"{line}\n", line)], 1, writer)):
            card = stage.app.screen
            assert isinstance(card, SaveCodeScreen)
            card._input.value = f"/proc/nothing/{line}"
            await stage.press("enter")
            await stage.until(lambda card=card: not card._is_saving, "why not")  # type: ignore[misc]
            await stage.frame()
            card._say(line)
        await stage.show(reply(f"```\n{line}\n```"))
        stage.chat.action_save_code(f"1 /proc/nothing/{line}".replace("\x00", ""))
        await stage.frame()
        stage.chat.prompt.clear_all()
    writer.close(0)


# --- figures and sliders --------------------------------------------------------------------------------


async def context_card(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, 20, 50):
        rows = [ContextRow(line, 50, is_part=n % 4 > 0) for n, line in enumerate(lines)]
        status = replace(stage.chat.chat.status, context_length=1000, context_used=500)
        async with stage.card(ContextScreen(rows, status, stage.chat.keys)):
            pass


async def sliders(stage: Stage, count: int) -> None:
    """What is typed for a seed, and why it cannot be had."""
    for line in stage.lines(count, 24):
        for row in stage.chat.query(SeedRow):
            row.typed = line
        with contextlib.suppress(UsageError):
            stage.chat.action_seed(line)
        stage.chat.prompt.post_message(events.Paste(f"/seed {line}"))
        await stage.frame()
        await stage.press("escape", "enter")
        await close_cards(stage)
        for row in stage.chat.query(SeedRow):
            row.typed = ""
        stage.chat.prompt.clear_all()


async def folded(stage: Stage, count: int) -> None:
    """Heads of thoughts that are folded, and of messages with a name and a time."""
    for lines in stage.batches(count, 20):
        await stage.show(*[reply(f"<think>{line}\n{line}</think>{line}", model=line) for line in lines])
        for _ in range(2):
            stage.chat.action_fold_thinking()
            await stage.frame()
        stage.chat.transcript.clear()


async def figures(stage: Stage, count: int) -> None:
    """The bottom line, whatever the chat says that it does."""
    bar = stage.chat.query_one(StatusBar)
    before = stage.chat.chat.status
    for line in stage.lines(count, 40):
        stage.chat.chat.status = replace(before, doing=line, model_state="loading")
        stage.chat.status_changed()
        bar.refresh()
        await stage.frame()
    stage.chat.chat.status = before
    stage.chat.status_changed()


SHARES = {
    personas: 0.5,
    presets: 0.2,
    names: 0.05,
    keys: 0.03,
    attached: 0.3,
    completed: 0.3,
    said_before: 1.0,
    saved_code: 0.03,
    context_card: 0.3,
    sliders: 0.05,
    folded: 1.0,
    figures: 0.1,
}
"""Of a hundred texts, so many."""
