"""What the store costs: `python tests/bench_store.py FILE`, the file being one of `make_big_store.py`.

It prints how long opening, listing, searching and loading take, and what the tokens of a reply cost, in a
folder of its own; the file is not changed unless `--delete` is given.

`python tests/bench_store.py --storing MODEL.gguf` instead lets a model write the same reply with and without
the recorder, by turns, and prints the ratio of their speeds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from store_helpers import build_candidates, build_reply_message, build_token

from llama_chat.events import Engine, Event, Finished, Ids, LiveSampling, Sampling, Token
from llama_chat.recorder import Recorder
from llama_chat.sessions import SessionStore

QUERIES = (
    *(
        "water",
        "the",
        "t",
        "people wa",
        "of the",
        '"of the"',
        '"water people"',
        '"of the" wat',
        "zei",
        "nowhere",
    ),
    *("the of and to a in is it you that", "kagi", "zeizamu water", 'some "AND (NOT" -words'),
)
DECODE_TOK_PER_S = (41, 128)
"""The default model on two cores, and the quickest that was measured."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--delete", action="store_true", help="also delete the longest session for good")
    parser.add_argument(
        "--storing", action="store_true", help="the path is a model's: decode with and without"
    )
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--new", type=int, default=192, help="tokens of each reply")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.storing:
        measure_storing(options.path, options.rounds, options.new, options.threads)
        return
    store = SessionStore(options.path)
    measure_reading(store)
    if options.delete:
        measure_deleting(store, options.path)
    store.close()
    measure_tokens()


def measure_reading(store: SessionStore) -> None:
    """Opening, the list, searches, the longest session."""
    say("open", timed_ms(store.open))
    say("list, the first 50", timed_ms(lambda: store.list(limit=50)))
    say("list, all", timed_ms(store.list))
    worst = {query: max(timed_ms(partial(store.search, query)) for _ in range(3)) for query in QUERIES}
    say("search, median", statistics.median(worst.values()))
    slowest = max(worst, key=worst.__getitem__)
    say(f"search, worst ({slowest})", worst[slowest])
    longest = max(store.list(), key=lambda info: info.message_count)
    say(f"load of {longest.message_count} messages", timed_ms(lambda: store.load(longest.id)))


def measure_deleting(store: SessionStore, path: Path) -> None:
    """Deleting for good, and how long another writer waited meanwhile."""
    import threading

    longest, other = sorted(store.list(), key=lambda info: -info.message_count)[:2]
    outcome: list[float] = []
    thread = threading.Thread(target=lambda: outcome.append(timed_ms(lambda: store.delete_now(longest.id))))
    thread.start()
    waits = [0.0]
    writer = SessionStore(path)
    writer.open()
    while thread.is_alive():
        waits.append(timed_ms(lambda: writer.rename(other.id, f"Number {len(waits)}")))
        thread.join(1 / 30)
    writer.close()
    say("delete for good", outcome[0])
    say("longest wait of a writer", max(waits))


def measure_tokens(count: int = 1000) -> None:
    """What keeping replies of so many tokens with 64 candidates costs, a commit for each frame of 1/30 s."""
    tokens = [build_token(i, candidates=build_candidates(i)) for i in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        store = SessionStore(Path(folder) / "sessions.sqlite3")
        store.open()
        session = store.create(date="2026-11-22")
        for rate in DECODE_TOK_PER_S:
            reply = build_reply_message(None)
            store.begin_reply(session.id, reply)
            append_ms = keep_tokens(store, reply.id, tokens, per_frame=max(1, round(rate / 30)))
            assert reply.reply is not None
            ended = replace(reply, reply=replace(reply.reply, finish_reason="end"))
            finish_ms = timed_ms(partial(store.finish_reply, session.id, ended))
            print(
                f"at {rate} tok/s: {append_ms / count:.3f} ms a token, "
                f"{append_ms / count * rate / 1000:.1%} of decoding; packing at the end {finish_ms:.0f} ms"
            )
        rows = store._database.connection().execute("SELECT avg(length(packed)) FROM token_archives")
        print(f"{rows.fetchone()[0] / count:.0f} kB for 1,000 tokens")
        store.close()


def measure_storing(model: Path, rounds: int, new_tokens: int, threads: int) -> None:
    """The decode speed of the same reply with the recorder and without, by turns, and the processor's time.

    That of all threads says more where others use the processor too.
    """
    from llama_chat.engine.load import load_engine
    from llama_chat.settings import ModelSettings
    from llama_chat.worker import _let_others_go_first

    engine = load_engine(model, ModelSettings(threads=threads))
    _let_others_go_first()  # as in the chat
    speeds: dict[bool, list[float]] = {False: [], True: []}
    cpu_ms: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        store = SessionStore(Path(folder) / "sessions.sqlite3")
        store.open()
        recorder = Recorder(store, lambda events, saved: None)
        recorder.start()
        session = store.create(date="2026-11-22")
        decode(engine, new_tokens, lambda event: None)
        for number in range(rounds):
            for is_kept in (number % 2 == 0, number % 2 != 0):
                if is_kept:
                    recorder.begin(session.id, build_reply_message(None))
                speed, used_ms = decode(engine, new_tokens, recorder.push if is_kept else lambda event: None)
                recorder.call(lambda: None).result(60)  # packed, too
                speeds[is_kept].append(speed)
                cpu_ms[is_kept].append(used_ms)
        assert recorder.close()
        store.close()
    engine.close()
    ratios = sorted(kept / alone for alone, kept in zip(speeds[False], speeds[True], strict=True))
    alone, kept = (statistics.median(speeds[is_kept]) for is_kept in (False, True))
    print(f"without the recorder {alone:.1f} tok/s, with it {kept:.1f} (medians of {rounds} rounds)")
    print(
        f"ratio {statistics.median(ratios):.3f} (median of the rounds; {ratios[0]:.3f} to {ratios[-1]:.3f})"
    )
    alone, kept = (statistics.median(cpu_ms[is_kept]) for is_kept in (False, True))
    print(f"processor {alone:.2f} and {kept:.2f} ms a token: {kept / alone - 1:.1%} more")


def decode(engine: Engine, new_tokens: int, take: Callable[[Event], object]) -> tuple[float, float]:
    """Tokens a second, and milliseconds a token that all threads used, from the first to the last token.

    The reply is one to nonsense, which does not end before its last token.
    """
    sampling = LiveSampling(Sampling(temperature=0.7, top_k=40, max_new_tokens=new_tokens))
    event, begin_s = None, 0.0
    for event in engine.stream([Ids(tuple(range(1000, 1128)))], sampling=sampling, seed=1):
        if isinstance(event, Token) and event.index == 0:
            begin_s = time.process_time()
        if isinstance(event, Finished):
            used_s = time.process_time() - begin_s
        take(event)
    assert isinstance(event, Finished), event
    assert event.usage.new_tokens == new_tokens, "it ended early"
    return event.timings.decode_tok_per_s(new_tokens), 1000 * used_s / (new_tokens - 1)


def keep_tokens(store: SessionStore, message_id: str, tokens: list[Token], *, per_frame: int) -> float:
    """Milliseconds for the tokens of a reply, so many in each commit."""
    frames = [tokens[i : i + per_frame] for i in range(0, len(tokens), per_frame)]
    return sum(timed_ms(partial(store.append_tokens, message_id, frame)) for frame in frames)


def timed_ms(work: Callable[[], object]) -> float:
    """How long it takes."""
    begin_s = time.perf_counter()
    work()
    return (time.perf_counter() - begin_s) * 1000


def say(what: str, took_ms: float) -> None:
    """One line."""
    print(f"{what:50} {took_ms:8.1f} ms")


if __name__ == "__main__":
    main()
