"""Raise an error while unwinding, and say what `Interrupted` has as its cause: ``BACKEND``."""

from __future__ import annotations

import anyio

import asyncrun
from common import run_options, say


async def main() -> None:
    try:
        say("ready")
        await anyio.sleep_forever()
    finally:
        raise ValueError("disk full")


try:
    asyncrun.run(main, **run_options)
except asyncrun.Interrupted as exc:
    say(repr(exc.__cause__))
    raise
