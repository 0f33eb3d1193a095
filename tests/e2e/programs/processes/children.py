"""Calls that have children of their own."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import warnings
from typing import Any

import anyio

from asyncrun import Runner
from processes.workload import double

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where there are threads


def own(kind: str) -> list[int]:
    context: Any = multiprocessing.get_context(kind)
    with context.Pool(2) as pool:
        doubled: list[int] = pool.map(double, range(10))
        return doubled


def fork() -> int:
    if (pid := os.fork()) == 0:
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def shell() -> bytes:
    return subprocess.run(["echo", "there"], capture_output=True, check=True).stdout


async def nested(doubled: list[int]) -> None:
    async with Runner(max_processes=1) as runner:
        doubled.append(await runner.run_sync(double, 21, worker="process"))


def inner() -> int:
    doubled: list[int] = []
    anyio.run(nested, doubled)
    return doubled[0]
