"""Use a runner where AnyIO has idle threads, started before asyncrun came: ``BACKEND``."""

from __future__ import annotations

import sys
import threading
import time
import warnings

import anyio
import anyio.to_thread

import asyncrun
from common import run_options


def is_daemon() -> bool:
    return threading.current_thread().daemon


async def main() -> None:
    # Three idle threads of AnyIO's own, which are no daemons under asyncio.
    meet = threading.Barrier(3)

    async def wait() -> None:
        await anyio.to_thread.run_sync(meet.wait)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(wait)
    assert await anyio.to_thread.run_sync(is_daemon) == (sys.argv[1] == "trio")
    async with asyncrun.Runner() as runner:
        assert await runner.run_sync(is_daemon)
        runner.submit(time.sleep, 60)
        while not runner.calls():
            await anyio.sleep(0)
        runner.stop()


warnings.simplefilter("error")
anyio.run(main, **run_options)
print("done")
