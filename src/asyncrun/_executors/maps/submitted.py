"""The map of an `Executor` whose ``submit`` was replaced.

Rules of this module:

- Each item goes through ``submit``, as in `concurrent.futures.Executor.map`: progress bars and
  tracers replace it, on a subclass, on one executor or on the class, and count on that.
- A replaced ``submit`` may return any future: this module uses only its ``result``, ``done`` and
  ``cancel``.
- Order, errors and time-outs are those of the batch that `futures` maps with.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar, final

from ..._core.errors import CallTimeoutError
from ..._core.report import function_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")


@final
class Submitted(Generic[T]):
    """The results of a map, in which each call has a future of its own.

    Args:
        submit: Starts a call, and returns its future.
        func: The function to call.
        iterables: The iterables that its positional arguments come from.
        timeout: Seconds that all results may take, or None.
        buffersize: How many items may be submitted ahead of the reader; None means all.
    """

    def __init__(
        self,
        submit: Callable[..., Future[T]],
        func: Callable[..., T],
        iterables: tuple[Iterable[object], ...],
        *,
        timeout: float | None,
        buffersize: int | None,
    ) -> None:
        self._submit: Callable[..., Future[T]] | None = submit
        self._func = func
        self._timeout = timeout
        self._deadline = time.monotonic() + (timeout or 0)
        self._items = zip(*iterables, strict=False)
        self._queue: deque[Future[T]] = deque()
        self._feed(buffersize)
        if buffersize is None:
            self._submit = None  # it holds the executor, which may end when its user drops it

    def results(self) -> Iterator[T]:
        """Yield the results in the order of the items."""
        queue = self._queue
        try:
            while True:
                self._feed(1)
                if not queue:
                    return
                yield self._take(queue[0])
        finally:
            while queue:
                queue.popleft().cancel()

    def _feed(self, count: int | None) -> None:
        if (submit := self._submit) is None:
            return
        for args in islice(self._items, count):
            self._queue.append(submit(self._func, *args))

    def _take(self, future: Future[T]) -> T:
        try:
            result = self._wait(future)
        finally:
            del future  # the traceback of an error holds this frame
        self._queue.popleft()
        return result

    def _wait(self, future: Future[T]) -> T:
        try:
            if self._timeout is None:
                return future.result()
            left = self._deadline - time.monotonic()
            try:
                return future.result(min(left, threading.TIMEOUT_MAX))
            except TimeoutError:
                if not future.done():
                    name = f"map of {function_name(self._func)}"
                    raise CallTimeoutError(name, self._timeout) from None
            return future.result()  # the call's own TimeoutError, or a result that has just come
        finally:
            del future  # the traceback of an error holds this frame
