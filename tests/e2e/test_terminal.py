"""A program leaves the modes of its terminal as it found them (rule 25)."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS
from tests.e2e.snippets import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

    from tests.conftest import Child

pytestmark = pytest.mark.measured

CALLS = {
    "getpass": "import getpass\nask = getpass.getpass",
    "readline": "import readline\nask = lambda prompt: input(prompt)",
}
PROMPT = "Password: "
SIGNALLED = """
async def main():
    await asyncrun.run_sync(ask, "Password: ")
asyncrun.run(main, **run_options)
"""
UNDER_ASYNCIO = """
import asyncio
async def main():
    async with asyncrun.Runner() as runner:
        await runner.run_sync(ask, "Password: ")
asyncio.run(main())
"""
TIMED_OUT = """
async def main():
    with anyio.move_on_after(0.5):
        await asyncrun.run_sync(ask, "Password: ")
asyncrun.run(main, **run_options)
"""
STUCK = """
async def main():
    try:
        await asyncrun.run_sync(ask, "Password: ")
    finally:
        time.sleep(60)
asyncrun.run(main, exit_timeout=0.5)
"""


class Terminal:
    """A terminal, seen from the person's side."""

    def __init__(self, master: int, slave: int) -> None:
        self.master = master
        self.slave = slave
        self.options: dict[str, Any] = {
            "stdin": slave,
            "preexec_fn": lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
            "pass_fds": (slave,),
        }
        self.before = self.modes()

    def modes(self) -> list[Any]:
        return termios.tcgetattr(self.slave)

    def echoes(self) -> bool:
        flags: int = self.modes()[3]
        return bool(flags & termios.ECHO and flags & termios.ICANON)

    def expect(self, text: str) -> None:
        seen = ""
        while text not in seen:
            seen += os.read(self.master, 4096).decode()


@pytest.fixture
def terminal(nothing_is_left: None) -> Generator[Terminal]:
    with opened() as terminal:
        yield terminal


@contextmanager
def opened() -> Generator[Terminal]:
    master, slave = pty.openpty()
    try:
        yield Terminal(master, slave)
    finally:
        os.close(master)
        os.close(slave)


def ask(start: Callable[..., Child], terminal: Terminal, call: str, end: str, *args: str) -> Child:
    """Start a program in a terminal, and wait for its prompt."""
    code = f"{HEAD}\nos.dup2(0, 1); os.dup2(0, 2)\n{CALLS[call]}\n{end}"
    child = start(code, *args, **terminal.options)
    terminal.expect(PROMPT)
    return child


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("key", [b"\x03", signal.SIGTERM, signal.SIGHUP])
def test_a_program_that_dies_by_a_signal_switches_the_echo_on_again(
    start: Callable[..., Child], terminal: Terminal, backend: str, call: str, key: bytes | int
) -> None:
    child = ask(start, terminal, call, SIGNALLED, backend)
    if isinstance(key, bytes):
        os.write(terminal.master, key)
    else:
        child.send(key)
    status, _, _ = child.finish()
    assert status == -(signal.SIGINT if isinstance(key, bytes) else key)
    assert terminal.modes() == terminal.before


@pytest.mark.parametrize("call", CALLS)
def test_so_does_one_under_another_entry_point(
    start: Callable[..., Child], terminal: Terminal, call: str
) -> None:
    child = ask(start, terminal, call, UNDER_ASYNCIO)
    os.write(terminal.master, b"\x03")
    assert child.finish()[0] == -signal.SIGINT
    assert terminal.modes() == terminal.before


@pytest.mark.parametrize("call", CALLS)
def test_so_does_one_that_ends_normally_and_leaves_the_call_behind(
    start: Callable[..., Child], terminal: Terminal, call: str
) -> None:
    child = ask(start, terminal, call, TIMED_OUT)
    assert child.finish()[0] == 0
    assert terminal.modes() == terminal.before


def test_so_does_one_that_exit_timeout_ends(
    start: Callable[..., Child], terminal: Terminal
) -> None:
    child = ask(start, terminal, "getpass", STUCK)
    os.write(terminal.master, b"\x03")
    assert child.finish()[0] == -signal.SIGINT
    assert terminal.modes() == terminal.before


def test_modes_that_a_program_sets_on_purpose_stay(
    start: Callable[..., Child], terminal: Terminal
) -> None:
    child = start(
        HEAD
        + """
import termios
async def main():
    await asyncrun.run_sync(int)
    modes = termios.tcgetattr(0)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, modes)
asyncrun.run(main)
""",
        **terminal.options,
    )
    assert child.finish()[0] == 0
    assert not terminal.echoes()


def test_a_program_in_the_background_leaves_the_terminal_alone(
    start: Callable[..., Child], terminal: Terminal
) -> None:
    child = start(PROGRAMS / "background_of_a_terminal.py", **terminal.options)
    assert child.finish()[0] == 0
    assert not terminal.echoes()


def test_without_a_terminal_nothing_is_noted(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
asyncrun.run(anyio.sleep, 0)
say(asyncrun._system.terminal._found)
asyncrun._system.terminal.restore_modes()
"""
    )
    assert child.finish() == (0, "[[]]\n", "")
