"""Go on after two interrupts: ``BACKEND``."""

from __future__ import annotations

import asyncrun
from asyncrun import Runner
from common import run_options, say
from processes.stays import heed, ignore
from processes.workload import work


async def first() -> None:
    async with Runner(max_processes=2) as runner:
        await work(runner, 100)
        for call in (heed, ignore):
            runner.submit(call, worker="process")


async def second() -> None:
    async with Runner(max_processes=2) as runner:
        await work(runner)


if __name__ == "__main__":
    for _ in range(2):
        try:
            asyncrun.run(first, **run_options)
        except asyncrun.Interrupted as exc:
            say(exc)
    asyncrun.run(second, **run_options)
