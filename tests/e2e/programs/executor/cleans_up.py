"""Wait for two calls that clean up when they are asked to stop."""

from __future__ import annotations

import atexit

from asyncrun import safe_point, stop_token
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import inside, wait_for


def heed() -> None:
    safe_point()
    inside.release()
    try:
        stop_token().sleep(100)
    finally:
        say("cleaned up")


atexit.register(say, "atexit")
with ThreadPoolExecutor(2) as executor:
    executor.submit(heed)
    executor.submit(heed)
    wait_for(2)
    executor.shutdown()
