"""Items of a map of a `ProcessPoolExecutor`.

Rule of this module: each item has an outcome, also where no process could be had for it.
"""

from __future__ import annotations

from queue import Empty
from typing import TYPE_CHECKING, Any, Final, final

from ..._core.batch import FAILED
from ..._core.errors import SerializationError, WorkerStartError
from ..._core.stop import StopFlag, StopToken
from ..._workers.remote.item_loop import RemoteItemLoop
from ..._workers.remote.serialization import dumps
from ..._workers.slots import SlotQueue
from ..maps.work_item import MapWorkItem, try_leave
from .call import break_pool

if TYPE_CHECKING:
    from contextvars import Context

    from ..._core.batch import Batch, Item
    from ..._workers.process.pool import ProcessPool
    from ..pool.threads import Pool

_NO_WAITERS: Final = SlotQueue()
"""Calls wait in the queue of the pool's threads."""


@final
class ProcessMapItem(RemoteItemLoop, MapWorkItem):
    """Items of a map that run in a process.

    Args:
        processes: Where to take a process.
        batch: The items.
        threads: The pool whose thread takes them.
        context: Of the caller; it does not go to another process.
        single: Whether it is for one item.
    """

    __slots__ = ("_may_take", "_single", "threads")

    def __init__(
        self,
        processes: ProcessPool,
        batch: Batch[Any],
        threads: Pool,
        context: Context,  # noqa: ARG002 - as for a `ThreadMapItem`
        *,
        single: bool,
    ) -> None:
        super().__init__(batch, _NO_WAITERS, processes)
        self.threads = threads
        self.token: StopToken = StopFlag()
        self._single = single
        self._may_take = True

    def run(self) -> None:
        """See `WorkItem.run`."""
        self.threads.waiting.pop(self, None)
        batch = self.batch
        try:
            batch.pickled_function = batch.pickled_function or dumps(batch.func, batch.function)
        except SerializationError as exc:
            self.fail(exc)
        else:
            super().run()

    def _serve(self) -> None:
        while True:
            try:
                return super()._serve()
            except WorkerStartError as exc:
                if exc.is_permanent:
                    return self.fail(break_pool(self.threads, exc))
                self._fail_one(exc)
            except SerializationError as exc:  # the initializer cannot be pickled
                return self.fail(exc)

    def _fail_one(self, error: Exception) -> None:
        if (item := self.batch.pop_requeued()) is not None:
            self.batch.set_outcome(item, FAILED, error)

    def is_ending(self) -> bool:
        """See `WorkItem.is_ending`: if need be, the process is ended."""
        return True

    def _next(self) -> Item[Any] | None:
        batch = self.batch
        while (item := batch.pop_requeued()) is None:
            if not self._may_take:
                return None
            try:
                item = batch.pending.get_nowait()
            except Empty:
                if self._single or try_leave(batch, self):
                    return None
                continue
            if item is not None:
                break
        self._may_take = not self._single
        return item
