"""Cancellation and signals with worker processes: rules 15, 18 and 20."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.snippets import LAST_LINE, shown_on
from tests.e2e.worker_programs import PROCESSES, all_gone, is_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from typing import Any

    from tests.conftest import Child

ENDED = PROCESSES / "ended_calls.py"


def tell(child: Child) -> None:
    """Write a line to a program's standard input."""
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.flush()


# rule 18
@pytest.mark.parametrize("stay", ["nap", "hold"])
def test_a_cancelled_call_takes_its_grandchildren_along(
    start: Callable[..., Child], backend: str, stay: str
) -> None:
    child = start(PROCESSES / "cancelled_call.py", backend, "family", stay)
    pids = [pid for _ in range(2) for pid in numbers(child._line())]
    tell(child)
    child.expect("double 14")
    assert all(is_gone(pid) for pid in pids)
    assert child.finish() == (0, "", "")


# rule 18
def test_a_cancelled_call_gives_its_grandchildren_time_to_clean_up(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    child = start(PROCESSES / "cancelled_call.py", "asyncio", "shell", str(mark))
    child.expect()
    tell(child)
    child.expect("double 14")
    assert mark.exists()
    assert child.finish() == (0, "", "")


# rule 18
def test_a_cancelled_call_that_heeds_keeps_its_process(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROCESSES / "cancelled_call_that_ends.py", backend)
    child.expect()
    tell(child)
    assert child.finish() == (0, "cleaned up\nTrue\n", "")


# rule 18
def test_a_call_that_raises_on_sigterm_cleans_up(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "cancelled_call.py", "asyncio", "tidy")
    child.expect()
    tell(child)
    assert child.finish() == (0, "cleaned up\ndouble 14\n", "")


@contextmanager
def terminal() -> Generator[tuple[int, dict[str, Any]]]:
    """Return a terminal's other side, and the options with which a child is started in it."""
    master, slave = pty.openpty()
    control: dict[str, Any] = {
        "stdin": slave,
        "preexec_fn": lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        "pass_fds": (slave,),
    }
    try:
        yield master, control
    finally:
        os.close(master)
        os.close(slave)


# rules 14 and 20
@pytest.mark.parametrize(
    ("call", "said"), [("heed", "cleaned up\n" * 2), ("ignore", ""), ("seize", "")]
)
def test_ctrl_c_in_a_terminal_reaches_only_the_parent_which_ends_all(
    start: Callable[..., Child], backend: str, call: str, said: str
) -> None:
    with terminal() as (master, options):
        child = start(ENDED, backend, call, "asyncrun", "terminal", **options)
        pids = numbers(child._line())
        child.expect("ready", "ready")
        os.write(master, b"\x03")
        status, output, _ = child.finish()
        shown = shown_on(master, options["stdin"]).removeprefix("^C")
    assert (status, output, shown) == (-signal.SIGINT, said, LAST_LINE)
    assert all_gone(pids, 0)


# rules 14 and 18
@pytest.mark.parametrize(
    ("call", "said"), [("heed", "cleaned up\n" * 2), ("ignore", ""), ("seize", "")]
)
def test_sigterm_ends_all(start: Callable[..., Child], call: str, said: str) -> None:
    child = start(ENDED, "asyncio", call, "asyncrun")
    pids = numbers(child._line())
    child.expect("ready", "ready")
    child.send(signal.SIGTERM)
    line = LAST_LINE.replace("SIGINT", "SIGTERM")
    assert child.finish() == (-signal.SIGTERM, said, line)
    assert all_gone(pids, 0)


# rules 14 and 18
def test_a_signal_ends_a_map(start: Callable[..., Child], backend: str) -> None:
    child = start(PROCESSES / "ended_map.py", backend)
    pids = numbers(child._line())
    child.expect("ready", "ready")
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "cleaned up\n", LAST_LINE)
    assert all_gone(pids, 0)


# rules 15 and 19
def test_a_second_ctrl_c_during_grace_ends_all_at_once(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    dawdle = """
def dawdle():
    with stop_token().on_stop(say, "asked"):
        parents(nap)
"""
    main = """
async def main():
    async with Runner(grace=1000) as runner:
        await runner.run_sync(dawdle, worker="process")
asyncrun.run(main, **run_options)
"""
    with terminal() as (master, options):
        child = start(program(tmp_path, dawdle, main), backend, **options)
        pids = numbers(child._line())
        os.write(master, b"\x03")
        child.expect("asked")
        os.write(master, b"\x03")
        assert child.finish() == (-signal.SIGINT, "", "")
        assert all_gone(pids, 1.0)


# rule 18
def test_a_program_may_go_on_after_interrupted(start: Callable[..., Child], backend: str) -> None:
    child = start(PROCESSES / "goes_on_after_interrupted.py", backend)
    for _ in range(2):
        child.expect("all right", "ready", "ready")
        child.send(signal.SIGINT)
        child.expect("cleaned up", "interrupted by SIGINT")
    assert child.finish() == (0, "all right\n", "")


# rule 18
def test_a_signal_that_cancels_a_scope_leaves_the_runner_usable(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROCESSES / "goes_on_after_a_scope.py", backend)
    for _ in range(2):
        child.expect("ready", "ready")
        child.send(signal.SIGINT)
        child.expect("cleaned up", "all right")
    assert child.finish() == (0, "", "")


# rule 18
@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("asyncio.run(main())", "asyncio"),
        ("anyio.run(main, **run_options)", "uvloop"),
        ("anyio.run(main, **run_options)", "trio"),
    ],
)
def test_a_program_may_go_on_after_a_keyboard_interrupt(
    start: Callable[..., Child], entry: str, kind: str
) -> None:
    child = start(PROCESSES / "goes_on_after_keyboard_interrupt.py", kind, entry.partition(".")[0])
    for _ in range(2):
        child.expect("all right", "ready", "ready")
        child.rest()
        child.send(signal.SIGINT)
        child.expect("cleaned up", "interrupted")
    assert child.finish() == (0, "all right\n", "")


# rules 12 and 20
@pytest.mark.parametrize("call", ["heed", "seize"])
def test_ctrl_c_under_anyio_run_ends_all(
    start: Callable[..., Child], backend: str, call: str
) -> None:
    with terminal() as (master, options):
        child = start(ENDED, backend, call, "anyio", **options)
        pids = numbers(child._line())
        child.expect("ready", "ready")
        child.rest()
        os.write(master, b"\x03")
        status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "cleaned up\n" * 2 * (call == "heed")), errors
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert ENDED.name in errors
    assert "mp_main" not in errors
    assert all_gone(pids, 0)


# rules 21 and 25
@pytest.mark.measured
@pytest.mark.parametrize("stop", [False, True])
def test_a_call_that_touches_the_terminal_gets_an_error_at_once(
    start: Callable[..., Child], backend: str, *, stop: bool
) -> None:
    with terminal() as (master, options):
        child = start(PROCESSES / "touches_the_terminal.py", backend, str(stop), **options)
        status, output, _ = child.finish()
        shown = shown_on(master, options["stdin"])
    said = "['OSError', 'EOFError', 'EOFError', 'fine', 'fine']\n7\nTrue\n"
    assert (status, output) == (0, said)
    assert "written by a child " in shown
