"""A program to be interrupted: ``interrupted.py run|anyio backend threads``.

It prints ``ready`` when so many threads are about to sleep; with none of them it is the rival.
"""

from __future__ import annotations

import sys
import threading
import time

import anyio

import asyncrun

ENTRY, BACKEND, THREADS = sys.argv[1], sys.argv[2], int(sys.argv[3])

_lock = threading.Lock()
_asleep = 0


def block() -> None:
    global _asleep  # noqa: PLW0603
    with _lock:
        _asleep += 1
        if _asleep == THREADS:
            print("ready", flush=True)
    time.sleep(60)


async def main() -> None:
    async with asyncrun.Runner(max_threads=100) as runner:
        for _ in range(THREADS):
            runner.submit(block)
        if not THREADS:
            print("ready", flush=True)
        await anyio.sleep_forever()


run = asyncrun.run if ENTRY == "run" else anyio.run
if BACKEND == "trio":
    run(main, backend="trio")
else:
    run(main, backend_options={"use_uvloop": BACKEND == "uvloop"})
