"""Unwind when cancelled, catch `Interrupted`, and exit: ``BACKEND``."""

from __future__ import annotations

import sys

import anyio

import asyncrun
from common import run_options, say


async def main() -> None:
    try:
        say("ready")
        await anyio.sleep_forever()
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0)
        say("unwound")
        raise


try:
    asyncrun.run(main, **run_options)
except asyncrun.Interrupted as exc:
    is_kin = isinstance(exc, KeyboardInterrupt)  # pyright: ignore[reportUnnecessaryIsInstance]
    say(repr(exc.signum), exc, exc.__cause__, is_kin)
sys.exit(7)
