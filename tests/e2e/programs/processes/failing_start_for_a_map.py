"""Run a map whose worker processes fail to start."""

from __future__ import annotations

from typing import NoReturn

import asyncrun
from asyncrun import ProcessWorkers, Runner
from common import say
from processes.workload import double


def bad() -> NoReturn:
    raise LookupError("no such shop")


async def main() -> None:
    workers = ProcessWorkers(initializer=bad)
    async with Runner() as runner:
        try:
            async with runner.map(double, range(100), worker=workers) as results:
                async for _ in results:
                    say("not reached")
        except RuntimeError as exc:
            say(exc)


if __name__ == "__main__":
    asyncrun.run(main)
