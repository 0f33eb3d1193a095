"""The protocols of a worker: the duties that a runner relies on.

A kind of worker is a `WorkerFactory` and the `Worker` that it makes. `Runner` and the core know
no more of it than these two protocols (rule 22).

Rules for every worker (rules 5 to 8, 24):

- A lease (`Call`, or the consumer of a batch) takes a slot (`slots.Slots`) before anything of it
  runs, and keeps it until that has really ended, whether or not anybody still waits.
- Two sides claim a lease. Where it runs: `SlotLease.try_start` (False: do nothing), then
  `SlotLease.run`, then `SlotLease.worker_done`, in every case. Where it is awaited:
  `SlotLease.waiter_done`, in a ``finally``. The side that comes second gives the slot back.
- A call that was asked to stop and that the worker cannot end is left running; the worker notifies
  its owner when the call has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.batch import Batch
    from .._core.call import Call
    from .._core.registry import RunningCall

T = TypeVar("T")


class Worker(Protocol):
    """A place where calls run: threads, processes, or whatever can start, flag and end a call.

    All of it is used in the thread of one event loop.
    """

    @property
    def capacity(self) -> int:
        """How many slots it has."""
        ...

    def holders(self) -> list[RunningCall]:
        """Return the calls that hold every slot and were asked to stop; none if a slot is free."""
        ...

    async def run(self, call: Call[T]) -> T:
        """Run a call and return its result, or raise its error.

        A call whose waiter is cancelled already never begins.

        A call that runs outside of this process sets `Call.location`: first to
        `registry.STARTING`, and to a name when it is sent; then it calls `Call.on_begin`.

        On cancel: it is left at once. The call is left running and is asked to stop; its slot is
        given back, and ``on_abandoned_call_end`` called, when it has really ended.
        """
        ...

    async def serve(self, batch: Batch[Any], on_slot: Callable[[], None]) -> None:
        """Take a slot and run items in it, until there are none or another caller is to have it.

        While it has the slot it is among the consumers of the batch. It ends soon after the batch
        was closed, and after about one item if another lease waits for a slot.

        Args:
            batch: Where to take the items.
            on_slot: To be called in the event loop's thread when the slot is taken.

        Raises:
            RuntimeError: Nothing can be started there (no thread, no process).

        On cancel: it is left at once. An item is left running; to ask it to stop is the business
        of the batch. The slot is given back when the item has really ended.
        """
        ...

    async def aclose(self) -> None:
        """End what it has started for itself; nothing runs in it that anybody waits for.

        On cancel: it goes on: it is shielded, and it is bounded.
        """
        ...


class WorkerFactory(Protocol):
    """The options of one kind of worker: an object that ``worker=`` of a runner takes."""

    def make_worker(
        self, owner: object, *, grace: float, on_abandoned_call_end: Callable[[], None]
    ) -> Worker:
        """Make the worker, in the event loop of the first runner that uses this object.

        That runner closes it. The same runner calls this once.

        Args:
            owner: The runner; its ``repr`` is its name in messages.
            grace: Seconds that a call gets to end by itself after it was asked to stop.
            on_abandoned_call_end: To be called in the event loop's thread whenever a call has
                ended that nobody waited for.

        Returns:
            The worker.

        Raises:
            WrongStateError: Another runner has used this object (a `RuntimeError`).
        """
        ...
