"""Begin the example's query after the stop: ``EXAMPLE``."""

from __future__ import annotations

import runpy
import sys

import asyncrun

example = runpy.run_path(sys.argv[1])


def begin_late() -> None:
    asyncrun.safe_point()  # so that the runner waits for this call
    print("ready", flush=True)
    asyncrun.stop_token().wait()
    example["query"](example["ENDLESS"])


async def main() -> None:
    async with asyncrun.Runner() as runner:
        await runner.run_sync(begin_late)


asyncrun.run(main)
