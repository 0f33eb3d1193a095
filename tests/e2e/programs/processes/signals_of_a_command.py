"""Print which signals a command of a call ignores or blocks: ``asyncio {True,False}``.

With True, the program itself ignores SIGINT.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import asyncrun
from asyncrun import Runner
from common import say


def ignored() -> tuple[bool, bool, int]:
    command = ["grep", "^Sig", "/proc/self/status"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    ignored = int(lines.partition("SigIgn:")[2].split()[0], 16)
    blocked = int(lines.partition("SigBlk:")[2].split()[0], 16)
    return bool(ignored & 1 << signal.SIGINT - 1), bool(ignored & 1 << signal.SIGTERM - 1), blocked


async def main() -> None:
    async with Runner() as runner:
        say(await runner.run_sync(ignored, worker="process"))


if __name__ == "__main__":
    if sys.argv[2] == "True":
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncrun.run(main)
