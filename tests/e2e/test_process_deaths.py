"""Calls and worker processes that end in unusual ways: rules 11, 18 and 20."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import PROCESSES, all_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

MEMORY = "; is there memory enough?"
REAL_TIME = signal.SIGRTMIN + 1
DYING = pytest.mark.parametrize(
    ("call", "status", "signum", "how"),
    [
        ("leave", 3, None, "ended with status 3"),
        ("crash", None, signal.SIGSEGV.value, "was killed by SIGSEGV"),
        ("be_killed", None, signal.SIGKILL.value, f"was killed by SIGKILL{MEMORY}"),
        ("run_out", None, REAL_TIME, f"was killed by signal {REAL_TIME}"),
    ],
    ids=["exit", "crash", "kill", "real time"],
)


@DYING
def test_a_worker_that_dies_in_a_call_is_the_error_of_that_call(
    start: Callable[..., Child],
    call: str,
    status: int | None,
    signum: int | None,
    how: str,
) -> None:
    child = start(PROCESSES / "dying_calls.py", "asyncio", "call", call)
    said = f"{call} {status} {signum} True\nthe worker process of {call} (process PID) {how}\n"
    assert child.finish() == (0, said + "all right\n", "")


def test_a_worker_that_dies_in_a_call_ends_a_program_with_a_traceback(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner() as runner:
        await runner.run_sync(leave, worker="process")
asyncrun.run(main, **run_options)
"""
    leave = "def leave():\n    os._exit(3)"
    child = start(program(tmp_path, leave, main), backend)
    status, output, errors = child.finish()
    assert (status, output) == (1, "")
    assert "await runner.run_sync(leave, worker=" in errors
    assert "asyncrun.WorkerDied: the worker process of leave (process " in errors.replace(
        "asyncrun._workers.remote.errors.", "asyncrun."
    )


@DYING
def test_a_worker_that_dies_in_a_map_is_the_error_of_that_item(
    start: Callable[..., Child],
    call: str,
    status: int | None,
    signum: int | None,
    how: str,
) -> None:
    child = start(PROCESSES / "dying_calls.py", "asyncio", "map", call)
    said = f"True\nWorkerDied {status} {signum} ['item 50 of the map: 50']\n"
    assert child.finish() == (0, said, "")


def test_an_idle_worker_that_dies_is_nobodys_error(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "idle_worker_dies.py")
    assert child.finish() == (0, "all right\n", "")


def test_a_worker_that_dies_takes_along_what_its_call_has_started(
    start: Callable[..., Child],
) -> None:
    child = start(PROCESSES / "dying_calls.py", "asyncio", "family", "leave")
    pids = numbers(child._line())
    child.expect("died")
    assert all_gone(pids, 0)


# rule 20
@pytest.mark.parametrize("how", ["sys.exit(4)", "raise SystemExit(4)", "raise KeyboardInterrupt"])
def test_an_exit_in_a_call_comes_out_of_it_and_ends_no_worker(
    start: Callable[..., Child], how: str
) -> None:
    child = start(PROCESSES / "exit_in_a_call.py", "asyncio", how)
    kind = "KeyboardInterrupt()" if "Key" in how else "SystemExit(4)"
    assert child.finish() == (0, f"{kind}\nTrue\n", "")


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr", "sys.stdin", None])
def test_a_call_that_closes_a_standard_stream_does_no_harm(
    start: Callable[..., Child], stream: str | None
) -> None:
    child = start(PROCESSES / "closes_a_stream.py", "asyncio", str(stream))
    assert child.finish() == (0, "all right\n", "")


@pytest.mark.parametrize("calls", ["None", "1"])
@pytest.mark.parametrize("hang", ["threading.Thread(target=nap).start()", "atexit.register(nap)"])
def test_neither_a_thread_that_is_left_nor_an_exit_handler_that_hangs_holds_up_the_end(
    start: Callable[..., Child], tmp_path: Path, hang: str, calls: str
) -> None:
    hanging = f"""
def hanging():
    {hang}
    return os.getpid()
"""
    main = f"""
async def main():
    workers = ProcessWorkers(1, max_tasks_per_child={calls})
    async with Runner() as runner:
        say(await runner.run_sync(hanging, worker=workers))
        begin = time.monotonic()
    say("left", time.monotonic() - begin < 8)
asyncrun.run(main)
"""
    child = start(program(tmp_path, hanging, main))
    pids = numbers(child._line())
    child.expect("left True")
    assert all_gone(pids, 0)
    assert child.finish() == (0, "", "")


@pytest.mark.parametrize("calls", ["None", "1"])
def test_exit_handlers_run_in_the_workers_and_in_the_parent(
    start: Callable[..., Child], calls: str
) -> None:
    child = start(PROCESSES / "exit_handlers.py", "asyncio", calls)
    assert child.finish() == (0, "worker's\nleft\nparent's\n", "")


# rule 20
def test_sigint_to_a_worker_by_hand_does_nothing(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "interrupted_by_hand.py")
    (pid,) = numbers(child._line())
    os.kill(pid, signal.SIGINT)
    assert child.finish() == (0, "went on\n", "")


# rule 20
@pytest.mark.parametrize("ignored", [False, True])
def test_what_a_call_starts_can_be_interrupted_unless_that_is_ignored_everywhere(
    start: Callable[..., Child], ignored: bool
) -> None:
    child = start(PROCESSES / "signals_of_a_command.py", "asyncio", str(ignored))
    assert child.finish() == (0, f"({ignored}, False, 0)\n", "")


# rule 20
def test_what_a_call_forks_can_be_interrupted(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "interrupted_fork.py")
    assert child.finish() == (0, "5\n", "")
