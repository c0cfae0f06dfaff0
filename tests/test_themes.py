"""Themes: the bundled ones can be read by everybody, and a user's broken one is a notice."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.color import Color
from textual.theme import Theme
from textual.widgets import Input, Static

from llama_chat.paths import bundled_themes
from llama_chat.settings import ChatSettings
from llama_chat.ui.themes import COLOURS, LoadedThemes, build_theme, load_themes

ROOT = Path(__file__).parent.parent
BUNDLED = {
    *("ansi", "blossom", "colour-blind", "dusk", "ember", "fjord", "glacier", "high-contrast", "midnight"),
    *("mono", "moss", "paper"),
}
COLOURED = sorted(BUNDLED - {"ansi"})
TEXTS = (
    "foreground",
    "muted",
    "user",
    "assistant",
    "system",
    "success",
    "warning",
    "error",
    "primary",
    "accent",
)


@pytest.fixture(scope="module")
def loaded() -> LoadedThemes:
    return load_themes(bundled_themes(), ROOT / "nowhere")


def colours(theme: Theme) -> dict[str, Color]:
    """The theme's colours by the names that its file gives them."""
    values = {key: theme.variables.get(key) or getattr(theme, key) for key in COLOURS}
    return {key: Color.parse(value) for key, value in values.items()}


# --- looks -----------------------------------------------------------------------------------------------


def linear(channel: int) -> float:
    c = channel / 255
    return c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4


def luminance(colour: Color) -> float:
    return 0.2126 * linear(colour.r) + 0.7152 * linear(colour.g) + 0.0722 * linear(colour.b)


def contrast(a: Color, b: Color) -> float:
    """The ratio of WCAG 2.2, from 1 to 21."""
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_formula_has_its_known_values() -> None:
    black, white = Color(0, 0, 0), Color(255, 255, 255)
    assert contrast(black, white) == pytest.approx(21.0)
    assert contrast(white, white) == 1.0
    assert contrast(white, Color.parse("#767676")) == pytest.approx(4.54, abs=0.01)


def test_twelve_themes_load_without_a_notice_and_the_default_is_one(loaded: LoadedThemes) -> None:
    assert set(loaded.themes) == BUNDLED
    assert loaded.notices == ()
    assert ChatSettings().theme in loaded.themes
    assert [loaded.themes[name].dark for name in ("ember", "fjord", "paper", "glacier")] == [
        True,
        True,
        False,
        False,
    ]


def test_every_bundled_file_states_every_colour() -> None:
    import tomllib

    for path in bundled_themes().glob("*.toml"):
        table = tomllib.loads(path.read_text("utf-8"))
        assert set(table) == {"name", "dark", *COLOURS}, path.name
        assert table["name"] == path.stem


@pytest.mark.parametrize("name", COLOURED)
def test_text_can_be_read_on_every_ground(name: str, loaded: LoadedThemes) -> None:
    theme = colours(loaded.themes[name])
    wanted = 7.0 if name == "high-contrast" else 4.5
    for ground in ("background", "surface", "panel"):
        assert contrast(theme["foreground"], theme[ground]) >= max(wanted, 7.0), ground
    for text, ground in itertools.product(TEXTS, ("background", "surface")):
        assert contrast(theme[text], theme[ground]) >= wanted, f"{text} on {ground}"


@pytest.mark.parametrize("name", COLOURED)
def test_faded_text_can_still_be_read(name: str, loaded: LoadedThemes) -> None:
    theme = colours(loaded.themes[name])
    half = theme["background"].blend(theme["foreground"], 0.5)
    assert contrast(half, theme["background"]) >= 3.0


@pytest.mark.parametrize("name", COLOURED)
def test_the_grounds_differ_a_little_and_in_order(name: str, loaded: LoadedThemes) -> None:
    theme = colours(loaded.themes[name])
    steps = [luminance(theme[ground]) for ground in ("background", "surface", "panel")]
    assert steps in (sorted(steps), sorted(steps, reverse=True))
    assert len(set(steps)) == 3


def lab(colour: Color) -> tuple[float, float, float]:
    """OKLab (Ottosson, 2020): distances in it are close to those that people see."""
    r, g, b = (linear(c) for c in colour.rgb)
    long = math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
    medium = math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
    short = math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
    return (
        0.2104542553 * long + 0.7936177850 * medium - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * medium + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * medium - 0.8086757660 * short,
    )


def distance(a: Color, b: Color) -> float:
    return math.dist(lab(a), lab(b))


def test_no_two_themes_look_alike(loaded: LoadedThemes) -> None:
    for one, other in itertools.combinations(COLOURED, 2):
        a, b = colours(loaded.themes[one]), colours(loaded.themes[other])
        apart = sum(distance(a[key], b[key]) for key in ("background", "primary", "user", "assistant"))
        assert apart > 0.2, f"{one} and {other}"


@pytest.mark.parametrize("name", COLOURED)
def test_who_speaks_can_be_told_by_colour(name: str, loaded: LoadedThemes) -> None:
    theme = colours(loaded.themes[name])
    for one, other in itertools.combinations(("user", "assistant", "system"), 2):
        assert distance(theme[one], theme[other]) > 0.07, f"{one} and {other}"


def test_mono_has_no_colour(loaded: LoadedThemes) -> None:
    assert all(c.r == c.g == c.b for c in colours(loaded.themes["mono"]).values())


# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
DEFICIENCIES = {
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def seen(colour: Color, deficiency: str) -> Color:
    channels = [linear(c) for c in colour.rgb]
    mixed = [sum(w * c for w, c in zip(row, channels, strict=True)) for row in DEFICIENCIES[deficiency]]
    clipped = [min(1.0, max(0.0, c)) for c in mixed]
    encoded = [12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in clipped]
    return Color(*(round(255 * c) for c in encoded))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_colour_blind_theme_keeps_its_meanings_apart(deficiency: str, loaded: LoadedThemes) -> None:
    theme = {key: seen(c, deficiency) for key, c in colours(loaded.themes["colour-blind"]).items()}
    for group in (("user", "assistant", "system"), ("success", "warning", "error")):
        for one, other in itertools.combinations(group, 2):
            assert distance(theme[one], theme[other]) > 0.08, f"{one} and {other}"


class Sample(App[None]):
    """A screen that uses every variable of a theme."""

    CSS = """
    #user { color: $user; background: $surface; } #assistant { color: $assistant; background: $panel; }
    #system { color: $system; } #muted { color: $muted; border-left: thick $accent; }
    """

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.register_theme(theme)
        self.theme = theme.name

    def compose(self) -> ComposeResult:
        yield from (Static(name, id=name) for name in ("user", "assistant", "system", "muted"))
        yield Input()


@pytest.mark.parametrize("name", sorted(BUNDLED))
async def test_textual_takes_the_theme_and_its_role_colours(name: str, loaded: LoadedThemes) -> None:
    app = Sample(loaded.themes[name])
    async with app.run_test() as pilot:
        await pilot.pause()
        for role in ("user", "assistant", "system", "muted"):
            assert app.query_one(f"#{role}").styles.color == colours(loaded.themes[name])[role]


# --- user themes -----------------------------------------------------------------------------------------

GOOD = {"dark": True, "primary": "#f80", "background": "black", "foreground": "hsl(0,0%,90%)"}


def load_user(tmp_path: Path, **files: object) -> LoadedThemes:
    for stem, content in files.items():
        text = content if isinstance(content, str) else tomli_w.dumps(content)  # type: ignore[arg-type]
        (tmp_path / f"{stem}.toml").write_text(text, encoding="utf-8")
    return load_themes(bundled_themes(), tmp_path)


def test_a_small_user_theme_is_enough_and_is_named_after_its_file(tmp_path: Path) -> None:
    result = load_user(tmp_path, mine=GOOD)
    assert result.notices == ()
    theme = result.themes["mine"]
    assert theme.variables["user"] == theme.variables["assistant"] == "#f80"
    assert theme.variables["muted"] == "hsl(0,0%,90%)"


def test_a_user_theme_takes_the_place_of_a_bundled_one_unless_it_is_broken(tmp_path: Path) -> None:
    result = load_user(tmp_path, a=GOOD | {"name": "ember"}, b=GOOD | {"name": "paper", "dark": 1})
    assert result.themes["ember"].primary == "#f80"
    assert result.themes["paper"].background == "#fbf6ec"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"primary": "#ggg"}, "'primary' is no colour: '#ggg'"),
        ({"user": 7}, "'user' is no colour: 7"),
        ({"surface": "transparent"}, "'surface' must not be transparent"),
        ({"dark": "yes"}, "'dark' must be true or false"),
        ({"background": None}, "'background' is missing"),
        ({"name": "My \x1b[31mTheme"}, "'name' must be small letters"),
        ({"accent": "ansi_red"}, "'accent' and 'background' must both be ANSI colours"),
        ({"background": "ansi_default"}, "'primary' and 'background' must both be ANSI colours"),
    ],
)
def test_a_broken_theme_is_a_notice_that_names_file_and_key(
    change: dict[str, object], words: str, tmp_path: Path
) -> None:
    table = {key: value for key, value in (GOOD | change).items() if value is not None}
    result = load_user(tmp_path, broken=table)
    (notice,) = result.notices
    assert notice.startswith("themes/broken.toml: ")
    assert words in notice
    assert notice.isprintable()
    assert set(result.themes) == BUNDLED


def test_a_slip_in_a_key_is_told_and_the_theme_is_used(tmp_path: Path) -> None:
    result = load_user(tmp_path, mine=GOOD | {"acent": "red"})
    assert result.notices == (
        "themes/mine.toml: there is no key 'acent' ('accent' is one). It is passed over.",
    )
    assert "mine" in result.themes


@pytest.mark.parametrize(
    ("content", "words"),
    [("dark = = 1", "line 1"), ("#" * 70_000, "more than 65,536 bytes"), ("x = \x00", "not TOML")],
)
def test_a_file_that_is_no_theme_at_all(content: str, words: str, tmp_path: Path) -> None:
    (notice,) = load_user(tmp_path, odd=content).notices
    assert words in notice


def test_other_files_and_a_file_for_a_folder_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no theme")
    (tmp_path / "folder.toml").mkdir()
    assert load_themes(bundled_themes(), tmp_path).notices == ()
    (notice,) = load_themes(bundled_themes(), tmp_path / "notes.txt").notices
    assert "No themes are read from there" in notice


values = (
    st.text(max_size=12)
    | st.sampled_from(["red", "#123", "ansi_red", "auto"])
    | st.booleans()
    | st.integers()
)


@given(st.dictionaries(st.sampled_from(["name", "dark", *COLOURS]), values))
@hypothesis_settings(deadline=None, max_examples=60)
def test_nonsense_is_refused_or_makes_a_theme_that_textual_takes(table: dict[str, object]) -> None:
    try:
        theme = build_theme(GOOD | table, fallback_name="x")
    except ValueError:
        return
    assert theme.to_color_system().generate()["background"]


# --- where they are found --------------------------------------------------------------------------------


def test_they_are_found_in_a_checkout() -> None:
    assert bundled_themes() == ROOT / "themes"


def test_they_are_found_in_an_installed_wheel(tmp_path: Path) -> None:
    """Builds the wheel and reads the themes out of it, as an installation would lay them."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if "No matching distribution found for hatchling" in built.stderr:
        pytest.skip("no package index to fetch the build backend from")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    program = (
        "import llama_chat.paths as p; print(*sorted(f.stem for f in p.bundled_themes().glob('*.toml')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == sorted(BUNDLED), done.stderr
