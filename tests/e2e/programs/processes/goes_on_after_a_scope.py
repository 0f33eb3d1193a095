"""Cancel a scope when SIGINT comes, twice, and go on with the same runner: ``BACKEND``."""

from __future__ import annotations

import signal
from functools import partial

import anyio

import asyncrun
from asyncrun import Runner
from common import run_options
from processes.stays import heed, ignore
from processes.workload import work


async def main() -> None:
    async with Runner(max_processes=2) as runner:
        for _ in range(2):
            with anyio.CancelScope() as scope, anyio.open_signal_receiver(signal.SIGINT) as signals:
                async with anyio.create_task_group() as group:
                    for call in (heed, ignore):
                        group.start_soon(partial(runner.run_sync, call, worker="process"))
                    async for _ in signals:
                        scope.cancel()
            await work(runner)


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
