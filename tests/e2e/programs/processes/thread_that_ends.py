"""Open a runner in a thread that ends before the program."""

from __future__ import annotations

import os
import threading
import time

import anyio

from asyncrun import Runner
from common import say
from processes.workload import double


async def main() -> None:
    async with Runner(max_processes=2) as runner:
        await runner.run_sync(double, 1)
        await anyio.sleep(0)
        pid = await runner.run_sync(os.getpid, worker="process")
        for _ in range(5):  # whichever thread it was that has started the process
            with anyio.CancelScope() as scope:
                scope.cancel()
                await runner.run_sync(time.sleep, 0)
        say(pid == await runner.run_sync(os.getpid, worker="process"))


if __name__ == "__main__":
    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    thread.join()
