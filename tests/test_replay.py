"""The timeline of a session and the player that goes through it; no screen, and no waiting."""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import replace

import pytest
from replay_records import PREFILL_S, TOKEN_S, Script, fox_session, long_session, words_of

from llama_chat.conversation import Role
from llama_chat.events import Sampling
from llama_chat.replay import LONGEST_PAUSE_S, SPEEDS, Player, Timeline, build_timeline, sampling_moves
from llama_chat.replay.timeline import LONGEST_STEP_S, SWITCH_S


@pytest.fixture
def fox() -> Timeline:
    return build_timeline(fox_session())


def place_of(timeline: Timeline, kind: str, nth: int = 0) -> int:
    """The place right after the nth moment of the kind."""
    return [count for count, moment in enumerate(timeline.moments, 1) if moment.kind == kind][nth]


def texts(timeline: Timeline, count: int) -> list[str]:
    return [message.text for message in timeline.state_at(count).path]


def test_moments_come_in_the_order_and_at_the_pace_in_which_they_came(fox: Timeline) -> None:
    first_token, end = fox.moments[2], fox.moments[place_of(fox, "end") - 1]
    assert [moment.kind for moment in fox.moments[:3]] == ["message", "begin", "token"]
    assert first_token.at_s == pytest.approx(PREFILL_S + TOKEN_S)
    assert end.at_s == pytest.approx(PREFILL_S + 17 * TOKEN_S)
    assert fox.moments[-1].kind == "path"
    assert fox.token_count == 30
    assert all(a.at_s <= b.at_s for a, b in itertools.pairwise(fox.moments))


def test_a_pause_is_the_recorded_one_but_never_long_and_never_negative() -> None:
    script = Script()
    script.say("one", after_s=0)
    script.reply(["a"])
    script.say("soon", after_s=0.7)
    script.say("after lunch", after_s=3600)
    script.say("the clock was set back", after_s=-7200)
    script.say("and went on", after_s=0.5)
    timeline = build_timeline(script.record())
    starts = [timeline.moments[count - 1].at_s for count in timeline.message_starts]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts[1:])]
    assert pauses == pytest.approx([PREFILL_S + TOKEN_S + 0.7, LONGEST_PAUSE_S, 0.0, 0.5])


def test_seconds_that_cannot_be_right_do_no_harm() -> None:
    script = Script()
    script.say("one", after_s=0)
    reply_id = script.reply(["a", "b", "c", "d"])
    odd = (math.nan, -5.0, math.inf, 1e9)
    script.tokens[reply_id] = [
        replace(token, seconds=s) for token, s in zip(script.tokens[reply_id], odd, strict=True)
    ]
    assert build_timeline(script.record()).total_s == pytest.approx(PREFILL_S + LONGEST_STEP_S)


def test_a_reply_grows_token_by_token(fox: Timeline) -> None:
    begin = place_of(fox, "begin")
    states = [fox.state_at(begin + tokens) for tokens in range(4)]
    assert [state.message.text for state in states if state.message] == [
        "",
        "Once",
        "Once upon",
        "Once upon a",
    ]
    assert [state.reply_tokens for state in states] == [0, 1, 2, 3]
    assert states[3].tok_per_s == pytest.approx(1 / TOKEN_S)
    assert states[3].first_token_s == pytest.approx(PREFILL_S + TOKEN_S)
    assert all(state.is_replying for state in states)
    over = fox.state_at(place_of(fox, "end"))
    assert over.message == fox.messages[over.message.id if over.message else ""]
    assert not over.is_replying


def test_sliders_move_with_the_token_that_was_drawn_with_them(fox: Timeline) -> None:
    begin = place_of(fox, "begin")
    temperatures = [fox.state_at(begin + tokens).sampling.temperature for tokens in (0, 8, 9)]
    assert temperatures == [0.7, 0.7, 1.2]
    assert fox.state_at(0).sampling.temperature == 0.7
    assert sampling_moves(Sampling(), Sampling(temperature=1.2, top_k=0)) == (
        "temperature 0.7 → 1.2, top-k 40 → all"
    )


def test_a_token_of_the_user_is_known_as_such(fox: Timeline) -> None:
    begin = place_of(fox, "begin", 2)
    assert [fox.state_at(begin + tokens).is_by_user for tokens in (1, 2, 3)] == [False, True, False]


def test_the_path_switches_as_it_did(fox: Timeline) -> None:
    second = place_of(fox, "begin", 1)
    assert [place[1:] for place in fox.state_at(second - 1).places] == [(1, 1)]
    assert texts(fox, second) == ["Tell me about the **fox** and the river.", ""]
    assert [place[1:] for place in fox.state_at(second).places] == [(2, 2)]
    assert texts(fox, len(fox) - 1)[-1] == "Then it slept."
    assert texts(fox, len(fox))[-1].startswith("Once upon")
    assert [place[1:] for place in fox.state_at(len(fox)).places] == [(1, 2)]
    assert fox.total_s - fox.time_of(len(fox) - 1) == pytest.approx(SWITCH_S)


def test_replies_without_tokens_and_copies_appear_whole() -> None:
    script = Script()
    script.say("one", after_s=0)
    script.reply(["a", " b"])
    script.say("two", after_s=1)
    script.reply(words_of("imported from elsewhere"), keeps_tokens=False)
    before = build_timeline(script.record()).total_s
    script.conversation.set_system("Be brief.")
    timeline = build_timeline(script.record())
    kinds = [moment.kind for moment in timeline.moments[-6:]]
    assert kinds == ["message"] * 6  # the imported one, the system prompt, and copies of four
    assert timeline.total_s <= before + LONGEST_PAUSE_S
    assert timeline.state_at(len(timeline)).path[0].role is Role.SYSTEM


def test_every_place_looks_the_same_from_wherever_one_comes(fox: Timeline) -> None:
    player = Player(fox)
    forward = []
    while not player.is_at_end:
        forward.append((player.count, player.state))
        player.step(1)
    for count, state in reversed(forward):
        player.step(-1)
        assert (player.count, player.state) == (count, state)


def test_time_comes_from_outside_and_speed_counts(fox: Timeline) -> None:
    player = Player(fox, speed=2.0)
    assert not player.advance(100.0)
    player.play()
    assert not player.advance(200.0)  # the time before was not played
    assert player.advance(200.0 + (PREFILL_S + 5 * TOKEN_S + 0.01) / 2)
    assert player.state.reply_tokens == 5
    assert player.next_wait_s() == pytest.approx((TOKEN_S - 0.01) / 2)
    player.pause()
    assert not player.advance(900.0)
    player.play()
    player.advance(1000.0)
    assert player.advance(2000.0)
    assert player.is_at_end
    assert not player.is_playing
    player.toggle()
    assert player.is_playing
    assert player.position_s == 0.0


def test_the_speed_goes_up_and_down_within_its_ends(fox: Timeline) -> None:
    player = Player(fox, speed=3.0)
    player.change_speed(1)
    assert player.speed == 4.0
    for _ in SPEEDS:
        player.change_speed(1)
    assert player.speed == SPEEDS[-1]
    for _ in SPEEDS:
        player.change_speed(-1)
    assert player.speed == SPEEDS[0]


def test_messages_are_gone_to_as_tracks_of_a_record(fox: Timeline) -> None:
    player = Player(fox)
    player.seek_count(1)
    player.seek_message(1)
    assert player.count == place_of(fox, "begin")
    player.step(3)
    player.seek_message(-1)  # first to its own beginning
    assert player.count == place_of(fox, "begin")
    player.seek_message(-1)
    assert player.count == 1
    player.seek_message(-1)
    assert player.count == 1
    for _ in range(10):
        player.seek_message(1)
    assert player.is_at_end


def test_a_long_session_is_gone_through_quickly() -> None:
    timeline = build_timeline(long_session(1_000, 10_000))
    player = Player(timeline)
    started = time.process_time()
    for tenth in (9, 1, 8, 2, 7, 3, 6, 4, 5, 10):
        player.seek_fraction(tenth / 10)
        assert player.state.message is not None
    assert time.process_time() - started < 0.5  # ten seeks; each must stay below 0.1 s with the drawing
    assert len(player.state.path) == 2_000


def test_every_frame_of_a_long_session_is_quick() -> None:
    """From one message to the next, and from one token to the next of a long reply; each was 10 to 22 ms."""
    for timeline in (build_timeline(long_session(5_000, 2)), build_timeline(long_session(1, 20_000))):
        player = Player(timeline)
        player.seek_count(len(timeline) - 400)
        assert player.state.path
        started = time.process_time()
        for steps in (1, -1):
            for _ in range(200):
                player.step(steps)
                assert player.state.message is not None
        assert time.process_time() - started < 400 * 0.0025


def test_a_state_is_the_same_from_wherever_one_comes(fox: Timeline) -> None:
    there, back = ([fox.state_at(n) for n in places] for places in (range(len(fox)), range(len(fox))[::-1]))
    assert there == back[::-1] == [build_timeline(fox_session()).state_at(n) for n in range(len(fox))]
