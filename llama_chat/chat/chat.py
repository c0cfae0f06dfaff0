"""One chat, as its user has it: what is said, answered again, gone on with, undone, opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from llama_chat.chat import notices
from llama_chat.chat.backstage import notes
from llama_chat.chat.backstage.bridge import Bridge
from llama_chat.chat.branches.branching import Branching
from llama_chat.chat.branches.continuing import room_to_go_on, why_it_cannot_go_on
from llama_chat.chat.branches.siblings import end_of_own_path
from llama_chat.chat.branches.steps import Steps
from llama_chat.chat.context.compacting import Compacting
from llama_chat.chat.machine.switching import Switching
from llama_chat.chat.opening import Opening
from llama_chat.chat.prompt.waiting import Waiting
from llama_chat.chat.replying import Request
from llama_chat.chat.stepping import Stepping
from llama_chat.chat.talk import Talk
from llama_chat.chat.view import ChatView
from llama_chat.conversation import Message, Reply, Role, new_seed, title_of
from llama_chat.errors import LlamaChatError
from llama_chat.settings import ChatSettings

if TYPE_CHECKING:
    from llama_chat.chat.branches.forking import Forking
    from llama_chat.chat.machine.altering import Altering


class Chat(Talk):
    """Sends, edits, stops, answers again and goes on.

    Args:
        bridge: to the engine and the store.
        view: shows it.
        settings: the system prompt and the seed of new chats.
        model_label: the model's name until the engine is there.
    """

    def __init__(self, bridge: Bridge, view: ChatView, settings: ChatSettings, model_label: str) -> None:
        self.watchers: list[Callable[[notes.Note], None]] = []
        """Told of every note that was taken in."""
        super().__init__(bridge, view, settings, model_label)
        self.opening = Opening(self)
        self.steps = Steps(self)
        self.branching = Branching(self)
        self.stepping = Stepping(self)
        self.compacting = Compacting(self)
        self.switching = Switching(self)
        self._altering: Altering | None = None
        self.waiting = Waiting(self)

    def take(self, note: notes.Note) -> None:
        """Take one note in."""
        if not self.switching.take(note):
            super().take(note)
        for watch in [*self.watchers]:
            watch(note)
        if self._altering is not None:
            self._altering.take_note(note)

    @cached_property
    def forking(self) -> Forking:
        """How a reply goes on from one of its tokens with another."""
        from llama_chat.chat.branches.forking import Forking

        return Forking(self)

    @property
    def altering(self) -> Altering:
        """What is altered in the model; it comes when it is asked for first."""
        if self._altering is None:
            from llama_chat.chat.machine.altering import Altering

            self._altering = Altering(self)
        return self._altering

    @property
    def altered(self) -> str:
        """That the model is altered, and how, in words; empty: it is not."""
        return self._altering.bar if self._altering is not None else ""

    @property
    def is_replying(self) -> bool:
        """Whether a reply runs, or waits for the model or for the session that it belongs to."""
        return super().is_replying or bool(self.opening.unsent)

    # --- what is said -----------------------------------------------------------------------------------

    def send(self, text: str) -> bool:
        """Say something to the model; whether it was taken."""
        if self.is_replying or not text.strip():
            return False
        if self.opening.is_going_on:
            self.opening.hold(text)
            return True
        if self.must_ask("Enter again sends it."):
            return False
        leaf_before = self.conversation.leaf_id
        self.conversation.begin_step(notices.step_name("you said", Message("", None, Role.USER, text, 0.0)))
        self.conversation.leaf_id = end_of_own_path(self.conversation, self.is_foreign)
        is_branch = self.conversation.leaf_id != leaf_before
        words = self.conversation.append(Role.USER, text)
        self.title = self.title or title_of([words])
        reply = self.conversation.append(Role.ASSISTANT, "", reply=self.new_reply())
        if is_branch:
            self.show()
        else:
            self.view.drop_notices(notices.ABOUT_END)
            self.view.add_message(words)
            self.view.add_message(reply)
        self.answer(Request(reply, leaf_before, words), [words])
        return True

    def edit(self, message_id: str, text: str) -> bool:
        """Say it otherwise: a sibling of the user's message, which is answered; whether it was taken.

        An assistant's message gets a sibling with the text, from which nobody goes on yet; behind another
        summary stays what followed it. A reply that runs is stopped and kept. A message that is not on the
        path any more is said anew, at its end.
        """
        path = {message.id: message for message in self.conversation.path()}
        if message_id not in path or path[message_id].role is Role.SYSTEM:
            return self.send(text)
        if path[message_id].role is Role.ASSISTANT:
            return self.branching.keep_edited(message_id, text)
        if self.compacting.is_summary(message_id, text):
            return self.compacting.keep_edited(text)
        if super().is_replying and text.strip():
            self.when_idle(lambda: self._edit_or_give_back(message_id, text))
            return True
        if self.is_replying or not text.strip() or self.must_ask("Enter again sends it."):
            return False
        leaf_before = self.conversation.leaf_id
        self.conversation.begin_step(notices.step_name("your edit of", path[message_id]))
        words = self.conversation.add_sibling(message_id, text)
        reply = self.conversation.append(Role.ASSISTANT, "", reply=self.new_reply())
        self.show()
        self.answer(Request(reply, leaf_before, words, edited=path[message_id]), [words])
        return True

    def _edit_or_give_back(self, message_id: str, text: str) -> None:
        if self.edit(message_id, text):
            return
        if (edited := self.conversation.messages.get(message_id)) is not None:
            self.view.edit_again(edited, text)
        else:
            self.view.give_back(text)

    def last_words(self) -> Message | None:
        """What the user said last on the path."""
        turns = reversed(self.conversation.path())
        return next((message for message in turns if message.role is Role.USER), None)

    def set_system(self, text: str) -> None:
        """Give the chat another system prompt, from the next reply on."""
        if self.opening.is_going_on:
            self.opening.when_open(lambda: self.set_system(text))
            self.view.hint(notices.SYSTEM_WAITS)
        elif text == self.conversation.system:
            self.view.hint(notices.SYSTEM_UNCHANGED)
        else:
            told = f"{notices.STOPPED} {notices.system_kept(text)}"
            self.when_idle(lambda: self._set_system(text), told=told)

    def _set_system(self, text: str) -> None:
        self.conversation.begin_step(notices.SYSTEM_STEP)
        self.keep_copies(*self.conversation.set_system(text))
        self.show()
        self.view.hint(notices.system_kept(text))

    def keep_copies(self, added: Sequence[Message], originals: Mapping[str, str]) -> None:
        """Keep new messages, and for those that are copies what the store has of the originals' tokens.

        Args:
            added: the messages.
            originals: their ids by those of the copies.
        """
        self.keep_all(added)
        for copy in added:
            if copy.reply is not None and copy.reply.token_ids:
                self.bridge.copy_tokens(self.saved, originals[copy.id], copy.id)

    def new(self) -> None:
        """Begin another chat, after the reply that runs was stopped and kept."""
        self.when_idle(self._new, told=notices.STOPPED)

    def _new(self) -> None:
        self.opening.give_up()
        self.begin()
        self.show()

    def rename(self, title: str) -> None:
        """Give the open session another name."""
        self.title = title
        self.bridge.rename(self.saved, title)
        self.view.status_changed()

    # --- what is answered -------------------------------------------------------------------------------

    def regenerate(self, message_id: str | None = None) -> None:
        """Let the model answer the last words again, or the message of that id, beside what it said."""
        if self._then:
            return  # the reply is being stopped for what was wanted first: a second press is no second wish
        if self.conversation.turns:
            self.when_idle(lambda: self._regenerate(message_id))
        elif not self.opening.is_going_on:
            self.view.hint(notices.NOTHING_TO_ANSWER)

    def _regenerate(self, message_id: str | None) -> None:
        leaf_before = self.conversation.leaf_id
        at = self.conversation.messages.get(message_id or leaf_before or "")
        if at is None or not self.conversation.turns or self.opening.is_going_on:
            return
        if at.role is Role.SYSTEM:
            self.view.hint(notices.NOTHING_TO_ANSWER)
            return
        if self.must_ask("Ctrl+R again asks for the reply."):
            return
        words = self.conversation.messages.get(at.parent_id or "") if at.role is Role.ASSISTANT else at
        self.conversation.begin_step(notices.step_name("another reply to", words))
        if at.role is Role.ASSISTANT:
            reply = self.conversation.add_sibling(at.id, "", reply=self.new_reply())
        else:
            self.conversation.leaf_id = at.id
            reply = self.conversation.append(Role.ASSISTANT, "", reply=self.new_reply())
        self.show()
        self.answer(Request(reply, leaf_before))

    def go_on(self, message_id: str | None = None) -> None:
        """Let the last reply, or the one of that id, go on from its last token, as if it had never been cut.

        One that others follow stays as it is: a copy of it goes on beside it. Where the tokens are not known,
        because the user wrote the text or it was imported, a reply that begins with it is made beside it.
        """
        is_last = message_id in (None, self.conversation.leaf_id)
        if self.opening.is_going_on or (self.is_replying and is_last):
            self.view.hint(notices.STILL_WRITTEN)
        else:
            self.when_idle(lambda: self._go_on(message_id or self.conversation.leaf_id))

    def _go_on(self, message_id: str | None) -> None:
        leaf_before = self.conversation.leaf_id
        message = self.conversation.messages.get(message_id or "")
        is_last = message_id == leaf_before
        reason = why_it_cannot_go_on(message, is_shared=self.saved.is_shared and is_last)
        if reason or message is None:
            self.view.hint(reason)
        elif (reply := message.reply) is None or (message.text.strip() and not reply.token_ids):
            self._go_on_from_text(message)
        else:
            self.make_room(reply)
            going_on = message if is_last else self.branching.copy_of(message)
            begun = replace(going_on, reply=replace(reply, finish_reason=None, error=""))
            self.conversation.update(begun)
            self.view.drop_notices(notices.ABOUT_END)
            self.view.replace_message(begun)
            self.answer(Request(going_on, leaf_before, is_continuation=True, is_copy=not is_last))

    def make_room(self, reply: Reply) -> None:
        """Raise max new tokens where a reply that goes on has used them up."""
        most = room_to_go_on(reply, self.bridge.sampling.current)
        if most is not None:
            self.bridge.sampling.change(max_new_tokens=most)
            self.view.sampling_changed()
            self.view.hint(notices.more_tokens(most))

    def _go_on_from_text(self, message: Message) -> None:
        if self.must_ask("F5 again goes on with the reply."):
            return
        leaf_before = self.conversation.leaf_id
        self.conversation.begin_step(notices.step_name("it went on with", message))
        reply = self.conversation.add_sibling(message.id, "", reply=self.new_reply())
        self.show()
        self.answer(Request(reply, leaf_before, prefill=message.text))

    def stop(self) -> None:
        """End the reply; what it says so far is kept. Words that wait are given back."""
        if super().is_replying:
            super().stop()
        else:
            self.opening.give_back()

    def _ended(self, finish_reason: str | None = None) -> None:
        super()._ended(finish_reason)
        self.waiting.reply_ended(finish_reason)

    def _refused(self, reply_id: str, error: LlamaChatError) -> None:
        if self._current(reply_id) is not None:
            self.waiting.give_back()  # first: what is given back later comes before it
        super()._refused(reply_id, error)

    def must_ask(self, how_to_go_on: str) -> bool:
        """Ask, once, whether another model shall go on with the session; whether that was done now."""
        if self.info is None or not self.saved.must_ask(self.info):
            return False
        self.view.hint(f"{notices.other_model(self.saved.written_with, self.info)} {how_to_go_on}", "warning")
        return True

    @property
    def seed(self) -> int:
        """Seed of every reply from the next one on; -1: a fresh one for each."""
        return self._settings.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._settings = replace(self._settings, seed=seed)

    @property
    def last_seed(self) -> int | None:
        """The seed of the last reply on the path, or of the one that is being written."""
        replies = (message.reply for message in reversed(self.conversation.path()))
        return next((reply.seed for reply in replies if reply is not None), None)

    def new_reply(self) -> Reply:
        """The record of a reply that is about to be asked for."""
        seed = self._settings.seed if self._settings.seed >= 0 else new_seed()
        model = self.info.name if self.info else self.model_label
        return Reply(seed=seed, sampling=self.bridge.sampling.current, model=model)
