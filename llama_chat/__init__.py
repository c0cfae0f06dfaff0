"""llama-chat: a terminal chat that runs Llama-family models on your own machine and shows its work."""

__version__ = "0.1.0"
