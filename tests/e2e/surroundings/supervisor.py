"""A supervisor as systemd is one: ``supervisor.py KILL_MODE PATIENCE COMMAND...``.

On SIGTERM it sends SIGTERM, waits for so many seconds, and then sends SIGKILL: with the kill mode
``process`` to its child, with ``control-group`` to all that the child has started, with ``mixed``
SIGTERM to its child and SIGKILL to all. It says whether it sent SIGKILL, and its status is that of
the child, as a shell has it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def descendants(pid: int) -> list[int]:
    """Return the processes below one: what a control group has, for nothing leaves this one."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (thread / "children").read_text().split()):
                found += [child, *descendants(child)]
    return found


def send(signum: int, pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)


class TimeToEnd(BaseException):
    """SIGTERM has come."""


def on_sigterm(*_: object) -> None:
    raise TimeToEnd


def supervise(kill_mode: str, patience: str, *command: str) -> int:
    # What loses its parent becomes a child of this process.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, on_sigterm)
    child = subprocess.Popen(command, start_new_session=True)
    try:
        child.wait()
    except TimeToEnd:
        everything = kill_mode == "control-group"
        send(signal.SIGTERM, descendants(os.getpid()) if everything else [child.pid])
    try:
        child.wait(float(patience))
        print("in time")
    except subprocess.TimeoutExpired:
        send(signal.SIGKILL, [child.pid] if kill_mode == "process" else descendants(os.getpid()))
        print("killed")
    status = child.wait()
    return 128 - status if status < 0 else status


if __name__ == "__main__":
    sys.exit(supervise(*sys.argv[1:]))
