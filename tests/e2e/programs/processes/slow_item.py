"""Run a map with an item that waits for a file: ``BACKEND FILE``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import asyncrun
from asyncrun import Runner
from common import run_options, say


def item(number: int) -> int:
    if number == 50:
        say("slow")
        while not Path(sys.argv[2]).exists():
            time.sleep(0.001)
    return number


async def main() -> None:
    async with (
        Runner(max_processes=2) as runner,
        runner.map(item, range(1000), worker="process", ordered=False) as results,
    ):
        for _ in range(999):
            assert await anext(results) != 50
        say("the others are done")
        say(await anext(results))


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
