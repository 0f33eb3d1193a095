"""Calls for the threads of an executor, and how a program waits until they run."""

from __future__ import annotations

import threading
import time

from common import say

inside = threading.Semaphore(0)


def stuck() -> None:
    inside.release()
    time.sleep(100)


def wait_for(calls: int) -> None:
    """Print ``ready`` when so many calls are inside."""
    for _ in range(calls):
        inside.acquire()
    say("ready")
