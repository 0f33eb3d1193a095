"""Close a standard stream in a call: ``asyncio {sys.NAME,None}``; None closes their descriptors."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import asyncrun
from asyncrun import Runner
from processes.workload import work


def close() -> None:
    if sys.argv[2] != "None":
        getattr(sys, sys.argv[2].removeprefix("sys.")).close()
        return
    for fd in range(3):
        os.close(fd)


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(os.getpid, worker="process")
        for _ in range(2):
            with suppress(OSError):
                await runner.run_sync(close, worker="process")
        assert await runner.run_sync(os.getpid, worker="process") == pid
        await work(runner, 100)


if __name__ == "__main__":
    asyncrun.run(main)
