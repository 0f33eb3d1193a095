"""A program to be interrupted: ``executed.py threads calls|map``.

It prints ``ready`` when so many threads of a `ThreadPoolExecutor` are about to sleep; with no
threads it is the rival, which sleeps in the main thread.
"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import as_completed

from asyncrun.futures import ThreadPoolExecutor

THREADS, JOB = int(sys.argv[1]), sys.argv[2]

_lock = threading.Lock()
_asleep = 0


def block(_: int) -> None:
    global _asleep  # noqa: PLW0603
    with _lock:
        _asleep += 1
        if _asleep == THREADS:
            print("ready", flush=True)
    time.sleep(60)


if not THREADS:
    print("ready", flush=True)
    time.sleep(60)
with ThreadPoolExecutor(THREADS) as executor:
    if JOB == "map":
        list(executor.map(block, range(2 * THREADS)))
    for future in as_completed([executor.submit(block, number) for number in range(THREADS)]):
        future.result()
