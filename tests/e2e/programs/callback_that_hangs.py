"""Hang in a callback of `on_stop`, under `anyio.run`: ``BACKEND``."""

from __future__ import annotations

import time

import anyio

import asyncrun
from common import run_options, say


def hang() -> None:
    say("halting")
    time.sleep(60)


def call() -> None:
    with asyncrun.stop_token().on_stop(hang):
        say("ready")
        time.sleep(60)


async def main() -> None:
    async with asyncrun.Runner(grace=0) as runner:
        await runner.run_sync(call)


anyio.run(main, **run_options)
