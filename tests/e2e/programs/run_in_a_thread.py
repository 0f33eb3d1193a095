"""Run outside of the main thread, and see that no handler changes: ``BACKEND``."""

from __future__ import annotations

import signal
import threading

import asyncrun
from common import run_options, say

before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]


def check() -> None:
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before


async def main() -> str:
    async with asyncrun.Runner() as runner:
        await runner.run_sync(check)
    return "done"


def elsewhere() -> None:
    say(asyncrun.run(main, exit_timeout=1, **run_options))


thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
