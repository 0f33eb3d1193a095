"""The input of a map: taken item by item, and never far ahead of the reader of the results.

Rules of this module:

- The input is the user's: it is iterated in the event loop's thread, by one task at a time, and
  not closed.
- What it raises is kept until the results of what was taken before have been read.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Iterable, Sized
from typing import TYPE_CHECKING, Any, Final, final

import anyio
import anyio.lowlevel

from .._core.batch import Item
from .._core.errors import NotIterableError, Stopped

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from .._core.batch import Batch

YIELD_INTERVAL: Final = 0.001
"""Seconds after which a task that never has to wait lets the event loop turn."""


@final
class MapInput:
    """Takes items from an input and puts them into a batch.

    Args:
        items: The input.
        batch: Where to put them.
        buffersize: How many of them may be there before the result of the first is read.
        max_concurrency: How many of them may run at once.

    Attributes:
        total: The length of the input, if it has one.
        pulled: How many items were taken.
        consumed: How many of their results were read; for the reader to count.
        refill_below: When there are only so many more of the former, it is time to refill.
        exhausted: Whether nothing more is to come.
        error: What the input raised.
    """

    total: int | None
    pulled: int
    consumed: int
    refill_below: int
    exhausted: bool
    error: BaseException | None

    def __init__(
        self,
        items: Iterable[Any] | AsyncIterable[Any],
        batch: Batch[Any],
        buffersize: int,
        max_concurrency: int,
    ) -> None:
        self._iterator: Iterator[Any] | None = None
        self._async_iterator: AsyncIterator[Any] | None = None
        if isinstance(items, AsyncIterable):
            self._async_iterator = aiter(items)
        else:
            try:
                self._iterator = iter(items)
            except TypeError as exc:
                raise NotIterableError("Runner.map()", items) from exc
        self.total = _length(items)
        self._batch = batch
        self._buffer = buffersize
        # To take several at once is faster; what is left must keep all slots busy meanwhile.
        self.refill_below = (
            buffersize * 3 // 4 if buffersize >= 4 * max_concurrency else buffersize - 1
        )
        self.pulled = 0
        self.consumed = 0
        self.exhausted = False
        self.error = None
        self._capacity = anyio.Event()

    def has_capacity(self) -> bool:
        """Return whether one more item may be taken."""
        return self.pulled - self.consumed < self._buffer

    def is_done(self) -> bool:
        """Return whether all results were read that there will ever be."""
        return self.exhausted and self.consumed == self.pulled

    def pull(self) -> bool:
        """Take what has room, but not for long; return whether there is more to take now."""
        if (iterator := self._iterator) is None:
            self._capacity.set()  # it is for `pull_async`
            return False
        batch, until = self._batch, time.monotonic() + YIELD_INTERVAL
        ordered, queue, pending = batch.ordered, batch.output, batch.pending
        for index in range(self.pulled, self.consumed + self._buffer):
            try:
                arg = next(iterator)
            except Exception as exc:  # noqa: BLE001 - it is raised when the rest is done
                self._end(exc, StopIteration)
                return False
            item = Item(batch, index, arg)  # as `Batch.put` does, without a call for each
            if ordered:
                queue.append(item)
            pending.put(item)
            self.pulled = index + 1
            if time.monotonic() >= until:
                return self.has_capacity()
        return False

    def release_input(self) -> None:
        """Release the input."""
        self._iterator = self._async_iterator = None

    async def pull_async(self, added: Callable[[], None]) -> None:
        """Take items from an async input as long as there are any; from no other.

        On cancel: the input is left as it is.

        Args:
            added: To be called after each item.
        """
        until = time.monotonic() + YIELD_INTERVAL
        while self._async_iterator is not None:
            while not self.has_capacity():
                self._capacity = anyio.Event()
                await self._capacity.wait()
            try:
                arg = await anext(self._async_iterator)
            except (Exception, Stopped) as exc:  # noqa: BLE001 - raised when the rest is done
                self._end(exc, StopAsyncIteration)
                return
            if self._batch.closed:  # in the meantime
                return
            self._batch.put(self.pulled, arg)
            self.pulled += 1
            del arg
            added()
            if time.monotonic() >= until:  # it may be one that never waits
                await anyio.lowlevel.checkpoint()
                until = time.monotonic() + YIELD_INTERVAL

    def _end(self, error: BaseException, expected: type[Exception]) -> None:
        if not isinstance(error, expected):
            self.error = error
        self.release_input()
        self.exhausted = True
        self.refill_below = -1
        self._batch.notify_reader()


def _length(items: object) -> int | None:
    try:
        return len(items) if isinstance(items, Sized) else None
    except (TypeError, ValueError, OverflowError, NotImplementedError):
        return None  # it has none to tell, though it may be iterated
