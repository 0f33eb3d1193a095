"""Start a call that takes its time to clean up: ``asyncio {end,wait}``."""

from __future__ import annotations

import atexit
import sys
import threading
import time

from asyncrun import safe_point, stop_token
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import inside, stuck, wait_for


def linger() -> None:
    """Pass a safe point, notice the stop, and go on for long."""
    safe_point()
    inside.release()
    stop_token().wait()
    say("asked")
    time.sleep(100)


atexit.register(say, "atexit")
executor = ThreadPoolExecutor(2, grace=100)
executor.submit(linger)
executor.submit(stuck)
wait_for(2)
if sys.argv[2] == "wait":
    threading.Event().wait()
