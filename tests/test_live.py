"""The figures beside a reply, from events to words."""

from llama_chat.chat.live import LiveFigures, Status
from llama_chat.events import Loading, Prefilled
from llama_chat.ui.widgets.status_bar import state_text


def test_a_long_prompt_shows_how_much_of_it_is_read() -> None:
    before = Status(model_state="ready", doing="ready", is_replying=True)
    figures = LiveFigures(prompt_tokens=2430)
    assert state_text(figures.status(before))[0] == "● reading the prompt"
    figures.feed(Loading(0.42, "prompt"))
    reading = figures.status(before)
    assert state_text(reading)[0] == "● reading the prompt 42 %"
    assert reading.context_used == 2430
    figures.feed(Prefilled(2430, 0, 9.0))
    assert state_text(figures.status(reading))[0] == "● reading the prompt"
