"""Get a signal when the handlers are set and main has not begun: ``BACKEND``."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio

import asyncrun
from asyncrun._entry import signals
from common import run_options, say

handlers: Any = signals.SignalHandlers
supervise = handlers.run_main


async def late(*args: object) -> object:
    os.kill(os.getpid(), signal.SIGINT)
    return await supervise(*args)


async def main() -> None:
    await anyio.sleep(0)
    say("not reached")


handlers.run_main = late
asyncrun.run(main, **run_options)
