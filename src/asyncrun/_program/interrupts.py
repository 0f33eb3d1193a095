"""Ctrl-C, and the end of a program.

Rules of this module:

- A KeyboardInterrupt that the program catches is the program's. One that comes out of it ends the
  process: a line, one for each call that is left running, exit handlers, death by SIGINT.
- A second Ctrl-C ends the process at once. It is the second one while the main thread handles the
  KeyboardInterrupt of the first, as in a ``finally``, or once the program has come to its end.
- What the program does with SIGINT itself is left to it (see `own_handlers`).

    ========= ============================ ==================================================
    state     how it is known              SIGINT
    ========= ============================ ==================================================
    runs      neither of the others        raises KeyboardInterrupt, as Python does
    handles   `is_handling_interrupt`      ends the process at once
    has ended `_ended`, or the handler of  stops what is waited for, and ends the process
              `_executors.at_exit`
    the same, the kernel's default         ends the process at once
    again
    ========= ============================ ==================================================
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast, final

from .._core.registry import all_running
from .._core.report import described
from .._executors import at_exit
from .._system.process_exit import (
    await_repetition,
    has_default_handler,
    is_interactive,
    is_terminal,
    kill_self,
    print_stderr,
)
from .._system.terminal import note_modes, restore_modes
from . import own_handlers, plain_threads, target
from .installed import inheriting, offloading

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

PATIENCE: Final = 0.5
"""Seconds after which a person wants to know why the program is still there."""


@final
class _Settings:
    """The options of the command line.

    Attributes:
        exit_timeout: Seconds that an exit may take after a KeyboardInterrupt.
    """

    exit_timeout: float = 0.0


_settings: Final = _Settings()
_presses: Final[list[float]] = []
"""When each SIGINT came, by `time.monotonic`."""

_ended: Final[list[bool]] = []
"""Is not empty when the program has come to its end."""


@final
class Interrupt:
    """The handler of SIGINT, which raises KeyboardInterrupt with no frame of its own.

    To call this class is to call `__new__`, whose frame has ended when CPython's own handler raises
    the error in the place of ``__init__``. So a traceback ends with a frame of the program.
    """

    def __new__(cls, signum: int, _: FrameType | None) -> Any:
        """Note the signal; end the process if it is the second one."""
        if is_handling_interrupt():
            end_at_once(signum)
        if _ended:  # Python waits for threads
            at_exit.end_interrupted()
        _presses.append(time.monotonic())
        if signal.getsignal(signum) is cls:  # else a handler of the program's calls this one
            signal.signal(signum, _ignore)
            await_repetition()
            signal.signal(signum, cls)
        _start_explaining()
        return object.__new__(cls)

    __init__: Any = signal.default_int_handler


def take_over(*, reports: bool, exit_timeout: float) -> None:
    """Handle SIGINT and SIGQUIT, where nobody does.

    Args:
        reports: Whether to print a line for each call: of those left running at the end, and at
            SIGQUIT of those that run.
        exit_timeout: Seconds that the exit may take after a KeyboardInterrupt.
    """
    _settings.exit_timeout = exit_timeout
    own_handlers.watch()
    at_exit.stops.append(inheriting.stop_all)
    offloading.listeners.append(_on_interrupt_of_a_loop)
    if reports:
        at_exit.reports.append(plain_threads.report)
    else:
        at_exit.reports.clear()
    note_modes()
    if is_interactive():
        return
    if has_default_handler(signal.SIGINT):
        # asyncio, Trio and others look whether Python's own handler is there.
        signal.default_int_handler = Interrupt
        signal.signal(signal.SIGINT, Interrupt)
    quit_signal = getattr(signal, "SIGQUIT", None)
    if reports and quit_signal is not None and signal.getsignal(quit_signal) == signal.SIG_DFL:
        signal.signal(quit_signal, _on_quit)


def run_program(prepare: Callable[[], Callable[[], object]]) -> None:
    """Run a program to its end, and end the process as its end says.

    Args:
        prepare: Returns what runs the program.

    Raises:
        SystemExit: The program raises it, or has failed.
    """
    try:
        target.execute(prepare())
    except SystemExit:
        _note_end()
        raise
    except BaseException as exc:  # noqa: ASYNC103, BLE001 - as the interpreter does
        exc.__traceback__ = target.own_part(exc.__traceback__)
        if is_interrupt(exc) and not is_interactive():
            _end_interrupted(exc)
        print_uncaught(exc)
        del exc
        _note_end()
        if not is_interactive():
            raise SystemExit(1) from None  # noqa: ASYNC104 - no task is here
    else:
        _note_end()


def _note_end() -> None:
    """Prepare for the end of the process, now that the program has come to its own."""
    own_handlers.stop_what_began_before()
    plain_threads.announce()
    _ended.append(True)
    # The next SIGINT is to end the process, if it is not the first.
    if _presses and signal.getsignal(signal.SIGINT) is Interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def is_interrupt(exc: BaseException) -> bool:
    """Return whether an error is a KeyboardInterrupt, or a group of nothing else."""
    if isinstance(exc, BaseExceptionGroup):
        return cast("Any", exc).split(KeyboardInterrupt)[1] is None
    return isinstance(exc, KeyboardInterrupt)


def is_handling_interrupt() -> bool:
    """Return whether the thread that asks handles a KeyboardInterrupt.

    It does so in an ``except`` or ``finally`` block, in the ``__exit__`` of a ``with`` block, and
    in all that these call; also where it handles another error by now that came of it.
    """
    return _leads_to_interrupt(sys.exception())


def _leads_to_interrupt(exc: BaseException | None) -> bool:
    while exc is not None:
        if is_interrupt(exc):
            return True
        exc = exc.__context__
    return False


def _on_interrupt_of_a_loop(signum: int, is_second: bool) -> None:  # noqa: FBT001
    if is_second:
        end_at_once(signum)
    _presses.append(time.monotonic())


def end_at_once(signum: int) -> None:
    """End the process by a signal, without exit handlers; from a signal handler."""
    restore_modes()
    inheriting.kill_all()
    kill_self(signum)


def _ignore(_: int, __: FrameType | None) -> None:
    """Handle a signal that repeats the first one."""


def print_uncaught(exc: BaseException) -> None:
    """Do what the interpreter does with an error that nothing has caught."""
    kind, tb = type(exc), exc.__traceback__
    sys.last_type, sys.last_value, sys.last_traceback = kind, exc, tb
    setattr(sys, "last_exc", exc)  # noqa: B010 - of Python 3.12
    sys.audit("sys.excepthook", sys.excepthook, kind, exc, tb)
    try:
        sys.excepthook(kind, exc, tb)
    except SystemExit:
        raise
    except BaseException as error:  # noqa: ASYNC103, BLE001 - a hook may raise anything
        print("Error in sys.excepthook:", file=sys.stderr)
        error.__suppress_context__ = True
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next  # not this frame
        sys.__excepthook__(type(error), error, error.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(kind, exc, tb)


def _end_interrupted(exc: BaseException) -> None:
    """Stop everything, say what is left running, and die by SIGINT."""
    from .._entry.watchdog import Watchdog  # noqa: PLC0415 - rarely needed

    _ended.append(True)
    with suppress(RuntimeError):  # the system gives no thread
        Watchdog(_settings.exit_timeout).arm(signal.SIGINT)
    if sys.excepthook is not sys.__excepthook__:  # the program's own way
        print_uncaught(exc)
    exc.__traceback__ = exc.__context__ = None  # what its frames hold is not to be kept
    at_exit.end_interrupted()


def _on_quit(_: int, frame: FrameType | None) -> None:
    """Print what runs (the handler of SIGQUIT)."""
    main = f"the main thread, at {plain_threads.line_of(frame)}"
    lines = [main, *described(all_running()), *plain_threads.described()]
    print_stderr([f"running: {line}" for line in lines])


def _start_explaining() -> None:
    """Start to wait, and to say on a terminal what the program then does with the interrupt."""
    if is_terminal():
        with suppress(RuntimeError):  # the system gives none
            # No `Thread`, which is started by locks that the handler may have interrupted.
            _thread.start_new_thread(_explain, (threading.get_ident(), len(_presses)))


def _explain(main: int, press: int) -> None:
    time.sleep(PATIENCE)
    found: Any = sys._current_exceptions().get(main)  # noqa: SLF001 - documented
    exc = cast("Any", found[1] if isinstance(found, tuple) else found)  # Python 3.11 has three
    if len(_presses) == press and not _ended and _leads_to_interrupt(exc):
        where = plain_threads.line_of(sys._current_frames().get(main))  # noqa: SLF001
        waited_for = [*described(all_running()), *plain_threads.described()]
        lines = [f"the program still handles the interrupt, at {where}; Ctrl-C ends it at once"]
        print_stderr(lines + [f"running: {line}" for line in waited_for])
