"""Blocking calls in worker processes.

Rule of this module (rules 18 to 20): a call takes a slot and a thread, as any other, and the
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

from ..._system.eventloop import NO_LIMIT
from ..base import Worker
from ..remote.call import RemoteCall
from ..remote.item_loop import RemoteItemLoop
from ..thread.worker import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.batch import Batch
    from ..._core.call import Call
    from ..._core.registry import RunningCall
    from ..slots import SlotQueue
    from .pool import ProcessPool

T = TypeVar("T")


@final
class ProcessWorker(Worker):
    """Runs calls in processes, one for each slot at most."""

    def __init__(
        self,
        slots: anyio.CapacityLimiter,
        pool: ProcessPool,
        *,
        on_abandoned_call_end: Callable[[], None],
        slot_queue: SlotQueue,
    ) -> None:
        self._threads = ThreadWorker(
            slots, on_abandoned_call_end=on_abandoned_call_end, slot_queue=slot_queue
        )
        self._pool = pool
        self._slot_queue = slot_queue

    @property
    def capacity(self) -> int:
        """See `Worker.capacity`."""
        return self._threads.capacity

    def holders(self) -> list[RunningCall]:
        """See `Worker.holders`."""
        return self._threads.holders()

    async def run(self, call: Call[T]) -> T:
        """Run a call in a process; see `Worker.run`."""
        threads, remote_call = self._threads, RemoteCall(call, self._pool)
        await anyio.lowlevel.checkpoint_if_cancelled()
        await threads.acquire_slot(remote_call)
        try:
            frame = await remote_call.receive() if remote_call.send_inline() else None
        except BaseException as exc:
            if not remote_call.was_sent_inline:  # a KeyboardInterrupt came before
                remote_call.worker_done(exc)
            if not threads.waiter_done(remote_call, exc):
                threads.finish_in_new_thread(remote_call)
            raise
        if frame is None:
            return await self._continue_in_thread(remote_call)
        error = None
        try:
            return remote_call.finish(frame)
        except BaseException as exc:
            error = exc
            raise
        finally:
            try:
                remote_call.worker_done(error)
            finally:
                threads.waiter_done(remote_call, error)
                del error

    async def _continue_in_thread(self, remote_call: RemoteCall[T]) -> T:
        """Start a call in a thread, or go on with it there."""
        try:
            return await self._threads.run_in_thread(remote_call)
        finally:
            if remote_call.needs_thread():  # it was left before a thread had it
                self._threads.finish_in_new_thread(remote_call)

    async def serve(self, batch: Batch[Any], on_slot: Callable[[], None]) -> None:
        """Run items in a process; see `Worker.serve`."""
        await self._threads.attend_loop(
            RemoteItemLoop(batch, self._slot_queue, self._pool), on_slot
        )

    async def aclose(self) -> None:
        """End all processes; see `Worker.aclose`."""
        is_cancelled = anyio.current_effective_deadline() == -math.inf
        close = partial(self._pool.close, is_cancelled=is_cancelled)
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(close, abandon_on_cancel=True, limiter=NO_LIMIT)
            except RuntimeError:  # there is no thread to be had
                close()
