"""`Executor.map`: items of a batch as work items of a pool, and their iterator.

Rule of this module: the results come through a batch, as those of `Runner.map` do, because a future
for each item would cost ten times as much. Their order, errors and time-outs are those of
`concurrent.futures.Executor.map`.
"""

from __future__ import annotations

import math
import threading
import time
from concurrent import futures
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from itertools import islice
from queue import Empty
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

from ..._core.batch import DISCARDED, FAILED, PENDING, SUCCEEDED, Batch
from ..._core.current import token_by_thread
from ..._core.errors import CallTimeoutError
from ..._core.stop import StopFlag, StopToken
from ..._workers.thread.item_loop import ItemRunner
from ..pool.work_item import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Context

    from ..._core.batch import Item
    from ..._core.registry import RunningCall
    from ..pool.threads import Pool

T = TypeVar("T")


def _call_inline(func: Callable[..., None], *args: object) -> None:
    func(*args)


def _star_call(func: Callable[..., T], args: tuple[object, ...]) -> T:
    return func(*args)


@final
class MapWorkItem(ItemRunner, WorkItem):
    """Items of a map, one after the other in one thread: all that are there, or just one.

    What is submitted to the pool after them has its place behind them in the queue.

    Args:
        batch: The items.
        pool: Where they run.
        context: What each gets a copy of.
        single: Whether it is for one item.
    """

    __slots__ = ("_context", "_pool", "_single")

    def __init__(self, batch: Batch[Any], pool: Pool, context: Context, *, single: bool) -> None:
        super().__init__(batch)
        self._pool = pool
        self._context = context
        self._single = single
        self.token: StopToken = StopFlag()

    def run(self) -> None:
        """See `WorkItem.run`."""
        self.thread = threading.get_ident()
        token_by_thread[self.thread] = self
        self._pool.waiting.pop(self, None)
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
                if self._try_finish():
                    return
                continue
            if item is not None:
                copy().run(self.call, item)
                item = None  # not to be kept
            if self._single:
                return

    def _try_finish(self) -> bool:
        # To add an item: queue it, then read `consumers`.
        # Here: leave `consumers`, then read the queue.
        if self._single:
            return True
        servers = self.batch.consumers
        servers.remove(self)
        if self.batch.pending.empty():
            return True
        servers.append(self)
        return False

    def cancel_pending(self) -> None:
        """See `WorkItem.cancel_pending`."""
        self._pool.waiting.pop(self, None)
        self.batch.closed = True
        self.batch.drop_pending()
        self.batch.notify_reader()

    def fail(self, error: Exception) -> None:
        """See `WorkItem.fail`."""
        self._pool.waiting.pop(self, None)
        batch = self.batch
        with suppress(Empty):
            while True:
                if (item := batch.pending.get_nowait()) is not None:
                    batch.set_outcome(item, FAILED, error)

    def stop(self, reason: str | None) -> None:
        """See `WorkItem.stop`."""
        self.batch.close(reason)

    def running_calls(self) -> list[RunningCall]:
        """See `WorkItem.running_calls`: the batch is registered itself."""
        return []


@final
class MapIterator(Generic[T]):
    """The results of a map.

    Args:
        pool: Where the items run.
        func: What is called.
        iterables: Where its positional arguments come from.
        timeout: Seconds that all of it may take, or None.
        buffersize: How many items may be taken ahead of the reader; None means all.
        owner: What is to live as long as further items are to be added.
    """

    def __init__(
        self,
        pool: Pool,
        func: Callable[..., T],
        iterables: tuple[Iterable[object], ...],
        *,
        timeout: float | None,
        buffersize: int | None,
        owner: object,
    ) -> None:
        self._pool = pool
        self._timeout = timeout
        self._deadline = math.inf if timeout is None else time.monotonic() + timeout
        self._items = enumerate(
            iterables[0] if len(iterables) == 1 else zip(*iterables, strict=False)
        )
        self._batch: Batch[T] = Batch(
            func,
            owner=pool,
            ordered=True,
            captured_errors=(BaseException,),
            call_soon_threadsafe=_call_inline,
            silent_late_errors=(futures.CancelledError,),
        )
        if len(iterables) != 1:
            self._batch.func = partial(_star_call, func)
        self._batch.closed = False
        self._context = copy_context()
        self._is_buffered = buffersize is not None
        self._owner = owner if self._is_buffered else None
        self._feed(buffersize)

    def results(self) -> Iterator[T]:
        """Yield the results in the order of the items."""
        queue = self._batch.output
        try:
            while True:
                if self._is_buffered:
                    self._feed(1)
                if not queue:
                    return
                self._wait(queue[0])
                yield _outcome(queue.popleft())
        finally:
            self._leave()

    def _feed(self, count: int | None) -> None:
        batch, pool = self._batch, self._pool
        for index, arg in islice(self._items, count):
            pool.check_open()
            batch.put(index, arg)
            if self._is_buffered:
                work_item = MapWorkItem(batch, pool, self._context, single=True)
                pool.add(work_item, work_item)
            elif len(batch.consumers) < pool.size:
                work_item = MapWorkItem(batch, pool, self._context, single=False)
                batch.consumers.append(work_item)
                pool.add(work_item, work_item)
            if batch.closed:  # in this very moment
                batch.drop_pending()

    def _wait(self, item: Item[T]) -> None:
        while item.state is PENDING:
            left = self._deadline - time.monotonic()
            if self._timeout is not None and left <= 0:
                name = f"map of {self._batch.function}"
                raise CallTimeoutError(name, self._timeout)
            waker = threading.Event()
            with self._batch.reader_waiting(waker.set, item):
                if item.state is PENDING:
                    waker.wait(min(left, threading.TIMEOUT_MAX))

    def _leave(self) -> None:
        batch = self._batch
        if batch.output:
            batch.close("its map was left")
            batch.drop_pending()
            for item in list(batch.running):
                batch.abandon(item)
            for job in list(self._pool.waiting.values()):
                if isinstance(job, MapWorkItem) and job.batch is batch:
                    job.cancel_pending()
            self._pool.wake()
        batch.detach_reader()


def _outcome(item: Item[T]) -> T:
    if item.state is DISCARDED:
        raise futures.CancelledError
    outcome, item.outcome = item.outcome, None
    if item.state is SUCCEEDED:
        return cast("T", outcome)
    try:
        raise outcome
    finally:
        del outcome  # its traceback holds this frame
