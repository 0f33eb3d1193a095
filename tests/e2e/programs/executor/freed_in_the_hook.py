"""Get a Ctrl-C in a finalizer while the exit hook waits: ``asyncio WHEN``."""

from __future__ import annotations

import signal
import sys
from typing import Any

from asyncrun._executors import at_exit
from asyncrun.futures import ThreadPoolExecutor
from executor.calls import stuck

when = sys.argv[2]
wait = at_exit.Pool.wait


class Freed:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def wait_when_freed(pool: at_exit.Pool, **how: Any) -> None:
    at_exit.Pool.wait = wait  # type: ignore[method-assign]
    check = how["check"]
    if when == "before":
        Freed()
    if when == "inside":
        how["check"] = lambda: (check(), freed.clear())
    wait(pool, **how)
    if when == "after":
        Freed()


freed = [Freed()] * (when == "inside")
at_exit.Pool.wait = wait_when_freed  # type: ignore[method-assign]
executor = ThreadPoolExecutor(1)
executor.submit(int if when == "after" else stuck)
