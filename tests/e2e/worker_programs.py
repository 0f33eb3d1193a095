"""Shared by programs with worker processes, and what is left when they are gone."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from textwrap import indent

from tests.conftest import PATIENCE, POLL, PROGRAMS

PROCESSES = PROGRAMS / "processes"

# The text of the module, so that what the workers call is the program's own.
HEAD = (
    (PROCESSES / "workload.py").read_text()
    + """
import asyncio, atexit, os, signal, subprocess, sys, threading, time
from functools import partial
from pathlib import Path
import anyio, asyncrun
from anyio import CancelScope, move_on_after, sleep_forever
from asyncrun import ProcessWorkers, Runner, WorkerDied, safe_point, stop_token
from common import run_options, say
"""
)


def program(folder: Path, functions: str, main: str) -> Path:
    """Write a short script: what each process has, and what the first one does."""
    path = folder / "program.py"
    body = indent(main.strip("\n"), "    ")
    path.write_text(f"{HEAD}\n{functions}\nif __name__ == '__main__':\n{body}\n")
    return path


def numbers(line: str) -> list[int]:
    """Read the process ids in a line."""
    return [int(word) for word in line.split()]


def is_gone(pid: int) -> bool:
    """Return whether a process has ended; its parent need not have noticed."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"


def show(pid: int) -> None:
    """Print what the kernel says of a process, for the report of a test that fails."""
    with suppress(OSError):  # it ends just now
        print((Path(f"/proc/{pid}/wchan")).read_text(), Path(f"/proc/{pid}/status").read_text())


def all_gone(pids: list[int], within: float = PATIENCE) -> bool:
    """Wait until the processes have ended; tell whether they have, in so many seconds."""
    deadline = time.monotonic() + within
    while left := [pid for pid in pids if not is_gone(pid)]:
        if time.monotonic() >= deadline:
            for pid in left if within else ():
                show(pid)
            return False
        time.sleep(POLL)
    return True


def marked(mark: str) -> list[int]:
    """Return the processes, other than this one, that have a word in their environment."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:  # it has ended meanwhile
            continue
    return [pid for pid in found if pid != os.getpid() and not is_gone(pid)]
