"""The signal handlers of one `run`, and what a fork makes of them.

Rules of this module (rules 13 to 17):

- `SignalHandlers` puts back every handler that it has replaced.
- A signal handler may run at any bytecode of the main thread. Ours stores attributes, puts the
  kernel's default back, posts one callback to the loop and releases one lock. At a SIGINT it
  pauses, for 50 ms at most, so that a sender on the same core gets to its second signal.
- What the handlers of one `run` do next:

  ========= ============================== ==============================================
  state     how it is known                a signal
  ========= ============================== ==============================================
  armed     ``signum`` is None             cancels main, and puts `handler_after` in place
  cancelled ``signum``: the first signal   ends the process, unless it repeats a SIGTERM
                                           or SIGHUP within a second
  closing   ``_closing``                   is noted: `run` raises `Interrupted`
  restored  not among ``_installed``       is the business of the handlers before `run`
  ========= ============================== ==============================================
- A forked child has the handlers that the program would have without `run`, from its first moment.
- How a process ends by a signal is the business of `_system.process_exit`.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, final

import anyio

from .._core.checks import call_async
from .._core.registry import entry_point_reports
from .._system.eventloop import threadsafe_caller
from .._system.process_exit import (
    TERMINATION_SIGNALS,
    await_repetition,
    handler_after,
    has_default_handler,
    notice,
)
from .._system.wakeup import waking_the_loop
from .watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import FrameType, TracebackType
    from typing import TypeVarTuple

    ArgsT = TypeVarTuple("ArgsT")
    Handler = Callable[[int, FrameType | None], Any] | int | None

T = TypeVar("T")


@final
class SignalHandlers:
    """The signals of one `run`: a context manager that takes them over and gives them back."""

    def __init__(self, exit_timeout: float | None) -> None:
        self.signum: int | None = None
        self._exit_timeout = exit_timeout
        self._watchdog: Watchdog | None = None
        self._previous: dict[int, Handler] = {}
        self._cancel: Callable[[], None] | None = None
        self._closing = False
        self._gc_was_enabled = False

    def __enter__(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        if self._exit_timeout is not None:
            self._watchdog = Watchdog(self._exit_timeout)
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
        if signum == signal.SIGINT:
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
