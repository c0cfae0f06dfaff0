"""What stands in brackets is text, in every card that shows foreign words: nothing is parsed as markup."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from hostile_newcomer import model_row
from hostile_stage import reply, user
from test_chat_app import WIDE, Home, User, chat
from textual.content import Content
from textual.screen import Screen

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.context.figures import ContextRow
from llama_chat.chat.machine.devices import DeviceAccess, DevicesFound
from llama_chat.chat.picks.persona_shelf import PersonaShelf
from llama_chat.chat.prompt.completing import Offer
from llama_chat.conversation import Conversation
from llama_chat.device_facts import DeviceFacts
from llama_chat.markup.code_blocks import CodeBlock
from llama_chat.pull_progress import PullProgress
from llama_chat.shelves.fit import ShortFit
from llama_chat.ui.first_run.screen import FirstRunScreen
from llama_chat.ui.first_run.try_step import TryStep
from llama_chat.ui.screens.chip_look import ChipScreen
from llama_chat.ui.screens.context_card import ContextScreen
from llama_chat.ui.screens.devices import DevicesScreen
from llama_chat.ui.screens.download import DownloadScreen
from llama_chat.ui.screens.models import ModelsScreen
from llama_chat.ui.screens.name import NameScreen
from llama_chat.ui.screens.personas import PersonaScreen
from llama_chat.ui.screens.pick import PickScreen
from llama_chat.ui.screens.preview import Row
from llama_chat.ui.screens.save_code import SaveCodeScreen
from llama_chat.ui.screens.system_prompt import PersonaText
from llama_chat.ui.screens.tree import TreeScreen
from llama_chat.ui.widgets.chips import Chip
from llama_chat.ui.widgets.completion_list import CompletionList
from llama_chat.ui.widgets.filter_list import FilterList, Item
from llama_chat.ui.widgets.waiting_line import WaitingLine

WORDS = "[/zz][b]k[/b]"
"""A parser of markup would fail at its beginning, or take the rest away."""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def talk() -> Conversation:
    conversation = Conversation()
    said = conversation.add(user(WORDS))
    conversation.add(replace(reply(WORDS, model=WORDS), parent_id=said.id))
    return conversation


def access() -> DeviceAccess:
    found = DevicesFound("2", (DeviceFacts("cpu", WORDS, WORDS, problem=WORDS),), (WORDS,))

    def open_model(_name: str, _device: str) -> None:
        raise AssertionError

    return DeviceAccess(lambda: found, lambda *_: ShortFit("fits", 1, 2, "cpu"), lambda _: {}, open_model)  # type: ignore[arg-type]


CARDS: dict[str, Callable[[User], Screen[object]]] = {  # type: ignore[misc]
    "name": lambda _: NameScreen(WORDS, WORDS),
    "text of a persona": lambda _: PersonaText(WORDS, WORDS),
    "context": lambda user: ContextScreen([ContextRow(WORDS, 5)], user.screen.chat.status, user.screen.keys),
    "code": lambda _: SaveCodeScreen([CodeBlock(f"{WORDS}\n", WORDS)], 1, OwnThread("code")),
    "chip": lambda _: ChipScreen(Chip(WORDS, WORDS, WORDS), None),
    "tree": lambda _: TreeScreen(talk(), None),
    "devices": lambda _: DevicesScreen(access(), None),
    "download": lambda _: DownloadScreen(WORDS),
}


async def test_every_card_shows_them_as_they_are(home: Home) -> None:
    async with chat(home.setup(FakeEngine()), WIDE) as user:
        await user.ready()
        for name, make in CARDS.items():
            card = make(user)
            user.app.push_screen(card)
            await user.until(lambda card=card: card.is_current and WORDS in user.seen, name)  # type: ignore[misc]
            card.dismiss(None)
            await user.until(lambda card=card: not card.is_current, f"the end of {name}")  # type: ignore[misc]


async def test_every_list_to_choose_from_shows_them_as_they_are(home: Home) -> None:
    prompts = home.paths.prompts
    prompts.mkdir(parents=True)
    (prompts / f"{WORDS.replace('/', '|')}.md").write_text(f"# {WORDS}\n{WORDS}\n")
    async with chat(home.setup(FakeEngine()), WIDE) as user:
        await user.ready()
        personas = PersonaScreen(user.screen, PersonaShelf(prompts, user.screen.bridge.write))
        user.app.push_screen(personas)
        await user.sees(WORDS)
        personas.show_rows([Row("x", WORDS, WORDS)], "x")
        personas.say(WORDS)
        await user.until(lambda: user.seen.count(WORDS) >= 2, "the row, and what is said")
        await user.press("escape")

        user.app.push_screen(PickScreen(WORDS, []))
        await user.sees(WORDS)
        user.app.screen.query_one(FilterList).show_items([Item("x", Content(WORDS), WORDS, group=WORDS)])
        await user.until(lambda: user.seen.count(WORDS) >= 3, "title, group and row")
        await user.press("escape")

        models = ModelsScreen(user.screen)
        user.app.push_screen(models)
        await user.until(lambda: models.is_current)
        learned = [model_row(WORDS, 0)]  # again and again: what it finds by itself takes its place
        await user.until(lambda: models.post_message(models.Learned(learned)) and WORDS in user.seen)


async def test_the_screens_for_newcomers_show_them_as_they_are(home: Home) -> None:
    async with chat(home.setup(FakeEngine()), WIDE) as user:
        await user.ready()
        screen = FirstRunScreen(user.screen, is_first=False)
        user.app.push_screen(screen)
        await user.until(lambda: screen.is_current and screen.query(TryStep))
        screen.post_message(screen.FoundDevices(access().find(), screen._model_step.known))
        await user.sees(WORDS)
        screen._go_to("model")
        screen._model_step.say(WORDS)
        await user.sees(WORDS)
        screen._go_to("try")
        step = screen.query_one(TryStep)
        step.begin(WORDS)
        step.show(PullProgress(1, 2, 1.0, WORDS))
        await user.until(lambda: user.seen.count(WORDS) >= 2, "the model, and what is fetched")


async def test_the_lines_around_the_prompt_show_them_as_they_are(home: Home) -> None:
    async with chat(home.setup(FakeEngine()), WIDE) as user:
        await user.ready()
        waiting, offers = WaitingLine("x"), CompletionList()
        await user.screen.query_one("#prompt-row").mount(waiting, offers, before=0)
        waiting.show(WORDS)
        offers.show([Offer(WORDS, WORDS, WORDS, WORDS)], 0)
        user.screen.prompt.insert(WORDS)
        user.screen.hint(WORDS, "error")
        await user.until(lambda: user.seen.count(WORDS) >= 5, "waiting, offered, typed and said")
        user.screen.prompt.clear_all()
        await user.press("escape")
        user.screen.show_path([reply(f"`{WORDS}`")])
        user.screen.action_find(WORDS)
        await user.until(lambda: user.seen.count(WORDS) >= 2, "found")
