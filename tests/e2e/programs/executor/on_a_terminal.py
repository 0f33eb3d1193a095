"""Wait on a terminal for stuck calls, as a program of click does: ``asyncio CALLS DESCRIPTOR``."""

from __future__ import annotations

import atexit
import os
import sys
import time

from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import stuck, wait_for

calls, terminal = map(int, sys.argv[2:])

atexit.register(say, "atexit")
os.dup2(terminal, 2)
executor = ThreadPoolExecutor()
asked = executor.submit(stuck)
while not asked.running():
    time.sleep(0)
asked.cancel()
futures = [executor.submit(stuck) for _ in range(calls)]
wait_for(calls + 1)
try:
    futures[0].result()
except KeyboardInterrupt:  # as click does
    say("Aborted!")
    sys.exit(1)
