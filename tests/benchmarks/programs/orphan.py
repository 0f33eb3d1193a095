"""A program for `processes`: workers in one of three states, and what they have started.

    python orphaned.py idle|call|gil

It prints the ids of the processes that must not outlive it, in a line, and waits.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import anyio

from asyncrun import Runner


def start_one() -> tuple[int, int]:
    """Start a process, and tell its id and this one's."""
    return os.getpid(), subprocess.Popen(["sleep", "1000"]).pid


def call(ready: Path) -> None:
    """Block, and let the GIL go."""
    ready.touch()
    time.sleep(1000)


def gil(ready: Path) -> None:
    """Block, and keep the GIL."""
    ready.touch()
    re.match(r"(a+)+$", "a" * 60 + "b")


def wait_for(ready: Path) -> None:
    """Wait until a file is there."""
    while not ready.exists():
        time.sleep(0.001)


async def main(state: str, ready: Path) -> None:
    async with Runner(max_processes=1) as runner:
        pids = await runner.run_sync(start_one, worker="process")
        if state != "idle":
            runner.submit({"call": call, "gil": gil}[state], ready, worker="process")
            await runner.run_sync(wait_for, ready)
        print(*pids, flush=True)
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], Path(sys.argv[2]))
