"""The events of a reply, added up to the message that they make."""

from __future__ import annotations

from dataclasses import replace

from llama_chat.compute_plan import with_steps
from llama_chat.conversation import Message
from llama_chat.events import ComputePlan, Event, Failed, Finished, Prefilled, Token


class ReplyBuilder:
    """Grows an assistant's message by events; `message` is what it is so far.

    Args:
        message: where it begins. A continued reply brings its text, token ids and figures, which grow; what
            its prompt took stays what it was. Tokens with an index below its count of ids are known already
            and add nothing.
    """

    def __init__(self, message: Message) -> None:
        assert message.reply is not None
        self._start = message
        self._begun = message.reply
        self._reply = replace(message.reply, finish_reason=None, error="")
        self._is_prefilled = False
        self._texts = [message.text]
        self._token_ids = list(message.reply.token_ids)
        self._steps_s: list[float] = []
        self._forwards: dict[int, tuple[int, int]] = {}
        """Those of several rows that are not planned yet, by the index of the token chosen from them."""
        self._planned: ComputePlan | None = None
        """The plan as the last snapshot had it: each goes on from the one before."""

    @property
    def message_id(self) -> str:
        """Its id."""
        return self._start.id

    @property
    def message(self) -> Message:
        """A snapshot: the text and the record of the reply so far."""
        reply = replace(self._reply, token_ids=tuple(self._token_ids))
        if self._reply.finish_reason is None:
            reply = replace(reply, decode_s=self._decode_s, plan=self._plan_so_far)
        return replace(self._start, text="".join(self._texts), reply=reply)

    def feed(self, event: Event) -> None:
        """Add what the event says."""
        match event:
            case Token():
                self._add_token(event)
            case Prefilled():
                self._begin(event)
            case Finished():
                self._finish(event)
            case Failed():
                self._reply = replace(
                    self._reply,
                    finish_reason="failed",
                    error=str(event.error),
                    decode_s=self._decode_s,
                    plan=self._plan_so_far,
                )

    @property
    def _is_continued(self) -> bool:
        return bool(self._begun.token_ids)

    @property
    def _decode_s(self) -> float:
        """Since the first token, whose own time belongs to the prefill."""
        return self._begun.decode_s + sum(self._steps_s[1:])

    @property
    def _plan_so_far(self) -> ComputePlan | None:
        """The prefill's, and for each token but the last what it went through."""
        before, plan = self._reply.prompt_tokens - 1, self._planned or self._reply.plan
        shapes = {before + index: forward for index, forward in self._forwards.items()}
        self._planned = plan and with_steps(plan, before + len(self._token_ids), shapes)
        self._forwards.clear()
        return self._planned

    def _begin(self, event: Prefilled) -> None:
        self._is_prefilled = True
        self._reply, self._planned = replace(self._reply, plan=event.plan or self._reply.plan), None
        if not self._is_continued:
            self._reply = replace(
                self._reply,
                prompt_tokens=event.prompt_tokens,
                reused_tokens=event.reused_tokens,
                prefill_s=event.seconds,
            )
        elif event.forced_text is not None:
            self._texts = [event.forced_text]  # a character that was cut is completed now

    def _add_token(self, token: Token) -> None:
        if token.chosen_by == "sampler" or token.seconds > 0:  # what the user gave at once was prefilled
            self._steps_s.append(token.seconds)
        if token.index >= len(self._token_ids):
            self._token_ids.append(token.token_id)
            if token.forward is not None:
                self._forwards[token.index] = token.forward
            self._texts.append(token.text)

    def _finish(self, event: Finished) -> None:
        self._texts.append(event.text)
        is_untouched = self._is_continued and not self._is_prefilled  # stopped while the prompt was read
        self._reply = replace(
            self._reply,
            finish_reason=event.reason,
            decode_s=self._begun.decode_s + event.timings.decode_s,
            plan=self._begun.plan if is_untouched else event.plan,
        )
        if not self._is_continued:
            self._reply = replace(
                self._reply,
                prompt_tokens=event.usage.prompt_tokens,
                reused_tokens=event.usage.reused_tokens,
                prefill_s=event.timings.prefill_s,
            )
