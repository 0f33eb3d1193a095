"""Interrupt a fork of a worker process, and say its status: 5 if `KeyboardInterrupt` has come."""

from __future__ import annotations

import os
import signal

import asyncrun
from asyncrun import Runner
from common import say


def fork() -> int:
    if (pid := os.fork()) == 0:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            os._exit(5)
        os._exit(6)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


async def main() -> None:
    async with Runner() as runner:
        say(await runner.run_sync(fork, worker="process"))


if __name__ == "__main__":
    asyncrun.run(main)
