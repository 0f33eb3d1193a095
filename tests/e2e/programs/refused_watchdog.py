"""Run where the system refuses the watchdog's thread."""

from __future__ import annotations

import resource
import signal
import warnings

from asyncrun import run
from limits import limit_memory, used


async def main() -> None:
    print("not reached")


warnings.simplefilter("error")
limit_memory(used() + 2**20)
try:
    run(main, exit_timeout=1)
except RuntimeError as exc:
    print(exc)
limit_memory(resource.RLIM_INFINITY)  # whatever else runs at the exit, as coverage does, needs some
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
