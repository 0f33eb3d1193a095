"""A third kind of worker, made of the protocols alone (rule 22): a new thread for each lease."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, final

import anyio
import anyio.lowlevel

from asyncrun._system.eventloop import cancellation_types, threadsafe_caller
from asyncrun._workers.base import Worker, WorkerFactory
from asyncrun._workers.slots import SlotQueue, Slots
from asyncrun._workers.thread.item_loop import ThreadItemLoop

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrun._core.batch import Batch
    from asyncrun._core.call import Call, SlotLease
    from asyncrun._core.registry import RunningCall

T = TypeVar("T")


@final
class FreshThreads(WorkerFactory):
    """The options: how many threads there may be at once. Any number of runners may use it."""

    def __init__(self, capacity: int = 40) -> None:
        self.capacity = capacity

    def make_worker(
        self,
        owner: object,
        *,
        grace: float,
        on_abandoned_call_end: Callable[[], None],
    ) -> FreshThreadWorker:
        return FreshThreadWorker(self.capacity, on_abandoned_call_end)


@final
class FreshThreadWorker(Worker):
    """The worker."""

    def __init__(self, capacity: int, on_abandoned_call_end: Callable[[], None]) -> None:
        self._slots = Slots(anyio.CapacityLimiter(capacity), SlotQueue())
        self._on_abandoned_call_end = on_abandoned_call_end
        self._post = threadsafe_caller()
        self._silent = cancellation_types()

    @property
    def capacity(self) -> int:
        return self._slots.capacity

    def holders(self) -> list[RunningCall]:
        return self._slots.holders()

    async def run(self, call: Call[T]) -> T:
        await self._slots.acquire(call)
        return await self._run_in_thread(call)

    async def serve(self, batch: Batch[Any], on_slot: Callable[[], None]) -> None:
        loop = ThreadItemLoop(batch, self._slots.queue)
        await self._slots.run_consumer(loop, on_slot, self._run_in_thread)

    async def aclose(self) -> None:
        """Do nothing: each thread ends with its lease."""

    async def _run_in_thread(self, lease: SlotLease[T]) -> T:
        ended, outcome, error = anyio.Event(), Future[T](), None
        main = partial(copy_context().run, self._main, lease, outcome, ended)
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
            threading.Thread(target=main, daemon=True).start()
            await ended.wait()
            return outcome.result()
        except BaseException as exc:
            error = exc
            raise
        finally:
            if lease.waiter_done(error):
                self._slots.release(lease)
            del error, outcome, main

    def _main(self, lease: SlotLease[T], outcome: Future[T], ended: anyio.Event) -> None:
        if not lease.try_start():
            return
        try:
            outcome.set_result(lease.run())
        except BaseException as exc:  # noqa: BLE001 - it is the outcome
            outcome.set_exception(exc)
        is_late = True
        try:
            is_late = lease.worker_done(outcome.exception(), silent_late_errors=self._silent)
        finally:
            self._post(partial(self._free, lease) if is_late else ended.set)

    def _free(self, lease: SlotLease[Any]) -> None:
        self._slots.release(lease)
        self._on_abandoned_call_end()
