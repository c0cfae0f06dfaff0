"""The walk: a model and a text, asked for any step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from llama_chat.drawing.views import Difference, Look, Step, StepView, WalkFacts
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import ModelError
from llama_chat.events import Engine
from llama_chat.walk import attention_steps, layer_steps, outer_steps
from llama_chat.walk.checks import check_ids, check_layer_and_head, ids_of
from llama_chat.walk.layer_parts import LayerParts, look_into_layer
from llama_chat.walk.lens import LENS_TOP, LensLine, lens_lines
from llama_chat.walk.looks import looks_from, rollout_from
from llama_chat.walk.passing import difference_of, pass_through, running_logits
from llama_chat.walk.plain import token_label
from llama_chat.walk.scene import Scene
from llama_chat.walk.steps import STEPS, numbered_step

OUTER: dict[str, Callable[[Scene], StepView]] = {
    "tokens": outer_steps.tokens_step,
    "embedding": outer_steps.embedding_step,
    "lens": outer_steps.lens_step,
    "final-norm": outer_steps.final_norm_step,
    "logits": outer_steps.logits_step,
    "distribution": outer_steps.distribution_step,
    "token": outer_steps.token_step,
}
INNER: dict[str, Callable[[Scene, LayerParts], StepView]] = {
    "norm": attention_steps.norm_step,
    "queries": attention_steps.queries_step,
    "rope": attention_steps.rope_step,
    "keys": attention_steps.keys_step,
    "scores": attention_steps.scores_step,
    "mask": attention_steps.mask_step,
    "softmax": attention_steps.softmax_step,
    "values": attention_steps.values_step,
    "heads": attention_steps.heads_step,
    "output": attention_steps.output_step,
    "residual": attention_steps.residual_step,
    "swiglu": layer_steps.swiglu_step,
    "layer": layer_steps.layer_step,
}


class Walk:
    """One text on its way through a model; one pass when it is made, a layer again for what is asked.

    Belongs to the thread of its engine, whose own cache it leaves alone. It holds the stream behind every
    layer (T × D × layers: 7 MB for 200 tokens of the default model) and a cache of the text.
    """

    def __init__(
        self,
        engine: LocalEngine,
        text: str | Sequence[int],
        cancel: threading.Event | None = None,
        report: Callable[[float], None] = lambda _: None,
    ) -> None:
        """The pass.

        Args:
            engine: a from-scratch one.
            text: or the ids themselves; a text is taken raw, without a template.
            cancel: ends it in the middle of a layer.
            report: hears the fraction that is done.

        Raises:
            ModelError: another engine runs the model, or the logits are no numbers.
            PromptError: no token, more than are walked with, or an id that the model does not have.
            Interrupted: `cancel` was set.
        """
        network = engine.network
        if not isinstance(network, ScratchNetwork):
            why = f": {engine.info.engine_reason}" if engine.info.engine_reason else ""
            raise ModelError(
                f"{engine.info.name} is run by transformers{why}; only the from-scratch engine can be looked "
                "into",
                hint="Take a model of the Llama family, and --engine auto.",
            )
        ids = ids_of(engine.tokenizer, text)
        check_ids(ids, network.llama.config, engine.info.context_length)
        self._cancel = cancel or threading.Event()
        passed = pass_through(network, ids, self._cancel, report)
        facts = _facts(engine, network.llama.config, ids)
        self._scene = Scene(network, engine.tokenizer, facts, passed, self.difference)
        self._parts: LayerParts | None = None
        self._difference: Difference | None = None

    @property
    def facts(self) -> WalkFacts:
        """The model, the text, the sizes."""
        return self._scene.facts

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps, in order."""
        return STEPS

    def difference(self) -> Difference:
        """How far the single steps are from the path of chats, which is run once for it.

        Raises:
            Interrupted: the walk's `cancel` was set.
        """
        if self._difference is None:
            scene = self._scene
            running_V = running_logits(scene.network, scene.facts.token_ids, self._cancel)
            self._difference = difference_of(scene.passed.logits, running_V)
        return self._difference

    def step(self, name: str, layer: int = 0, head: int = 0) -> StepView:
        """One step; layer and head count from 0 and are passed over where the step has none.

        Raises:
            UsageError: there is no such step, layer or head.
        """
        numbered_step(name)
        if name in OUTER:
            return OUTER[name](self._scene)
        check_layer_and_head(self._scene.config, layer, head)
        return INNER[name](self._scene, self._look_into(layer, head))

    def _look_into(self, layer: int, head: int) -> LayerParts:
        """The parts of the layer; the last ones asked for are kept."""
        if self._parts is None or (self._parts.layer, self._parts.head) != (layer, head):
            self._parts = None  # before the next are made: one layer at a time
            self._parts = look_into_layer(self._scene.network, self._scene.passed, layer, head)
        return self._parts

    def lens(self, at: int = -1, count: int = LENS_TOP) -> tuple[LensLine, ...]:
        """What the model would say behind the token `at` if it ended after each of its layers."""
        return lens_lines(self._scene.network, self._scene.passed, at, count)

    def heads_looking_at(self, target: int, at: int = -1, count: int = 5) -> tuple[Look, ...]:
        """The heads of all layers that look most at the token `target` from the token `at`."""
        shares_LH = looks_from(self._scene.network, self._scene.passed, at)[..., target]
        top = shares_LH.flatten().topk(min(count, shares_LH.numel()))
        heads = shares_LH.shape[1]
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return tuple(Look(n // heads, n % heads, share) for n, share in pairs)

    def mean_attention(self, at: int = -1) -> tuple[float, ...]:
        """What the token `at` looks at, the mean over all layers and heads; a share for each token."""
        looks = looks_from(self._scene.network, self._scene.passed, at).mean((0, 1))
        return tuple(looks.tolist())

    def rollout(self, at: int = -1) -> tuple[float, ...]:
        """What has come to the token `at` from each, through all layers (attention rollout)."""
        return tuple(rollout_from(self._scene.network, self._scene.passed, at).tolist())


def open_walk(
    engine: Engine,
    token_ids: Sequence[int],
    cancel: threading.Event | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> Walk:
    """The walk through the ids, as `drawing.views.WalkOpener` has it.

    Raises:
        ModelError: the engine is no local one, or as `Walk` has it.
        PromptError: as `Walk` has it.
        Interrupted: `cancel` was set.
    """
    if not isinstance(engine, LocalEngine):
        raise ModelError(f"{engine.info.name} does not run here: it cannot be looked into")
    return Walk(engine, token_ids, cancel, report)


def _facts(engine: LocalEngine, config: LlamaConfig, ids: tuple[int, ...]) -> WalkFacts:
    info = engine.info
    sizes = {
        "T": len(ids), "D": config.dim, "L": config.n_layers, "H": config.n_heads, "G": config.n_kv_heads,
        "K": config.head_dim, "F": config.ffn_dim, "V": config.vocab_size,
    }  # fmt: skip
    labels = tuple(token_label(engine.tokenizer, token_id) for token_id in ids)
    return WalkFacts(info.name, info.dtype, info.device, ids, labels, tuple(sizes.items()))
