"""Make a call that no worker process can be started for: ``asyncio WHERE WHAT``.

WHERE is ``interpreter``, and WHAT a path; or it is ``initializer`` or ``main module``, and WHAT is
a statement that is run there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import asyncrun
from asyncrun import ProcessWorkers, Runner
from common import run_options, say
from processes.workload import double

WHERE, WHAT = sys.argv[2:]
NAMES = {"os": os, "signal": signal, "sys": sys, "__name__": __name__}


def bad() -> None:
    exec(WHAT, NAMES)


async def main() -> None:
    workers = ProcessWorkers(2, initializer=bad if WHERE == "initializer" else None)
    async with Runner() as runner:
        try:
            await runner.run_sync(double, 1, worker=workers)
        except RuntimeError as exc:
            say(type(exc).__name__, exc)
            say(repr(exc.__cause__))
        say("calls", len(runner.calls()))


if __name__ == "__mp_main__" and WHERE == "main module":
    bad()
if __name__ == "__main__":
    if WHERE == "interpreter":
        multiprocessing.set_executable(WHAT)
    asyncrun.run(main, **run_options)
