"""How two processes share the tests: file by file; what is marked `alone` is last, when only one is left."""

from __future__ import annotations

from xdist.scheduler import LoadGroupScheduling
from xdist.workermanage import WorkerController

ALONE = "alone"
"""The mark of tests that hold a terminal or a clock against the program: nothing else computes meanwhile."""


class AloneAtTheEnd(LoadGroupScheduling):
    """Whoever asks for work gets the next file; the last one that still works gets what is marked `alone`."""

    def _split_scope(self, nodeid: str) -> str:
        is_grouped = nodeid.rfind("@") > nodeid.rfind("]")
        return ALONE if is_grouped else nodeid.split("::", 1)[0]

    def _assign_work_unit(self, node: WorkerController) -> None:
        if ALONE in self.workqueue:
            self.workqueue.move_to_end(ALONE)
        if [*self.workqueue] == [ALONE] and self._others_work(node):
            node.shutdown()
        else:
            super()._assign_work_unit(node)

    def _others_work(self, node: WorkerController) -> bool:
        return any(other is not node and not other.shutting_down for other in self.nodes)
