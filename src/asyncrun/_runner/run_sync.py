"""The module's `run_sync`: one blocking call in a thread, without a runner.

Rule of this module: everything that a runner promises for a call in a thread holds here too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from .._core.call import Call
from .._core.checks import check_blocking, check_timeout
from .._system.wakeup import waking_the_loop
from .._workers.call_timeout import run_within
from .._workers.slots import Slots
from .._workers.thread.worker import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVarTuple

    ArgsT = TypeVarTuple("ArgsT")

T = TypeVar("T")


async def run_sync(
    func: Callable[[*ArgsT], T],
    *args: *ArgsT,
    limiter: anyio.CapacityLimiter | None = None,
    timeout: float | None = None,  # noqa: ASYNC109 - from when the call begins
    name: str | None = None,
) -> T:
    """Run one blocking call in a thread, without a runner, and return its result.

    ``await run_sync(f, x)`` does what ``await anyio.to_thread.run_sync(f, x,
    abandon_on_cancel=True)`` does, and also asks the call to stop when its caller is cancelled,
    never holds up the exit of the process, and holds its slot until the thread has really ended.
    Under asyncio it takes the place of ``await asyncio.to_thread(f, x)``. For keyword arguments
    use `functools.partial`.

    Under asyncio the first call replaces AnyIO's ``WorkerThread`` by a daemon thread, for all users
    of `anyio.to_thread` in this process. `asyncio.to_thread` does not go through asyncrun, unless
    a `futures.ThreadPoolExecutor` is the loop's default executor.

    On cancel: the await ends at once; the thread runs on, and its `stop_token` is set. A result
    that it still returns is dropped; an exception other than `Stopped` is logged.

    Args:
        func: A plain function.
        *args: Its positional arguments.
        limiter: Where to take a slot; by default AnyIO's
            `~anyio.to_thread.current_default_thread_limiter`, of 40. It belongs to one run of one
            event loop: what is abandoned when the loop ends cannot give its slot back.
        timeout: Seconds, above 0, that the call may take from when it begins, which is not before
            it has a slot. Then the await ends with a `CallTimeoutError`, as on a cancellation.
            None means no limit.
        name: The call's name in reports and errors; by default the function's.

    Returns:
        What ``func`` returns.

    Raises:
        CallTimeoutError: The call took longer than ``timeout`` (a `TimeoutError`; any other one is
            an error of ``func`` itself).
        TypeError: ``func`` is not a plain function.
        ValueError: ``timeout`` is not above 0.
    """
    check_blocking("run_sync()", func)
    check_timeout("timeout", timeout)
    if limiter is None:
        limiter = anyio.to_thread.current_default_thread_limiter()
    call, run = Call(func, args, name=name), ThreadWorker(Slots(limiter)).run
    with waking_the_loop():
        return await (run(call) if timeout is None else run_within(run, call, timeout))
