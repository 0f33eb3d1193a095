"""Write to standard error without end: ``BACKEND PLACE``."""

from __future__ import annotations

import sys
import time

import asyncrun
from common import run_options, say

PLACE = sys.argv[2]


def complain() -> None:
    while True:
        sys.stderr.write("x" * 1000)


async def main() -> None:
    say("ready")
    if PLACE == "in main":
        complain()
    async with asyncrun.Runner() as runner:
        await runner.run_sync(complain)


try:
    asyncrun.run(main, exit_timeout=None if PLACE == "in a call" else 0.1, **run_options)
except asyncrun.Interrupted:
    if PLACE != "in a call, caught":
        raise
    time.sleep(60)
