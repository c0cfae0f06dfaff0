"""A saved session generated again, and checked token by token against what was recorded."""

from llama_chat.rerun.changes import Change
from llama_chat.rerun.judge import Progress, rerun
from llama_chat.rerun.recorded import RecordedReply, recorded_replies
from llama_chat.rerun.verdict import Difference, Pick, ReplyVerdict, Verdict, worst

__all__ = [
    "Change",
    "Difference",
    "Pick",
    "Progress",
    "RecordedReply",
    "ReplyVerdict",
    "Verdict",
    "recorded_replies",
    "rerun",
    "worst",
]
