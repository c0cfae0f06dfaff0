"""What the chat screen opens beside or over itself; each part is imported when it is first wanted."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.content import Content

from llama_chat.chat.keys import FOOTER_ORDER, KeyAction, key_name
from llama_chat.errors import UsageError
from llama_chat.ui.widgets.sampling_panel import MAIN_SETTINGS, MORE_SETTINGS, PanelFacts, SamplingPanel

if TYPE_CHECKING:
    from llama_chat.chat.exporting import ExportWish
    from llama_chat.ui.first_run.screen import FirstRunScreen
    from llama_chat.ui.screens.chat_view import ChatViewScreen
    from llama_chat.ui.screens.download import DownloadScreen
    from llama_chat.ui.widgets.filter_list import Item

PALETTE_HELP_CELLS = 60
"""A narrower screen has no room for what a command does, beside its name and its key."""


# --- sliders ------------------------------------------------------------------------------------------


def new_panel(screen: ChatViewScreen, *, compact: bool = False) -> SamplingPanel:
    """The sliders, with the preset that they equal and the seed."""
    facts = PanelFacts(
        preset_name=lambda: screen.presets.name,
        seed=lambda: screen.chat.seed,
        last_seed=lambda: screen.chat.last_seed,
    )
    return SamplingPanel(screen.bridge.sampling, MAIN_SETTINGS + MORE_SETTINGS, compact=compact, facts=facts)


def show_panel_facts(screen: ChatViewScreen) -> None:
    """Show the seed and the preset in the panels that there are."""
    for panel in screen.query(SamplingPanel):
        panel.show_facts()


def toggle_sampling(screen: ChatViewScreen) -> None:
    """Beside the transcript where the screen is wide; as a sheet above the prompt where it is not."""
    if screen.is_wide:
        _toggle_panel(screen)
    elif screen.query("SamplingPanel.-sheet"):
        close_sheet(screen)
    else:
        sheet = new_panel(screen, compact=True)
        screen.query_one("#center").mount(sheet, before="#prompt-row")
        screen.call_after_refresh(sheet.focus_first)


def _toggle_panel(screen: ChatViewScreen) -> None:
    panels = screen.query("#body > SamplingPanel").results(SamplingPanel)
    if (panel := next(iter(panels), None)) is None:
        panel = new_panel(screen)
        screen.query_one("#body").mount(panel)
        screen.call_after_refresh(panel.focus_first)
    elif panel.query("Slider:focus, SeedRow:focus"):
        panel.display = False
        screen.focus_home()
    elif panel.display:
        panel.focus_first()
    else:
        panel.display = True
        panel.show_current()
        panel.focus_first()


def close_sheet(screen: ChatViewScreen) -> None:
    """Put the sheet of sliders away."""
    for sheet in screen.query("SamplingPanel.-sheet").results(SamplingPanel):
        sheet.save_now()
        screen.call_after_refresh(sheet.remove)
    screen.focus_home()


# --- cards --------------------------------------------------------------------------------------------


def open_palette(screen: ChatViewScreen) -> None:
    """Everything that can be done, to be found by typing."""
    from llama_chat.ui.screens.pick import PickScreen

    def run(action: str | None) -> None:
        if action is not None:
            screen.chosen_commands[action] += 1
            namespace = "app" if action == "quit" else "screen"
            screen.call_later(screen.run_action, f"{namespace}.{action}")

    has_room = screen.size.width >= PALETTE_HELP_CELLS
    listed = sorted(screen.keys.actions, key=lambda action: action.group == "Prompt")  # the talk comes first
    items = [
        replace(_palette_item(action, has_room), weight=_weight(action.action, screen.chosen_commands))
        for action in listed
        if action.palette
    ]
    screen.app.push_screen(PickScreen("Commands", items), run)


def _palette_item(action: KeyAction, has_room: bool) -> Item:
    from llama_chat.ui.widgets.filter_list import Item

    keys = key_name(action.keys[0]) if action.keys else action.command
    help_text = action.help if has_room else ""
    content = Content.assemble(
        (action.label.ljust(17), "bold"), (keys.ljust(12), "$primary"), (help_text, "$foreground 50%")
    )
    commands = tuple(filter(None, (action.command, *action.aliases)))
    return Item(
        action.action,
        content,
        " ".join((action.label, *commands)),
        name=action.label,
        details=action.help,
        other_names=(*commands, *(command.removeprefix("/") for command in commands)),
    )


def _weight(action: str, chosen: Counter[str]) -> int:
    """How often it was chosen here; of those that never were, the ones that the footer names weigh more."""
    return 2 * chosen[action] + (action in FOOTER_ORDER["ready"])


def take_theme(screen: ChatViewScreen, name: str) -> None:
    """Take the theme of that name, and keep it for the next start.

    Raises:
        UsageError: there is none.
    """
    if name not in screen.app.available_themes:
        raise UsageError(f"There is no theme {name}.", hint="F9 shows what there is.")
    screen.app.theme = name
    screen.bridge.save_setting("chat", "theme", name)


def choose_theme(screen: ChatViewScreen) -> None:
    """The themes; the screen shows the one under the cursor at once, Esc puts the old one back."""
    from llama_chat.ui.screens.pick import PickScreen
    from llama_chat.ui.screens.theme_items import theme_items

    app = screen.app
    before = app.theme

    def preview(name: str) -> None:
        app.theme = name

    def take(name: str | None) -> None:
        app.theme = name or before
        if name is not None:
            screen.bridge.save_setting("chat", "theme", name)

    items = theme_items(app)
    card = PickScreen("Themes", items, marked=before, preview=preview, hint="↑ ↓ preview · Enter · Esc back")
    app.push_screen(card, take)


def choose_model(screen: ChatViewScreen, name: str = "") -> None:
    """Run another model: the one of that name or path, or one that is chosen from what there is."""
    from llama_chat.ui.screens import models

    models.take_model(screen, name) if name else models.choose_model(screen)


def edit_system_prompt(screen: ChatViewScreen) -> None:
    """The system prompt in a card."""
    from llama_chat.chat.picks.persona_shelf import PersonaShelf
    from llama_chat.ui.screens.system_prompt import SystemPromptScreen

    def take(text: str | None) -> None:
        if text is not None:
            screen.chat.set_system(text)

    shelf = PersonaShelf(screen.setup.paths.prompts, screen.bridge.ask_disk)
    screen.app.push_screen(SystemPromptScreen(screen.chat.conversation.system, shelf=shelf), take)


def open_search(screen: ChatViewScreen, words: str) -> None:
    """Find words in all sessions."""
    from llama_chat.ui.screens import search

    search.open_search(screen, words)


def export(screen: ChatViewScreen, wish: ExportWish) -> None:
    """Write the open session into a file."""
    from llama_chat.ui.screens import export as exporting

    exporting.export(screen, wish)


def open_settings(screen: ChatViewScreen) -> None:
    """All settings."""
    from llama_chat.ui.screens.settings import SettingsScreen

    screen.app.push_screen(SettingsScreen(screen))


def show_keys(screen: ChatViewScreen) -> None:
    """All keys."""
    from llama_chat.ui.screens.key_help import KeyHelpScreen

    screen.app.push_screen(KeyHelpScreen(screen.keys.actions))


def open_first_run(screen: ChatViewScreen, *, is_first: bool) -> None:
    """The three screens for newcomers."""
    from llama_chat.ui.first_run.screen import FirstRunScreen

    screen.app.push_screen(FirstRunScreen(screen, is_first=is_first), screen.download_left)


def open_download(screen: ChatViewScreen) -> DownloadScreen | FirstRunScreen:
    """What shows the progress of the download: a card of its own, unless it is shown already."""
    from llama_chat.ui.first_run.screen import FirstRunScreen
    from llama_chat.ui.screens.download import DownloadScreen

    if isinstance(screen.app.screen, FirstRunScreen):
        return screen.app.screen
    card = DownloadScreen(screen.chat.switching.label or screen.chat.model_label)
    screen.app.push_screen(card, screen.download_left)
    return card
