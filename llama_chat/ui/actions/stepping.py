"""A reply that waits for its user: paused, or at each token in step mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual import on

from llama_chat.ui.screens import openers
from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.widgets.sampling_panel import SamplingPanel

if TYPE_CHECKING:
    from llama_chat.distribution.names import TokenNames
    from llama_chat.ui.stepping.next_token import NextToken
    from llama_chat.ui.tokens.candidate_bars import CandidateBars


class SteppingActions(ChatViewScreen):
    """Pauses and steps, and shows what the next token is chosen from, above the prompt."""

    _next_token: NextToken | None = None

    def action_pause(self) -> None:
        """Let the reply wait, or go on."""
        self.chat.stepping.toggle_pause()

    def action_step_mode(self) -> None:
        """Let the reply wait at each token, or end that."""
        self.chat.stepping.toggle_stepping()

    # --- what is shown ------------------------------------------------------------------------------------

    def status_changed(self) -> None:
        """Show title, model, figures, and what a reply that waits can go on with."""
        super().status_changed()
        status = self.chat.status
        if status.awaiting is not None:
            self._show_next_token()
        elif self._next_token is not None and not (status.hold and status.is_replying):
            self._put_away_next_token()

    def sampling_changed(self) -> None:
        """Show the settings as they are now, and what they make of the next token."""
        super().sampling_changed()
        self._reshape_next_token()

    @on(SamplingPanel.Moved)
    def _reshape_next_token(self) -> None:
        if self._next_token is not None and (names := self._token_names()) is not None:
            hold = self.chat.status.hold
            self._next_token.reshape(self.bridge.sampling.current, names, hold)
            self.chat.stepping.look()

    def _show_next_token(self) -> None:
        awaiting, names = self.chat.status.awaiting, self._token_names()
        if awaiting is None or names is None:
            return
        if self._next_token is None:
            from llama_chat.ui.stepping.next_token import NextToken

            self._next_token = NextToken(self.keys.name_of("pause"))
            self.query_one("#prompt-row").mount(self._next_token, before=0)
            if self.prompt.has_focus and not self.prompt.full_text:
                self.call_after_refresh(self._focus_next_token)
        self._next_token.show(awaiting, self.bridge.sampling.current, names, self.chat.status.hold)

    def _focus_next_token(self) -> None:
        if self._next_token is not None and self._next_token.is_attached:
            self._next_token.take_keyboard()

    def focus_home(self) -> None:
        """Give the keyboard to the next token's candidates; else, or with words begun, to the prompt."""
        if self._next_token is not None and self._next_token.is_attached and not self.prompt.full_text:
            self._next_token.take_keyboard()
        else:
            super().focus_home()

    def come_back(self) -> bool:
        """While a reply waits, leave the sliders or the transcript; whether the keyboard was there."""
        box, focused = self._next_token, self.focused
        if box is None or focused is None or focused is self.prompt or box.has_focus_within:
            return False
        if self.query("SamplingPanel.-sheet") and not self.is_wide:
            openers.close_sheet(self)
        else:
            self.transcript.leave_cursor()
            self.focus_home()
        return True

    def _token_names(self) -> TokenNames | None:
        from llama_chat.distribution.names import TokenNames

        return self.bridge.worker.ask(TokenNames.of_engine)

    def _put_away_next_token(self) -> None:
        box, self._next_token = self._next_token, None
        if box is not None:
            if box.has_focus_within:
                self.prompt.focus()
            box.remove()

    def on_resize(self) -> None:
        """Give what is chosen from as much room as there is."""
        if self._next_token is not None:
            self._next_token.fit(self.size.height)

    # --- what is chosen -----------------------------------------------------------------------------------

    def on_candidate_bars_picked(self, event: CandidateBars.Picked) -> None:
        """Take the candidate."""
        self.chat.stepping.take(event.token_id)

    def on_next_token_step_wanted(self) -> None:
        """Take what the sampler would."""
        self.chat.stepping.step()

    def on_next_token_typed(self, event: NextToken.Typed) -> None:
        """Let the reply go on with the words."""
        self.chat.stepping.type_in(event.text)

    def on_next_token_left(self) -> None:
        """In step mode let the reply run; one that is paused is stopped."""
        if not self.chat.stepping.leave():
            self.chat.stop()
