"""Set a handler of the program's own for SIGTERM, and get both signals: ``BACKEND``."""

from __future__ import annotations

import os
import signal

import anyio

import asyncrun
from common import run_options, say


def mine(*_: object) -> None:
    say("mine")


async def main(end: bool) -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    os.kill(os.getpid(), signal.SIGTERM)
    if end:
        os.kill(os.getpid(), signal.SIGINT)
        await anyio.sleep_forever()


def check() -> None:
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


signal.signal(signal.SIGTERM, mine)
asyncrun.run(main, False, **run_options)
check()
try:
    asyncrun.run(main, True, **run_options)
except asyncrun.Interrupted:
    check()
    say("interrupted")
