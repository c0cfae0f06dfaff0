"""Files and long pastes in the prompt: attached by a path, looked at, put into the text."""

from __future__ import annotations

from textual import on

from llama_chat.ui.screens.chat_view import ChatViewScreen
from llama_chat.ui.widgets.chips import Chip
from llama_chat.ui.widgets.prompt import Prompt

NO_CHIP = "There is no file and no long paste in the prompt. Alt+O attaches a file."


class AttachActions(ChatViewScreen):
    """What the chat screen does with files for the model."""

    def action_attach(self, words: str = "") -> None:
        """Attach the files of these paths, all or none; without words, choose one."""
        if not words:
            self._choose_file()
            return
        from llama_chat.chat.prompt.pasted_paths import typed_files

        self.prompt.files.attach(lambda: typed_files(words), f"/attach {words}")
        self.prompt.focus()

    def _choose_file(self) -> None:
        from llama_chat.ui.screens.attach import AttachScreen

        def take(path: str | None) -> None:
            if path is not None:
                from llama_chat.chat.prompt.typed_path import typed_path

                self.prompt.attach(typed_path(path))
                self.prompt.focus()  # its chip comes later
            else:
                self.focus_home()

        self.app.push_screen(AttachScreen(), take)

    def action_look_at_chip(self) -> None:
        """Show what the chip at the cursor holds."""
        if (chip := self.prompt.chip_at_cursor()) is None:
            self.hint(NO_CHIP)
        else:
            self._look_at(chip)

    def _look_at(self, chip: Chip) -> None:
        from llama_chat.ui.screens.chip_look import ChipScreen

        def take(wish: str | None) -> None:
            if wish == "unfold":
                self.prompt.unfold(chip)
            elif wish == "drop":
                self.prompt.drop(chip)
            self.focus_home()

        self.app.push_screen(ChipScreen(chip, self.prompt.chip_tokens.get(chip.text)), take)

    @on(Prompt.Changed)
    def _count_tokens(self) -> None:
        self.figures.text_changed()
        self._hint_line.check()

    @on(Prompt.ChipClicked)
    def _look_at_clicked(self, event: Prompt.ChipClicked) -> None:
        self._look_at(event.chip)

    @on(Prompt.NotAttached)
    def _say_why_not_attached(self, event: Prompt.NotAttached) -> None:
        chip, prompt = event.chip, self.prompt

        def holds() -> bool:
            return chip is None or chip in prompt.chips.parts(prompt.text)

        if holds():
            if event.command:
                prompt.refuse(event.command)
            self.hint(str(event.error), "warning", holds=holds)

    @on(Prompt.PathTaken)
    def _say_what_was_taken(self, event: Prompt.PathTaken) -> None:
        what = event.names[0] if len(event.names) == 1 else f"{len(event.names)} files"
        them = "its path" if len(event.names) == 1 else "their paths"
        self.hint(f"Attached: {what}. Ctrl+_ brings back {them} as text.")
