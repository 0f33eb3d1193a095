"""Leave text in the buffers of many files, in a worker process: ``asyncio MAX_TASKS``."""

from __future__ import annotations

import functools
import signal
import sys
import threading
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import asyncrun
from asyncrun import ProcessWorkers, Runner, stop_token
from common import say

if TYPE_CHECKING:
    from collections.abc import Callable

folder = Path.cwd()
log: Any = (folder / "module").open("w") if __name__ != "__main__" else None
local = threading.local()


class Holder:
    first: TextIO
    file: TextIO | None = None
    write: Callable[[str], int]


def first() -> None:
    Holder.first = (folder / "initializer").open("w")
    Holder.first.write("first;")


@functools.lru_cache
def cached() -> TextIO:
    return (folder / "cache").open("w")


def closed_over() -> Callable[[str], int]:
    file = (folder / "closure").open("w")
    return lambda text: file.write(text)  # noqa: PLW0108 - a closure


def keep_log(*_: object) -> object:
    return log


def write(number: int) -> None:
    if Holder.file is None:
        Holder.file = (folder / "class").open("w")
        Holder.write = closed_over()
        local.file = (folder / "local").open("w")
        module: Any = types.ModuleType("made")
        sys.modules["made"] = module
        module.file = (folder / "other").open("w")
        signal.signal(signal.SIGUSR1, keep_log)
    made: Any = sys.modules["made"]
    for each in (log, Holder.file, cached(), made.file):
        each.write(f"{number};")
    if threading.current_thread() is threading.main_thread():
        local.file.write(f"{number};")
    Holder.write(f"{number};")


def heed() -> None:
    with stop_token().on_stop(write, 3):
        say("ready")
        stop_token().sleep(1000)


async def main() -> None:
    most = None if sys.argv[2] == "None" else int(sys.argv[2])
    workers = ProcessWorkers(1, initializer=first, max_tasks_per_child=most)
    async with Runner() as runner:
        await runner.run_sync(write, 1, worker=workers)
        await runner.run_sync(write, 2, worker=workers)
        call = runner.submit(heed, worker=workers)
        await runner.run_sync(sys.stdin.readline)
        call.cancel()
    say("left")


if __name__ == "__main__":
    asyncrun.run(main)
