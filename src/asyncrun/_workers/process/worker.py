"""Blocking calls in worker processes: the options, and the worker.

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

from ..._core.checks import check_blocking, check_count
from ..._core.errors import WrongStateError
from ..._system.cpu import usable_cores
from ..._system.eventloop import NO_LIMIT
from ..base import Worker, WorkerFactory
from ..remote.call import RemoteCall
from ..remote.item_loop import RemoteItemLoop
from ..slots import SlotQueue, Slots
from ..thread.worker import ThreadWorker
from .pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVarTuple

    from ..._core.batch import Batch
    from ..._core.call import Call
    from ..._core.registry import RunningCall

    ArgsT = TypeVarTuple("ArgsT")

T = TypeVar("T")


@final
class ProcessWorkers(WorkerFactory):
    """Worker processes with options of their own, for ``worker=`` of a `Runner`'s methods.

    ::

        workers = ProcessWorkers(4, initializer=load_model, initargs=(path,))
        async with Runner() as runner, runner.map(predict, items, worker=workers) as results:
            ...

    ``worker="process"`` is a set without options; each object is one more, with slots and
    processes of its own. It belongs to the first runner that uses it, which ends its processes
    when it is left. A process is started when a call needs one, and kept for the next call.

    Functions, arguments, results and errors are pickled. Where the extra ``asyncrun[cloudpickle]``
    is installed, what plain pickle cannot reach by its name goes by value: lambdas, closures, and
    all that a prompt or a notebook defines, with the globals that a function refers to. Such a
    function is sent once to each process, and again when what it refers to has changed. A class
    that goes by value is another class in the worker, though one with all the same methods. An
    instance that comes back is of the class that was sent. So ``isinstance`` holds on both sides,
    but not for what was made before a cell that defines the class ran once more.

    Args:
        max_workers: How many calls may run in these processes at once, at least 1; None means as
            many as there are cores that this process may use.
        initializer: What each process calls first.
        initargs: Its arguments. What `multiprocessing` shares may be among them (a ``Lock``, a
            ``Queue`` of a spawn context), but a process that is killed while it holds such a lock,
            or writes to such a queue, can leave it unusable for all. For results and progress use
            return values and the counters of a map.
        max_tasks_per_child: After how many calls, at least 1, a process is replaced, against
            leaks; None means never.

    Raises:
        ValueError: A number is out of its range.
        TypeError: ``initializer`` is not a plain function.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        initializer: Callable[[*ArgsT], object] | None = None,
        initargs: tuple[*ArgsT] = (),  # type: ignore[assignment]
        max_tasks_per_child: int | None = None,
    ) -> None:
        check_count("max_workers", max_workers)
        check_count("max_tasks_per_child", max_tasks_per_child)
        if initializer is not None:
            check_blocking("ProcessWorkers(initializer=)", initializer)
        self._max_workers = usable_cores() if max_workers is None else max_workers
        self._initializer = None if initializer is None else (initializer, initargs)
        self._max_tasks_per_child = max_tasks_per_child
        self._owner: str | None = None

    def __repr__(self) -> str:
        return f"<ProcessWorkers of {self._max_workers}>"

    def make_worker(
        self, owner: object, *, grace: float, on_abandoned_call_end: Callable[[], None]
    ) -> ProcessWorker:
        """Make what runs the calls, for the first runner that uses this object."""
        if self._owner is not None:
            raise WrongStateError(self, f"belongs to {self._owner}", "make one for each runner")
        self._owner = repr(owner)
        return ProcessWorker(
            Slots(anyio.CapacityLimiter(self._max_workers), SlotQueue()),
            ProcessPool(self._initializer, self._max_tasks_per_child, grace),
            on_abandoned_call_end=on_abandoned_call_end,
        )


@final
class ProcessWorker(Worker):
    """Runs calls in processes, one for each slot at most.

    Args:
        slots: Its slots.
        pool: Where to take processes; they end with this worker.
        on_abandoned_call_end: See `WorkerFactory.make_worker`.
    """

    def __init__(
        self, slots: Slots, pool: ProcessPool, *, on_abandoned_call_end: Callable[[], None]
    ) -> None:
        self._slots = slots
        self._threads = ThreadWorker(slots, on_abandoned_call_end=on_abandoned_call_end)
        self._pool = pool

    @property
    def capacity(self) -> int:
        """See `Worker.capacity`."""
        return self._slots.capacity

    def holders(self) -> list[RunningCall]:
        """See `Worker.holders`."""
        return self._slots.holders()

    async def run(self, call: Call[T]) -> T:
        """Run a call in a process; see `Worker.run`."""
        threads, remote_call = self._threads, RemoteCall(call, self._pool)
        await anyio.lowlevel.checkpoint_if_cancelled()
        await self._slots.acquire(remote_call)
        try:
            frame = await remote_call.receive() if remote_call.send_inline() else None
        except BaseException as exc:
            if not remote_call.was_sent_inline:  # a KeyboardInterrupt came before
                remote_call.worker_done(exc)
            if remote_call.waiter_done(exc):
                self._slots.release(remote_call)
            else:
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
                remote_call.waiter_done(error)  # it is over: both sides are here
                self._slots.release(remote_call)
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
        loop = RemoteItemLoop(batch, self._slots.queue, self._pool)
        await self._slots.run_consumer(loop, on_slot, self._threads.run_in_thread)

    async def aclose(self) -> None:
        """End all processes; see `Worker.aclose`."""
        is_cancelled = anyio.current_effective_deadline() == -math.inf
        close = partial(self._pool.close, is_cancelled=is_cancelled)
        with anyio.CancelScope(shield=True):
            try:
                await anyio.to_thread.run_sync(close, abandon_on_cancel=True, limiter=NO_LIMIT)
            except RuntimeError:  # there is no thread to be had
                close()
