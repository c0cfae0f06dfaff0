"""One chat, as its user has it: what is said, answered again, gone on with, undone, opened."""

from __future__ import annotations

from dataclasses import replace

from llama_chat.chat import notes, notices
from llama_chat.chat.bridge import Bridge
from llama_chat.chat.continuing import room_to_go_on, why_it_cannot_go_on
from llama_chat.chat.opening import Opening
from llama_chat.chat.siblings import end_of_own_path
from llama_chat.chat.steps import Steps
from llama_chat.chat.switching import Switching
from llama_chat.chat.talk import Talk
from llama_chat.chat.view import ChatView
from llama_chat.conversation import Message, Reply, Role, new_seed, title_of
from llama_chat.settings import ChatSettings


class Chat(Talk):
    """Sends, edits, stops, answers again and goes on.

    Args:
        bridge: to the engine and the store.
        view: shows it.
        settings: the system prompt and the seed of new chats.
        model_label: the model's name until the engine is there.
    """

    def __init__(self, bridge: Bridge, view: ChatView, settings: ChatSettings, model_label: str) -> None:
        super().__init__(bridge, view, settings, model_label)
        self.opening = Opening(self)
        self.steps = Steps(self)
        self.switching = Switching(self)

    def take(self, note: notes.Note) -> None:
        """Take one note in."""
        if not self.switching.take(note):
            super().take(note)

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
        if self._must_ask("Enter again sends it."):
            return False
        leaf_before = self.conversation.leaf_id
        self.conversation.begin_step()
        self.conversation.leaf_id = end_of_own_path(self.conversation, self.is_foreign)
        is_branch = self.conversation.leaf_id != leaf_before
        words = self.conversation.append(Role.USER, text)
        self.title = self.title or title_of([words])
        reply = self.conversation.append(Role.ASSISTANT, "", reply=self._new_reply())
        if is_branch:
            self.show()
        else:
            self.view.drop_notices(notices.ABOUT_END)
            self.view.add_message(words)
            self.view.add_message(reply)
        self.answer(reply, [words], leaf_before=leaf_before, words=words)
        return True

    def edit(self, message_id: str, text: str) -> bool:
        """Say it otherwise: a sibling of the user's message, which is answered; whether it was taken.

        A message that is not on the path any more is said anew, at its end.
        """
        path = self.conversation.path()
        if not any(message.id == message_id and message.role is Role.USER for message in path):
            return self.send(text)
        if self.is_replying or not text.strip() or self._must_ask("Enter again sends it."):
            return False
        leaf_before = self.conversation.leaf_id
        self.conversation.begin_step()
        words = self.conversation.add_sibling(message_id, text)
        reply = self.conversation.append(Role.ASSISTANT, "", reply=self._new_reply())
        self.show()
        self.answer(reply, [words], leaf_before=leaf_before, words=words)
        return True

    def last_words(self) -> Message | None:
        """What the user said last on the path."""
        turns = reversed(self.conversation.path())
        return next((message for message in turns if message.role is Role.USER), None)

    def set_system(self, text: str) -> None:
        """Give the chat another system prompt, from the next reply on."""
        if text == self.conversation.system:
            self.view.hint(notices.SYSTEM_UNCHANGED)
        else:
            told = f"{notices.STOPPED} {notices.system_kept(text)}"
            self.when_idle(lambda: self._set_system(text), told=told)

    def _set_system(self, text: str) -> None:
        self.conversation.begin_step()
        self.keep_all(self.conversation.set_system(text))
        self.show()
        self.view.hint(notices.system_kept(text))

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

    def regenerate(self) -> None:
        """Let the model answer the last words again, beside what it said."""
        if self.conversation.turns:
            self.when_idle(self._regenerate)
        elif not self.opening.is_going_on:
            self.view.hint(notices.NOTHING_TO_ANSWER)

    def _regenerate(self) -> None:
        leaf_before = self.conversation.leaf_id
        path = self.conversation.path()
        if not self.conversation.turns or self.opening.is_going_on:
            return
        if self._must_ask("Ctrl+R again asks for the reply."):
            return
        self.conversation.begin_step()
        if path[-1].role is Role.ASSISTANT:
            reply = self.conversation.add_sibling(path[-1].id, "", reply=self._new_reply())
        else:
            reply = self.conversation.append(Role.ASSISTANT, "", reply=self._new_reply())
        self.show()
        self.answer(reply, leaf_before=leaf_before)

    def go_on(self) -> None:
        """Let the last reply go on from its last token, as if it had never been cut."""
        if self.is_replying or self.opening.is_going_on:
            self.view.hint(notices.STILL_WRITTEN)
            return
        path = self.conversation.path()
        last = path[-1] if path else None
        reason = why_it_cannot_go_on(last, is_shared=self.saved.is_shared)
        if reason or last is None or last.reply is None:
            self.view.hint(reason)
            return
        most = room_to_go_on(last.reply, self.bridge.sampling.current)
        if most is not None:
            self.bridge.sampling.change(max_new_tokens=most)
            self.view.sampling_changed()
            self.view.hint(notices.more_tokens(most))
        begun = replace(last, reply=replace(last.reply, finish_reason=None, error=""))
        self.conversation.update(begun)
        self.view.drop_notices(notices.ABOUT_END)
        self.view.replace_message(begun)
        self.answer(last, leaf_before=self.conversation.leaf_id, is_going_on=True)

    def stop(self) -> None:
        """End the reply; what it says so far is kept. Words that wait are given back."""
        if super().is_replying:
            super().stop()
        else:
            self.opening.give_back()

    def _must_ask(self, how_to_go_on: str) -> bool:
        """Ask, once, whether another model shall go on with the session; whether that was done now."""
        if self.info is None or not self.saved.must_ask(self.info):
            return False
        self.view.hint(f"{notices.other_model(self.saved.written_with, self.info)} {how_to_go_on}", "warning")
        return True

    def _new_reply(self) -> Reply:
        seed = self._settings.seed if self._settings.seed >= 0 else new_seed()
        model = self.info.name if self.info else self.model_label
        return Reply(seed=seed, sampling=self.bridge.sampling.current, model=model)
