"""Make a call for which the system refuses the thread: ``BACKEND``."""

from __future__ import annotations

import resource
import warnings

import anyio

import asyncrun
from common import run_options
from limits import limit_memory, used


async def main() -> None:
    refused: RuntimeError | None = None
    async with asyncrun.Runner(max_threads=1) as runner:
        limit_memory(used() + 2**20)  # a thread's stack is 8 MiB
        try:
            await runner.run_sync(str)
        except RuntimeError as exc:
            refused = exc
        limit_memory(resource.RLIM_INFINITY)
        print(refused)
        assert await runner.run_sync(str, 1) == "1"
        assert not runner.calls()
    print("done")


warnings.simplefilter("error")
anyio.run(main, **run_options)
