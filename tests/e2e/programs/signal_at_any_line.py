"""End by a signal at each line of asyncrun: ``BACKEND SIGNUM FOLDER PART PARTS``.

Each round forks, and sends itself a signal before the n-th line that asyncrun runs in the main
thread from the moment its handlers are there; so every line of the loop's side is covered.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import anyio

import asyncrun
from common import run_options, say

if TYPE_CHECKING:
    from types import FrameType

backend, folder = sys.argv[1], Path(sys.argv[3])
signum, part, parts = int(sys.argv[2]), int(sys.argv[4]), int(sys.argv[5])
own = str(Path(asyncrun.__file__).parent)
NO_MORE_LINES = 42
imported = asyncrun.run, asyncrun.Runner, asyncrun.stop_token  # here, not at a line that is traced

# The call listens; how soon its thread gets to where it does depends on what else the machine does.
asyncrun.StopToken._is_cooperative = lambda self: True  # type: ignore[method-assign]


def call() -> None:
    asyncrun.stop_token().sleep(30)


async def main(sent: list[bool]) -> None:
    async with asyncrun.Runner() as runner:
        runner.submit(call)
        await runner.run_sync(str)
        with anyio.move_on_after(0):
            await runner.run_sync(call)
        if not sent:
            runner.stop()
            await anyio.sleep_forever()
    if sent:
        await anyio.sleep_forever()


def play(n: int) -> NoReturn:
    left, sent = n, list[bool]()

    def trace(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal left
        if not frame.f_code.co_filename.startswith(own):
            return trace if event == "call" else None
        if signal.getsignal(signum) in {signal.SIG_DFL, signal.default_int_handler}:
            return trace
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                sent.append(True)
                os.kill(os.getpid(), signum)
        return trace

    sys.settrace(trace)
    try:
        asyncrun.run(main, sent, **run_options)
    finally:
        sys.settrace(None)
    os._exit(NO_MORE_LINES)  # the signal did not come


if backend == "uvloop":
    import uvloop as uvloop  # noqa: PLC0414 - before the rounds
anyio.run(anyio.sleep, 0, **run_options)
for n in range(1 + part, 5000, parts):
    errors = folder / f"{n}"
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)  # a parent in the same group might repeat the signal: the handler waits
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        play(n)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == NO_MORE_LINES:
        say("lines", n - 1)
        break
    text = errors.read_text()
    if status != -signum or text != f"asyncrun: interrupted by {signal.Signals(signum).name}\n":
        say("round", n, "status", status, text)
