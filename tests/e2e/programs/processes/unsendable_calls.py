"""Make calls that cannot be sent, and one that fails, without losing a slot: ``BACKEND``."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import asyncrun
from asyncrun import Runner
from common import run_options, say
from processes.workload import double

if TYPE_CHECKING:
    from collections.abc import Callable


async def main() -> None:
    begin = time.monotonic()
    async with Runner(max_processes=1) as runner:
        for _ in range(3):
            calls: list[tuple[Callable[..., object], tuple[Any, ...]]]
            calls = [(lambda: runner, ()), (double, (main(),)), (os.strerror, ("a",))]
            for func, args in calls:
                try:
                    await runner.run_sync(func, *args, worker="process")
                except TypeError as exc:
                    say(type(exc).__name__)
                for arg in args:
                    if not isinstance(arg, str):
                        arg.close()
            assert not runner.calls()
            await runner.run_sync(double, 1, worker="process")
    say(time.monotonic() - begin < 4)


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
