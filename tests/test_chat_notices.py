"""What the chat says in passing, and where: the line above the prompt, the status bar, the cards."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from fake_engine import INFO, FakeEngine, Pace, loader_of
from test_chat_app import NARROW, SMALL, WIDE, Home, User, chat, home  # noqa: F401  (the fixture)
from textual.widgets import Input, OptionList

from llama_chat.chat import notices
from llama_chat.chat.live import LiveFigures, Status
from llama_chat.chat.opening import OPENING
from llama_chat.conversation import Message, Reply, Role
from llama_chat.events import ComputePlan, Event, Forward, LiveSampling, Piece, Sampling
from llama_chat.steering import Steering
from llama_chat.ui.screens.modal import Card
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.sending import why_not_now
from llama_chat.ui.screens.system_prompt import SystemPromptScreen
from llama_chat.ui.widgets.fitting import cut, first_fitting, shorter_and_shorter
from llama_chat.ui.widgets.header import model_line
from llama_chat.ui.widgets.hint_line import HintLine
from llama_chat.ui.widgets.status_bar import StatusBar, figures, state_text

SIZES = [WIDE, NARROW, SMALL]


class SlowReader(FakeEngine):
    """Reads the prompt until it is told to go on; a cancel does not hurry it."""

    def __init__(self, answers: Sequence[str | None] = ("Two words.",)) -> None:
        super().__init__(answers)
        self.go_on = threading.Event()

    def stream(
        self,
        pieces: Sequence[Piece],
        *,
        sampling: LiveSampling,
        seed: int,
        forced_ids: Sequence[int] = (),
        plan: Sequence[Forward] = (),
        given: str = "",
        steering: Steering | None = None,
        cancel: threading.Event | None = None,
    ) -> Iterator[Event]:
        assert self.go_on.wait(10)
        yield from super().stream(pieces, sampling=sampling, seed=seed, given=given, cancel=cancel)


def hint_line(user: User) -> HintLine:
    return user.screen.query_one(HintLine)


def rows(user: User) -> list[str]:
    return user.seen.split("\n")


# --- the line above the prompt --------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
async def test_what_is_said_stands_in_one_row_right_above_the_prompt(home: Home, size) -> None:  # noqa: F811
    async with chat(home.setup(), size) as user:
        await user.ready()
        before = user.screen.transcript.size.height, user.screen.prompt.region
        user.screen.hint("All is well.")
        await user.sees("· All is well.")
        line, prompt = hint_line(user).region, user.screen.prompt.region
        assert (line.height, line.bottom) == (1, prompt.y)
        assert prompt == before[1]
        user.screen.hint("All is better.", "warning")
        await user.sees("! All is better.")
        assert "All is well." not in user.seen
        hint_line(user).clear()
        await user.until(lambda: "All is" not in user.seen)
        assert user.screen.prompt.region == before[1]


async def test_a_hint_goes_by_itself(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        user.screen.hint("Only for a moment.", seconds=0.05)
        assert hint_line(user).display
        await user.until(lambda: not hint_line(user).display, "the hint stays")


async def test_a_newer_hint_gets_its_own_time(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        user.screen.hint("first", seconds=0.05)
        user.screen.hint("second", seconds=1000)
        first_would_be_gone = threading.Event()
        user.screen.set_timer(0.15, first_would_be_gone.set)
        await user.until(first_would_be_gone.is_set)
        assert hint_line(user).text == "second"


async def test_a_key_that_sends_takes_the_hint_away(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        user.screen.hint("Something to read.")
        await user.sees("Something to read.")
        await user.say("hello")
        await user.sees("Two words.")
        assert "Something to read." not in user.seen


async def test_messages_of_textual_land_in_the_line_and_nothing_is_markup(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        user.app.notify("[/zz] [b]bold[/b] \x1b]0;PWNED\x07 \u202e", title="Title", severity="error")
        await user.sees("✗ Title: [/zz] [b]bold[/b]")
        assert not set(user.seen) & set("\x1b\x07\u202e")
        assert not user.app.screen.query("Toast")


async def test_words_of_other_threads_arrive(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        thread = threading.Thread(target=user.app.notify, args=("from afar",))
        thread.start()
        await user.sees("from afar")
        thread.join()


async def test_what_does_not_fit_is_left_out_by_sentences(home: Home) -> None:  # noqa: F811
    async with chat(home.setup(), SMALL) as user:
        await user.ready()
        user.screen.hint("This is one sentence. " + "This is the second one, which is long. " * 3)
        await user.sees("This is one sentence. …")
        assert hint_line(user).region.height == 1
        await user.pilot.click(HintLine)
        await user.sees("the second one")
        await user.until(lambda: hint_line(user).region.height > 1, "still one row")
        other = "Another one, which is long enough for two rows."
        user.screen.hint(other)
        await user.until(lambda: hint_line(user).region.height == 1, "still whole")
        user.screen.hint(other)
        await user.until(lambda: hint_line(user).region.height == 2, "not whole when it is said again")


def test_wordings() -> None:
    assert shorter_and_shorter("One. Two?\n Three") == ["One. Two? Three", "One. Two?", "One."]
    assert shorter_and_shorter("0.5 is not 1.5") == ["0.5 is not 1.5"]
    assert first_fitting(["longest", "short"], 7) == "longest"
    assert first_fitting(["longest", "short"], 6) == "short"
    assert first_fitting(["longest", "short"], 4) == "sho…"
    assert [cut("狐と川", cells) for cells in (6, 5, 3, 1, 0)] == ["狐と川", "狐と…", "狐…", "…", ""]


async def test_ctrl_c_asks_in_the_line(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("ctrl+c")
        await user.sees("Press Ctrl+C again to quit.")


# --- words that are refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("/nonsense", "There is no command /nonsense."),
        ("/again now", "/again takes nothing behind it."),
        ("/set warmth 1", "There is no setting 'warmth'. Known: temperature, top_k,"),
        ("/set temperature 99", "temperature"),
        ("/theme no-such", "There is no theme no-such."),
    ],
)
async def test_a_refused_command_says_why_and_typing_replaces_it(home: Home, command, why) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say(command)
        await user.sees(f"! {why}")
        assert user.screen.prompt.selected_text == command
        await user.press(*"/new")
        assert user.screen.prompt.text == "/new"


async def test_a_setting_that_is_taken_is_told(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        await user.say("/set top_k=12")
        await user.sees("top-k is 12 from the next token on.")
        assert user.screen.prompt.text == ""


async def test_more_words_wait_while_the_model_is_loaded(home: Home) -> None:  # noqa: F811
    gate = threading.Event()
    async with chat(home.setup(loader=loader_of(FakeEngine(["yes"]), gate=gate))) as user:
        await user.say("first")
        await user.sees("waits for the model")
        await user.say("second")
        await user.sees("waiting: second")
        gate.set()
        await user.until(lambda: len(user.said) == 4, "the second words were not sent")
        await user.idle()
        assert not hint_line(user).display


async def test_an_empty_prompt_needs_no_reason(home: Home) -> None:  # noqa: F811
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        await user.press("enter")
        pace.step(1)
        await user.sees("word0")
        assert not hint_line(user).display


async def test_keys_before_the_prompt_has_the_focus_are_not_lost(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        user.screen.set_focus(None)
        await user.press("a", "ctrl+j", "b", "backspace", "c")  # Ctrl+J: an Enter before the raw mode
        await user.until(lambda: user.screen.prompt.text == "a\nc", "lost")


def test_each_reason_is_the_true_one() -> None:
    ready = Status(model_state="ready", is_replying=True)
    reasons = [
        why_not_now(replace(ready, model_state="loading", doing="torch")),
        why_not_now(replace(ready, doing=OPENING)),
    ]
    assert len(set(reasons)) == 2
    for reason in reasons:
        first = shorter_and_shorter(reason)[-1]
        assert len(first) <= 36, "what stands on a screen of 40 columns"


# --- the status bar and the header ----------------------------------------------------------------------


async def test_esc_while_the_prompt_is_read_says_stopping_until_it_has(home: Home) -> None:  # noqa: F811
    engine = SlowReader()
    async with chat(home.setup(engine)) as user:
        await user.say("count")
        await user.sees("● reading the prompt")
        await user.press("escape")
        await user.sees("● stopping")
        await user.say("more")
        await user.sees("waiting: more")
        engine.go_on.set()
        await user.until(lambda: ("user", "more") in user.said, "what was said after the stop was not sent")
        await user.idle()
        await user.sees("Nothing was written yet.", "● ready")


def test_a_token_that_still_comes_does_not_hide_that_the_reply_is_stopped() -> None:
    figures_so_far = LiveFigures(prompt_tokens=10, tokens=3, decode_s=0.1)
    status = Status(model_state="ready", is_replying=True, doing="stopping")
    assert figures_so_far.status(status).doing == "stopping"
    assert state_text(figures_so_far.status(status))[0] == "● stopping"
    assert figures_so_far.status(replace(status, doing="ready")).doing == "generating"


async def test_a_session_that_is_opened_again_is_ready(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.say("remember me")
        await user.idle()
        assert "● ready " in user.screen.query_one(StatusBar).render().plain
        assert " last 112 tok/s   scratch " in user.screen.query_one(StatusBar).render().plain
    gate = threading.Event()
    async with chat(home.setup(loader=loader_of(FakeEngine(), gate=gate), continue_last=True), WIDE) as user:
        await user.sees("remember me")
        assert "reused" not in user.seen
        gate.set()
        await user.ready()
        await user.sees("● ready", "/ 8,192")
        bar = user.screen.query_one(StatusBar).render().plain
        assert "tok/s" not in bar
        assert "reused" not in bar
        assert user.screen.chat.status.context_used > 0


def reply_to(words: Message, *, context_start: str | None) -> Message:
    reply = Reply(
        seed=1,
        sampling=Sampling(),
        model="m",
        token_ids=(1, 2),
        finish_reason="end",
        prompt_tokens=10,
        context_start=context_start,
    )
    return Message(f"{words.id}-reply", words.id, Role.ASSISTANT, "yes", 1.0, reply)


def test_what_was_left_out_is_known_from_the_path() -> None:
    system = Message("s", None, Role.SYSTEM, "Be brief.", 0.0)
    first = Message("a", "s", Role.USER, "one", 0.0)
    first_reply = reply_to(first, context_start=None)
    second = Message("b", first_reply.id, Role.USER, "two", 0.0)
    path = [system, first, first_reply, second, reply_to(second, context_start="b")]
    assert Status().of_path(path).dropped_messages == 2
    assert Status().of_path(path[:3]).dropped_messages == 0
    assert Status(dropped_messages=3).of_path([]).dropped_messages == 0


@pytest.mark.parametrize(
    ("width", "told"),
    [
        (80, "context 4,900 / 8,192 · 6 messages left out"),
        (60, "context 4,900 / 8,192 · 6 left out"),
        (40, "4,900/8,192 · 6 out"),
    ],
)
async def test_the_status_bar_tells_what_was_left_out(home: Home, width: int, told: str) -> None:  # noqa: F811
    async with chat(home.setup(), (width, 24)) as user:
        await user.ready()
        status = replace(user.screen.chat.status, context_used=4900, context_length=8192, dropped_messages=6)
        user.screen.query_one(StatusBar).status = status
        await user.sees(told)


def test_one_message_is_one_message() -> None:
    figure, *_ = figures(replace(Status(), context_length=8192, dropped_messages=1))
    assert figure.texts[0].endswith("· 1 message left out")


async def test_the_first_token_is_one_token_without_a_speed(home: Home) -> None:  # noqa: F811
    pace = Pace(is_stepped=True)
    async with chat(home.setup(FakeEngine([None], pace=pace))) as user:
        await user.say("count")
        pace.step(1)
        await user.sees("word0", "1 token · – tok/s", "● – tok/s")
        assert "1 tokens" not in user.seen
        assert "0 tok/s" not in user.seen


@pytest.mark.parametrize(
    ("label", "line"),
    [
        ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct · Q4_1"),
        ("Llama-3.2-1B-Instruct-q4_k_m", "Llama-3.2-1B-Instruct · Q4_K_M"),
        ("tinyllama-bf16", "tinyllama · BF16"),
        ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct"),
        (".Q4_1", ".Q4_1"),
    ],
)
def test_a_file_is_called_as_its_model_will_be(label: str, line: str) -> None:
    assert model_line(None, label) == line


async def test_the_model_has_one_name_before_and_after_it_is_loaded(home: Home) -> None:  # noqa: F811
    gate = threading.Event()
    setup = replace(
        home.setup(loader=loader_of(FakeEngine(["yes"]), gate=gate)), model_label=f"{INFO.name}.Q4_1"
    )
    async with chat(setup) as user:
        await user.sees(f"{INFO.name} · Q4_1")
        assert f"{INFO.name}.Q4_1" not in user.seen
        await user.say("hello")
        await user.sees("waits for the model")
        assert f"{INFO.name}.Q4_1" not in user.seen
        gate.set()
        await user.sees(f"{INFO.name} · Q4_1 · cpu", "yes")


# --- the cards ------------------------------------------------------------------------------------------


CARDS = [
    *((size, key) for key in ("f1", "f8", "f9", "ctrl+p") for size in (WIDE, NARROW, (80, 18), (60, 20))),
    (NARROW, "ctrl+s"),  # a column, where the screen is wide
]


@pytest.mark.parametrize(("size", "key"), CARDS)
async def test_a_card_leaves_the_prompt_whole(home: Home, size, key: str) -> None:  # noqa: F811
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press(*"two lines", "ctrl+j", *"of words")
        await user.press(key)
        await user.until(lambda: isinstance(user.app.screen, Card))
        card, prompt = user.app.screen.query_one(".card"), user.screen.prompt
        await user.until(lambda: 0 < card.region.bottom <= prompt.region.y, "the card lies on the prompt")
        assert user.app.screen.query_one(".hint").region.bottom <= card.region.bottom
        await user.pilot.resize_terminal(size[0] + 2, size[1] + 2)
        await user.until(lambda: 0 < card.region.bottom <= prompt.region.y, "after another size it does")


@pytest.mark.parametrize("key", ["f1", "f8", "f9", "ctrl+p", "ctrl+s"])
async def test_a_card_on_a_low_screen_keeps_its_last_line(home: Home, key: str) -> None:  # noqa: F811
    async with chat(home.setup(), SMALL) as user:
        await user.ready()
        await user.press(key)
        await user.until(lambda: isinstance(user.app.screen, Card))
        await user.until(lambda: "Esc" in rows(user)[-1], "no word of how to leave")
        assert "…" not in rows(user)[-1]


@pytest.mark.parametrize("size", SIZES)
async def test_the_system_prompt_says_which_key_keeps_it(home: Home, size) -> None:  # noqa: F811
    async with chat(home.setup(), size) as user:
        await user.ready()
        await user.press("f8")
        await user.until(lambda: isinstance(user.app.screen, SystemPromptScreen))
        await user.sees("^S keep" if size == SMALL else "Ctrl+S keep", "Esc drop")


def listed(user: User) -> list[str | None]:
    """The ids of the lines."""
    options = user.app.screen.query_one(OptionList)
    return [options.get_option_at_index(index).id for index in range(options.option_count)]


async def test_the_palette_ranks_names_before_helps(home: Home) -> None:  # noqa: F811
    async with chat(home.setup()) as user:
        await user.ready()
        await user.press("ctrl+p")
        await user.until(lambda: isinstance(user.app.screen, PickScreen))
        all_of_them = listed(user)
        await user.press(*"again")
        await user.until(lambda: listed(user)[:2] == ["regenerate", "load_model"], str(listed(user)))
        assert set(listed(user)) > {"regenerate", "load_model"}
        await user.press(*["backspace"] * 5, *"se")
        names = ["sessions", "seed", "search", "settings"]  # the footer names the first one
        await user.until(lambda: listed(user)[:4] == names, str(listed(user)))
        user.app.screen.query_one(Input).value = ""
        await user.until(lambda: listed(user) == all_of_them, "the order is another")


async def test_the_sheet_of_sliders_says_how_to_leave(home: Home) -> None:  # noqa: F811
    async with chat(home.setup(), SMALL) as user:
        await user.ready()
        await user.press("ctrl+o")
        await user.sees("↓ 4 more  ^O back", "balanced ▾")


def test_a_reply_that_goes_on_elsewhere_says_so() -> None:
    """Machine, device, torch or threads are others: near ties may come out otherwise from here on."""
    info = replace(FakeEngine().info, machine="This CPU", torch="2.13", threads=2, device="cpu")
    plan = ComputePlan((), info.dtype, info.device, info.threads, info.torch, machine=info.machine)
    hints: list[str] = []

    class View:
        def hint(self, words: str) -> None:
            hints.append(words)

    def told(plan: ComputePlan | None) -> list[str]:
        hints.clear()
        reply = Reply(1, Sampling(), token_ids=(1, 2), plan=plan)
        message = Message("a", None, Role.ASSISTANT, "Hi", 1.0, reply)
        notices.tell_where_it_goes_on(View(), message, info)  # type: ignore[arg-type]  # all it asks for
        return list(hints)

    assert told(plan) == told(None) == told(replace(plan, machine="")) == []
    assert told(replace(plan, machine="That CPU", threads=8)) == [
        "It goes on with machine This CPU (was That CPU), threads 2 (was 8): "
        "a near tie may come out otherwise."
    ]
