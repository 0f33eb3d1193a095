"""Make calls for which the system refuses a process: ``asyncio {descriptors,processes}``."""

from __future__ import annotations

import os
import resource
import sys
import threading
from pathlib import Path

import asyncrun
from asyncrun import ProcessWorkers, Runner
from common import say
from processes.workload import double


def refuse_descriptors() -> None:
    now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (now + 3, 4096))


def refuse_processes() -> None:
    if os.getuid() == 0:  # who may start as many as it likes
        os.setuid(61234)
    resource.setrlimit(resource.RLIMIT_NPROC, (threading.active_count(), 4096))


async def main() -> None:
    workers = ProcessWorkers(2, max_tasks_per_child=1)
    async with Runner() as runner:
        await runner.run_sync(double, 1, worker=workers)  # a thread is there, and all modules
        if sys.argv[2] == "descriptors":
            refuse_descriptors()
        else:
            refuse_processes()
        for _ in range(2):
            try:
                await runner.run_sync(double, 1, worker=workers)
            except RuntimeError as exc:
                say(type(exc).__name__, exc)
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
        say("calls", len(runner.calls()))


if __name__ == "__main__":
    asyncrun.run(main)
