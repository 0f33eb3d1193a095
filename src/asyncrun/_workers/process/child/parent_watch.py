"""The thread of a worker process that hears the parent, also while the interpreter finalizes.

Rules of this module (rules 1 and 19):

- The death of the parent ends the process at any moment: in a call, and later while exit handlers
  and finalizers run. So the thread lives as long as the process.
- CPython never takes down the frames of such a thread. What they lead to outlives finalization, and
  a file among it loses what is in its buffer. So the thread is not one of `threading`, whose frames
  lead to that module. This module, which the frame leads to, has nothing but built-in functions.
- What hears is in a list that the main thread empties after the last call.
"""

from __future__ import annotations

import os
from _thread import start_new_thread

TYPE_CHECKING = False  # `typing` is a module
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Recv(Protocol):
        """The `recv` of a socket."""

        def __call__(self, size: int, /) -> bytes: ...


start_watch = start_new_thread
"""Start `watch` in a thread of its own."""

_leave = os._exit
_group: Any = getattr(os, "getpgrp", int)  # Windows has no process groups
_kill: Any = getattr(os, "killpg", None)
del os


def watch(recv: Recv, hearers: list[Callable[[bytes], object]], pid: int) -> None:
    """Hand on what the parent says; when the parent is gone, end this process and its group.

    Args:
        recv: Receives so many bytes at most.
        hearers: The functions that get them.
        pid: The id of this process, and of its group unless it has joined another one.
    """
    hear: Callable[[bytes], object] | None
    try:
        while content := recv(65536):
            for hear in hearers:
                hear(content)
            hear = None  # it leads to the last call
    except OSError:
        pass
    if _group() == pid:
        _kill(0, 9)  # SIGKILL
    _leave(1)
