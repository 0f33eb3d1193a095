"""Get Ctrl-C at each line of the hook: ``asyncio FOLDER TWO PART PARTS``.

Each round forks, and sends itself a signal before the n-th line that asyncrun runs in the main
thread from the moment the hook is in its `try`. Where TWO is 1, others follow from a thread until
the process is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncrun
from asyncrun import safe_point, stop_token
from asyncrun._executors import at_exit
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import inside

if TYPE_CHECKING:
    from types import FrameType

folder = Path(sys.argv[2])
two, part, parts = map(int, sys.argv[3:])
in_hook: list[str] = []
own = str(Path(asyncrun.__file__).parent)
left = 0


def call(_: object = None) -> None:
    safe_point()
    inside.release()
    while not executor._pool._wakers:  # the hook waits, and it ends by itself or is stopped
        if two and stop_token().is_set():  # it takes its time to clean up
            time.sleep(100)
        stop_token().sleep(0.001)


go = threading.Lock()
go.acquire()


def send() -> None:
    go.acquire()
    while True:
        time.sleep(0.05)  # as fast as a person may be
        os.kill(os.getpid(), signal.SIGINT)


def trace(frame: FrameType, event: str, arg: object) -> Any:
    global left  # noqa: PLW0603 - of this round
    if not frame.f_code.co_filename.startswith(own):
        return trace if event == "call" else None
    hook = at_exit._on_interpreter_exit.__code__
    if frame.f_code is hook and event in {"call", "return"}:
        in_hook.append(event)
    if event == "line" and in_hook == ["call"]:
        left -= 1
        if left == 0:
            sys.settrace(None)
            if two:
                go.release()
            os.kill(os.getpid(), signal.SIGINT)
    return trace


for n in range(3 + part, 1000, parts):
    errors = folder / str(n)
    if (pid := os.fork()) == 0:
        os.setpgid(0, 0)  # a parent in the same group might repeat the signal: the handler waits
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        left = n
        if two:  # Python 3.12 starts no thread when the interpreter ends
            threading.Thread(target=send, daemon=True).start()
        executor = ThreadPoolExecutor(2, grace=100)
        executor.submit(call)
        executor.map(call, range(1))
        inside.acquire()
        inside.acquire()
        sys.settrace(trace)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = errors.read_text()
    if (status, text) == (0, ""):
        say("lines", n)
        break
    quiet = text == "asyncrun: interrupted by SIGINT\n" or (two and text == "")
    if status != -signal.SIGINT or not quiet:
        say("round", n, "status", status, text)
