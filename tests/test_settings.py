"""Settings: where they come from, what becomes of nonsense, and how one key is changed in the user's file."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tomllib
from pathlib import Path

import hypothesis
import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from llama_chat.errors import SettingsError, UsageError
from llama_chat.setting_values import parsed_value
from llama_chat.settings import (
    TABLES,
    LoadedSettings,
    Settings,
    load_settings,
    save_setting,
    setting_fields,
)
from llama_chat.toml_edit import line_of, statements, with_value


def load(text: str, tmp_path: Path, **sources: dict[str, object]) -> LoadedSettings:
    path = tmp_path / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, sources.get("environment", {}), sources.get("flags", {}))  # type: ignore[arg-type]


# --- sources ---------------------------------------------------------------------------------------


def test_without_a_file_the_defaults_count_and_nothing_is_written(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path / "none" / "settings.toml", {}, {})
    assert loaded == LoadedSettings(Settings(), ())
    assert list(tmp_path.iterdir()) == []


def test_flag_beats_variable_beats_file_beats_default(tmp_path: Path) -> None:
    text = "[sampling]\ntemperature = 0.1\ntop_k = 1\ntop_p = 0.5\n"
    environment = {"LLAMA_CHAT_TEMPERATURE": "0.2", "LLAMA_CHAT_TOP_K": "2"}
    loaded = load(text, tmp_path, environment=environment, flags={"temperature": 0.3, "top_k": None})
    sampling = loaded.settings.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p, sampling.min_p) == (0.3, 2, 0.5, 0.0)
    assert loaded.notices == ()


def test_names_are_unique_over_all_tables() -> None:
    names = [name for part in TABLES.values() for name in part.__dataclass_fields__]
    assert len(names) == len(set(names)) == len(setting_fields())


@pytest.mark.parametrize(
    ("word", "dtype"),
    [
        ("bfloat16", "bf16"),
        ("FP16", "f16"),
        ("half", "f16"),
        ("float32", "f32"),
        ("fp32", "f32"),
        ("int4", "int4"),
    ],
)
def test_dtype_aliases_become_our_names(word: str, dtype: str, tmp_path: Path) -> None:
    assert load("", tmp_path, flags={"dtype": word}).settings.model.dtype == dtype
    assert load(f'[model]\ndtype = "{word}"', tmp_path).settings.model.dtype == dtype


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("0", False), ("On", True), (" false ", False)])
def test_switches_from_the_environment(text: str, value: bool, tmp_path: Path) -> None:
    loaded = load("", tmp_path, environment={"LLAMA_CHAT_ENTER_SENDS": text})
    assert loaded.settings.chat.enter_sends is value


def test_whole_floats_and_ints_are_taken_for_each_other(tmp_path: Path) -> None:
    sampling = load("[sampling]\ntemperature = 1\ntop_k = 40.0\n", tmp_path).settings.sampling
    assert (sampling.temperature, sampling.top_k) == (1.0, 40)
    assert (type(sampling.temperature), type(sampling.top_k)) == (float, int)


# --- nonsense --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "[sampling]\n# hot\ntemperature = 99\n",
            3,
            "sampling.temperature = 99 is outside 0 to 10. 0.7 is used.",
        ),
        ("sampling.top_k = 1.5", 1, "is not a whole number"),
        ("[sampling]\ntop_k = true", 2, "is not a whole number"),
        ("[sampling]\ntop_p = nan", 2, "is not a finite number"),
        ("[sampling]\n\n\nmin_p = '''\nx\n'''", 4, "is not a number"),
        ('[model]\nengine = "vllm"', 2, "is none of auto, scratch, hf"),
        ('[model]\ndevice = "banana"', 2, "is none of auto, cpu, mps, cuda[:N]"),
        ("[chat]\nenter_sends = 1", 2, "is neither true nor false"),
        ("[sampling]\ntemprature = 1", 2, "'temperature' is one"),
        ("[chat]\ntemperature = 1", 2, "belongs under [sampling], not [chat]"),
        ("temperature = 1", 1, "belongs under [sampling]"),
        ("[samplin]\ntemperature = 1", 1, "'sampling' is one"),
        ("\nsampling = 3", 2, "must be a table"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_passed_over(
    text: str, line: int, words: str, tmp_path: Path
) -> None:
    loaded = load(text, tmp_path)
    assert loaded.settings == Settings()
    (notice,) = loaded.notices
    assert notice.startswith(f"settings.toml line {line}: ")
    assert words in notice


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[sampling]\ntemperature = = 3\n", "line 2"),
        (b"[sampling]\n\xff\xfe = 3\n", "line 2"),
        (b"x = " + b"[" * 5000, "not TOML"),
        (b"x = " + b"9" * 5000, "not TOML"),
        (b"\x00\x01\x02", "not TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_named_and_left_alone(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    loaded = load_settings(path, {}, {"top_k": 3})
    assert loaded.settings.sampling.top_k == 3
    (notice,) = loaded.notices
    assert str(path) in notice
    assert words in notice
    with pytest.raises(SettingsError, match="not saved"):
        save_setting(path, "sampling", "top_k", 7)
    assert path.read_bytes() == content


def test_a_folder_in_the_file_s_place_is_a_notice(tmp_path: Path) -> None:
    loaded = load_settings(tmp_path, {}, {})
    assert loaded.settings == Settings()
    assert "directory" in loaded.notices[0]


def test_a_variable_that_does_not_fit_leaves_the_file_s_value(tmp_path: Path) -> None:
    environment = {
        "LLAMA_CHAT_TOP_K": "many",
        "LLAMA_CHAT_TEMPRATURE": "1",
        "LLAMA_CHAT_HOME": "/x",
        "LLAMA_CHAT_TEST_MODELS": "",
    }
    loaded = load("[sampling]\ntop_k = 5\n", tmp_path, environment=environment)
    assert loaded.settings.sampling.top_k == 5
    assert loaded.notices == (
        "LLAMA_CHAT_TOP_K='many' is not a whole number. It is passed over.",
        "LLAMA_CHAT_TEMPRATURE is no setting; LLAMA_CHAT_TEMPERATURE is. It is passed over.",
    )


def test_a_flag_that_does_not_fit_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--repetition-penalty 0\.0 is outside 0\.1 to 10"):
        load("", tmp_path, flags={"repetition_penalty": 0.0})


def test_notices_carry_no_control_characters(tmp_path: Path) -> None:
    loaded = load('[model]\nengine = "\\u001b[2J\\u202e"\n"a\\u001bb" = 1\n', tmp_path)
    assert len(loaded.notices) == 2
    assert all(notice.isprintable() for notice in loaded.notices)


def check_in_range(settings: Settings) -> None:
    for name, known in setting_fields().items():
        value, metadata = getattr(getattr(settings, known.table), name), known.field.metadata
        assert type(value) is type(known.field.default)
        if "min" in metadata:
            assert metadata["min"] <= value <= metadata["max"]
        if "choices" in metadata:
            assert value in metadata["choices"]


scalars = (
    st.integers()
    | st.integers(-2, 2**33)
    | st.floats()
    | st.booleans()
    | st.text(st.characters(exclude_categories=("Cs",)))
    | st.sampled_from(["bf16", "auto", "cuda:1", "cuda:x"])
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner)
)
names = st.sampled_from([*setting_fields(), "nonsense"]) | st.text("abc", max_size=3)
tables = st.sampled_from([*TABLES, "nonsense"])
documents = st.dictionaries(tables, st.dictionaries(names, values, max_size=8) | values, max_size=4)


@given(documents)
@hypothesis.settings(max_examples=100, deadline=None)
def test_no_toml_crashes_or_gets_through_out_of_range(
    tmp_path_factory: pytest.TempPathFactory, document: dict
) -> None:
    path = tmp_path_factory.mktemp("settings") / "settings.toml"
    path.write_bytes(tomli_w.dumps(document).encode())
    check_in_range(load_settings(path, {}, {}).settings)


@given(
    st.dictionaries(
        st.sampled_from(sorted(setting_fields())), st.text("0123456789.eE+-nainfTrue_ ", max_size=12)
    )
)
def test_no_variable_crashes_or_gets_through_out_of_range(words: dict[str, str]) -> None:
    environment = {f"LLAMA_CHAT_{name.upper()}": text for name, text in words.items()}
    check_in_range(load_settings(Path("/nowhere/settings.toml"), environment, {}).settings)


# --- saving ----------------------------------------------------------------------------------------

FILE = """\
# my settings
[model]
model = "~/models/x.gguf" # the small one

[sampling] # numbers
temperature = 0.5   # not too hot
# top_k = 3

[notes]
mine = [1, # one
        2]
"""


@pytest.mark.parametrize(
    ("table", "key", "value", "old", "new"),
    [
        ("sampling", "temperature", 0.9, "= 0.5 ", "= 0.9 "),
        ("model", "model", 'a "b" # c', '"~/models/x.gguf"', '"a \\"b\\" # c"'),
        ("sampling", "top_k", 7, "numbers\n", "numbers\ntop_k = 7\n"),
        ("chat", "theme", "paper", "2]\n", '2]\n\n[chat]\ntheme = "paper"\n'),
    ],
)
def test_saving_changes_one_key_and_not_a_byte_else(
    table: str, key: str, value: str | float, old: str, new: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    save_setting(path, table, key, value)
    assert path.read_text() == FILE.replace(old, new)
    assert [p.name for p in tmp_path.iterdir()] == ["settings.toml"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing but this",
        "sampling.top_k = 1\nsampling.top_p = 0.5",
        '["sampling"]\n"top_k" = 1',
        "[sampling.deep]\nx = 1\n",
        "[sampling]\r\ntop_k = 1\r\n# end\r\n",
        "[chat]\nsystem = '''\n[sampling]\ntop_k = 9 # no\n'''\n[sampling]\ntop_k = 0x10 # sixteen\n",
        "\ufeff[sampling]\ntop_k = 2\n",
        "[[points]]\ntop_k = 1\n[[points]]\n",
    ],
)
def test_saving_finds_its_place_however_the_file_is_written(text: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(text.encode())
    before = tomllib.loads(text.removeprefix("\ufeff"))
    save_setting(path, "sampling", "top_k", 55)
    after = tomllib.loads(path.read_bytes().decode())
    assert after["sampling"].pop("top_k") == 55
    before.get("sampling", {}).pop("top_k", None)
    assert after == before | {"sampling": before.get("sampling", {})}
    comments = [line for line in text.split("\n") if line.startswith("#")]
    assert all(line in path.read_bytes().decode() for line in comments)


def test_an_inline_table_is_not_guessed_at(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("sampling = { top_k = 1 }\n")
    with pytest.raises(SettingsError, match="cannot be changed in place") as caught:
        save_setting(path, "sampling", "top_k", 2)
    assert "by hand" in caught.value.hint
    assert path.read_text() == "sampling = { top_k = 1 }\n"


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [("sampling", "top_k", -1), ("sampling", "theme", "x"), ("chat", "nothing", 1), ("model", "engine", "x")],
)
def test_nonsense_is_not_saved(table: str, key: str, value: object, tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    with pytest.raises(SettingsError):
        save_setting(path, table, key, value)  # type: ignore[arg-type]  # that is the test
    assert not path.exists()


def test_a_new_file_is_private_and_an_old_one_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    new, old, link = tmp_path / "a" / "settings.toml", tmp_path / "dotfile", tmp_path / "settings.toml"
    save_setting(new, "chat", "theme", "paper")
    old.write_text("# kept\n")
    old.chmod(0o644)
    link.symlink_to(old)
    save_setting(link, "chat", "theme", "paper")
    assert link.is_symlink()
    assert [stat.S_IMODE(p.stat().st_mode) for p in (new, old)] == [0o600, 0o644]
    assert load_settings(link, {}, {}).settings.chat.theme == "paper"


def test_a_file_that_cannot_be_written_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("# mine\n")

    def full(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SettingsError, match="No space left on device; the setting was not saved"):
        save_setting(path, "chat", "theme", "paper")
    assert path.read_text() == "# mine\n"
    assert [p.name for p in tmp_path.iterdir()] == ["settings.toml"]


@given(documents, st.integers(0, 1000))
@hypothesis.settings(max_examples=50, deadline=None)
def test_any_document_keeps_the_rest(document: dict, value: int) -> None:
    text = tomli_w.dumps(document, multiline_strings=True)
    expected = tomllib.loads(text)
    sampling = expected.setdefault("sampling", {})
    if not isinstance(sampling, dict) or isinstance(sampling.get("top_k"), dict | list):
        with contextlib.suppress(ValueError):  # something else stands in its place: refusing is right, too
            with_value(text, "sampling", "top_k", value)
        return
    sampling["top_k"] = value
    edited = tomllib.loads(with_value(text, "sampling", "top_k", value))
    assert json.dumps(edited, sort_keys=True) == json.dumps(expected, sort_keys=True)  # nan is not itself


def test_lines_are_counted_through_values_of_several_lines() -> None:
    text = "a = '''\nx = 1\n'''\n[t]\nb = [\n  1, # ]\n]\nc.d = 2\n"
    assert [(s.path, s.line) for s in statements(text)] == [
        (("a",), 1),
        (("t",), 4),
        (("t", "b"), 5),
        (("t", "c", "d"), 8),
    ]
    assert line_of(text, "t", "c", "d") == 8
    assert line_of(text, "t", "nothing") == 4


def test_minus_zero_is_zero() -> None:
    value = parsed_value(setting_fields()["temperature"].field, "-0.0")
    assert str(value) == "0.0"
