"""Exit in a call: ``asyncio STATEMENT``."""

from __future__ import annotations

import os
import sys

import asyncrun
from asyncrun import Runner
from common import say


def call() -> None:
    exec(sys.argv[2])


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(os.getpid, worker="process")
        try:
            await runner.run_sync(call, worker="process")
        except (SystemExit, KeyboardInterrupt) as exc:
            say(repr(exc))
        say(await runner.run_sync(os.getpid, worker="process") == pid)


if __name__ == "__main__":
    asyncrun.run(main)
