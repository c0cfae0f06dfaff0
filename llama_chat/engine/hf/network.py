"""A model of transformers as a `Network`."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from llama_chat.engine.freeing import give_memory_back
from llama_chat.engine.hf.cache import HfCache, IdsCache
from llama_chat.engine.hf.library import asking_the_library
from llama_chat.engine.network import Cache, LogitsWanted, NetworkInfo

_CACHE_ARGUMENTS = ("past_key_values", "cache_params")
"""What models call their cache; those that know neither compute everything again for every token."""
_NO_CACHE = "This model keeps nothing between tokens: each takes as long as all before it together."


class HfNetwork:
    """A causal language model of transformers behind the Network seam.

    Args:
        model: loaded, in eval mode.
        info: its sizes; of its logits the first `info.vocab_size` are given out, since many models have more
            rows of embeddings than tokens.
        device: where ids go in.
        notices: what the user should know of it.
    """

    def __init__(
        self, model: Any, info: NetworkInfo, device: torch.device, notices: tuple[str, ...] = ()
    ) -> None:
        self.model = model
        self._info = info
        self._device = device
        known = inspect.signature(model.forward).parameters
        self._cache_argument = next((name for name in _CACHE_ARGUMENTS if name in known), None)
        self._takes_logits_to_keep = "logits_to_keep" in known
        self.notices = notices if self.has_cache else (*notices, _NO_CACHE)

    @property
    def info(self) -> NetworkInfo:
        """Sizes and whereabouts."""
        return self._info

    @property
    def has_cache(self) -> bool:
        """Whether a new token costs one row, instead of everything before it once more."""
        return self._cache_argument is not None

    def new_cache(self) -> HfCache | IdsCache:
        """An empty cache; memory is taken as it fills."""
        if self._cache_argument is None:
            return IdsCache()
        from transformers import DynamicCache

        return HfCache(lambda: DynamicCache(config=self.model.config))

    @torch.inference_mode()
    def forward(self, token_ids: Sequence[int], cache: Cache, logits: LogitsWanted) -> Tensor | None:
        """Append the ids to the cache; f32 logits of none, the last ([V]) or all of them ([T, V])."""
        if isinstance(cache, IdsCache):
            rows = self._without_cache(token_ids, cache, logits)
        else:
            assert isinstance(cache, HfCache), "a cache of another network"
            rows = self._with_cache(token_ids, cache, logits)
        if logits == "none":
            return None
        rows = rows[:, : self._info.vocab_size].float()
        return rows if logits == "all" else rows[-1]

    def _with_cache(self, token_ids: Sequence[int], cache: HfCache, logits: LogitsWanted) -> Tensor:
        """[T, V], or only the last of them."""
        # Recurrent layers take many tokens into an empty state only; after that some models of the library
        # take one at a time and get the others wrong without a word (mamba by 3%, falcon_mamba by 50% of the
        # largest logit; transformers 5.23, 2026-11-22).
        alone = cache.is_recurrent and cache.length > 0
        parts = [[token_id] for token_id in token_ids] if alone else [list(token_ids)]
        assert self._cache_argument is not None
        found = []
        try:
            for part in parts:
                out = self._call(part, logits, use_cache=True, **{self._cache_argument: cache.past})
                cache.advance(len(part), getattr(out, self._cache_argument, None))
                found.append(out.logits[0])
        except BaseException:
            cache.forget()
            raise
        return torch.cat(found) if logits == "all" else found[-1]

    def _without_cache(self, token_ids: Sequence[int], cache: IdsCache, logits: LogitsWanted) -> Tensor:
        """[T, V], or only the last of them; nothing is computed where no logits are wanted."""
        cache.ids.extend(token_ids)
        if logits == "none":
            return torch.empty(0, 0)
        try:
            out = self._call(cache.ids, "all")
        except BaseException:
            cache.rewind(cache.length - len(token_ids))
            raise
        rows: Tensor = out.logits[0, -len(token_ids) :]
        return rows

    def _call(self, token_ids: Sequence[int], logits: LogitsWanted, **more: Any) -> Any:
        if self._takes_logits_to_keep:
            more["logits_to_keep"] = 0 if logits == "all" else 1
        ids_BT = torch.tensor([token_ids], dtype=torch.int64, device=self._device)
        with asking_the_library("transformers failed while the model was running"):
            return self.model(input_ids=ids_BT, **more)

    def close(self) -> None:
        """Free the weights."""
        self.model = None
        give_memory_back()
