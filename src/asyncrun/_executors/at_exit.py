"""The end of pools when the process ends, or forks.

Rules of this module:

- A normal exit first finishes the work of all pools, as `concurrent.futures` does; what is stuck
  after it was asked to stop holds nothing up.
- An exit by an uncaught KeyboardInterrupt, and a Ctrl-C while work is being finished, stop it.
  From then on the kernel ends the process by the next Ctrl-C, at once and without a word. A handler
  of the program's own stays in place.
- A forked child has none of its parent's threads, and so none of their work.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .._core.current import token_by_thread
from .._core.registry import all_running, snapshot
from .._core.report import report
from .._system.process_exit import (
    await_repetition,
    exit_by_signal,
    install_exit_handler,
    is_interactive,
    is_terminal,
    print_stderr,
)
from .pool.threads import Pool, interpreter_exiting, pools

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], Any] | int | None

INTERRUPTED: Final = "the program was interrupted"

NOTICEABLE: Final = 1.0
"""Seconds of waiting after which a person wants to know why."""


def _on_interpreter_exit() -> None:
    # Else it is the program's own affair.
    is_ours = signal.getsignal(signal.SIGINT) == signal.default_int_handler
    try:
        if is_ours:
            _handle(_on_first)
        interpreter_exiting.set()
        # What the interpreter has just printed, and ends with.
        uncaught = None if is_interactive() else getattr(sys, "last_value", None)
        if isinstance(uncaught, KeyboardInterrupt):
            if is_ours:
                _handle(signal.SIG_DFL)
            _stop(pools())
        else:
            _wait(pools())
        if is_ours:
            _handle(signal.default_int_handler)
    except KeyboardInterrupt:
        if is_ours:
            end_interrupted()
        _stop(pools())
        raise


stops: Final[list[Callable[[], object]]] = []
"""Stop other pools."""

reports: Final[list[Callable[[], list[str]]]] = [lambda: report(all_running())]
"""Return a line for each call that is left running."""


def final_lines() -> list[str]:
    """Return the last lines of a process that is interrupted."""
    return ["interrupted by SIGINT", *(line for each in reports for line in each())]


def stop_begun_before(moment: float) -> None:
    """Ask calls of pools to stop that have begun before a moment, by `time.monotonic`."""
    known = pools()
    for call in all_running():
        if call.owner in known and call.started < moment:
            call.token._stop(INTERRUPTED)
    for pool in known:
        pool.wake()


def end_interrupted() -> None:
    """Stop all pools, wait for those calls that are likely to end soon, and die by SIGINT."""
    interpreter_exiting.set()
    _handle(signal.SIG_DFL)
    _stop(pools())
    exit_by_signal(signal.SIGINT, final_lines)


def _handle(handler: Handler) -> None:
    """Set the handler of SIGINT, where Python has signals: not in a subinterpreter."""
    with suppress(ValueError):
        signal.signal(signal.SIGINT, handler)


_interrupts: Final[list[int]] = []
"""The signal, once it has come: an exception that is raised in a finalizer is printed and lost."""


def _on_first(signum: int, _: FrameType | None) -> None:
    """Interrupt the wait, and let the kernel end the process by the next signal.

    A second one that comes before the kernel's default is in place is part of the first one.
    """
    _handle(_ignore)
    await_repetition()
    _handle(signal.SIG_DFL)
    _interrupts.append(signum)
    for pool in pools():  # the wait may begin when the exception is lost
        pool.wake()
    raise KeyboardInterrupt


def _check_interrupted() -> None:
    if _interrupts:
        raise KeyboardInterrupt


def _ignore(_: int, __: FrameType | None) -> None:
    """Handle a signal that repeats the first one."""


def _wait(known: list[Pool]) -> None:
    for pool in known:
        pool.close()
    _announce(known)
    for pool in known:
        pool.wait(pending=False, check=_check_interrupted)
        if pool.waiting and pool.is_busy():
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").warning(
                "%r: %d calls never began, for every thread is held by one that was asked to stop",
                pool,
                len(pool.waiting),
            )
    _check_interrupted()


def _announce(known: list[Pool]) -> None:
    """Wait a moment, and say on a terminal what the program then still waits for (rule 26)."""
    deadline = time.monotonic() + NOTICEABLE
    count = sum(pool.count_busy(deadline) for pool in known)
    if count and is_terminal():
        calls = f"{count} calls" if count > 1 else "1 call"
        infos = snapshot(call for call in all_running() if call.owner in known)
        waited_for = [info for info in infos if not info.stopping]
        oldest = "".join(f" (the oldest: {info})" for info in waited_for[:1])
        print_stderr([f"waiting for {calls} to end{oldest}; Ctrl-C ends the program"])


def _stop(known: list[Pool]) -> None:
    for stop in stops:
        stop()
    for pool in known:
        pool.stop(INTERRUPTED)
    for pool in known:
        pool.wait(pending=False)


def _after_fork() -> None:
    here = threading.get_ident()
    for ident in list(token_by_thread):
        if ident != here:
            del token_by_thread[ident]
    for pool in pools():
        pool.reset_after_fork()


def install_exit_hook() -> None:
    """Install the hooks that do all this; once."""
    install_exit_handler()
    # `concurrent.futures` registers there too: it comes before other threads are joined, and before
    # `atexit` handlers, which may need the results. The name is private, but stands since 3.9.
    getattr(threading, "_register_atexit", atexit.register)(_on_interpreter_exit)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
