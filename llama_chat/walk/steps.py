"""The steps from a text to its next token, in order."""

from __future__ import annotations

from llama_chat.drawing.views import Step
from llama_chat.errors import UsageError

STEPS = (
    Step("tokens", "Text to tokens", "ids = tokenizer(text)"),
    Step("embedding", "Embeddings", "x = table[ids]"),
    Step("norm", "RMSNorm", "n = x / rms(x) · weight", in_layer=True),
    Step("queries", "Queries of one head", "q = n Wqᵀ", in_layer=True, in_head=True),
    Step("rope", "RoPE: the position, as a rotation", "q' = q · e^(i · position · speed)", True, True),
    Step("keys", "Keys", "k = n Wkᵀ, turned by RoPE", in_layer=True, in_head=True),
    Step("scores", "Scores: queries meet keys", "scores = q' k'ᵀ / √K", in_layer=True, in_head=True),
    Step("mask", "The mask", "scores + (0 in the past, -∞ in the future)", in_layer=True, in_head=True),
    Step("softmax", "Softmax: attention", "weights = softmax(scores)", in_layer=True, in_head=True),
    Step("values", "Values", "out = weights v, v = n Wvᵀ", in_layer=True, in_head=True),
    Step("heads", "All heads, side by side", "[out of head 1, out of head 2, ...]", in_layer=True),
    Step("output", "The output product", "o = heads Woᵀ", in_layer=True),
    Step("residual", "Added to the stream", "x = x + o", in_layer=True),
    Step("swiglu", "Feed-forward: SwiGLU", "f = (silu(n W1ᵀ) · n W3ᵀ) W2ᵀ", in_layer=True),
    Step("layer", "After the layer", "x = x + f", in_layer=True),
    Step("lens", "All layers: what each would say next", "softmax(head(norm(x of a layer)))"),
    Step("final-norm", "The final norm", "n = x / rms(x) · weight"),
    Step("logits", "Logits", "logits = n Woutᵀ"),
    Step("distribution", "The distribution", "p = softmax(logits)"),
    Step("token", "The next token", "id = argmax(p)"),
)
STEP_NAMES = tuple(step.name for step in STEPS)


def numbered_step(name: str) -> tuple[int, Step]:
    """The step and its number from 1.

    Raises:
        UsageError: there is none of that name.
    """
    for number, step in enumerate(STEPS, 1):
        if step.name == name:
            return number, step
    raise UsageError(f"There is no step {name!r}.", hint=f"The steps are: {', '.join(STEP_NAMES)}.")
