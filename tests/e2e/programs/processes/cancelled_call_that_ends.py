"""Cancel a call that ends by itself, and say whether its process lives on: ``BACKEND``."""

from __future__ import annotations

import os
import sys

import asyncrun
from asyncrun import Runner
from common import run_options, say
from processes.stays import heed


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(os.getpid, worker="process")
        call = runner.submit(heed, worker="process")
        await runner.run_sync(sys.stdin.readline)
        call.cancel()
        say(await runner.run_sync(os.getpid, worker="process") == pid)


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
