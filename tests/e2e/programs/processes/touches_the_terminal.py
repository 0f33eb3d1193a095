"""Touch the terminal in a call, in many ways: ``BACKEND {True,False}``.

With True, the terminal stops a group in the background that prints.
"""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import termios
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import asyncrun
from asyncrun import Runner
from common import run_options, say

if TYPE_CHECKING:
    from collections.abc import Callable


def tries(what: Callable[[], object]) -> str:
    try:
        what()
    except (OSError, EOFError) as exc:
        return type(exc).__name__
    return "fine"


def read() -> None:
    with Path("/dev/tty").open() as terminal:
        terminal.readline()


def ask() -> None:
    warnings.simplefilter("ignore")
    getpass.getpass()


def write() -> None:
    sys.stderr.write("written ")
    sys.stderr.flush()
    subprocess.run("printf 'by a child ' >&2", shell=True, check=True)


def fork(what: Callable[[], object]) -> None:
    if (pid := os.fork()) == 0:
        os._exit(tries(what) == "fine")
    assert os.waitpid(pid, 0)[1] == 0


def touch() -> list[str]:
    return [tries(each) for each in (read, ask, input, write, partial(fork, read))]


def look() -> int:
    code = "try: open('/dev/tty')\nexcept OSError: raise SystemExit(7)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        say(await runner.run_sync(touch, worker="process"))
        say(await runner.run_sync(look, worker="process"))


if __name__ == "__main__":
    os.dup2(0, 2)  # the terminal
    before = termios.tcgetattr(0)
    if sys.argv[2] == "True":
        before[3] |= termios.TOSTOP
    termios.tcsetattr(0, termios.TCSANOW, before)
    before = termios.tcgetattr(0)
    asyncrun.run(main, **run_options)
    say(termios.tcgetattr(0) == before)
    os.close(os.open("/dev/tty", os.O_RDWR))  # the program still has it
