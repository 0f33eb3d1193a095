"""The beginning of short programs that tests write: ``HEAD + code``, run with a backend's name."""

import os

HEAD = """
import atexit, os, signal, sys, threading, time
import anyio, asyncrun
from anyio import CancelScope, get_cancelled_exc_class, sleep_forever
from common import run_options, say
"""

LAST_LINE = "asyncrun: interrupted by SIGINT\n"


def shown_on(master: int, slave: int) -> str:
    """Return what a terminal shows whose programs have ended.

    The kernel hands on what they wrote in its own time; but never before what was written later.
    """
    os.write(slave, b"<end>")
    shown = b""
    while not shown.endswith(b"<end>"):
        shown += os.read(master, 4096)
    return shown.decode().removesuffix("<end>").replace("\r\n", "\n")
