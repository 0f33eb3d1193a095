"""Items of a map as work items of a pool.

Rule of this module: what is submitted to the pool after a map has its place behind the map's items
in the queue.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from queue import Empty
from typing import TYPE_CHECKING, Any, final

from ..._core.batch import FAILED, ItemConsumer
from ..._core.current import token_by_thread
from ..._core.stop import StopFlag, StopToken
from ..._workers.thread.item_loop import ItemRunner
from ..pool.work_item import WorkItem

if TYPE_CHECKING:
    from contextvars import Context

    from ..._core.batch import Batch
    from ..._core.registry import RunningCall
    from ..pool.threads import Pool


class MapWorkItem(ItemConsumer, WorkItem):
    """Items of a map, one after the other in one thread: all that there are, or just one.

    Attributes:
        threads: The pool whose thread takes them.
    """

    __slots__ = ()

    threads: Pool

    def cancel_pending(self) -> None:
        """See `WorkItem.cancel_pending`."""
        self.threads.waiting.pop(self, None)
        self.batch.closed = True
        self.batch.drop_pending()
        self.batch.notify_reader()

    def fail(self, error: Exception) -> None:
        """See `WorkItem.fail`."""
        self.threads.waiting.pop(self, None)
        batch = self.batch
        with suppress(Empty):
            while True:
                item = batch.pop_requeued() or batch.pending.get_nowait()
                if item is not None:
                    batch.set_outcome(item, FAILED, error)

    def stop(self, reason: str | None) -> None:
        """See `WorkItem.stop`."""
        self.batch.close(reason)

    def running_calls(self) -> list[RunningCall]:
        """See `WorkItem.running_calls`: the batch is registered itself."""
        return []


def try_leave(batch: Batch[Any], consumer: ItemConsumer) -> bool:
    """Return whether a consumer that has found no item may end."""
    # To add an item: queue it, then read `consumers`.
    # Here: leave `consumers`, then read the queue.
    batch.consumers.remove(consumer)
    if batch.pending.empty():
        return True
    batch.consumers.append(consumer)
    return False


@final
class ThreadMapItem(ItemRunner, MapWorkItem):
    """Items of a map that run in the pool's thread itself.

    Args:
        batch: The items.
        threads: The pool where they run.
        context: What each gets a copy of.
        single: Whether it is for one item.
    """

    __slots__ = ("_context", "_single", "threads")

    def __init__(self, batch: Batch[Any], threads: Pool, context: Context, *, single: bool) -> None:
        super().__init__(batch)
        self.threads = threads
        self._context = context
        self._single = single
        self.token: StopToken = StopFlag()

    def run(self) -> None:
        """See `WorkItem.run`."""
        self.thread = threading.get_ident()
        token_by_thread[self.thread] = self
        self.threads.waiting.pop(self, None)
        try:
            self._take()
        finally:
            del token_by_thread[self.thread]

    def _take(self) -> None:
        take, copy = self.batch.pending.get_nowait, self._context.copy
        while True:
            try:
                item = take()
            except Empty:
                if self._single or try_leave(self.batch, self):
                    return
                continue
            if item is not None:
                copy().run(self.call, item)
                item = None  # not to be kept
            if self._single:
                return
