"""What an engine of our own networks does to run altered: it checks, alters, and lets go of its cache."""

from __future__ import annotations

from llama_chat.alteration import UNALTERED, Alteration
from llama_chat.engine.live_cache import LiveCache
from llama_chat.engine.network import Network
from llama_chat.engine.scratch import ScratchNetwork
from llama_chat.errors import ModelError
from llama_chat.events import ModelInfo


class AlterableEngine:
    """A part of `LocalEngine`: `llama_chat.alteration.Alterable`."""

    network: Network
    live: LiveCache

    @property
    def info(self) -> ModelInfo:
        """The model behind it."""
        raise NotImplementedError

    @property
    def alteration(self) -> Alteration:
        """How the network runs."""
        return self.network.alteration if isinstance(self.network, ScratchNetwork) else UNALTERED

    def check_alteration(self, alteration: Alteration) -> None:
        """Raises what `alter` would; may be asked by any thread, at any time."""
        if not isinstance(self.network, ScratchNetwork):
            info = self.info
            why = f": {info.engine_reason}" if info.engine_reason else ""
            raise ModelError(
                f"{info.name} is run by transformers{why}; only the from-scratch engine can be altered",
                hint="Take a model of the Llama family, and --engine auto.",
            )
        config = self.network.llama.config
        alteration.check(config.n_layers, config.n_heads)

    def alter(self, alteration: Alteration) -> None:
        """Run like this from the next reply on; the cache is let go, unless nothing changes.

        Raises:
            ModelError: this network cannot be altered.
            UsageError: it has no such layer or head.
        """
        if alteration == self.alteration:
            return
        self.check_alteration(alteration)
        assert isinstance(self.network, ScratchNetwork)
        self.network.alter(alteration)
        self.live = LiveCache(self.network)
