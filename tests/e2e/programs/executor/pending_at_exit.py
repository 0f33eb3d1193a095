"""Leave calls to the exit hook: ``asyncio {plain,recycle}``; each says that it was done."""

from __future__ import annotations

import os
import sys

from asyncrun.futures import ProcessPoolExecutor


def work(number: int) -> None:
    os.write(1, f"{number}\n".encode())


if __name__ == "__main__":
    executor = ProcessPoolExecutor(2, max_tasks_per_child=1 if sys.argv[2] == "recycle" else None)
    for number in range(6):
        executor.submit(work, number)
