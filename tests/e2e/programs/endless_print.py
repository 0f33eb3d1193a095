"""Print without end in a call: ``BACKEND {exit,interrupt}``."""

from __future__ import annotations

import sys
import threading

import anyio

import asyncrun
from common import run_options

inside = threading.Event()


def noisy() -> None:
    inside.set()
    while True:
        print("x" * 1000, flush=True)


async def main() -> None:
    async with asyncrun.Runner() as runner:
        runner.submit(noisy)
        await asyncrun.run_sync(inside.wait)
        if sys.argv[2] == "exit":
            runner.stop()
        print("ready", file=sys.stderr, flush=True)
        await anyio.sleep_forever()


asyncrun.run(main, **run_options)
sys.exit(7)
