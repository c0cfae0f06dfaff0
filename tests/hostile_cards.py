"""The lists and cards of the chat that show foreign text."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import replace
from pathlib import Path

from hostile_newcomer import model_row
from hostile_stage import RUNS, Stage, close_cards
from textual import events
from textual.content import Content
from textual.widgets import Input, TextArea

from llama_chat.chat import notices
from llama_chat.conversation import Role, new_id
from llama_chat.errors import ModelError
from llama_chat.pull_progress import PullProgress
from llama_chat.sessions import SessionInfo
from llama_chat.sessions.search import SearchHit
from llama_chat.ui.screens import openers
from llama_chat.ui.screens.download import DownloadScreen
from llama_chat.ui.screens.models import ModelsScreen
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.rename import RenameScreen
from llama_chat.ui.screens.search import SearchScreen
from llama_chat.ui.screens.session_card import SessionCard
from llama_chat.ui.screens.setting_value import ValueScreen
from llama_chat.ui.screens.settings import SettingsScreen
from llama_chat.ui.screens.system_prompt import SystemPromptScreen
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.session_list import SessionList

# --- sessions -------------------------------------------------------------------------------------------


def session(title: str) -> SessionInfo:
    return SessionInfo(new_id(), title, 1.0, time.time(), title, "2026-11-22", 3)


async def titles_in_a_card(stage: Stage, count: int) -> None:
    async with stage.card(SessionCard(stage.chat, [], None)):
        for lines in stage.batches(count, 30):
            stage.app.screen.query_one(SessionList).show_sessions(list(map(session, lines)), None)
            await stage.frame()


async def titles_in_the_list(stage: Stage, count: int) -> None:
    await stage.press("ctrl+s")
    await stage.until(lambda: stage.chat.query("SessionList Input"), "the list")
    await stage.frame()
    await stage.frame()  # it has shown the sessions that there are
    for lines in stage.batches(count, 35, 24):
        stage.chat.query_one(SessionList).show_sessions(list(map(session, lines)), None)
        await stage.frame()
    stage.chat.query("SessionPanel").remove()
    stage.chat.prompt.focus()


async def hits_of_a_search(stage: Stage, count: int) -> None:
    async with stage.card(SearchScreen(stage.chat)):
        screen = stage.app.screen
        assert isinstance(screen, SearchScreen)
        for lines in stage.batches(count, 18):
            parts = [((line[:20], False), (line[20:30], True), (line[30:], False)) for line in lines]
            screen._show(
                "x",
                [
                    SearchHit(session(line), new_id(), Role.USER, 1.0, part)
                    for line, part in zip(lines, parts, strict=True)
                ],
            )
            await stage.frame()
        for line in stage.lines(min(count, 10)):
            screen._say(line)
            screen.query_one(Input).value = line
            await stage.frame()


async def stored(stage: Stage, count: int) -> None:
    """Said, kept, listed, found, renamed, opened again: as the user would."""
    for lines in stage.batches(count, 6):
        stage.chat.action_new_chat()
        await stage.until(lambda: not stage.chat.chat.is_replying, "an idle chat")
        RUNS.append("\n".join(lines[1:]))
        assert stage.chat.chat.send(lines[0])
        await stage.until(lambda: not stage.chat.chat.is_replying, "the reply")
        stage.chat.action_rename(lines[-1])
        await stage.frame()
        stage.chat.action_search("k")
        await stage.until(lambda: isinstance(stage.app.screen, SearchScreen), "the search")
        await stage.until(lambda: stage.app.screen._hits, "hits")
        await stage.frame()
        await close_cards(stage)


async def names_of_sessions(stage: Stage, count: int) -> None:
    for line in stage.lines(count):
        async with stage.card(RenameScreen(line)):
            pass


# --- cards ----------------------------------------------------------------------------------------------


async def models(stage: Stage, count: int) -> None:
    async with stage.card(ModelsScreen(stage.chat)):
        for n, lines in enumerate(stage.batches(count, 25)):
            rows = [model_row(line, n) for line in lines]
            stage.app.screen.post_message(ModelsScreen.Learned(rows))
            await stage.frame()


async def paths(stage: Stage, count: int) -> None:
    """File names in a folder, as they are when a path is typed."""
    folder = Path(os.environ["LLAMA_CHAT_HOME"]) / "files"
    folder.mkdir()
    for line in stage.lines(count):
        name = line.replace("/", "|").replace("\x00", "0").encode("utf-8", "surrogatepass")[:180]
        (folder / os.fsdecode(name + b".gguf")).write_bytes(b"x")
    (folder / os.fsdecode(b"k\xff\x9b2J.gguf")).write_bytes(b"x")
    async with stage.card(ModelsScreen(stage.chat)):
        for typed in (f"{folder}/", f"{folder}/["):
            stage.app.screen.query_one(Input).value = typed
            await stage.frame()
            for _ in range(count // 20 + 1):
                await stage.press("pagedown")
                await stage.frame()


async def lists(stage: Stage, count: int) -> None:
    """What is found by other means: any list to choose from."""
    async with stage.card(PickScreen("x", [])):
        for lines in stage.batches(count, 25):
            items = [
                Item(str(n), Content(line), line, group=line, name=line, aside=Content(line[-9:]))
                for n, line in enumerate(lines)
            ]
            stage.app.screen.query_one(FilterList).show_items(items)
            stage.app.screen.query_one(Input).value = ""
            await stage.frame()


async def system_prompts(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, 15):
        async with stage.card(SystemPromptScreen("\n".join(lines))):
            stage.app.screen.query_one(TextArea).post_message(events.Paste(stage.take()))


async def settings(stage: Stage, count: int) -> None:
    """The system prompt among all settings, and in the card where it is typed."""
    before = stage.chat.settings
    for n, line in enumerate(stage.lines(max(2, count))):
        stage.chat.settings = replace(before, chat=replace(before.chat, system=line))
        async with stage.card(SettingsScreen(stage.chat) if n % 2 else ValueScreen("model", line)):
            await stage.frame()
            if not n % 2:
                await stage.press("enter")
    stage.chat.settings = before


async def downloads(stage: Stage, count: int) -> None:
    for line in stage.lines(count):
        async with stage.card(DownloadScreen(line)):
            card = stage.app.screen
            assert isinstance(card, DownloadScreen)
            card.show(PullProgress(5, 10, 1.0, line))


async def themes(stage: Stage, count: int) -> None:
    """Files of themes: their names, keys and values that do not fit."""
    folder = stage.app.setup.paths.user_themes
    folder.mkdir(parents=True)
    for line in stage.lines(count):
        safe = json.dumps(line.encode("utf-8", "replace").decode())
        name = line.replace("/", "|").replace("\x00", "0").encode("utf-8", "surrogatepass")[:180]
        (folder / os.fsdecode(name + b".toml")).write_text(f"name = {safe}\nprimary = {safe}\n{safe} = 1\n")
    from llama_chat.paths import bundled_themes
    from llama_chat.ui.themes import load_themes

    stage.chat.transcript.clear()
    for notice in load_themes(bundled_themes(), folder).notices:
        stage.chat.notice(notice, "warning")
    stage.app._look_at_themes()
    await stage.frame()
    openers.choose_theme(stage.chat)
    await stage.frame()
    await close_cards(stage)


NO_TOUR = (
    "quit",
    "suspend",
    "interrupt",
    "editor",
    "open_editor",
    "send",
    "newline",
    "undo",
    "paste",
    "new_chat",
    "theme",
)


async def all_actions(stage: Stage, count: int) -> None:
    """Every action that has a key (of few texts: every third), on hostile words, personas and files."""
    home = Path(os.environ["LLAMA_CHAT_HOME"])
    folder = home / "config" / "prompts"
    for place in (folder, home / "attached"):
        place.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(stage.lines(max(12, count), 30)):
        name = line.replace("/", "|").replace("\x00", "0").encode("utf-8", "surrogatepass")[:180]
        words = f"---\nname: {line}\n---\n{line}\n".encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            (
                folder / os.fsdecode(name + b".md") if number % 2 else home / "attached" / os.fsdecode(name)
            ).write_bytes(words)
    stage.chat.action_new_chat()
    await stage.until(lambda: not stage.chat.chat.is_replying, "an idle chat")
    for lines in (stage.lines(5), stage.lines(5)):
        RUNS.append(
            "<think>"
            + "\n".join(lines[1:3])
            + "</think>\n```"
            + lines[4].replace("`", "'")
            + "\n"
            + lines[3]
            + "\n```\n"
        )
        assert stage.chat.chat.send(lines[0])
        await stage.until(lambda: not stage.chat.chat.is_replying, "the reply")
    for action in stage.chat.keys.actions[:: 1 if count > 1 else 3]:
        if action.action.partition("(")[0] in NO_TOUR:
            continue
        for key in action.keys[:1]:
            await stage.press(key)
            await stage.frame()
            await stage.press("k", "down")
            await close_cards(stage)
            await stage.until(lambda: not stage.chat.chat.is_replying, "the end of a reply")
            stage.chat.prompt.focus()
    stage.chat.prompt.clear_all()
    for typed in (f"@{home}/attached/", f"@{home}/attached/[", f"/{stage.take(20)}"):
        stage.chat.prompt.clear_all()
        stage.chat.prompt.insert(typed)
        await stage.frame()
        await stage.press("k")
        await stage.frame()
        await stage.press("backspace", "tab")
        await stage.frame()
        await close_cards(stage)
    stage.chat.prompt.clear_all()
    for file in sorted((home / "attached").iterdir()):
        stage.chat.prompt.post_message(events.Paste(str(file)))
        await stage.frame()
    stage.chat.prompt.clear_all()


async def a_model_that_fails(stage: Stage, count: int) -> None:
    for line in stage.lines(count):
        stage.chat.chat.view.notice(str(ModelError(line, hint=line)), "error")
        stage.chat.hint(f"{notices.STOPPED} {line}")
        await stage.frame()
    stage.chat.transcript.clear()


async def a_crash(stage: Stage, count: int) -> None:
    """The last place of all: the traceback on the terminal that was given back."""
    text = stage.take()

    def fail() -> None:
        raise ValueError(text)

    stage.app.call_later(fail)
    await stage.until(lambda: stage.app._exception is not None, "the crash")
