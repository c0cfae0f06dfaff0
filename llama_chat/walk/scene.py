"""What the steps' builders need: the model, the text, what passed; and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.drawing.views import Axis, Difference, Grid, StepView, WalkFacts
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.engine.vocabulary.tokenizer import Tokenizer
from llama_chat.walk.layer_parts import LayerParts
from llama_chat.walk.passing import Passed
from llama_chat.walk.plain import grid_of, joined, quoted, shape_of, token_label
from llama_chat.walk.steps import numbered_step

TABLE_ROWS = 12
"""Of tables with a row a token: the last ones."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A text in a model."""

    network: ScratchNetwork
    tokenizer: Tokenizer
    facts: WalkFacts
    passed: Passed
    difference: Callable[[], Difference]
    """Takes another pass the first time."""
    plain: Passed
    """As the model is; `passed` itself, where nothing is altered."""
    alteration: Alteration = UNALTERED

    @property
    def config(self) -> LlamaConfig:
        """The model's sizes."""
        return self.network.llama.config

    @property
    def last(self) -> str:
        """The last token, as a sentence names it."""
        return quoted(self.facts.labels[-1])

    @property
    def per_group(self) -> int:
        """Query heads that share one key/value head."""
        return self.config.n_heads // self.config.n_kv_heads

    def label(self, token_id: int) -> str:
        """Of any token."""
        return token_label(self.tokenizer, token_id)

    def tokens(self, letter: str = "T") -> Axis:
        """The text as a side of a grid."""
        return Axis(letter, len(self.facts.labels), self.facts.labels)

    def shown_rows(self) -> range:
        """The positions that tables show."""
        count = len(self.facts.labels)
        return range(max(0, count - TABLE_ROWS), count)

    def stream_grid(self, title: str, x_TD: Tensor) -> Grid:
        """A row of `width` numbers for every token."""
        return grid_of(title, self.tokens(), Axis("D", x_TD.shape[-1]), x_TD)

    def _altered_sentence(self, name: str, parts: LayerParts | None) -> str:
        """Where an alteration acts in the step, if it does."""
        if parts is None or not self.alteration:
            return ""
        layer, head = parts.layer, parts.head
        if name == "layer" and (scale := self.alteration.layers.get(layer)) is not None:
            return f"This layer is altered: what it adds to the stream is multiplied by {scale:g}."
        scales = {at: scale for (of, at), scale in self.alteration.heads.items() if of == layer}
        if name == "values" and head in scales:
            return f"This head is altered: the output product gets its out multiplied by {scales[head]:g}."
        if name in ("heads", "output") and scales:
            named = joined([f"head {at + 1} × {scale:g}" for at, scale in scales.items()])
            return f"Altered before the output product: {named}."
        return ""

    def view(
        self,
        name: str,
        sentences: Sequence[str],
        shapes: Sequence[tuple[str, str, Tensor]],
        parts: LayerParts | None = None,
        **pictures: Any,
    ) -> StepView:
        """The step's view; `shapes` are names, letters and tensors."""
        number, step = numbered_step(name)
        return StepView(
            step,
            number,
            layer=parts.layer if step.in_layer and parts else None,
            head=parts.head if step.in_head and parts else None,
            sentences=tuple(filter(None, (*sentences, self._altered_sentence(name, parts)))),
            shapes=tuple(shape_of(name, letters, values) for name, letters, values in shapes),
            **pictures,
        )
