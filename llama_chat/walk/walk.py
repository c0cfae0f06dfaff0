"""The walk: a model and a text, asked for any step."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from torch import Tensor

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.drawing.views import Comparison, Difference, Look, Step, StepView, WalkFacts
from llama_chat.engine.config import LlamaConfig
from llama_chat.engine.generate import LocalEngine
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import ModelError, UsageError
from llama_chat.events import Engine
from llama_chat.walk import attention_steps, layer_steps, outer_steps
from llama_chat.walk.checks import check_ids, check_layer_and_head, ids_of
from llama_chat.walk.comparing import comparison_of
from llama_chat.walk.effects import effects_view, head_effects
from llama_chat.walk.layer_parts import LayerParts, look_into_layer
from llama_chat.walk.lens import LENS_TOP, LensLine, lens_lines
from llama_chat.walk.looks import looks_from, rollout_from
from llama_chat.walk.passing import difference_of, pass_through, passed_from, passed_until, running_logits
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
        alteration: Alteration = UNALTERED,
    ) -> None:
        """The pass.

        Args:
            engine: a from-scratch one.
            text: or the ids themselves; a text is taken raw, without a template.
            cancel: ends it in the middle of a layer.
            report: hears the fraction that is done.
            alteration: heads and layers that are off or scaled, whatever the engine runs with.

        Raises:
            ModelError: another engine runs the model, or the logits are no numbers.
            PromptError: no token, more than are walked with, or an id that the model does not have.
            UsageError: there is no layer or head that is to be altered.
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
        alteration.check(network.llama.config.n_layers, network.llama.config.n_heads)
        with network.altered(UNALTERED):
            passed = pass_through(network, ids, self._cancel, report)
        facts = _facts(engine, network.llama.config, ids)
        scene = Scene(network, engine.tokenizer, facts, passed, self.difference, passed)
        self._begin(self._altered_scene(scene, alteration))

    def _begin(self, scene: Scene) -> None:
        self._scene = scene
        self._parts: LayerParts | None = None
        self._difference: Difference | None = None
        self._looks: tuple[int, Tensor] | None = None

    def until(self, position: int) -> Walk:
        """The walk of the text up to that token, it included: it shares the streams and the cache.

        Raises:
            UsageError: there is no such position.
            ModelError: the logits behind it are no numbers.
        """
        scene, count = self._scene, len(self.facts.labels)
        if not 0 <= position < count:
            raise UsageError(f"There is no position {position}; the text has 0 to {count - 1}.")
        if position == count - 1:
            return self
        passed = plain = passed_until(scene.network, scene.passed, position)
        if scene.alteration:
            plain = passed_until(scene.network, scene.plain, position)
        sizes = tuple((letter, position + 1 if letter == "T" else size) for letter, size in self.facts.sizes)
        facts = replace(
            self.facts,
            token_ids=self.facts.token_ids[: position + 1],
            labels=self.facts.labels[: position + 1],
            sizes=sizes,
        )
        return self._other(replace(scene, facts=facts, passed=passed, plain=plain))

    def altered(self, alteration: Alteration) -> Walk:
        """The same walk with these heads and layers off or scaled, and no others.

        What comes before the first of them is shared with the walk as the model is.

        Raises:
            UsageError: there is no such layer or head.
            ModelError: the logits behind it are no numbers.
            Interrupted: the walk's `cancel` was set.
        """
        if alteration == self.alteration:
            return self
        config = self._scene.config
        alteration.check(config.n_layers, config.n_heads)
        return self._other(self._altered_scene(self._scene, alteration))

    def _altered_scene(self, scene: Scene, alteration: Alteration) -> Scene:
        passed = scene.plain
        if alteration:
            with scene.network.altered(alteration):
                passed = passed_from(scene.network, scene.plain, alteration.first_layer, self._cancel)
        facts = replace(scene.facts, altered=alteration.words)
        return replace(scene, facts=facts, passed=passed, alteration=alteration)

    def _other(self, scene: Scene) -> Walk:
        other = object.__new__(Walk)
        other._cancel = self._cancel
        other._begin(replace(scene, difference=other.difference))
        return other

    @property
    def alteration(self) -> Alteration:
        """With which heads and layers off or scaled it is taken."""
        return self._scene.alteration

    def comparison(self) -> Comparison | None:
        """What the alteration does to the next token; None where there is none."""
        return comparison_of(self._scene)

    def head_effects(self, report: Callable[[float], None] = lambda _: None) -> StepView:
        """What each head does to the next token: a heat map of layers and heads, in bits.

        It takes the layers from its own on for every head: seconds for a few tokens, a minute for hundreds.

        Raises:
            Interrupted: the walk's `cancel` was set.
        """
        return effects_view(head_effects(self._scene, self._cancel, report))

    def _as_altered(self) -> AbstractContextManager[None]:
        return self._scene.network.altered(self.alteration)

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
            with self._as_altered():
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
            with self._as_altered():
                self._parts = look_into_layer(self._scene.network, self._scene.passed, layer, head)
        return self._parts

    def lens(self, at: int = -1, count: int = LENS_TOP) -> tuple[LensLine, ...]:
        """What the model would say behind the token `at` if it ended after each of its layers."""
        return lens_lines(self._scene.network, self._scene.passed, at, count)

    def heads_looking_at(self, target: int, at: int = -1, count: int = 5) -> tuple[Look, ...]:
        """The heads of all layers that look most at the token `target` from the token `at`."""
        shares_LH = self._looks_from(at)[..., target]
        top = shares_LH.flatten().topk(min(count, shares_LH.numel()))
        heads = shares_LH.shape[1]
        pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
        return tuple(Look(n // heads, n % heads, share) for n, share in pairs)

    def mean_attention(self, at: int = -1) -> tuple[float, ...]:
        """What the token `at` looks at, the mean over all layers and heads; a share for each token."""
        return tuple(self._looks_from(at).mean((0, 1)).tolist())

    def _looks_from(self, at: int) -> Tensor:
        """The attention of every head from the position, [L, H, S]; the last one asked for is kept."""
        if self._looks is None or self._looks[0] != at:
            with self._as_altered():
                self._looks = (at, looks_from(self._scene.network, self._scene.passed, at))
        return self._looks[1]

    def rollout(self, at: int = -1) -> tuple[float, ...]:
        """What has come to the token `at` from each, through all layers (attention rollout)."""
        with self._as_altered():
            return tuple(rollout_from(self._scene.network, self._scene.passed, at).tolist())


def open_walk(
    engine: Engine,
    token_ids: Sequence[int],
    cancel: threading.Event | None = None,
    report: Callable[[float], None] = lambda _: None,
) -> Walk:
    """The walk through the ids, as `drawing.views.WalkOpener` has it; altered as the engine is.

    Raises:
        ModelError: the engine is no local one, or as `Walk` has it.
        PromptError: as `Walk` has it.
        Interrupted: `cancel` was set.
    """
    if not isinstance(engine, LocalEngine):
        raise ModelError(f"{engine.info.name} does not run here: it cannot be looked into")
    return Walk(engine, token_ids, cancel, report, engine.alteration)


def _facts(engine: LocalEngine, config: LlamaConfig, ids: tuple[int, ...]) -> WalkFacts:
    info = engine.info
    sizes = {
        "T": len(ids), "D": config.dim, "L": config.n_layers, "H": config.n_heads, "G": config.n_kv_heads,
        "K": config.head_dim, "F": config.ffn_dim, "V": config.vocab_size,
    }  # fmt: skip
    labels = tuple(token_label(engine.tokenizer, token_id) for token_id in ids)
    return WalkFacts(info.name, info.dtype, info.device, ids, labels, tuple(sizes.items()))
