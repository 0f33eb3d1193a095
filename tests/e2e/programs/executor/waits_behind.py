"""Leave calls that wait, at the exit, behind one that ends when it is asked to stop."""

from __future__ import annotations

import atexit
import time

from asyncrun import stop_token
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import inside, wait_for


def heed() -> None:
    inside.release()
    try:
        stop_token().sleep(100)
    finally:
        while not executor._pool._wakers:  # the exit waits for it
            time.sleep(0)
        say("cleaned up")


atexit.register(say, "atexit")
executor = ThreadPoolExecutor(1)
call = executor.submit(heed)
rest = [executor.submit(say, number) for number in range(3)]
wait_for(1)
call.cancel()
