"""Submit many calls, of which one fails: ``BACKEND``."""

from __future__ import annotations

import os
import time
from typing import Any

import asyncrun
from asyncrun import Runner
from common import run_options, say
from processes.workload import double

begun: list[float] = []


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        await runner.run_sync(double, 1, worker="process")
        begun.append(time.monotonic())
        fail: Any = os.strerror
        runner.submit(fail, "a", worker="process")
        for number in range(10):
            runner.submit(double, number, worker="process")


if __name__ == "__main__":
    try:
        asyncrun.run(main, **run_options)
    except* TypeError:
        say(time.monotonic() - begun[0] < 4)
