"""Programs with a call that is stuck, or cooperates: interrupted, or ending by themselves."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import POLL, PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

PATIENCE = 30.0
PROGRAM = PROGRAMS / "stuck_call.py"
# With ``-c``: at the end of a file CPython flushes its streams, before any hook is called.
WITH_C = {
    name: (PROGRAMS / f"{name}.py").read_text() for name in ("endless_print", "endless_complaint")
}
READERS = ["read_line", "read_input", "read_bytes"]
STUCK = ["sleep", "lock", "receive", *READERS, "wait_for_process", "spin"]
SAMPLE = ["sleep", "read_line", "token_sleep"]
COOPERATING = ["safe_points", "token_sleep", "on_stop"]


# rules 13 and 14
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", STUCK)
def test_run_dies_by_the_signal_and_names_the_call_that_is_stuck(
    start: Callable[..., Child], backend: str, call: str, signum: signal.Signals
) -> None:
    child = start(PROGRAM, "asyncrun.run", backend, call, "interrupt")
    child.expect()
    child.send(signum)
    status, output, errors = child.finish()
    assert status == -signum, errors
    assert output == "buffered atexit\n"
    first, second = errors.splitlines()
    assert first == f"asyncrun: interrupted by {signum.name}"
    assert second.startswith(f"asyncrun: left running: {call}, ")
    assert f", at {PROGRAM}:" in second


# rules 9, 13 and 14
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("call", COOPERATING)
def test_run_dies_by_the_signal_when_the_call_has_ended(
    start: Callable[..., Child], backend: str, call: str, signum: signal.Signals
) -> None:
    child = start(PROGRAM, "asyncrun.run", backend, call, "interrupt")
    child.expect()
    child.send(signum)
    status, output, errors = child.finish()
    assert status == -signum, errors
    assert output == "buffered atexit\n"
    assert errors == f"asyncrun: interrupted by {signum.name}\n"


# rules 11 and 12; AnyIO's entry point calls the native one
@pytest.mark.parametrize(
    ("entry", "call"),
    [*(("anyio.run", call) for call in STUCK), *(("native", call) for call in SAMPLE[:2])],
)
def test_a_runner_under_another_entry_point_dies_by_sigint(
    start: Callable[..., Child], entry: str, backend: str, call: str
) -> None:
    child = start(PROGRAM, entry, backend, call, "interrupt")
    child.expect()
    child.rest()
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert status == -signal.SIGINT, errors
    assert output == "buffered atexit\n"
    assert errors.count("left running") == 1
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


# rule 11
@pytest.mark.parametrize(
    ("entry", "call"),
    [
        *(("asyncrun.run", call) for call in [*STUCK, *COOPERATING]),
        *((entry, call) for entry in ["anyio.run", "native"] for call in SAMPLE),
    ],
)
def test_an_abandoned_call_leaves_a_normal_exit_as_it_is(
    start: Callable[..., Child], entry: str, backend: str, call: str
) -> None:
    child = start(PROGRAM, entry, backend, call, "exit")
    child.expect()
    status, output, errors = child.finish()
    assert status == 7, errors
    assert output == "buffered atexit\n"
    assert "Traceback" not in errors


# rule 11
@pytest.mark.parametrize("attempt", range(3))
def test_a_call_that_prints_and_prints_leaves_a_normal_exit_as_it_is(
    start: Callable[..., Child], backend: str, attempt: int
) -> None:
    status, _, errors = start(PROGRAMS / "endless_print.py", backend, "exit").finish()
    assert status == 7, errors


# rule 14
def test_a_call_that_is_stuck_in_print_does_not_hold_up_death_by_the_signal(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(WITH_C["endless_print"], backend, "interrupt")
    assert child.process.stderr is not None
    assert child.process.stderr.readline() == "ready\n"
    child.send(signal.SIGINT)  # and nobody reads what it prints
    assert child.process.wait(PATIENCE) == -signal.SIGINT


# rules 14 and 17
@pytest.mark.parametrize("place", ["in a call", "in a call, caught", "in main"])
def test_what_is_stuck_in_a_write_to_standard_error_does_not_hold_up_death_by_the_signal(
    start: Callable[..., Child], backend: str, place: str
) -> None:
    child = start(WITH_C["endless_complaint"], backend, place)
    child.expect()
    tasks, deadline = Path(f"/proc/{child.process.pid}/task"), time.monotonic() + PATIENCE
    while not any("pipe_write" in path.read_text() for path in tasks.glob("*/wchan")):
        assert time.monotonic() < deadline, "the pipe, which nobody reads, is not full"
        time.sleep(POLL)
    child.send(signal.SIGINT)
    assert child.process.wait(PATIENCE) == -signal.SIGINT


# rules 11 and 14
@pytest.mark.parametrize("call", STUCK)
def test_an_interrupted_that_is_caught_leaves_the_exit_to_the_program(
    start: Callable[..., Child], call: str
) -> None:
    child = start(PROGRAM, "asyncrun.run", "asyncio", call, "catch")
    child.expect()
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output, errors) == (7, "buffered atexit\n", "")
