"""Use what needs a timer or a post to the loop, under `asyncio.run`."""

from __future__ import annotations

import asyncio
import time

import asyncrun
from common import say


async def main() -> None:
    async with asyncrun.Runner(max_threads=1, grace=0) as runner:
        try:
            await runner.run_sync(time.sleep, 60, timeout=0.1)
        except asyncrun.CallTimeoutError as exc:
            say(exc)
        try:
            async with asyncio.timeout(1.5):
                await runner.run_sync(int)
        except TimeoutError:
            say("starved")


asyncio.run(main())
