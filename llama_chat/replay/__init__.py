"""A saved session played back: what happened when, and where a player stands in it. No screen, no model."""

from llama_chat.replay.player import SPEEDS, Player
from llama_chat.replay.state import ReplayState
from llama_chat.replay.timeline import LONGEST_PAUSE_S, Moment, Timeline, build_timeline
from llama_chat.replay.words import clock, sampling_moves

__all__ = [
    "LONGEST_PAUSE_S",
    "SPEEDS",
    "Moment",
    "Player",
    "ReplayState",
    "Timeline",
    "build_timeline",
    "clock",
    "sampling_moves",
]
