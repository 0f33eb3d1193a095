"""Calls and batches in threads.

Rules of this module (rules 5 to 8 and 11):

- Calls go through `anyio.to_thread.run_sync` with ``abandon_on_cancel=True``; so context
  variables, `anyio.from_thread` and `anyio.from_thread.check_cancelled` work in them.
- A slot is given back when the thread has really ended. AnyIO gives it back on cancellation under
  asyncio and at the end under Trio; so the slot is taken from `slots.Slots`, and AnyIO gets a
  limiter without a limit.
- No thread that runs a call holds up the exit of the process (see `anyio_patch`).
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast, final

import anyio.to_thread

from ..._system.eventloop import NO_LIMIT, cancellation_types, threadsafe_caller
from ..._system.process_exit import install_exit_handler
from ..._system.terminal import note_modes
from ..base import Worker
from .anyio_patch import (
    NotDaemonError,
    make_threads_daemons,
    stop_idle_thread,
)
from .item_loop import ThreadItemLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.batch import Batch
    from ..._core.call import Call, SlotLease
    from ..._core.registry import RunningCall
    from ..slots import Slots

T = TypeVar("T")

install_exit_handler()


@final
class ThreadWorker(Worker):
    """Runs calls in threads, at most as many at once as there are slots.

    Args:
        slots: Its slots.
        on_abandoned_call_end: See `WorkerFactory.make_worker`.
    """

    __slots__ = (
        "_call_soon_threadsafe",
        "_cancellation_types",
        "_needs_daemons",
        "_on_abandoned_call_end",
        "_slots",
    )

    def __init__(
        self,
        slots: Slots,
        *,
        on_abandoned_call_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._slots = slots
        self._on_abandoned_call_end = on_abandoned_call_end
        self._call_soon_threadsafe = threadsafe_caller()
        self._cancellation_types = cancellation_types()
        self._needs_daemons = make_threads_daemons()
        note_modes()

    @property
    def capacity(self) -> int:
        """See `Worker.capacity`."""
        return self._slots.capacity

    def holders(self) -> list[RunningCall]:
        """See `Worker.holders`."""
        return self._slots.holders()

    async def run(self, call: Call[T]) -> T:
        """Run a call in a thread; see `Worker.run`."""
        await self._slots.acquire(call)
        return await self.run_in_thread(call)

    async def serve(self, batch: Batch[Any], on_slot: Callable[[], None]) -> None:
        """Run items in a thread; see `Worker.serve`."""
        loop = ThreadItemLoop(batch, self._slots.queue)
        await self._slots.run_consumer(loop, on_slot, self.run_in_thread)

    async def aclose(self) -> None:
        """Do nothing: threads end by themselves; see `Worker.aclose`."""

    async def run_in_thread(self, lease: SlotLease[T]) -> T:
        """Use the slot that was taken, with a thread.

        On cancel: as `Worker.run`.
        """
        error = None
        try:
            while True:
                try:
                    return await anyio.to_thread.run_sync(
                        self._run_lease, lease, abandon_on_cancel=True, limiter=NO_LIMIT
                    )
                except NotDaemonError as refusal:
                    stop_idle_thread(refusal.thread)
        except BaseException as exc:
            error = exc
            raise
        finally:
            if lease.waiter_done(error):
                self._slots.release(lease)
            del error

    def finish_in_new_thread(self, lease: SlotLease[Any]) -> None:
        """Start a thread that brings a lease to its end, which was left without one."""
        try:
            threading.Thread(target=self._run_lease, args=(lease,), daemon=True).start()
        except RuntimeError:  # there is none to be had
            self._run_lease(lease, in_any_thread=True)

    def _run_lease(self, lease: SlotLease[T], *, in_any_thread: bool = False) -> T:
        # A daemon's frames are never cleaned up, so what they hold is never closed. Were a stream
        # closed at exit while a call holds its lock, CPython would abort.
        _pinned = sys.stdin, sys.stdout, sys.stderr
        if self._needs_daemons and not (in_any_thread or threading.current_thread().daemon):
            raise NotDaemonError(threading.current_thread())
        if not lease.try_start():
            return cast("T", None)  # nobody is waiting any more
        is_late = True  # `worker_done` raises only where a log handler does, and so only if it is
        try:
            try:
                result = lease.run()
            except BaseException as exc:
                is_late = lease.worker_done(exc, silent_late_errors=self._cancellation_types)
                if is_late:
                    return cast("T", None)  # noqa: ASYNC104 - in a thread nothing is cancelled
                raise
            is_late = lease.worker_done()
            return result
        finally:
            if is_late:
                self._call_soon_threadsafe(self._free_slot, lease)

    def _free_slot(self, lease: SlotLease[Any]) -> None:
        self._slots.release(lease)
        self._on_abandoned_call_end()
