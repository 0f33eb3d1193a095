"""The iterator of an executor's ``map``.

Rule of this module: the results come through a batch, as those of `Runner.map` do, because a future
for each item would cost ten times as much. Their order, errors and time-outs are those of
`concurrent.futures.Executor.map`.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from concurrent import futures
from contextvars import copy_context
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar, cast, final

from ..._core.batch import DISCARDED, PENDING, SUCCEEDED, Batch
from ..._core.errors import CallTimeoutError
from .work_item import MapWorkItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ..._core.batch import Item
    from ..pool.threads import Pool

T = TypeVar("T")


def _call_inline(func: Callable[..., None], *args: object) -> None:
    func(*args)


def _star_call(func: Callable[..., T], args: tuple[object, ...]) -> T:
    return func(*args)


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
        make_work_item: Makes a `MapWorkItem`.
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
        make_work_item: Callable[..., MapWorkItem],
    ) -> None:
        self._pool = pool
        self._make_work_item = make_work_item
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
        link = weakref.WeakMethod(self._add_late_consumer)  # the batch is not to keep its reader
        self._batch.request_consumer = lambda: (add := link()) and add()
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
                work_item = self._make_work_item(batch, pool, self._context, single=True)
                pool.add(work_item, work_item)
            elif len(batch.consumers) < pool.size:
                self._add_consumer()
            if batch.closed:  # in this very moment
                batch.drop_pending()

    def _add_consumer(self) -> None:
        work_item = self._make_work_item(self._batch, self._pool, self._context, single=False)
        self._batch.consumers.append(work_item)
        self._pool.add(work_item, work_item)

    def _add_late_consumer(self) -> None:
        """Add a consumer for items that another one has put back, in that one's thread."""
        if len(self._batch.consumers) < self._pool.size:
            work_item = self._make_work_item(self._batch, self._pool, self._context, single=False)
            self._batch.consumers.append(work_item)
            self._pool.add_late(work_item)

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
