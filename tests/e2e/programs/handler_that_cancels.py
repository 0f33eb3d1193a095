"""Cancel a task in a handler of SIGUSR1: ``asyncio CALL``."""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import asyncrun
from common import say


def polite() -> None:
    say("ready")
    while True:
        asyncrun.stop_token().sleep(10)


def stuck() -> None:
    say("ready")
    time.sleep(60)


async def in_process() -> None:
    async with asyncrun.Runner() as runner:
        await runner.run_sync(int, worker="process")
        say("ready")
        await runner.run_sync(time.sleep, 60, worker="process")


async def in_thread() -> None:
    async with asyncrun.Runner() as runner:
        await runner.run_sync({"polite": polite, "stuck": stuck}[sys.argv[2]])


async def main() -> None:
    task = asyncio.create_task(in_process() if sys.argv[2] == "in_process" else in_thread())

    def cancel(*_: object) -> None:
        task.cancel()

    signal.signal(signal.SIGUSR1, cancel)
    try:
        await task
    except asyncio.CancelledError:
        say("cancelled")


if __name__ == "__main__":
    asyncio.run(main())
