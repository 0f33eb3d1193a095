"""Get Ctrl-C in a finalizer while the hook waits: ``asyncio {before,inside,after}``."""

from __future__ import annotations

import atexit
import signal
import sys
from typing import Any

from asyncrun._executors import at_exit
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import stuck

WHEN = sys.argv[2]


class Freed:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


hook: Any = at_exit
pool_class = hook.Pool
wait = pool_class.wait
freed = [Freed()] if WHEN == "inside" else []


def wait_when_freed(pool: object, **how: Any) -> None:
    pool_class.wait = wait
    check = how["check"]

    def check_and_free() -> object:
        return check(), freed and freed.pop() and None

    if WHEN == "before":
        Freed()
    if WHEN == "inside":
        how["check"] = check_and_free
    wait(pool, **how)
    if WHEN == "after":
        Freed()


atexit.register(say, "atexit")
pool_class.wait = wait_when_freed
executor = ThreadPoolExecutor(1)
if WHEN == "after":
    executor.submit(int)
else:
    executor.submit(stuck)
