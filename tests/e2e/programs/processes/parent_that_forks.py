"""Fork beside worker processes, in several ways: ``BACKEND``."""

from __future__ import annotations

import os

import asyncrun
from asyncrun import Runner
from common import run_options, say
from processes.children import fork, own
from processes.workload import work


async def main() -> None:
    async with Runner(max_processes=2) as runner:
        await work(runner, 100)
        if (pid := os.fork()) == 0:
            os._exit(5)
        await work(runner, 100)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        say(await runner.run_sync(fork))
        say(await runner.run_sync(own, "fork") == list(range(0, 20, 2)))
        await work(runner, 100)


if __name__ == "__main__":
    asyncrun.run(main, **run_options)
