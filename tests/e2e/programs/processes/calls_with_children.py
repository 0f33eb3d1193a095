"""Make a call that has children of its own, and say its result: ``asyncio CALL ARGUMENTS``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import asyncrun
from asyncrun import Runner
from common import say
from processes.children import inner, own, shell
from processes.workload import work

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS: dict[str, Callable[..., object]] = {"own": own, "shell": shell, "inner": inner}


async def main() -> None:
    async with Runner() as runner:
        say(repr(await runner.run_sync(CALLS[sys.argv[2]], *sys.argv[3:], worker="process")))
        await work(runner, 100)


if __name__ == "__main__":
    asyncrun.run(main)
