"""Go on after two interrupts under another entry point: ``BACKEND {asyncio,anyio}``."""

from __future__ import annotations

import asyncio
import sys

import anyio

from asyncrun import Runner
from common import run_options, say
from processes.stays import heed, ignore
from processes.workload import work


async def main(turn: int) -> None:
    async with Runner(max_processes=2) as runner:
        await work(runner, 1000 if turn == 2 else 100)
        if turn < 2:
            for call in (heed, ignore):
                runner.submit(call, worker="process")


if __name__ == "__main__":
    for turn in range(3):
        try:
            if sys.argv[2] == "asyncio":
                asyncio.run(main(turn))
            else:
                anyio.run(main, turn, **run_options)
        except KeyboardInterrupt:
            say("interrupted")
