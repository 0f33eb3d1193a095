"""A program to be interrupted: ``interrupted.py run|anyio backend threads calls|map``.

It prints ``ready`` when so many threads are about to sleep, by themselves or for an endless map
that has given a few hundred results before; with no threads it is the rival.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time

import anyio

import asyncrun

ENTRY, BACKEND, THREADS, JOB = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

_lock = threading.Lock()
_asleep = 0


def block() -> None:
    global _asleep  # noqa: PLW0603
    with _lock:
        _asleep += 1
        if _asleep == THREADS:
            print("ready", flush=True)
    time.sleep(60)


def item(number: int) -> None:
    if number >= 500:
        block()


async def endless(runner: asyncrun.Runner) -> None:
    async with runner.map(item, itertools.count(), max_concurrency=THREADS) as results:
        async for _ in results:
            pass


async def main() -> None:
    async with asyncrun.Runner(max_threads=100) as runner:
        if THREADS and JOB == "map":
            await endless(runner)
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
