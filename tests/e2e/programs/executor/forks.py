"""Use an executor in a forked child: ``asyncio {fork,fork in a call,multiprocessing}``."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import warnings

from asyncrun import stop_token
from asyncrun.futures import ThreadPoolExecutor
from common import say
from executor.calls import stuck, wait_for

HOW = sys.argv[2]


def in_child() -> None:
    assert stop_token().is_set() is False
    say("child", executor.submit(pow, 2, 3).result(), list(executor.map(int, "12")))
    say("calls", len(executor.calls()))


def fork() -> int:
    if (pid := os.fork()) == 0:
        in_child()
        if HOW == "fork":
            sys.exit()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


warnings.simplefilter("ignore", DeprecationWarning)
executor = ThreadPoolExecutor(2)
for _ in range(2):
    executor.submit(stuck)
if HOW != "fork in a call":
    wait_for(2)
if HOW == "fork":
    say("parent", fork())
elif HOW == "multiprocessing":
    process = multiprocessing.get_context("fork").Process(target=in_child)
    process.start()
    process.join()
    say("parent", process.exitcode)
else:
    other = ThreadPoolExecutor(1)
    wait_for(2)
    say("parent", other.submit(fork).result())
os.kill(os.getpid(), signal.SIGTERM)
