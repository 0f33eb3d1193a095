"""Register an exit handler in a worker process, and one here: ``asyncio MAX_TASKS``."""

from __future__ import annotations

import atexit
import sys
import time

import asyncrun
from asyncrun import ProcessWorkers, Runner
from common import say


def last() -> None:
    time.sleep(0.05)
    print("worker's")


def lasting() -> None:
    atexit.register(last)


async def main() -> None:
    most = None if sys.argv[2] == "None" else int(sys.argv[2])
    workers = ProcessWorkers(1, max_tasks_per_child=most)
    async with Runner() as runner:
        await runner.run_sync(lasting, worker=workers)
    say("left")


if __name__ == "__main__":
    atexit.register(say, "parent's")
    asyncrun.run(main)
