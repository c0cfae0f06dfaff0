"""The cards and lines that came with branches, attachments, devices and code blocks."""

from __future__ import annotations

from dataclasses import replace

from hostile_stage import Stage, reply, user
from textual.widgets import Input

from llama_chat.chat.backstage.own_thread import OwnThread
from llama_chat.chat.machine.devices import DeviceAccess, DevicesFound
from llama_chat.conversation import Conversation, Message
from llama_chat.device_facts import DeviceFacts
from llama_chat.markup.code_blocks import CodeBlock
from llama_chat.shelves.to_load import ModelToLoad
from llama_chat.ui.screens.chip_look import ChipScreen
from llama_chat.ui.screens.devices import DevicesScreen
from llama_chat.ui.screens.save_code import SaveCodeScreen
from llama_chat.ui.screens.tree import TreeScreen
from llama_chat.ui.widgets.chips import Chip
from llama_chat.ui.widgets.find_bar import FindBar
from llama_chat.ui.widgets.waiting_line import WaitingLine


def _talk(lines: list[str]) -> Conversation:
    """A question for each line, with a reply of a model of that name and one that the user wrote."""
    conversation = Conversation()
    for line in lines:
        words = conversation.add(replace(user(line), parent_id=conversation.leaf_id))
        said = conversation.add(replace(reply(line, model=line), parent_id=words.id))
        conversation.add_sibling(said.id, line)
        conversation.update(Message(said.id, said.parent_id, said.role, line, 1.0, said.reply))
    return conversation


async def trees(stage: Stage, count: int) -> None:
    for lines in stage.batches(count, 20):
        async with stage.card(TreeScreen(_talk(lines), None)):
            for _ in range(3):
                await stage.press("left", "up", "up", "up")
            await stage.press("/")
            stage.app.screen.query_one(Input).value = lines[0]
            await stage.frame()


async def chips(stage: Stage, count: int) -> None:
    for line in stage.lines(count):
        async with stage.card(ChipScreen(Chip(f"[{line}]", f"{line}\n{line}", line), None)):
            pass


async def code_blocks(stage: Stage, count: int) -> None:
    for line in stage.lines(count):
        async with stage.card(SaveCodeScreen([CodeBlock(f"{line}\n", line)] * 2, 1, OwnThread("code"))):
            pass


async def devices(stage: Stage, count: int) -> None:
    def open_model(_name: str, _device: str) -> ModelToLoad:
        raise AssertionError

    for line in stage.lines(count):
        facts = (DeviceFacts("cpu", line, line), DeviceFacts("cuda:0", line, problem=line))
        found = DevicesFound(line, facts, (line,))
        access = DeviceAccess(lambda found=found: found, lambda *_: None, lambda _: {}, open_model)  # type: ignore[misc]
        async with stage.card(DevicesScreen(access, None)):
            await stage.press("down")
            await stage.frame()


async def waiting_and_found_words(stage: Stage, count: int) -> None:
    """What waits for the end of a reply, and what is looked for, in a transcript that holds it."""
    waiting = WaitingLine("x")
    await stage.chat.query_one("#prompt-row").mount(waiting, before=0)
    for line in stage.lines(count):
        await stage.show(user(line), reply(f"<think>{line}</think>{line}"))
        waiting.show(line)
        stage.chat.action_find(line[:12])
        await stage.until(lambda: stage.chat.query(FindBar), "the bar")
        await stage.frame()
        await stage.press("enter")
        await stage.frame()
    await waiting.remove()
    stage.chat.leave_finding()
    stage.chat.transcript.clear()


SHARES = {trees: 1.0, chips: 0.05, code_blocks: 0.05, devices: 0.05, waiting_and_found_words: 0.3}
