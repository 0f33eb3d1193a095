"""Print whether standard error is a terminal: ``asyncio {none,closed,no terminal}``."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from pathlib import Path
from typing import Any

from asyncrun._executors import at_exit as at_exit_module
from asyncrun.futures import ThreadPoolExecutor
from common import say

at_exit: Any = at_exit_module
is_terminal = at_exit.is_terminal
go = threading.Event()


def look() -> bool:
    answer: bool = is_terminal()
    say("terminal", answer)
    go.set()
    return answer


atexit.register(say, "atexit")
null = Path(os.devnull).open("w")  # noqa: SIM115
match sys.argv[2]:
    case "none":
        sys.stderr = None
    case "closed":
        null.close()
        sys.stderr = null
    case _:
        sys.stderr = null
at_exit.NOTICEABLE = 0
at_exit.is_terminal = look
executor = ThreadPoolExecutor(1)
executor.submit(go.wait)
