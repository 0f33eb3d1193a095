"""What becomes of pools when the process ends, or forks.

Rules of this room:

- A normal exit first finishes the work of all pools, as `concurrent.futures` does; what is stuck
  after it was asked to stop holds nothing up.
- An exit by an uncaught KeyboardInterrupt, and a Ctrl-C while work is being finished, stop it.
- A forked child has none of its parent's threads, and so none of their work.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from typing import Final

from ._calls import all_running, report
from ._exit import end_by, is_default, is_interactive
from ._pool import Pool, exiting, pools
from ._stop import by_thread

INTERRUPTED: Final = "the program was interrupted"


def _finish() -> None:
    exiting.set()
    known = pools()
    # What the interpreter has just printed, and ends with.
    uncaught = None if is_interactive() else getattr(sys, "last_value", None)
    try:
        if isinstance(uncaught, KeyboardInterrupt):
            _stop(known)
        else:
            _wait(known)
    except KeyboardInterrupt:
        _stop(known)
        if is_default(signal.SIGINT):  # else it is the program's own affair
            end_by(signal.SIGINT, lambda: ["interrupted by SIGINT", *report(all_running())])
        raise


def _wait(known: list[Pool]) -> None:
    for pool in known:
        pool.close()
    for pool in known:
        pool.wait(pending=False)
        if pool.waiting:
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").warning(
                "%r: %d calls never began, for every thread is held by one that was asked to stop",
                pool,
                len(pool.waiting),
            )


def _stop(known: list[Pool]) -> None:
    for pool in known:
        pool.stop(INTERRUPTED)
    for pool in known:
        pool.wait(pending=False)


def _after_fork() -> None:
    here = threading.get_ident()
    for ident in list(by_thread):
        if ident != here:
            del by_thread[ident]
    for pool in pools():
        pool.forget()


def finish_at_exit() -> None:
    """See to it that all this happens; once."""
    # `concurrent.futures` registers there too: it comes before other threads are joined, and before
    # `atexit` handlers, which may need the results. The name is private, but stands since 3.9.
    getattr(threading, "_register_atexit", atexit.register)(_finish)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
