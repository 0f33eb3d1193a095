"""Cancel a call when a line comes: ``BACKEND {family,shell,tidy} ARGUMENTS``."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import asyncrun
from asyncrun import Runner
from common import run_options, say
from processes.stays import ignore
from processes.workload import double, hold, nap, parents

if TYPE_CHECKING:
    from collections.abc import Callable


def family(stay: str) -> None:
    """Start grandchildren that are not easily ended, and stay."""
    subprocess.Popen(["sh", "-c", "trap '' TERM INT HUP; sleep 1000 & echo $$ $!; wait"])
    parents({"nap": nap, "hold": hold}[stay])


def shell(mark: str) -> None:
    """Wait for a child that makes a file as it ends."""
    command = f"trap ': > {mark}; exit' TERM; sleep 1000 & echo ready; wait"
    subprocess.run(["sh", "-c", command], check=False)


def end(*_: object) -> None:
    sys.exit(1)


def tidy() -> None:
    signal.signal(signal.SIGTERM, end)
    try:
        ignore()
    finally:
        say("cleaned up")


CALLS: dict[str, Callable[..., None]] = {"family": family, "shell": shell, "tidy": tidy}


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        call = runner.submit(CALLS[sys.argv[2]], *sys.argv[3:], worker="process")
        await runner.run_sync(sys.stdin.readline)
        call.cancel()
        say("double", await runner.run_sync(double, 7, worker="process"))


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
