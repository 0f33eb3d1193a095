"""Open two runners in each of three threads, the main thread last: ``BACKEND``."""

from __future__ import annotations

import threading

import anyio

import asyncrun
from asyncrun import Runner
from common import run_options
from processes.workload import work


async def main() -> None:
    async with (
        Runner(max_processes=1) as first,
        Runner(max_processes=1) as second,
        anyio.create_task_group() as group,
    ):
        for runner in (first, second):
            group.start_soon(work, runner, 200)


def run() -> None:
    anyio.run(main, **run_options)


if __name__ == "__main__":
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    asyncrun.run(main, **run_options)
