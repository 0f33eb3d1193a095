"""The Runner: what can be started, and where, and how to stop it all.

Rules of this module:

- Here is the public face: what is refused, what is explained. How everything ends together is the
  business of `group`, where calls run that of a `Worker`, and `map` that of `map_results`.
- A runner has slots of its own and does not eat AnyIO's.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, final, overload

from .._core.call import Call
from .._core.checks import (
    call_async,
    check_async,
    check_blocking,
    check_count,
    check_seconds,
    check_timeout,
)
from .._core.registry import CallInfo, snapshot
from .._core.report import function_name
from .._workers.call_timeout import run_within
from .._workers.kinds import WorkerOptions, make_worker
from .group import Group
from .map_results import MapResults, Options

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
    from types import TracebackType
    from typing import Self, TypeVarTuple

    import anyio

    from .._workers.base import Worker, WorkerFactory

    ArgsT = TypeVarTuple("ArgsT")

A = TypeVar("A")
T = TypeVar("T")


@final
class Runner:
    """Runs blocking calls and async tasks in one task group, and can stop all of them.

    Use it as an async context manager, under asyncio or Trio::

        async with Runner(max_threads=8) as runner:
            page = await runner.run_sync(fetch, url)

    Leaving the block waits for all that was started, at most ``drain_timeout`` seconds. Then, or
    if the block or one of its tasks fails, is cancelled, or `stop` is called, every task is
    cancelled and every call asked to stop. The runner then waits up to ``grace`` seconds for those
    calls that have met a `safe_point` before (or looked at their token, or are inside an
    `StopToken.on_stop` block), and leaves. Calls still running then are logged (logger
    ``asyncrun``, WARNING) and left behind in daemon threads; worker processes are ended, with
    whatever runs in them.

    Errors come as AnyIO's task groups give them: in an exception group. A KeyboardInterrupt comes
    out as itself, with other errors as its cause. ``sys.exit(n)`` inside the block may come in such
    a group, and the exit status is then 1: return from main, and exit after `run`.

    A runner touches no signal handler. Under `anyio.run`, `asyncio.run` and `trio.run` it stops its
    calls on Ctrl-C, too, and no thread delays the exit; Python prints its own traceback there.

    A worker process imports the main module again, as `multiprocessing` does: the code that starts
    the program belongs below ``if __name__ == "__main__":``. A process takes up to 13 descriptors
    of this one, has an empty standard input and no controlling terminal, and shares standard
    output and error line by line. What a call has started ends with its process, unless it has
    left the process group (``start_new_session=True``).

    Args:
        max_threads: How many calls may run in threads at once, at least 1; None means 40, as in
            AnyIO and Trio. A call holds its slot until its thread has really ended, so abandoned
            calls cannot pile up. The runner does not use AnyIO's default limiter.
        max_processes: How many calls may run in worker processes at once, at least 1; None means
            as many as there are cores that this process may use. A process is started when a
            call needs one, kept for the next call, and ended when the block is left.
        grace: Seconds, at least 0, to wait for calls that were asked to stop.
        drain_timeout: Seconds, at least 0, that leaving the block normally waits for tasks and
            calls. The runner then stops what is left, as `stop` does, without an error. None
            waits without limit. A task that has shielded itself is waited for anyway.
        name: Its name in messages and logs.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        *,
        max_threads: int | None = None,
        max_processes: int | None = None,
        grace: float = 2.0,
        drain_timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        check_count("max_threads", max_threads)
        check_count("max_processes", max_processes)
        check_seconds("grace", grace)
        if drain_timeout is not None:
            check_seconds("drain_timeout", drain_timeout)
        self._options = WorkerOptions(max_threads, max_processes, grace)
        self._name = name
        self._group = Group(
            self, grace=grace, drain_timeout=drain_timeout, on_close=self._end_workers
        )
        self._workers: dict[str | int, Worker] = {}
        self._worker_objects: list[WorkerFactory] = []

    def __repr__(self) -> str:
        return "<Runner>" if self._name is None else f"<Runner {self._name!r}>"

    async def __aenter__(self) -> Self:
        await self._group.open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            return await self._group.close(exc, traceback)  # noqa: ASYNC102 - it is bounded
        finally:
            del exc, traceback

    async def run_sync(
        self,
        func: Callable[[*ArgsT], T],
        *args: *ArgsT,
        worker: Literal["thread", "process"] | WorkerFactory = "thread",
        timeout: float | None = None,  # noqa: ASYNC109 - from when the call begins
        name: str | None = None,
    ) -> T:
        """Run one blocking call and return its result; from any task of this event loop.

        It is the module's `run_sync` with a slot of this runner and stopped with this runner.

        On cancel: the await ends at once; the call's `stop_token` is set. A thread runs on; a
        process is ended, after up to ``grace`` seconds if the call has met a safe point. A result
        that still comes is dropped; an exception other than `Stopped` is logged.

        Args:
            func: A plain function; for keyword arguments use `functools.partial`.
            *args: Its positional arguments.
            worker: Where to run it: ``"thread"``, ``"process"`` or a `ProcessWorkers`.
            timeout: Seconds, above 0, that the call may take from when it begins: when it has a
                slot and, if need be, a process has been started for it. Then the await ends with
                a `CallTimeoutError`, and the call as on a cancellation. None means no limit.
            name: Its name in reports and errors; by default the function's.

        Returns:
            What ``func`` returns.

        Raises:
            CallTimeoutError: The call took longer than ``timeout`` (a `TimeoutError`; any other
                one is an error of ``func`` itself).
            WorkerDied: Its worker process ended under it.
            WorkerStartError: No worker process could be started.
            SerializationError: Something cannot go to the worker process, or come back.
            Stopped: The runner stopped, and the waiting task is not one of the runner's own,
                which are cancelled instead.
            TypeError: ``func`` is not a plain function.
            RuntimeError: The runner is not entered, or was left, or this is another thread than
                its event loop's.
            ValueError: There is no such worker, or ``timeout`` is not above 0.
        """
        call, run = self._call("Runner.run_sync()", func, args, worker, timeout, name)
        return await self._group.run_call(call, run)

    def submit(
        self,
        func: Callable[[*ArgsT], T],
        *args: *ArgsT,
        worker: Literal["thread", "process"] | WorkerFactory = "thread",
        timeout: float | None = None,
        name: str | None = None,
    ) -> anyio.TaskHandle[T]:
        """Start one blocking call as a task of this runner.

        Args:
            func: A plain function; for keyword arguments use `functools.partial`.
            *args: Its positional arguments.
            worker: Where to run it: ``"thread"``, ``"process"`` or a `ProcessWorkers`.
            timeout: As for `run_sync`; the `CallTimeoutError` is an error of the call.
            name: Its name in reports and errors; by default the function's.

        Returns:
            AnyIO's handle: await it for the result, `~anyio.TaskHandle.cancel` it to abandon the
            call and ask it to stop. An error of the call ends the runner, as in a task group.

        Raises:
            TypeError: ``func`` is not a plain function.
            RuntimeError: The runner is not entered, or was left, or this is another thread than
                its event loop's.
            ValueError: There is no such worker, or ``timeout`` is not above 0.
        """
        call, run = self._call("Runner.submit()", func, args, worker, timeout, name)
        # Without a scope of its own: its task is the group's, and so cancelled with it.
        return self._group.spawn(run(call), call.name)

    def start_soon(
        self,
        async_func: Callable[[*ArgsT], Coroutine[Any, Any, T]],
        *args: *ArgsT,
        name: str | None = None,
    ) -> anyio.TaskHandle[T]:
        """Start an async task in this runner, as `anyio.abc.TaskGroup.start_soon` does.

        Args:
            async_func: An async function.
            *args: Its positional arguments.
            name: The task's name; by default the function's.

        Returns:
            AnyIO's handle of the task.

        Raises:
            TypeError: ``async_func`` gives no coroutine.
            RuntimeError: The runner is not entered, or was left, or this is another thread than
                its event loop's.
        """
        self._group.check_entered("Runner.start_soon()")
        check_async("Runner.start_soon()", async_func)
        task: Coroutine[Any, Any, T] = call_async("Runner.start_soon()", async_func, args)
        return self._group.spawn(task, function_name(async_func) if name is None else name)

    @overload
    def map(
        self,
        func: Callable[[A], T],
        items: Iterable[A] | AsyncIterable[A],
        *,
        worker: Literal["thread", "process"] | WorkerFactory = ...,
        ordered: bool = ...,
        buffersize: int | None = ...,
        item_timeout: float | None = ...,
        return_exceptions: Literal[False] = ...,
        max_concurrency: int | None = ...,
    ) -> MapResults[T]: ...

    @overload
    def map(
        self,
        func: Callable[[A], T],
        items: Iterable[A] | AsyncIterable[A],
        *,
        worker: Literal["thread", "process"] | WorkerFactory = ...,
        ordered: bool = ...,
        buffersize: int | None = ...,
        item_timeout: float | None = ...,
        return_exceptions: bool,
        max_concurrency: int | None = ...,
    ) -> MapResults[T | Exception]: ...

    def map(  # noqa: PLR0913 - options that belong together
        self,
        func: Callable[[A], T],
        items: Iterable[A] | AsyncIterable[A],
        *,
        worker: Literal["thread", "process"] | WorkerFactory = "thread",
        ordered: bool = True,
        buffersize: int | None = None,
        item_timeout: float | None = None,
        return_exceptions: bool = False,
        max_concurrency: int | None = None,
    ) -> MapResults[T] | MapResults[T | Exception]:
        """Call a blocking function with each item, and stream the results.

        Use it as an async context manager that gives an async iterator::

            async with runner.map(fetch, urls, ordered=False) as results:
                async for page in results:
                    ...

        Each item has a stop token, a context and an entry in `calls` of its own, as if it were a
        call by itself, but costs a few microseconds instead of a few hundred. If an item fails,
        the map ends: the other items are asked to stop, and the next step of the ``async for``
        raises the error, with a note that names the item. Leaving the block early, by ``break``
        or in whatever way, asks what runs to stop and drops what waits; unless the task is being
        cancelled, it then waits up to ``grace`` seconds for calls that are likely to notice.

        While others wait for a slot, a map gives up each slot after about one item. An item that
        itself waits for the results of a map of this runner holds its slot meanwhile: if such
        items can take every slot, they wait for ever; let a ``max_concurrency`` leave one free.

        Args:
            func: A plain function of one argument.
            items: What to call it with; any iterable or async iterable, also an endless one. It
                is iterated in the event loop's thread, while results are being read, and at most
                ``buffersize`` items ahead of the reader; if it raises, so does the ``async for``
                after the results of the items before. It is never closed. The results of another
                map will do.
            worker: Where to run it: ``"thread"``, ``"process"`` or a `ProcessWorkers`.
            ordered: Whether results come in the order of the items, or as they complete.
            buffersize: How many items, at least 1, may be taken whose results were not read; None
                means 4 for each slot, at least 256. Below ``max_concurrency`` slots stay unused.
            item_timeout: Seconds, above 0, that an item may take from when it begins. One that
                takes longer is asked to stop, and its error is an `ItemTimeoutError`, which has the
                ``item``; any other `TimeoutError` is one that ``func`` has raised itself, as
                sockets do. Its slot is not free before it has really ended.
            return_exceptions: Whether an `Exception` of an item takes the place of its result,
                and the others go on; also a time-out.
            max_concurrency: How many slots it may take at once, at least 1; None means all. Fewer
                leave some for calls that are not to wait even for one item.

        Returns:
            The async context manager and iterator, which also counts:
            `MapResults.total`, `~MapResults.started`, `~MapResults.done`, `~MapResults.failed` and
            `~MapResults.running`.

        Raises:
            TypeError: ``func`` is not a plain function, or ``items`` cannot be iterated.
            ValueError: ``buffersize``, ``max_concurrency`` or ``item_timeout`` is out of its range,
                or there is no such worker.
            RuntimeError: The runner is not entered, or was left, or this is another thread than
                its event loop's.
        """
        place = self._worker("Runner.map()", func, worker)
        check_count("buffersize", buffersize)
        check_count("max_concurrency", max_concurrency)
        check_timeout("item_timeout", item_timeout)
        slots = place.capacity if max_concurrency is None else min(max_concurrency, place.capacity)
        options = Options(
            ordered=ordered,
            buffersize=max(4 * slots, 256) if buffersize is None else buffersize,
            item_timeout=item_timeout,
            return_exceptions=return_exceptions,
            max_concurrency=slots,
        )
        return MapResults(func, items, options, self._group, place)

    def stop(self, reason: str | None = None) -> None:
        """Stop everything: cancel every task, and ask every call to stop.

        It may be called from any thread. The runner's block is then left as a cancelled task
        group is left, without an error. Once the runner was left, this does nothing.

        Args:
            reason: Why, in a few words, for the message of `Stopped`.

        Raises:
            RuntimeError: The runner is not entered yet.
        """
        self._group.stop(reason)

    def calls(self) -> list[CallInfo]:
        """Return the calls that run now, the oldest first; also those left behind."""
        return snapshot(self._group.running_calls())

    def _call(
        self,
        caller: str,
        func: Callable[[*ArgsT], T],
        args: tuple[*ArgsT],
        worker: str | WorkerFactory,
        timeout: float | None,
        name: str | None,
    ) -> tuple[Call[T], Callable[[Call[T]], Coroutine[Any, Any, T]]]:
        run = self._worker(caller, func, worker).run
        if timeout is not None:
            check_timeout("timeout", timeout)
            run = partial(run_within, run, seconds=timeout)
        return Call(func, args, name=name, owner=self, parent_token=self._group.token), run

    def _worker(self, caller: str, func: object, worker: str | WorkerFactory) -> Worker:
        self._group.check_entered(caller)
        check_blocking(caller, func)
        key = worker if isinstance(worker, str) else id(worker)
        if key not in self._workers:
            made = make_worker(worker, self._options, self, self._group.notify)
            self._workers[key] = made
            if not isinstance(worker, str):
                self._worker_objects.append(worker)  # so that nothing else gets its id
        return self._workers[key]

    async def _end_workers(self) -> None:
        # Not in a task group: on asyncio its end would put a cancellation in an error's place.
        async with AsyncExitStack() as stack:
            for worker in self._workers.values():
                stack.push_async_callback(worker.aclose)
