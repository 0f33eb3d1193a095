"""Send SIGINT to a thread that is not the main thread: ``BACKEND``."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import asyncrun
from common import run_options

wchan = Path(f"/proc/self/task/{os.getpid()}/wchan")


def call() -> None:
    while "poll" not in wchan.read_text():  # until the main thread waits in its loop
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    threading.Event().wait()


asyncrun.run(asyncrun.run_sync, call, **run_options)
