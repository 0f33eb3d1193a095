"""Get SIGINT while the handlers are being set, and SIGTERM after that."""

from __future__ import annotations

import os
import signal
from typing import Any

import anyio

import asyncrun
import asyncrun._entry.signals

signals: Any = asyncrun._entry.signals
is_default = signals.has_default_handler


def slow(signum: int) -> bool:
    if signum == signal.SIGTERM:
        os.kill(os.getpid(), signal.SIGINT)
    return bool(is_default(signum))


async def late(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


signals.has_default_handler = slow
signals.SignalHandlers.run_main = late
asyncrun.run(anyio.sleep_forever)
