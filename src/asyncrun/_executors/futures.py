"""What a pool does for an `Executor`: one call with a future, or items of a map.

Rules of this module:

- To the outside a future behaves as that of `concurrent.futures`; in addition `Future.cancel` asks
  a call that runs to stop.
- The results of a map come through a batch, as those of `Runner.map` do: a future for each item
  would cost ten times as much. Their order, errors and time-outs are those of
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

from .._core.batch import DISCARDED, FAILED, PENDING, SUCCEEDED, Batch, do_nothing
from .._core.errors import CallTimeoutError
from .._core.registry import function_name, user_code_entry
from .._core.stop import StopToken, current_token, token_by_thread
from .._workers.thread.item_loop import ItemRunner
from .work_item import WorkItem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextvars import Context

    from .._core.batch import Item
    from .._core.registry import RunningCall
    from .pool import Pool

T = TypeVar("T")


@final
class Future(futures.Future[T]):
    """The future of a call of an `Executor`."""

    _pool: Pool
    _token: StopToken | None = None  # only while the call runs: most are never asked to stop

    def cancel(self) -> bool:
        """Cancel the call if it has not begun; if it runs, ask it to stop.

        Returns:
            Whether it is cancelled, and never begins. A call that runs cannot be cancelled, but
            its stop token is set; what it then returns or raises, `Stopped` mostly, is its
            outcome.
        """
        if cancelled := super().cancel():
            self._tell()
        elif (token := self._token) is not None:
            token._stop("its future was cancelled")
        self._pool.wake()
        return cancelled

    def _tell(self) -> None:
        """Tell those who wait that it is cancelled, unless a thread of the pool is about to."""
        if self._pool.waiting.pop(self, None) is not None:
            self.set_running_or_notify_cancel()


@final
class FutureCall(WorkItem, Generic[T]):
    """A call, and the future that its outcome goes to.

    Args:
        pool: Where it runs.
        func: The function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Attributes:
        token: Its stop flag; there is none before it begins.
        started: When it began, by `time.monotonic`.
        thread: Where it runs, by `threading.get_ident`.
    """

    __slots__ = (
        "_args",
        "_context",
        "_func",
        "_kwargs",
        "_pool",
        "future",
        "started",
        "thread",
        "token",
    )

    token: StopToken
    started: float
    thread: int

    def __init__(
        self, pool: Pool, func: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._pool = pool
        self._func = func
        self._args = args
        self._kwargs = kwargs
        self._context = copy_context()
        self.future: Future[T] = Future()
        self.future._pool = pool

    @user_code_entry
    def run(self) -> None:
        """See `WorkItem.run`."""
        future, context, pool = self.future, self._context, self._pool
        if pool.waiting.pop(future, None) is None:
            return  # it was cancelled
        self.token = future._token = token = StopToken()
        if not future.set_running_or_notify_cancel():
            return  # it is just being cancelled
        if pool.stopped:  # its stop may have found no token
            self.stop(pool.reason)
        ident = self.thread = threading.get_ident()
        self.started = time.monotonic()
        token_by_thread[ident] = self
        context.run(current_token.set, token)
        try:
            try:
                result = context.run(self._func, *self._args, **self._kwargs)
            finally:
                del token_by_thread[ident]  # the future's callbacks are not inside of the call
        except BaseException as exc:  # noqa: ASYNC103, BLE001 - it is the call's outcome
            future._token = None
            future.set_exception(exc)
            del self, future  # the traceback of the error holds this frame
        else:
            future._token = None
            future.set_result(result)

    def cancel_pending(self) -> None:
        """See `WorkItem.cancel_pending`."""
        if super(Future, self.future).cancel():  # without asking a call that runs to stop
            self.future._tell()

    def fail(self, error: Exception) -> None:
        """See `WorkItem.fail`."""
        waited = self._pool.waiting.pop(self.future, None) is not None
        if waited and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def stop(self, reason: str | None) -> None:
        """See `WorkItem.stop`."""
        token: StopToken | None = getattr(self, "token", None)
        if token is not None:
            token._stop(reason)
            self._pool.wake()

    def running_calls(self) -> list[RunningCall]:
        """See `WorkItem.running_calls`."""
        return [self] if self.future.running() else []

    @property
    def name(self) -> str:
        """See `RunningCall.name`."""
        return function_name(self._func, *self._args)

    @property
    def function(self) -> str:
        """See `RunningCall.function`."""
        return function_name(self._func, *self._args)

    @property
    def owner(self) -> object:
        """See `RunningCall.owner`."""
        return self._pool

    def is_cooperative(self) -> bool:
        """See `RunningCall.is_cooperative`."""
        return self.token._is_cooperative()


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
        self.token = StopToken()

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
        # Who adds an item looks how many turns there are; who ends looks for items.
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
            request_consumer=do_nothing,
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
        """Give the results in the order of the items."""
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
        while item.state == PENDING:
            left = self._deadline - time.monotonic()
            if self._timeout is not None and left <= 0:
                name = f"map of {self._batch.function}"
                raise CallTimeoutError(name, self._timeout)
            self._batch.wait_blocking(item, min(left, threading.TIMEOUT_MAX))

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
    if item.state == DISCARDED:
        raise futures.CancelledError
    outcome, item.outcome = item.outcome, None
    if item.state == SUCCEEDED:
        return cast("T", outcome)
    try:
        raise outcome
    finally:
        del outcome  # its traceback holds this frame
