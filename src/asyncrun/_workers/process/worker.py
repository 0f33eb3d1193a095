"""Blocking calls in worker processes.

Rule of this room (DESIGN.md, 18 to 20): a call takes a slot and a thread, as any other, and the
thread takes a process, talks to it and gives it back. So all that holds for calls in threads holds
here, and all of the waiting is done where it may take time. Only for a call that takes no time to
send is there no thread, unless it turns out to be more than that.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, final

import anyio
import anyio.lowlevel
import anyio.to_thread

from ..base import Worker
from ..remote.call import Errand
from ..remote.item_loop import RemoteLoop
from ..thread.worker import NO_LIMIT, ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.batch import Batch
    from ..._core.call import Call
    from ..._core.registry import Running
    from ..thread.item_loop import Queue
    from .pool import Fleet

T = TypeVar("T")


@final
class ProcessWorker(Worker):
    """Runs calls in processes, one for each slot at most."""

    def __init__(
        self,
        slots: anyio.CapacityLimiter,
        fleet: Fleet,
        *,
        ended: Callable[[], None],
        queue: Queue,
    ) -> None:
        self._threads = ThreadWorker(slots, ended=ended, queue=queue)
        self._fleet = fleet
        self._queue = queue

    @property
    def capacity(self) -> int:
        """See `Worker.capacity`."""
        return self._threads.capacity

    def holders(self) -> list[Running]:
        """See `Worker.holders`."""
        return self._threads.holders()

    async def run(self, call: Call[T]) -> T:
        """Run a call in a process; see `Worker.run`."""
        threads, errand = self._threads, Errand(call, self._fleet)
        await anyio.lowlevel.checkpoint_if_cancelled()
        await threads.take_slot(errand)
        try:
            frame = await errand.answer() if errand.begin_lightly() else None
        except BaseException as exc:
            if not errand.is_light:  # a KeyboardInterrupt came before
                errand.end(exc)
            if not threads.leave(errand, exc):
                threads.hand_over(errand)
            raise
        if frame is None:
            return await self._go_on(errand)
        error = None
        try:
            return errand.finish(frame)
        except BaseException as exc:
            error = exc
            raise
        finally:
            try:
                errand.end(error)
            finally:
                threads.leave(errand, error)
                del error

    async def _go_on(self, errand: Errand[T]) -> T:
        """Let a thread begin a call, or go on with it."""
        try:
            return await self._threads.use_slot(errand)
        finally:
            if errand.is_unattended():  # it was left before a thread had it
                self._threads.hand_over(errand)

    async def serve(self, batch: Batch[Any], admitted: Callable[[], None]) -> None:
        """Run items in a process; see `Worker.serve`."""
        await self._threads.attend_loop(RemoteLoop(batch, self._queue, self._fleet), admitted)

    async def aclose(self) -> None:
        """End all processes; see `Worker.aclose`."""
        is_cancelled = anyio.current_effective_deadline() == -math.inf
        close = partial(self._fleet.close, is_cancelled=is_cancelled)
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(close, abandon_on_cancel=True, limiter=NO_LIMIT)
            except RuntimeError:  # there is no thread to be had
                close()
