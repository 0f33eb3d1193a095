"""Signals that come twice for one request, and handlers that do not raise: rules 13, 15 and 16."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS
from tests.e2e.snippets import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

UNWINDING = (
    HEAD
    + """
atexit.register(say, "exit handler")
async def main():
    say("ready")
    try:
        await sleep_forever()
    finally:
        say("unwinding")
        UNWIND
        say("unwound")
asyncrun.run(main, **run_options)
"""
)
REPEATED = [
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGHUP),
    (signal.SIGHUP, signal.SIGHUP),
    (signal.SIGHUP, signal.SIGTERM),
]


# rule 15
@pytest.mark.parametrize(("first", "second"), REPEATED)
def test_a_signal_that_repeats_the_first_one_does_not_end_the_unwinding(
    start: Callable[..., Child], backend: str, first: signal.Signals, second: signal.Signals
) -> None:
    child = start(UNWINDING.replace("UNWIND", "sys.stdin.readline()"), backend)
    child.expect()
    child.send(first)
    child.expect("unwinding")
    child.send(second)
    child.send(first)
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.flush()
    line = f"asyncrun: interrupted by {first.name}\n"
    assert child.finish() == (-first, "unwound\nexit handler\n", line)


# rule 15
@pytest.mark.parametrize(("first", "second"), REPEATED)
def test_a_repetition_does_not_end_the_exit_handlers(
    start: Callable[..., Child], first: signal.Signals, second: signal.Signals
) -> None:
    child = start(
        HEAD
        + """
@atexit.register
def clean_up():
    say("cleaning")
    sys.stdin.readline()
    say("clean")
async def main():
    say("ready")
    await sleep_forever()
asyncrun.run(main)
"""
    )
    child.expect()
    child.send(first)
    child.expect("cleaning")
    child.send(second)
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.flush()
    line = f"asyncrun: interrupted by {first.name}\n"
    assert child.finish() == (-first, "clean\n", line)


# rule 15
@pytest.mark.parametrize(("first", "second"), REPEATED)
def test_a_later_one_ends_the_process_even_if_the_loop_is_blocked(
    start: Callable[..., Child], first: signal.Signals, second: signal.Signals
) -> None:
    late = "time.sleep(asyncrun._system.process_exit.REPETITION); say('late'); time.sleep(60)"
    child = start(UNWINDING.replace("UNWIND", late))
    child.expect()
    child.send(first)
    child.expect("unwinding")
    child.expect("late")
    child.send(second)
    assert child.finish() == (-second, "", "")


# rule 15
@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_ends_at_once_what_another_signal_has_begun_to_end(
    start: Callable[..., Child], backend: str, first: signal.Signals
) -> None:
    child = start(UNWINDING.replace("UNWIND", "time.sleep(60)"), backend)
    child.expect()
    child.send(first)
    child.expect("unwinding")
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", "")


# rules 15 and 16
def test_a_signal_that_comes_while_the_handlers_are_set_leaves_none_that_ignores_the_next(
    start: Callable[..., Child],
) -> None:
    child = start(PROGRAMS / "signal_while_handlers_are_set.py")
    assert child.finish() == (-signal.SIGTERM, "", "")


# rule 15: on one core `timeout` gets to its second signal only when the program sleeps
@pytest.mark.parametrize("signame", ["TERM", "HUP", "INT"])
def test_coreutils_timeout_lets_a_program_unwind(signame: str) -> None:
    timeout, taskset = shutil.which("timeout"), shutil.which("taskset")
    assert timeout is not None
    assert taskset is not None
    core = str(min(os.sched_getaffinity(0)))
    program = UNWINDING.replace("UNWIND", "sum(range(10**5))")
    for _ in range(5):
        done = subprocess.run(
            [taskset, "-c", core, timeout, "-s", signame, "1", sys.executable, "-c", program],
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        assert done.returncode == 124
        assert done.stdout == "ready\nunwinding\nunwound\nexit handler\n"
        assert done.stderr == f"asyncrun: interrupted by SIG{signame}\n"


# rule 5
@pytest.mark.parametrize("call", ["polite", "stuck", "in_process"])
def test_a_handler_that_cancels_a_task_is_seen_at_once_under_asyncio(
    start: Callable[..., Child], call: str
) -> None:
    child = start(PROGRAMS / "handler_that_cancels.py", "asyncio", call)
    child.expect()
    child.rest()
    child.send(signal.SIGUSR1)
    child.expect("cancelled")
    assert child.finish()[0] == 0
