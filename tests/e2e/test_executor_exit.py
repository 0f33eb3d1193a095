"""Ctrl-C while the exit hook of executors waits: the first and the second one, at any moment."""

from __future__ import annotations

import os
import pty
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.snippets import LAST_LINE, shown_on
from tests.e2e.test_executor import EXECUTOR, HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.conftest import Child

pytestmark = pytest.mark.measured


# rule 15
@pytest.mark.parametrize("phase", ["after an interrupt in the hook", "after an uncaught one"])
def test_a_second_ctrl_c_in_the_hook_ends_the_process_at_once_and_quietly(
    start: Callable[..., Child], phase: str
) -> None:
    uncaught = "uncaught" in phase
    child = start(EXECUTOR / "lingers.py", "asyncio", "wait" if uncaught else "end")
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    child.expect("asked")
    child.rest("futex")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, ""), errors
    if uncaught:
        assert errors.count("Traceback") == 1
        assert errors.endswith("\nKeyboardInterrupt\n")
    else:
        assert errors == ""


# rule 16
def test_a_handler_of_the_programs_own_stays_in_place_in_the_hook(
    start: Callable[..., Child],
) -> None:
    child = start(EXECUTOR / "own_handler.py")
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "ready\nTrue\natexit\n"), errors
    assert errors.count("Traceback") == 1


def test_the_programs_own_handler_may_interrupt_nothing(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
def handler(*_):
    say("handled")
    go.set()
go = threading.Event()
signal.signal(signal.SIGINT, handler)
executor = ThreadPoolExecutor(1)
executor.submit(wait_for, 1)
executor.submit(go.wait)
inside.release()
"""
    )
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    assert child.finish() == (0, "handled\natexit\n", "")


def test_exit_handlers_find_pythons_own_handler_again(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
executor = ThreadPoolExecutor(1)
executor.submit(int)
atexit.register(lambda: say(signal.getsignal(signal.SIGINT) is signal.default_int_handler))
"""
    )
    assert child.finish() == (0, "True\natexit\n", "")


@contextmanager
def terminal() -> Generator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


# rules 15 and 26
@pytest.mark.parametrize(
    ("calls", "message"),
    [
        (1, "asyncrun: waiting for 1 call to end (the oldest: stuck, "),
        (2, "asyncrun: waiting for 2 calls to end (the oldest: stuck, "),
    ],
)
def test_on_a_terminal_the_hook_says_what_it_waits_for_and_ctrl_c_ends_it(
    start: Callable[..., Child], calls: int, message: str
) -> None:
    with terminal() as (master, slave):
        child = start(
            EXECUTOR / "on_a_terminal.py", "asyncio", str(calls), str(slave), pass_fds=(slave,)
        )
        child.expect()
        child.rest("futex")
        child.send(signal.SIGINT)
        child.expect("Aborted!")
        seen = ""
        while "\n" not in seen:
            seen += os.read(master, 4096).decode()
        assert seen.startswith(message)
        assert seen.endswith("; Ctrl-C ends the program\r\n")
        child.send(signal.SIGINT)
        status, output, _ = child.finish()
        assert (status, output) == (-signal.SIGINT, "atexit\n")
        assert shown_on(master, slave).startswith(LAST_LINE)


@pytest.mark.parametrize("when", ["before", "inside", "after"])
def test_a_ctrl_c_that_comes_in_a_finalizer_ends_the_hook(
    start: Callable[..., Child], when: str
) -> None:
    child = start(EXECUTOR / "ctrl_c_in_a_finalizer.py", "asyncio", when)
    status, _, errors = child.finish()
    assert status == -signal.SIGINT
    assert errors.startswith("Exception ignored in: <function Freed.__del__")
    assert f"KeyboardInterrupt: \n{LAST_LINE}" in errors


@pytest.mark.parametrize("stream", ["no terminal", "none", "closed"])
def test_without_a_terminal_the_hook_waits_in_silence(
    start: Callable[..., Child], stream: str
) -> None:
    child = start(EXECUTOR / "without_a_terminal.py", "asyncio", stream)
    assert child.finish() == (0, "terminal False\natexit\n", "")


PARTS = 4


# rule 15
@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
def test_ctrl_c_at_any_line_of_the_hook_ends_the_process_quietly(
    start: Callable[..., Child],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    two: bool,
    part: int,
) -> None:
    # The second signal comes while coverage writes its file, too.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    child = start(
        EXECUTOR / "ctrl_c_at_any_line.py",
        "asyncio",
        str(tmp_path),
        str(int(two)),
        str(part),
        str(PARTS),
    )
    status, output, errors = child.finish()
    assert status == 0, errors
    word, lines = output.split(maxsplit=1)
    assert word == "lines", output
    assert int(lines) > 50
