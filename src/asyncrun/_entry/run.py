"""The entry point: signals, exit status, the last line.

Rules of this module (rules 13 to 17):

- Only this room touches the signal dispositions of the process, and it puts them back.
- A signal handler may run at any bytecode of the main thread. Ours stores attributes, puts the
  kernel's default back, posts one callback to the loop and releases one lock; it never waits.
- A forked child has the handlers that the program would have without `run`, from its first moment.
- How a process ends by a signal is the business of `_system.process_exit`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

import anyio

from .._core.checks import call_async, check_async, check_outside, check_timeout
from .._core.errors import Interrupted, first_leaf
from .._core.registry import all_running, entry_point_reports, is_busy, report
from .._system.eventloop import threadsafe_caller
from .._system.process_exit import (
    TERMINATION_SIGNALS,
    await_repetition,
    exit_by_signal,
    handler_after,
    has_default_handler,
    is_interactive,
    kill_self,
    notice,
    print_stderr,
)
from .._system.terminal import note_modes, restore_modes
from .._system.wakeup import waking_the_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from types import FrameType, TracebackType
    from typing import TypeVarTuple

    ArgsT = TypeVarTuple("ArgsT")
    Handler = Callable[[int, FrameType | None], Any] | int | None

T = TypeVar("T")


def run(
    main: Callable[[*ArgsT], Coroutine[Any, Any, T]],
    *args: *ArgsT,
    backend: str = "asyncio",
    backend_options: Mapping[str, Any] | None = None,
    exit_timeout: float | None = None,
) -> T:
    """Run an async program, and end it well on Ctrl-C.

    It is `anyio.run` with these additions. The first SIGINT, SIGTERM or SIGHUP (or Ctrl-Break, on
    Windows) cancels main at once; when it has unwound, `Interrupted` is raised here. Left
    uncaught, that prints one line and a line for each call left running, runs the ``atexit``
    handlers, flushes the standard streams, and ends the process by that same signal. A second
    signal ends the process at once; a SIGTERM or SIGHUP that repeats one within a second does not.

    Signals that are ignored (``nohup``) or that the program handles itself are left alone; so are
    all signals where `run` is not called in the main thread. A forked child has the handlers that
    it would have without `run`.

    The process dies without finalization: a file that no ``with`` block closes loses what is in its
    buffer. As PID 1 of a container, where the kernel ignores the signal, it exits with 128 + the
    signal's number. Terminal modes that an abandoned `getpass.getpass` has changed are put back.
    In an interactive interpreter `run` prints the same lines, and the prompt comes back.

    Args:
        main: An async function.
        *args: Its positional arguments.
        backend: ``"asyncio"`` or ``"trio"``.
        backend_options: As for `anyio.run`; ``{"use_uvloop": True}``, say.
        exit_timeout: If the process is still there so many seconds (above 0) after the first
            signal, even if it has caught `Interrupted`, every thread's stack is printed and the
            process ends by the signal. None waits without limit.

    Returns:
        What main returns.

    Raises:
        Interrupted: After a signal (a `KeyboardInterrupt`).
        RuntimeError: An event loop runs in this thread already.
        TypeError: ``main`` is not an async function.
        ValueError: ``exit_timeout`` is not above 0.
    """
    check_outside(main)
    check_timeout("exit_timeout", exit_timeout)
    check_async("run()", main)
    note_modes(anew=not is_busy())
    signals = SignalHandlers(exit_timeout)
    options = None if backend_options is None else dict(backend_options)
    try:
        with signals:
            result = anyio.run(
                signals.run_main, main, args, backend=backend, backend_options=options
            )
    except BaseException as exc:
        if signals.signum is None:
            raise
        raise _make_interrupted(signals.signum) from exc  # noqa: ASYNC104 - the loop has ended
    if signals.signum is not None:
        raise _make_interrupted(signals.signum)
    return result


@final
class SignalHandlers:
    """The signals of one `run`: a context manager that takes them over and gives them back."""

    def __init__(self, exit_timeout: float | None) -> None:
        self.signum: int | None = None
        self._exit_timeout = exit_timeout
        self._watchdog: _Watchdog | None = None
        self._previous: dict[int, Handler] = {}
        self._cancel: Callable[[], None] | None = None
        self._closing = False
        self._gc_was_enabled = False

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if self._exit_timeout is not None:
            self._watchdog = _Watchdog(self._exit_timeout)
        _installed.append(self)
        for signum in TERMINATION_SIGNALS:
            if has_default_handler(signum):
                self._previous[signum] = signal.getsignal(signum)
                signal.signal(signum, self._on_signal)
        if self.signum is not None:  # it came between two of them
            self._prepare_for_later(self.signum)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._closing = True
        self.restore()
        if self._gc_was_enabled:
            gc.enable()
        if self._watchdog is not None and self.signum is None:
            self._watchdog.cancel()

    def restore(self) -> None:
        """Put the handlers back that stood there before."""
        for signum, previous in self._previous.items():
            current = signal.getsignal(signum)
            # Ours, or what the first signal put there; else main has set its own.
            if current == self._on_signal or (
                self.signum is not None and current == handler_after(self.signum, signum)
            ):
                signal.signal(signum, previous)
        with suppress(ValueError):  # a forked child has done this before
            _installed.remove(self)

    async def run_main(
        self, main: Callable[[*ArgsT], Coroutine[Any, Any, T]], args: tuple[*ArgsT]
    ) -> T:
        """Run main in a scope that the first signal cancels."""
        entry_point_reports.set(lambda: self.signum is not None)
        with waking_the_loop(), anyio.CancelScope() as scope:
            self._cancel = partial(threadsafe_caller(), scope.cancel)
            if self.signum is not None:  # it came while the loop was being set up
                scope.cancel()
            try:
                return await call_async("run()", main, args)
            finally:
                self._cancel = None
        return cast("T", None)  # `run` raises Interrupted

    def _on_signal(self, signum: int, _: FrameType | None) -> None:
        if self.signum is not None:  # a repetition, or main's own handler has handed it on
            return
        self.signum = signum
        notice()
        if self._watchdog is not None:
            self._watchdog.arm(signum)
        if self._closing:
            return
        if gc.isenabled():  # what unwinds makes much garbage, and mostly the process ends then
            self._gc_was_enabled = True
            gc.disable()
        if (cancel := self._cancel) is not None:
            cancel()
        await_repetition()
        self._prepare_for_later(signum)

    def _prepare_for_later(self, first: int) -> None:
        for each in self._previous:
            signal.signal(each, handler_after(first, each))


_installed: Final[list[SignalHandlers]] = []

_fork_state: Final = threading.local()


def _before_fork() -> None:
    """Hold signals back until the child has its own handlers.

    Python forgets, in a new child, the signals that it has caught so far: one whose handler is
    written in Python would be lost. A pool of `multiprocessing` that ends at once would wait for
    such a child for ever.
    """
    if _installed:
        _fork_state.mask = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINATION_SIGNALS)


def _after_fork() -> None:
    if (mask := _fork_state.__dict__.pop("mask", None)) is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _after_fork_in_child() -> None:
    for signals in _installed[:]:
        signals.restore()
    _after_fork()


getattr(os, "register_at_fork", dict)(  # Windows has no such thing
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)


@final
class _Watchdog:
    """The thread behind ``exit_timeout``. It starts with `run`: a handler cannot start threads."""

    def __init__(self, seconds: float) -> None:
        import faulthandler  # noqa: PLC0415 - rarely needed, and not to be imported when stuck

        self._dump = faulthandler.dump_traceback
        self._seconds = seconds
        self._signum: int | None = None
        self._trigger = threading.Lock()
        self._trigger.acquire()
        name = "asyncrun exit_timeout"
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)
        self._thread.start()

    def arm(self, signum: int) -> None:
        self._signum = signum
        self._release()

    def cancel(self) -> None:
        self._release()
        if self._signum is None:
            self._thread.join()

    def _release(self) -> None:
        # A handler of main's may call ours at any moment, and so arm what is being dismissed.
        with suppress(RuntimeError):
            self._trigger.release()

    def _watch(self) -> None:
        self._trigger.acquire()
        if (signum := self._signum) is None:
            return
        self._trigger.acquire(timeout=min(self._seconds, threading.TIMEOUT_MAX))
        if is_interactive():
            return
        name = signal.Signals(signum).name
        print_stderr([f"still here {self._seconds:g} s after {name}; the stacks of all threads:"])
        with suppress(Exception):
            self._dump()
        restore_modes()
        kill_self(signum)


@final
class _ExceptHook:
    """A `sys.excepthook` that knows `Interrupted`, and leaves the rest to the one before it."""

    def __init__(self, previous: Callable[..., object]) -> None:
        self._previous = previous

    def __call__(
        self,
        exc_type: type[BaseException],
        exc: BaseException,
        tb: TracebackType | None,
    ) -> None:
        if not isinstance(exc, Interrupted):
            self._previous(exc_type, exc, tb)
        elif is_interactive():
            print_stderr(_final_lines(exc))
        else:
            exit_by_signal(exc.signum, partial(_final_lines, exc))


def _make_interrupted(signum: int) -> Interrupted:
    if not isinstance(sys.excepthook, _ExceptHook):
        sys.excepthook = _ExceptHook(sys.excepthook)
    return Interrupted(signum)


def _final_lines(interrupted: Interrupted) -> list[str]:
    words = str(interrupted)
    if (cause := interrupted.__cause__) is not None:
        words += f"; as it ended, {_one_line(cause)}"
    return [words, *report(all_running())]


def _one_line(error: BaseException) -> str:
    error = first_leaf(error)  # it tells more than its group
    try:
        first, *_ = str(error).splitlines() or [""]
    except Exception:  # noqa: BLE001 - whatever a __str__ may raise
        first = "<its message cannot be printed>"
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
