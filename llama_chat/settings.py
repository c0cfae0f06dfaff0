"""The user's settings as frozen dataclasses whose fields carry their help and range as data; read and kept.

Order: flag > `LLAMA_CHAT_<FIELD>` > `settings.toml` > default. A value that does not fit is named in a notice
and the next source counts; only a flag that does not fit is an error.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

from llama_chat.errors import SettingsError, UsageError
from llama_chat.key_wishes import KEYS_TABLE, KeyWish, read_wishes
from llama_chat.presets import BUILT_IN, PRESETS_TABLE, Preset, find_preset, read_presets
from llama_chat.sampling import Sampling
from llama_chat.setting_complaints import line_words, nearest, nearest_words, unfit
from llama_chat.setting_values import checked_value, parsed_value, shown_value
from llama_chat.settings_file import change_file
from llama_chat.toml_edit import read_toml, with_value

ENGINES = ("auto", "scratch", "hf")
DTYPES = ("auto", "bf16", "f16", "f32", "int8", "int4")
KV_DTYPES = ("auto", "int8")
KV_WORDS = ", cache "
"""In a record: between the dtype of the weights and another one of keys and values."""
DTYPE_ALIASES = {
    "bfloat16": "bf16", "brain": "bf16",
    "float16": "f16", "fp16": "f16", "half": "f16",
    "float32": "f32", "fp32": "f32", "float": "f32", "full": "f32",
    "i8": "int8", "8bit": "int8", "i4": "int4", "4bit": "int4",
}  # fmt: skip
ENVIRONMENT_PREFIX = "LLAMA_CHAT_"


SettingValue: TypeAlias = str | int | float | bool


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model runs, and where."""

    model: str = field(
        default="",
        metadata={
            "help": "A folder, a file, owner/name of the Hub or a name of `models list`. Empty: the default."
        },
    )
    engine: str = field(default="auto", metadata={"help": "What runs the model.", "choices": ENGINES})
    device: str = field(
        default="auto",
        metadata={
            "help": "auto, cpu, mps, or cuda, rocm, xpu with an optional :N.",
            "pattern": r"auto|cpu|mps|(cuda|rocm|xpu)(:\d{1,3})?",
            "pattern_help": "auto, cpu, mps, cuda[:N], rocm[:N], xpu[:N]",
        },
    )
    dtype: str = field(
        default="auto",
        metadata={"help": "Precision of the weights.", "choices": DTYPES, "aliases": DTYPE_ALIASES},
    )
    kv_dtype: str = field(
        default="auto",
        metadata={
            "help": "Precision of the cached keys and values. int8: half the memory, for long contexts.",
            "choices": KV_DTYPES,
        },
    )
    context: int = field(
        default=0,
        metadata={"help": "Tokens of context. 0: what the model was made for.", "min": 0, "max": 10_000_000},
    )
    threads: int = field(
        default=0, metadata={"help": "Processor threads. 0: one for each core.", "min": 0, "max": 1024}
    )
    cache: str = field(
        default="auto",
        metadata={
            "help": "Keep what makes a model faster (compiled code, unpacked weights) in the cache folder.",
            "choices": ("auto", "off"),
        },
    )
    draft: str = field(
        default="auto",
        metadata={
            "help": "Guess tokens, check several at once. auto: by the context; off; or a smaller model."
        },
    )


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How the chat behaves and looks."""

    system: str = field(default="", metadata={"help": "The system prompt of new chats."})
    theme: str = field(default="ember", metadata={"help": "Name of a theme."})
    enter_sends: bool = field(
        default=True,
        metadata={"help": "Enter sends and Ctrl+J makes a new line; off: the other way round."},
    )
    seed: int = field(
        default=-1,
        metadata={"help": "Seed of every reply. -1: a fresh one for each.", "min": -1, "max": 2**32 - 1},
    )
    notify: str = field(
        default="off",
        metadata={
            "help": "What tells of a reply that took over 10 s and ends while you are elsewhere.",
            "choices": ("off", "bell", "desktop"),
        },
    )
    fold_thinking: bool = field(
        default=True,
        metadata={"help": "What the model thinks before it answers folds to one line when it is over."},
    )
    reduced_motion: bool = field(
        default=False,
        metadata={"help": "Nothing glides or blinks: scrolling jumps, the cursor stands still."},
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings; in the file each part is a table of its name."""

    model: ModelSettings = field(default_factory=ModelSettings)
    sampling: Sampling = field(default_factory=Sampling)
    chat: ChatSettings = field(default_factory=ChatSettings)
    keys: tuple[KeyWish, ...] = ()
    presets: tuple[Preset, ...] = ()
    """The user's own."""


TABLES: Mapping[str, type[ModelSettings | Sampling | ChatSettings]] = {
    "model": ModelSettings,
    "sampling": Sampling,
    "chat": ChatSettings,
}


_OTHER_TABLES = (KEYS_TABLE, PRESETS_TABLE)


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The settings that count, and a line for everything that was passed over on the way to them."""

    settings: Settings
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SettingField:
    """One field and the table that it is in; names are unique over all tables."""

    table: str
    field: Field[Any]


@functools.cache
def setting_fields() -> Mapping[str, SettingField]:
    """Every setting by its name."""
    return {f.name: SettingField(table, f) for table, part in TABLES.items() for f in fields(part)}


def load_settings(
    path: Path, environment: Mapping[str, str], flags: Mapping[str, object], *, preset: str | None = None
) -> LoadedSettings:
    """The settings out of the file, the environment, the preset and the flags (None: not given).

    Writes nothing.

    Raises:
        UsageError: a flag's value does not fit, or there is no such preset.
    """
    layers = read_layers(path, environment, flags)
    chosen = find_preset((*BUILT_IN, *layers.presets), preset).values if preset is not None else {}
    values = {**layers.file, **layers.environment, **chosen, **layers.flags}
    parts = {
        table: part(**{f.name: values[f.name] for f in fields(part) if f.name in values})
        for table, part in TABLES.items()
    }
    settings = Settings(**parts, keys=layers.keys, presets=layers.presets)  # type: ignore[arg-type]  # TABLES has the types
    return LoadedSettings(settings, layers.notices)


@dataclass(frozen=True, slots=True)
class Layers:
    """The good values of each source by their names; a later source counts more."""

    file: Mapping[str, Any]
    environment: Mapping[str, Any]
    flags: Mapping[str, Any]
    keys: tuple[KeyWish, ...] = ()
    presets: tuple[Preset, ...] = ()
    notices: tuple[str, ...] = ()
    """A line for everything that was passed over."""


def read_layers(path: Path, environment: Mapping[str, str], flags: Mapping[str, object]) -> Layers:
    """What each source says. Writes nothing.

    Raises:
        UsageError: a flag's value does not fit.
    """
    notices: list[str] = []
    keys: list[KeyWish] = []
    presets: list[Preset] = []
    from_file = _from_file(path, notices, keys, presets)
    from_environment = _from_environment(environment, notices)
    return Layers(
        from_file, from_environment, _from_flags(flags), tuple(keys), tuple(presets), tuple(notices)
    )


def save_setting(path: Path, table: str, key: str, value: SettingValue) -> None:
    """Set one key in the file in one step; everything else in it, comments too, stays as it is.

    Raises:
        SettingsError: no such setting, a value that does not fit, a file that is not TOML or cannot be
            read or written; the file is untouched.
    """
    known = setting_fields().get(key)
    if known is None or known.table != table:
        raise SettingsError(f"There is no setting '{table}.{key}'.")
    try:
        checked = checked_value(known.field, value)
    except ValueError as error:
        raise SettingsError(f"{table}.{key} = {shown_value(value)} {error}; it was not saved.") from None
    change_file(
        path,
        lambda text: with_value(text, table, key, checked),
        "the setting",
        f"Mend the file, or write '{key}' into its [{table}] by hand.",
    )


# --- the three sources -----------------------------------------------------------------------------


def _from_file(
    path: Path, notices: list[str], wishes: list[KeyWish], presets: list[Preset]
) -> dict[str, Any]:
    """The file's good values; what is wished of the keys; the presets; a notice for all others."""
    try:
        text, document = read_toml(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as error:
        notices.append(f"{path}: {error.strerror or error}. The defaults are used.")
        return {}
    except ValueError as error:
        notices.append(f"{path}: {error}. The defaults are used; the file stays as it is.")
        return {}
    found: dict[str, Any] = {}
    complaints = [*_take(document, found)]
    table = document.get(KEYS_TABLE)
    for action, keys in read_wishes(table) if isinstance(table, dict) else ():
        if isinstance(keys, str):
            complaints.append(((KEYS_TABLE, action), keys))
        else:
            where = f"{path.name}{line_words(text, (KEYS_TABLE, action))}"
            wishes.append(KeyWish(action, keys, where))
    table = document.get(PRESETS_TABLE)
    for each in read_presets(table) if isinstance(table, dict) else ():
        if isinstance(each, Preset):
            presets.append(each)
        else:
            complaints.append(((PRESETS_TABLE, *each[0]), each[1]))
    for path_in_file, complaint in complaints:
        notices.append(f"{path.name}{line_words(text, path_in_file)}: {complaint}")
    return found


def _take(document: Mapping[str, Any], found: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Put the good values into `found`; yield a key's path and what is wrong with it for all others."""
    for table, content in document.items():
        if table not in TABLES and table not in _OTHER_TABLES:
            yield (table,), _unknown_table(table)
        elif not isinstance(content, dict):
            yield (table,), f"'{table}' must be a table, [{table}]. It is passed over."
        elif table not in _OTHER_TABLES:
            for key, value in content.items():
                known = setting_fields().get(key)
                if known is None or known.table != table:
                    yield (table, key), _unknown_key(table, key)
                    continue
                try:
                    found[key] = checked_value(known.field, value)
                except ValueError as error:
                    yield (table, key), unfit(f"{table}.{key} = {shown_value(value)}", error, known.field)


def _from_environment(environment: Mapping[str, str], notices: list[str]) -> dict[str, Any]:
    """The good values of `LLAMA_CHAT_<FIELD>`; a notice for the others, and for a name with a slip in it."""
    found: dict[str, Any] = {}
    known_fields = setting_fields()
    for variable, text in environment.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
        if known := known_fields.get(name):
            try:
                found[name] = parsed_value(known.field, text)
            except ValueError as error:
                notices.append(f"{variable}={shown_value(text)} {error}. It is passed over.")
        elif near := nearest(name, known_fields):
            right = ENVIRONMENT_PREFIX + near.upper()
            notices.append(f"{variable} is no setting; {right} is. It is passed over.")
    return found


def _from_flags(flags: Mapping[str, object]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in flags.items():
        if value is None:
            continue
        try:
            found[name] = checked_value(setting_fields()[name].field, value)
        except ValueError as error:
            raise UsageError(f"--{name.replace('_', '-')} {shown_value(value)} {error}.") from None
    return found


# --- words for what is wrong -----------------------------------------------------------------------


def _unknown_table(name: str) -> str:
    if known := setting_fields().get(name):
        return f"'{name}' belongs under [{known.table}]. It is passed over."
    near = nearest_words(name, [*TABLES, *_OTHER_TABLES])
    return f"There is no table {shown_value(name)}{near}. It is passed over."


def _unknown_key(table: str, key: str) -> str:
    if known := setting_fields().get(key):
        return f"'{key}' belongs under [{known.table}], not [{table}]. It is passed over."
    near = nearest_words(key, [f.name for f in fields(TABLES[table])])
    return f"[{table}] has no setting {shown_value(key)}{near}. It is passed over."
