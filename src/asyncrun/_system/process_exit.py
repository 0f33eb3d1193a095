"""The end of the process: by a signal, or in the ordinary way with calls that are stuck.

Rules of this module (rules 11 and 14):

- What ends the process by a signal runs the exit handlers and flushes the streams first, and does
  not go through the interpreter's finalization, which would join threads that are stuck.
- A stuck call may hold the lock of a standard stream for ever: nothing here waits for it without
  a limit where the process is to end, and no finalization meets it.
"""

from __future__ import annotations

import atexit
import io
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .._core.registry import is_busy
from .terminal import restore_modes

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

TERMINATION_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)
"""Signals that ask the process to end."""

REPEATABLE: Final = frozenset(TERMINATION_SIGNALS) - {signal.SIGINT, getattr(signal, "SIGBREAK", 0)}
"""Signals that come from programs, and often twice: coreutils' `timeout` signals its child and then
its group, systemd sends SIGHUP after SIGTERM, a shell passes on a SIGHUP that the kernel sent."""

REPETITION: Final = 1.0
"""Seconds within which further ones of them are the same request."""

PAUSE: Final = 0.05
"""Seconds for a sender that signals twice, and on a busy machine has to wait for a core. A person
needs twice as long for a second Ctrl-C."""


def await_repetition() -> None:
    """Wait a moment for a SIGINT that repeats the one that has just come; in its handler.

    coreutils' `timeout` passes on a SIGINT that the terminal has sent to the whole group, and
    `timeout -s INT` signals its child and then its group. Such a parent is in the group of this
    process; a shell that starts a program in a terminal is in another one.
    """
    if sys.platform != "win32":
        with suppress(OSError):  # of a parent that has just ended
            if os.getpgid(os.getppid()) == os.getpgrp():
                time.sleep(PAUSE)


def has_default_handler(signum: int) -> bool:
    """Return whether the program has set no handler for one of `TERMINATION_SIGNALS`."""
    python_default = signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL
    return signal.getsignal(signum) == python_default


_noticed: Final[list[float]] = []


def notice() -> None:
    """Note that the first signal has come, now."""
    _noticed[:] = [time.monotonic()]


def handle_repetition(signum: int, _: FrameType | None) -> None:
    """Ignore a signal that repeats the first one; end the process at once by a later one."""
    if not _noticed or time.monotonic() - _noticed[0] >= REPETITION:
        kill_self(signum)


def handler_after(first: int, signum: int) -> Callable[[int, FrameType | None], None] | int:
    """Return the handler that a signal is to have once the first one has come.

    It is the kernel's default, which ends the process even if the main thread is stuck, unless
    the signal may repeat the first one.
    """
    return handle_repetition if REPEATABLE.issuperset((first, signum)) else signal.SIG_DFL


def exit_by_signal(signum: int, final_lines: Callable[[], list[str]]) -> None:
    """End the process by a signal, after the exit handlers and a flush; in the main thread.

    Args:
        signum: The signal.
        final_lines: Gives lines for standard error.
    """
    for each in TERMINATION_SIGNALS:
        if has_default_handler(each):  # the next one is to end even an exit handler that hangs
            signal.signal(each, handler_after(signum, each))
    restore_modes()
    print_stderr(final_lines())
    atexit.unregister(replace_std_streams)  # there will be no finalization
    _run_exit_handlers()
    flush_streams(FLUSH_TIMEOUT if is_busy() else None)
    kill_self(signum)


def _run_exit_handlers() -> None:
    # That of `logging` flushes standard error, whose lock a stuck call may hold.
    flush_logs = getattr(sys.modules.get("logging"), "shutdown", None) if is_busy() else None
    if flush_logs is not None:
        atexit.unregister(flush_logs)
    with suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 - finalization would do it, and then join threads
    if flush_logs is not None:
        _run_in_thread(flush_logs, FLUSH_TIMEOUT)


FLUSH_TIMEOUT: Final = 1.0
"""Time limit in seconds of the last lines, and of the final flush: a stuck call may hold a
stream's lock, and its reader may never read on."""


def flush_streams(timeout: float | None) -> None:
    """Flush standard output and error.

    Args:
        timeout: Seconds, or None for no limit: a call that is stuck in a write holds a lock, and
            its reader may never read on.
    """

    def flush() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()

    _run_in_thread(flush, timeout)


def _run_in_thread(use_streams: Callable[[], None], timeout: float | None) -> None:
    # Waiting for a thread can be bounded and interrupted; waiting for a stream's lock cannot.
    thread = threading.Thread(target=use_streams, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the system gives none, as at any exit of Python 3.12.1
        use_streams()
    else:
        thread.join(timeout)


def install_exit_handler() -> None:
    """Install the exit handler for processes with calls that are stuck; once."""
    atexit.unregister(replace_std_streams)
    atexit.register(replace_std_streams)


def replace_std_streams() -> None:
    """Replace the standard streams: finalization then needs no lock that a stuck call may hold.

    It flushes them when the threads are frozen, and aborts if one of them has such a lock. So
    they are flushed now, and streams without a buffer, as under ``python -u``, take their place.
    """
    if not is_busy():
        return
    restore_modes()
    try:
        flush_streams(None)
    finally:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if isinstance(stream, io.TextIOWrapper):
                with suppress(OSError, ValueError):  # it is closed
                    raw: Any = io.FileIO(stream.fileno(), "w", closefd=False)
                    text = io.TextIOWrapper(raw, stream.encoding, stream.errors, write_through=True)
                    setattr(sys, name, text)
                    setattr(sys, f"__{name}__", text)


def print_stderr(lines: list[str]) -> None:
    """Print lines on standard error, if there is one; see `write_stderr`."""
    text = "".join(f"asyncrun: {line}\n" for line in lines)
    write_stderr(text, FLUSH_TIMEOUT if is_busy() else None)


def write_stderr(text: str, timeout: float | None) -> None:
    """Write on standard error, if there is one.

    Args:
        text: The text.
        timeout: Seconds, or None for no limit, as for `flush_streams`.
    """

    def write() -> None:
        with suppress(Exception):  # there may be none, or a closed one, or a full disk
            sys.stderr.write(text)
            sys.stderr.flush()

    if timeout is None:
        write()
    else:
        _run_in_thread(write, timeout)


def is_terminal() -> bool:
    """Check whether a person may read standard error now."""
    with suppress(Exception):  # there may be none, or a closed one
        return sys.stderr.isatty()
    return False


def is_interactive() -> bool:
    """Return whether there is a prompt that must not die."""
    return hasattr(sys, "ps1") or bool(sys.flags.inspect)


def kill_self(signum: int) -> None:
    """End the process by a signal, from any thread."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signum, signal.SIG_DFL)
    else:
        with suppress(Exception):
            import ctypes  # noqa: PLC0415 - rarely needed

            # What `signal.signal` calls; that refuses to in any thread but the main one.
            ctypes.pythonapi.PyOS_setsig(signum, None)
    with suppress(AttributeError):  # Windows has no such thing
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
    signal.raise_signal(signum)
    os._exit(128 + signum)  # the kernel ignores it for PID 1
