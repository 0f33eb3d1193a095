"""Threads that AnyIO started before us or the system refuses, and AnyIO's private name."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio._backends._asyncio

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

HEAD = """
import functools, resource, sys, threading, time, warnings
import anyio, anyio.to_thread, asyncrun
warnings.simplefilter("error")
backend = sys.argv[1]
options = {
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}[backend]
is_daemon = lambda: threading.current_thread().daemon
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
def limit_memory(size):
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
"""


# rule 11
def test_anyio_still_has_the_private_name_that_we_replace() -> None:
    worker = anyio._backends._asyncio.WorkerThread
    assert issubclass(worker, threading.Thread)
    assert hasattr(worker, "stop")


# rule 11
def test_a_thread_that_anyio_started_before_us_never_runs_our_calls(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
async def main():
    # Three idle threads of AnyIO's own, which are no daemons under asyncio.
    meet = threading.Barrier(3)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(anyio.to_thread.run_sync, meet.wait)
    before = threading.active_count()
    assert await anyio.to_thread.run_sync(is_daemon) == (backend == "trio")
    async with asyncrun.Runner() as runner:
        assert await runner.run_sync(is_daemon)
        runner.submit(time.sleep, 60)
        while not runner.calls():
            await anyio.sleep(0)
        runner.stop()
anyio.run(main, **options)
print("done")
""",
        backend,
    )
    status, output, errors = child.finish()
    assert (status, output) == (0, "done\n"), errors
    assert len(errors.splitlines()) == 1


# rule 11
def test_without_the_private_name_there_is_a_warning_and_calls_still_work(
    start: Callable[..., Child],
) -> None:
    child = start(
        HEAD
        + """
import anyio._backends._asyncio as private
async def main():
    worker = private.WorkerThread
    del private.WorkerThread
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with anyio.CancelScope() as scope:
            scope.cancel()  # before AnyIO would need it
            await asyncrun.run_sync(str)
    print(*[warning.message for warning in caught])
    private.WorkerThread = worker
    print(await asyncrun.run_sync(is_daemon))
anyio.run(main)
""",
        "asyncio",
    )
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    message = "anyio._backends._asyncio has no WorkerThread: a stuck call will hold up the exit"
    assert output == f"{message}\nTrue\n"


# rule 7
def test_a_thread_that_the_system_refuses_is_an_error_of_that_call_alone(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
async def main():
    async with asyncrun.Runner(max_threads=1) as runner:
        limit_memory(used() + 2**20)  # a thread's stack is 8 MiB
        try:
            await runner.run_sync(str)
        except RuntimeError as exc:
            refused = exc
        limit_memory(resource.RLIM_INFINITY)
        print(refused)
        assert await runner.run_sync(str, 1) == "1"
        assert not runner.calls()
    print("done")
anyio.run(main, **options)
""",
        backend,
    )
    status, output, errors = child.finish()
    assert (status, output) == (0, "can't start new thread\ndone\n"), errors


# rule 17
def test_a_watchdog_thread_that_the_system_refuses_is_an_error_of_run_before_it_starts(
    start: Callable[..., Child],
) -> None:
    child = start(
        HEAD
        + """
import signal
async def main():
    print("not reached")
limit_memory(used() + 2**20)
try:
    asyncrun.run(main, exit_timeout=1)
except RuntimeError as exc:
    print(exc)
limit_memory(resource.RLIM_INFINITY)  # whatever else runs at the exit, as coverage does, needs some
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
""",
        "asyncio",
    )
    assert child.finish() == (0, "can't start new thread\n", "")


# rule 11
def test_an_idle_thread_does_not_hold_up_a_normal_exit(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(HEAD + "anyio.run(asyncrun.run_sync, str, **options)", backend)
    assert child.finish() == (0, "", "")
