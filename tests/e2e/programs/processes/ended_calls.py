"""Make two calls that stay: ``BACKEND CALL {asyncrun,anyio} [terminal]``.

With ``terminal``, standard error is the terminal that standard input is.
"""

from __future__ import annotations

import os
import sys

import anyio

import asyncrun
from asyncrun import Runner
from common import run_options
from processes.stays import heed, ignore, seize
from processes.workload import parents

CALLS = {"heed": heed, "ignore": ignore, "seize": seize}


async def main() -> None:
    async with Runner(max_processes=2, grace=30) as runner:
        await runner.run_sync(parents, int, worker="process")
        for _ in range(2):
            runner.submit(CALLS[sys.argv[2]], worker="process")


if __name__ == "__main__":
    if "terminal" in sys.argv:
        os.dup2(0, 2)
    if sys.argv[3] == "anyio":
        anyio.run(main, **run_options)
    else:
        asyncrun.run(main, **run_options)
