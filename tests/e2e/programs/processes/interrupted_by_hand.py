"""Print the id of a worker process, and go on when SIGINT has come there."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import asyncrun
from asyncrun import Runner
from common import say


def patient() -> str:
    got: list[int] = []
    handler: Any = signal.getsignal(signal.SIGINT)

    def note(*args: object) -> None:
        got.append(1)
        handler(*args)

    signal.signal(signal.SIGINT, note)
    say(os.getpid())
    while not got:
        time.sleep(0.001)
    return "went on"


async def main() -> None:
    async with Runner(max_processes=1) as runner:
        say(await runner.run_sync(patient, worker="process"))


if __name__ == "__main__":
    asyncrun.run(main)
