"""The events of a reply, added up to the message that they make."""

from __future__ import annotations

from dataclasses import replace

from llama_chat.conversation import Message
from llama_chat.events import Event, Failed, Finished, Prefilled, Token


class ReplyBuilder:
    """Grows an assistant's message by events; `message` is what it is so far.

    Args:
        message: where it begins. A continued reply brings its text and token ids; tokens with an index
            below its count of ids are known already and add nothing.
    """

    def __init__(self, message: Message) -> None:
        assert message.reply is not None
        self._start = message
        self._reply = message.reply
        self._texts = [message.text]
        self._token_ids = list(message.reply.token_ids)
        self._steps_s: list[float] = []

    @property
    def message_id(self) -> str:
        """Its id."""
        return self._start.id

    @property
    def message(self) -> Message:
        """A snapshot: the text and the record of the reply so far."""
        reply = replace(self._reply, token_ids=tuple(self._token_ids))
        if self._reply.finish_reason is None:
            reply = replace(reply, decode_s=self._decode_s)
        return replace(self._start, text="".join(self._texts), reply=reply)

    def feed(self, event: Event) -> None:
        """Add what the event says."""
        match event:
            case Token():
                self._add_token(event)
            case Prefilled():
                self._reply = replace(
                    self._reply,
                    prompt_tokens=event.prompt_tokens,
                    reused_tokens=event.reused_tokens,
                    prefill_s=event.seconds,
                )
            case Finished():
                self._finish(event)
            case Failed():
                self._reply = replace(
                    self._reply, finish_reason="failed", error=str(event.error), decode_s=self._decode_s
                )

    @property
    def _decode_s(self) -> float:
        """Since the first token, whose own time belongs to the prefill."""
        return sum(self._steps_s[1:])

    def _add_token(self, token: Token) -> None:
        self._steps_s.append(token.seconds)
        if token.index >= len(self._token_ids):
            self._token_ids.append(token.token_id)
            self._texts.append(token.text)

    def _finish(self, event: Finished) -> None:
        self._texts.append(event.text)
        self._reply = replace(
            self._reply,
            finish_reason=event.reason,
            prompt_tokens=event.usage.prompt_tokens,
            reused_tokens=event.usage.reused_tokens,
            prefill_s=event.timings.prefill_s,
            decode_s=event.timings.decode_s,
            plan=event.plan,
        )
