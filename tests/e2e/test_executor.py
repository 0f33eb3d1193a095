"""How programs with a `ThreadPoolExecutor` end: interrupted, in the ordinary way, and forked."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.measured

EXECUTOR = PROGRAMS / "executor"

HEAD = """
import asyncio, atexit, os, signal, sys, threading, time
from asyncrun import safe_point, stop_token
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import inside, stuck, wait_for
atexit.register(say, "atexit")
"""


# rules 9, 11 and 14
@pytest.mark.parametrize(
    "program",
    [
        """
with ThreadPoolExecutor() as executor:
    futures = [executor.submit(stuck) for _ in range(5)]
    wait_for(5)
    futures[0].result()
""",
        """
executor = ThreadPoolExecutor(2)
futures = [executor.submit(stuck) for _ in range(5)]
wait_for(2)
futures[0].result()
""",
        """
with ThreadPoolExecutor(2) as executor:
    results = executor.map(lambda _: stuck(), range(5))
    wait_for(2)
    list(results)
""",
        """
with ThreadPoolExecutor(2) as executor:
    executor.submit(stuck)
    wait_for(1)  # and then it is left normally
""",
    ],
    ids=["with", "without", "map", "leaving"],
)
def test_an_interrupted_program_ends_at_once_by_the_signal_with_pythons_own_traceback(
    start: Callable[..., Child], program: str
) -> None:
    child = start(HEAD + program)
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "atexit\n"), errors
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert errors.count("Traceback") == 1
    assert "asyncrun:" not in errors
    assert "left running" not in errors


ASYNCIO = """
async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor())
    calls = [asyncio.to_thread(stuck), loop.run_in_executor(None, stuck)]
    await asyncio.gather(asyncio.to_thread(wait_for, 2), *calls)
asyncio.run(main())
"""


# rules 5 and 11
def test_asyncio_run_with_it_as_default_executor_ends_at_once(start: Callable[..., Child]) -> None:
    child = start(HEAD + ASYNCIO)
    child.expect()
    child.rest()
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "atexit\n"), errors
    assert errors.endswith("\nKeyboardInterrupt\n")


def test_calls_that_heed_clean_up_before_an_interrupted_program_ends(
    start: Callable[..., Child],
) -> None:
    child = start(EXECUTOR / "cleans_up.py")
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "cleaned up\n" * 2 + "atexit\n"), errors


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [("", 0, ""), ("sys.exit(3)", 3, ""), ("raise LookupError", 1, "LookupError\n")],
)
def test_any_other_exit_finishes_the_work_first(
    start: Callable[..., Child], end: str, status: int, error: str
) -> None:
    child = start(
        HEAD
        + f"""
from asyncrun._executors.pool.threads import interpreter_exiting

executor = ThreadPoolExecutor(1)
executor.submit(interpreter_exiting.wait)
results = executor.map(say, "abc")
executor.submit(say, "last")
executor.submit(lambda: executor.submit(int)).add_done_callback(lambda f: say(f.exception()))
{end}
"""
    )
    got, output, errors = child.finish()
    assert got == status, errors
    refusal = (
        "cannot schedule new futures after interpreter shutdown: "
        "<ThreadPoolExecutor 'ThreadPoolExecutor-0'> ends with the interpreter"
    )
    assert output.splitlines() == ["a", "b", "c", "last", refusal, "atexit"]
    assert errors.endswith(error)
    assert ("Traceback" in errors) == bool(error)


def test_work_that_waits_for_the_exit_can_be_interrupted(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
executor = ThreadPoolExecutor(2)
executor.submit(stuck)
wait_for(1)
"""
    )
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "atexit\n"), errors
    first, left = errors.splitlines()
    assert first == "asyncrun: interrupted by SIGINT"
    assert left.startswith("asyncrun: left running: stuck, ")


def test_what_a_program_does_with_sigint_itself_stays_as_it_is(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
def handler(*_):
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, handler)
executor = ThreadPoolExecutor(2)
executor.submit(stuck)
wait_for(1)
"""
    )
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (0, "atexit\n"), errors
    assert errors.endswith(("KeyboardInterrupt: \n", "KeyboardInterrupt\n"))


# rule 11
@pytest.mark.parametrize("call", ["stuck", "sys.stdin.readline", "chatter"])
def test_a_stuck_call_whose_future_was_cancelled_does_not_hold_up_a_normal_exit(
    start: Callable[..., Child], call: str
) -> None:
    child = start(
        HEAD
        + f"""
def chatter():
    while True:
        print(end="")
executor = ThreadPoolExecutor(1)
call = executor.submit({call})
while not call.running():
    time.sleep(0)
executor.submit(say, "never")
call.cancel()
"""
    )
    status, output, errors = child.finish()
    assert (status, output) == (0, "atexit\n"), errors
    message = (
        "<ThreadPoolExecutor 'ThreadPoolExecutor-0'>: 1 calls never began, for every thread is "
        "held by one that was asked to stop\n"
    )
    assert errors == message


def test_what_waits_behind_a_call_that_heeds_is_done_at_a_normal_exit(
    start: Callable[..., Child],
) -> None:
    child = start(EXECUTOR / "waits_behind.py")
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    assert output.split() == ["ready", "cleaned", "up", "0", "1", "2", "atexit"]


def test_a_stuck_callback_that_writes_does_not_abort_the_exit(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
def chatter(_):
    inside.release()
    while True:
        print(end="")
executor = ThreadPoolExecutor(1)
go = threading.Event()
executor.submit(go.wait).add_done_callback(chatter)
go.set()
wait_for(1)
executor.stop()
"""
    )
    status, output, errors = child.finish()
    assert (status, output, errors) == (0, "ready\natexit\n", "")


@pytest.mark.parametrize("how", ["fork", "fork in a call", "multiprocessing"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_ends_and_may_use_the_executor_itself(
    start: Callable[..., Child], how: str
) -> None:
    child = start(EXECUTOR / "forks.py", "asyncio", how)
    status, output, errors = child.finish()
    lines = ["ready", "child 8 [1, 2]", "calls 0", "parent 0"]
    assert output.splitlines() == lines, errors
    assert (status, errors) == (-signal.SIGTERM, "")


@pytest.mark.parametrize("way", ["plain", "recycle"])
def test_processes_that_start_when_the_script_has_ended_find_its_functions(
    start: Callable[..., Child], way: str
) -> None:
    status, output, errors = start(EXECUTOR / "pending_at_exit.py", "asyncio", way).finish()
    assert (status, errors) == (0, "")
    assert sorted(output.split()) == [str(number) for number in range(6)]
