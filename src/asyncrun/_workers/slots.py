"""The slots of one worker, the waiters for them, and the loops that can give a slot up.

Rules of this module:

- A slot is taken on behalf of a lease, and given back when what it was taken for has really
  ended (rule 7).
- While a waiter is queued, a loop gives its slot up after about one item's time.
- A waiter: enter the queue, then nudge idle loops. A loop: register as idle, then read the queue.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, final

import anyio

from .starvation import holders, watching

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from .._core.batch import ItemConsumer
    from .._core.call import SlotLease
    from .._core.registry import RunningCall


class SlotHolder(Protocol):
    """A lease that can give up its slot between two items."""

    def siblings(self) -> Sequence[SlotLease[Any]] | None:
        """See `SlotLease.siblings`."""
        ...

    def active_siblings(self) -> int:
        """See `SlotLease.active_siblings`."""
        ...

    def nudge(self) -> None:
        """Wake the holder if it is idle, so that it reads the queue; from any thread."""
        ...


@final
class SlotQueue:
    """The waiters for a slot of one worker, and the idle loops that hold one."""

    __slots__ = ("_idle", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[SlotLease[Any]] = deque()
        self._idle: dict[SlotHolder, None] = {}

    def add_waiter(self, lease: SlotLease[Any]) -> None:
        """Note that a lease waits for a slot."""
        self.waiting.append(lease)
        for loop in list(self._idle):
            loop.nudge()

    def remove_waiter(self, lease: SlotLease[Any]) -> None:
        """Note that a lease waits no longer."""
        try:  # noqa: SIM105 - suppress() is slow
            self.waiting.remove(lease)
        except ValueError:
            pass  # a loop has promised it a slot

    def mark_idle(self, loop: SlotHolder) -> None:
        """Note that a loop has nothing to do."""
        self._idle[loop] = None

    def mark_busy(self, loop: SlotHolder) -> None:
        """Note that a loop has something to do, or ends."""
        del self._idle[loop]

    def should_yield(self, loop: SlotHolder, *, idle: bool) -> bool:
        """Return whether a loop must yield its slot; if so, reserve it for the longest waiter.

        A call has a right to it, and so has another batch that has none, or so few that giving
        it one does not only swap the two.
        """
        mine, share = loop.siblings(), loop.active_siblings()
        for lease in list(self.waiting):
            if lease.siblings() is mine:
                continue
            other = lease.active_siblings()
            if idle or other is None or other <= 0 or other + 1 < share:
                return self._reserve_for_next()
        return False

    def _reserve_for_next(self) -> bool:
        try:
            self.waiting.popleft()
        except IndexError:  # another loop was faster
            return False
        return True


UNSHARED: Final = SlotQueue()
"""For slots that no loop uses."""


@final
class Slots:
    """The slots of one worker.

    Args:
        limiter: A token of it is a slot.
        queue: The waiters; those of a worker that runs no batches need none of their own.

    Attributes:
        queue: The same.
    """

    __slots__ = ("_limiter", "queue")

    queue: SlotQueue

    def __init__(self, limiter: anyio.CapacityLimiter, queue: SlotQueue = UNSHARED) -> None:
        self._limiter = limiter
        self.queue = queue

    @property
    def capacity(self) -> int:
        """See `Worker.capacity`."""
        return int(self._limiter.total_tokens)

    def holders(self) -> list[RunningCall]:
        """See `Worker.holders`."""
        return holders(self._limiter)

    async def acquire(self, lease: SlotLease[Any]) -> None:
        """Wait for a slot.

        On cancel: none is taken.
        """
        try:
            self._limiter.acquire_on_behalf_of_nowait(lease)
        except anyio.WouldBlock:
            self.queue.add_waiter(lease)
            try:
                with watching(self._limiter, lease):
                    await self._limiter.acquire_on_behalf_of(lease)
            finally:
                self.queue.remove_waiter(lease)

    async def run_consumer(
        self,
        consumer: ItemConsumer,
        on_slot: Callable[[], None],
        run: Callable[[ItemConsumer], Coroutine[Any, Any, None]],
    ) -> None:
        """Take a slot for a consumer of a batch, and run it there; see `Worker.serve`.

        On cancel: as ``run``.

        Args:
            consumer: The lease; ``run`` returns the slot.
            on_slot: See `Worker.serve`.
            run: Runs it.
        """
        await self.acquire(consumer)
        consumer.batch.add_consumer(consumer)
        try:
            on_slot()
            await run(consumer)
        finally:
            consumer.batch.remove_consumer(consumer)

    def release(self, lease: SlotLease[Any]) -> None:
        """Return a slot."""
        self._limiter.release_on_behalf_of(lease)
