"""Kill a worker process that is idle, and stop one in a call."""

from __future__ import annotations

import os
import signal

import anyio

import asyncrun
from asyncrun import Runner
from processes.workload import work


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        for _ in range(2):
            pid = await runner.run_sync(os.getpid, worker="process")
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # or it may still take a call
            assert await runner.run_sync(os.getpid, worker="process") != pid
            os.kill(await runner.run_sync(os.getpid, worker="process"), signal.SIGSTOP)
            with anyio.move_on_after(0.05):
                await runner.run_sync(os.getpid, worker="process")
        await work(runner, 100)


if __name__ == "__main__":
    asyncrun.run(main)
