"""Set a handler of the program's own for SIGINT, and end by a `KeyboardInterrupt`."""

from __future__ import annotations

import atexit
import signal
import time

from asyncrun import stop_token
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import inside, wait_for


def handler(*_: object) -> None:
    say("handled")
    if not executor.calls():
        raise KeyboardInterrupt


def heed() -> None:
    inside.release()
    stop_token().sleep(100)


def last_words() -> None:
    time.sleep(0)
    say(signal.getsignal(signal.SIGINT) is handler)


atexit.register(say, "atexit")
signal.signal(signal.SIGINT, handler)
atexit.register(last_words)
executor = ThreadPoolExecutor(2)
executor.submit(heed)
wait_for(1)
raise KeyboardInterrupt
