"""Fork a hundred times, and end each child in its first moment: ``asyncio {main,call}``."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings

import asyncrun
from common import say

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where there are threads


def one() -> int:
    if (pid := os.fork()) == 0:
        time.sleep(60)
    os.kill(pid, signal.SIGTERM)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def main() -> str:
    async with asyncrun.Runner() as runner:
        if sys.argv[2] == "main":
            say({one() for _ in range(100)})
        else:
            say({await runner.run_sync(one) for _ in range(100)})
    return "not cancelled"


say(asyncrun.run(main))
