"""Run a map that has no end: ``BACKEND KIND [ordered] [async]``."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import asyncrun
from common import run_options, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KIND = sys.argv[2]
together = threading.Barrier(4, action=lambda: say("ready"))


def item(number: int) -> None:
    match KIND:
        case "stuck" if number >= 100:
            together.wait()
            time.sleep(60)
        case "heeding" if number >= 100:
            asyncrun.safe_point()
            together.wait()
            asyncrun.stop_token().sleep(60)
        case "looking":
            asyncrun.safe_point()
        case "short":
            time.sleep(0.0001)
        case _:
            pass
    if number == 100:
        say("ready")


async def endless() -> AsyncIterator[int]:
    for number in itertools.count():
        yield number


async def main() -> None:
    async with asyncrun.Runner(max_threads=4) as runner:
        items: Any = endless() if "async" in sys.argv else itertools.count()
        async with runner.map(item, items, ordered="ordered" in sys.argv) as results:
            async for _ in results:
                pass


asyncrun.run(main, **run_options)
