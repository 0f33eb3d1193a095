"""Run a map of two items that stay: ``BACKEND``."""

from __future__ import annotations

import asyncrun
from asyncrun import Runner
from common import run_options
from processes.stays import heed, seize
from processes.workload import parents


def item(number: int) -> None:
    [heed, seize][number]()


async def main() -> None:
    async with Runner(max_processes=2, grace=30) as runner:
        await runner.run_sync(parents, int, worker="process")
        async with runner.map(item, range(2), worker="process") as results:
            async for _ in results:
                pass


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
