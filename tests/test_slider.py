"""The slider: what its track means, and how it is moved."""

import asyncio
from dataclasses import fields

import pytest
from textual import events
from textual.app import App, ComposeResult

from llama_chat.events import LiveSampling, Sampling
from llama_chat.ui.scale import Scale
from llama_chat.ui.widgets.sampling_panel import MAIN_SETTINGS, SamplingPanel, slider_of
from llama_chat.ui.widgets.slider import Slider

FIELDS = {field.name: field for field in fields(Sampling)}


def scale_of(setting: str) -> Scale:
    return Scale.of_setting(FIELDS[setting].default, FIELDS[setting].metadata)


class SliderApp(App[None]):
    def __init__(self, *settings: str, compact: bool = False) -> None:
        super().__init__()
        self.settings = settings
        self.compact = compact
        self.moves: list[tuple[str, float]] = []
        self.refusals: list[str] = []

    def compose(self) -> ComposeResult:
        for setting in self.settings:
            yield slider_of(setting, Sampling(), compact=self.compact)

    def on_slider_changed(self, event: Slider.Changed) -> None:
        self.moves.append((event.setting, event.value))

    def on_slider_refused(self, event: Slider.Refused) -> None:
        self.refusals.append(event.why)


@pytest.mark.parametrize("setting", sorted(FIELDS))
def test_a_place_on_the_track_and_its_value_belong_together(setting: str) -> None:
    scale = scale_of(setting)
    for percent in range(101):
        value = scale.at(percent / 100)
        assert scale.minimum <= value <= scale.maximum
        assert scale.at(scale.fraction(value)) == value
    assert scale.fraction(scale.top) == 1.0
    assert isinstance(scale.at(0.3), int) == isinstance(FIELDS[setting].default, int)


@pytest.mark.parametrize("setting", sorted(FIELDS))
def test_steps_lead_from_one_end_to_the_other_and_back(setting: str) -> None:
    scale = scale_of(setting)
    for start, stop, step in ((scale.low, scale.top, 1), (scale.top, scale.low, -1)):
        value = start
        for _ in range(300):
            further = scale.stepped(value, step)
            assert further != value
            value = further
            if value == stop:
                break
        assert value == stop
        assert scale.stepped(value, step) == stop


def test_steps_fit_the_size_of_the_value() -> None:
    tokens = scale_of("max_new_tokens")
    assert [tokens.stepped(value, 1) for value in (1, 40, 512, 4000)] == [2, 41, 520, 4096]
    assert tokens.stepped(520, -1) == 510
    assert scale_of("temperature").stepped(0.7, 5) == pytest.approx(0.95)


def test_top_k_has_all_at_its_right_end() -> None:
    top_k = scale_of("top_k")
    assert top_k.format(0) == "all"
    assert top_k.stepped(200, 1) == 0
    assert top_k.stepped(0, -1) == 200
    assert top_k.at(1.0) == 0
    assert top_k.parse("all") == 0
    assert top_k.fraction(200) < 1.0


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [("temperature", "0.35", 0.35), ("max_new_tokens", "1,204", 1204), ("top_k", " ALL ", 0)],
)
def test_typed_values_are_taken(setting: str, text: str, value: float) -> None:
    assert scale_of(setting).parse(text) == value


@pytest.mark.parametrize(
    ("setting", "text", "why"),
    [
        ("temperature", "99", "is outside 0 to 10"),
        ("temperature", "-1", "is outside 0 to 10"),
        ("temperature", "nan", "is not a number"),
        ("temperature", "all", "is not a number"),
        ("max_new_tokens", "1000001", "is outside 1 to 1,000,000"),
        ("max_new_tokens", "1.5", "is not a whole number"),
    ],
)
def test_typed_values_that_do_not_fit_are_refused(setting: str, text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}$"):
        scale_of(setting).parse(text)


async def test_arrows_page_and_end_keys_move_and_tell() -> None:
    app = SliderApp("temperature")
    async with app.run_test() as pilot:
        await pilot.press("right", "pageup", "home", "end", "left", "delete")
    assert [value for _, value in app.moves] == pytest.approx([0.75, 1.0, 0.0, 2.0, 1.95, 0.7])


async def test_a_typed_value_may_lie_beyond_the_track() -> None:
    app = SliderApp("temperature")
    async with app.run_test() as pilot:
        slider = app.query_one(Slider)
        await pilot.press("4", ".", "7", "backspace", "5")
        assert slider.typed == "4.5"
        assert app.moves == []
        await pilot.press("enter")
        assert slider.value == 4.5
        await pilot.press("9", "escape")
        assert slider.value == 4.5
        await pilot.press("left")
        assert slider.value == 4.45
    assert [value for _, value in app.moves] == [4.5, 4.45]


async def test_a_typed_value_that_does_not_fit_moves_nothing_and_says_why() -> None:
    app = SliderApp("temperature", "top_k")
    async with app.run_test() as pilot:
        await pilot.press(*"9999", "enter")
        await pilot.press(*"77", "down")  # leaving takes it, too
        assert app.query_one(Slider).value == 0.7
        assert app.moves == []
    assert app.refusals == [f"temperature: {typed} is outside 0 to 10." for typed in (9999, 77)]


async def test_the_greatest_value_can_be_typed_and_is_shown_in_its_cells() -> None:
    app = SliderApp("max_new_tokens")
    async with app.run_test(size=(34, 6)) as pilot:
        await pilot.press(*"123456", "enter")
        assert " 123456•" in app.query_one(Slider).render().plain
        await pilot.press(*"1000000")
        assert "00000▏" in app.query_one(Slider).render().plain
        await pilot.press("enter")
        assert app.query_one(Slider).value == 1_000_000
        assert "  1M•" in app.query_one(Slider).render().plain


@pytest.mark.parametrize(
    ("setting", "value", "knob"),
    [
        ("temperature", 2.0, "●"),
        ("temperature", 2.1, "▶"),
        ("repetition_penalty", 0.4, "◀"),
        ("top_k", 0, "●"),
        ("top_k", 201, "▶"),
    ],
)
async def test_a_value_beyond_the_track_has_an_arrow_for_a_knob(
    setting: str, value: float, knob: str
) -> None:
    app = SliderApp(setting)
    async with app.run_test(size=(40, 6)):
        slider = app.query_one(Slider)
        slider.value = value
        assert [sign for sign in slider.render().plain if sign in "●▶◀"] == [knob]


async def test_setting_the_value_from_code_tells_nobody() -> None:
    app = SliderApp("top_k")
    async with app.run_test() as pilot:
        app.query_one(Slider).value = 7
        await pilot.pause()
    assert app.moves == []


@pytest.mark.parametrize("compact", [False, True])
async def test_mouse_clicks_drags_wheels_and_double_clicks(compact: bool) -> None:
    app = SliderApp("temperature", compact=compact)
    async with app.run_test(size=(60, 6)) as pilot:
        slider = app.query_one(Slider)
        column, cells = slider._track
        y = 0 if compact else 1
        first, last = 1 + column, column + cells
        await pilot.mouse_down(slider, offset=(first, y))
        assert slider.value == 0.0
        await pilot.hover(slider, offset=(last, y))
        assert slider.value == 2.0
        await pilot.mouse_up(slider, offset=(last, y))
        await pilot.hover(slider, offset=(first + 3, y))
        assert slider.value == 2.0
        await pilot.click(slider, offset=(first + 5, y), times=2)
        assert slider.value == 0.7
        assert app.moves[-1] == ("temperature", 0.7)


async def test_the_wheel_moves_by_a_step() -> None:
    app = SliderApp("max_new_tokens")
    async with app.run_test() as pilot:
        slider = app.query_one(Slider)
        await pilot._post_mouse_events([events.MouseScrollUp], widget=slider)
        assert slider.value == 520


async def test_value_and_mark_are_shown() -> None:
    app = SliderApp("max_new_tokens", "top_k")
    async with app.run_test(size=(34, 6)):
        tokens, top_k = app.query(Slider)
        assert "512 " in tokens.render().plain
        assert "•" not in tokens.render().plain
        tokens.value = 1204
        top_k.value = 0
        assert "1,204•" in tokens.render().plain
        assert "all•" in top_k.render().plain
        assert all(line.cell_length <= 34 for line in tokens.render().split("\n"))


@pytest.mark.parametrize("size", [(5, 3), (1, 1), (40, 12), (160, 48)])
async def test_it_fits_every_size(size: tuple[int, int]) -> None:
    app = SliderApp(*MAIN_SETTINGS, compact=True)
    async with app.run_test(size=size) as pilot:
        await pilot.press("right", "5", "enter")
        await pilot.click(Slider)


class PanelApp(App[None]):
    def __init__(self, live: LiveSampling) -> None:
        super().__init__()
        self.live = live
        self.saved: list[tuple[str, float]] = []

    def compose(self) -> ComposeResult:
        yield SamplingPanel(self.live)

    def on_sampling_panel_rested(self, event: SamplingPanel.Rested) -> None:
        self.saved.append((event.setting, event.value))


async def test_the_panel_acts_at_once_and_saves_when_the_value_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llama_chat.ui.widgets.sampling_panel.QUIET_S", 0.4)
    live = LiveSampling()
    app = PanelApp(live)
    async with app.run_test() as pilot:
        app.query_one(SamplingPanel).focus_first()
        await pilot.press("right", "right")
        assert live.current.temperature == 0.8
        async with asyncio.timeout(5):
            while not app.saved:
                await pilot.pause(0.01)
        assert app.saved == [("temperature", 0.8)]
        assert "logits" in app.query_one(".help").render().plain
