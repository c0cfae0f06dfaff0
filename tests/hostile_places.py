"""Where the chat shows foreign text beside its cards: the transcript, the prompt, the lines around them."""

from __future__ import annotations

from dataclasses import replace

from fake_engine import INFO
from hostile_stage import ROWS, RUNS, Stage, close_cards, reply, user
from textual import events

from llama_chat.ui import attention
from llama_chat.ui.safe_parser import SafeParser

# --- the transcript -------------------------------------------------------------------------------------


async def words_of_the_user(stage: Stage, count: int) -> None:
    for lines in stage.batches(count):
        await stage.show(user("\n".join(lines)))


async def a_reply(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, ROWS // 2):
        await stage.show(reply("\n\n".join(lines)))


async def lines_of_a_paragraph(stage: Stage, count: int) -> None:
    for lines in stage.batches(count):
        await stage.show(reply("  \n".join(lines)))


async def lists_quotes_and_headings(stage: Stage, count: int) -> None:
    starts = ("- ", "1. ", "> ", "### ", "  - ", "- [ ] ", "    ", "> > ")
    for lines in stage.batches(count, ROWS // 2):
        marked = [starts[n % len(starts)] + line for n, line in enumerate(lines)]
        await stage.show(reply("\n\n".join(marked)))


async def fences(stage: Stage, count: int) -> None:
    """Their info strings, and what is in them, which is coloured as code."""
    languages = ("", "python", "html", "json", "bash", "diff", "console", "markdown")
    for n, lines in enumerate(stage.batches(count)):
        language = languages[n % len(languages)]
        await stage.show(reply(f"```{language}\n" + "\n".join(lines)), reply("x"))
        await stage.show(reply(f"```{language}\n" + "\n".join(lines) + "\n```\n\nend"))
        info = stage.take(30).replace("`", "'")
        await stage.show(reply(f"```{info}\nfenced\n```\n\n~~~{info}\nfenced"))


async def tables(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, ROWS // 2, 40):
        rows = [
            f"| {line.replace('|', '¦')} | {n} | {stage.texts.anything(9)} |" for n, line in enumerate(lines)
        ]
        await stage.show(reply(f"| {stage.take(20)} | b | c |\n| --- | --: | :-: |\n" + "\n".join(rows)))


async def links(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, ROWS // 4, 40):
        parts = []
        for line in lines:
            parts += [f"[{line}](http://a.b/{stage.texts.anything(20)})", f"<http://{line}>", f"![{line}](x)"]
            parts += [f'[x](<{line}> "{line}")', f"[{line}][1]\n\n[1]: {line}", f"`{line}`", f"**{line}**"]
        await stage.show(reply("\n\n".join(parts)))


async def thinking(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, ROWS // 2):
        half = len(lines) // 2
        await stage.show(
            reply("<think>\n" + "\n".join(lines[:half]) + "\n</think>\n" + "\n".join(lines[half:]))
        )
        await stage.show(reply("<think>" + "\n\n".join(lines), reason=None))


async def ends_of_replies(stage: Stage, count: int) -> None:
    """The name of the model in the head, the error in the foot."""
    for lines in stage.batches(count, ROWS // 5):
        await stage.show(*[reply("x", model=line, reason="failed", error=line) for line in lines])


async def streamed(stage: Stage, count: int) -> None:
    """Through the engine and the store, in pieces of one to three letters."""
    stage.chat.action_new_chat()
    for lines in stage.batches(count, ROWS // 2):
        await stage.until(lambda: not stage.chat.chat.is_replying, "the end of the reply")
        RUNS.append("\n".join([*lines[1:], "```x"]))
        assert stage.chat.chat.send(lines[0])
        await stage.until(lambda: not stage.chat.chat.is_replying, "the end of the reply")
        await stage.frame()


async def cut_everywhere(stage: Stage, count: int) -> None:
    """Each text in two pieces, for every place of the cut, with a frame between them."""
    for lines in stage.batches(count, ROWS // 4, 30):
        for cut in range(1, max(map(len, lines))):
            messages = [reply(line[:cut], reason=None) for line in lines]
            await stage.show(*messages)
            for line, message in zip(lines, messages, strict=True):
                stage.chat.append_text(message.id, line[cut:])
            await stage.frame()


async def notices_in_the_chat(stage: Stage, count: int) -> None:
    stage.chat.show_path([])
    for lines in stage.batches(count, ROWS // 2):
        stage.chat.transcript.clear()
        for n, line in enumerate(lines):
            stage.chat.notice(line, ("info", "warning", "error")[n % 3])  # type: ignore[arg-type]
        await stage.frame()


# --- the prompt -----------------------------------------------------------------------------------------


async def pasted(stage: Stage, count: int) -> None:
    """As the terminal hands it on: between brackets, read in two pieces for every place of the cut."""
    assert stage.app._driver is not None
    for lines in stage.batches(count, 20, 40):
        whole = "\x1b[200~" + "\n".join(lines).replace("\x1b[201~", "") + "\x1b[201~"
        for cut in range(1, len(whole), max(1, len(whole) // 12)):
            parser = SafeParser()
            stage.chat.prompt.clear_all()
            for event in (*parser.feed(whole[:cut]), *parser.feed(whole[cut:])):
                if isinstance(event, events.Paste):
                    stage.app._driver.process_message(event)
            await stage.frame()
    stage.chat.prompt.clear_all()


async def given_back(stage: Stage, count: int) -> None:
    """Words that were said, in the prompt again."""
    for lines in stage.batches(count, 24):
        stage.chat.prompt.clear_all()
        stage.chat.give_back("\n".join(lines))
        stage.chat.prompt.edited = stage.take(30)
        await stage.frame()
    stage.chat.prompt.clear_all()
    stage.chat.prompt.edited = ""


async def refused_commands(stage: Stage, count: int) -> None:
    commands = (
        "",
        "model ",
        "theme ",
        "set ",
        "set temperature ",
        "export ",
        "export md ",
        "search ",
        "zz",
        "rename ",
    )
    for n, line in enumerate(stage.lines(count, 30)):
        stage.chat.prompt.clear_all()
        stage.chat.prompt.post_message(events.Paste(f"/{commands[n % len(commands)]}{line}"))
        await stage.frame()
        await stage.press("enter")
        await stage.frame()
        await close_cards(stage)
        await stage.until(lambda: not stage.chat.chat.is_replying, "the reply to what is no command")
    stage.chat.prompt.clear_all()


# --- around it ------------------------------------------------------------------------------------------


async def hints(stage: Stage, count: int) -> None:
    for n, line in enumerate(stage.lines(count)):
        if n % 2:
            stage.chat.hint(line, ("info", "warning", "error")[n % 3])  # type: ignore[arg-type]
        else:
            stage.app.notify(line, title=line[:20], severity="error")
        await stage.frame()


async def header_and_status(stage: Stage, count: int) -> None:
    shown = stage.chat.chat
    before = shown.title, shown.info, shown.status
    for line in stage.lines(count, 40):
        shown.title = line
        shown.info = replace(INFO, name=line, dtype=line[-9:], device=line[-5:], engine_reason=line)
        shown.status = replace(shown.status.with_model(shown.info), doing=line)
        stage.chat.status_changed()
        await stage.frame()
    shown.title, shown.info, shown.status = before
    stage.chat.status_changed()


async def welcome(stage: Stage, count: int) -> None:
    stage.chat.show_path([])
    for line in stage.lines(count, 40):
        stage.chat._welcome.model = line
        await stage.frame()


async def a_note_on_the_desktop(stage: Stage, count: int) -> None:
    stage.chat._attention.kind = "desktop"
    programs = ({"TERM_PROGRAM": "WezTerm"}, {"TERM": "foot"}, {"VTE_VERSION": "7"}, {"TERM": "screen"})
    for n, line in enumerate(stage.lines(count)):
        stage.chat._write_to_terminal(attention.desktop_note(line, programs[n % len(programs)]))
    await stage.frame()


async def copied(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, 10):
        stage.app.copy_to_clipboard("\n".join(lines).encode("utf-8", "replace").decode())
    await stage.frame()
