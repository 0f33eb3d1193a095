"""The protocol of a worker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.batch import Batch
    from .._core.call import Call
    from .._core.registry import RunningCall

T = TypeVar("T")


class Worker(Protocol):
    """A place where calls run: threads, processes, or whatever can start, flag and end a call."""

    @property
    def capacity(self) -> int:
        """How many slots it has."""
        ...

    def holders(self) -> list[RunningCall]:
        """Return the calls that hold every slot and were asked to stop, or none."""
        ...

    async def run(self, call: Call[T]) -> T:
        """Run a call and return its result.

        When cancelled it must leave the call at once and give back the slot when the call has
        really ended. Whenever a call that was left ends, it wakes the runner.

        On cancel: the call is left running and is asked to stop.
        """
        ...

    async def serve(self, batch: Batch[Any], on_slot: Callable[[], None]) -> None:
        """Take a slot and run items in it, until there are none or another caller is to have it.

        When cancelled it must leave at once, and give back the slot when the item that runs in it
        has really ended.

        Args:
            batch: Where to take the items.
            on_slot: To be called in the event loop's thread when the slot is taken.

        On cancel: an item is left running; to ask it to stop is the business of the batch.
        """
        ...

    async def aclose(self) -> None:
        """End what it has started for itself; nothing runs in it that anybody waits for.

        On cancel: it goes on: it is shielded, and it is bounded.
        """
        ...
