"""The stop flag: its source sets it, its token reads it, and waiting threads are woken.

Rules of this module (rules 1 to 4):

- Nothing here imports AnyIO, and nothing here runs a thread or polls. What awaits a token in an
  event loop is put here from above (`until_set`), when a token is first awaited at the latest.
- No lock is ever waited for while a flag is being set, for `StopSource.stop` may run in a signal
  handler that has interrupted any line of this file, in this very thread. State changes are
  therefore single operations that CPython makes atomic (``dict.setdefault``, setting and
  deleting a key, ``list(dict)``, storing an attribute, ``Lock.acquire(blocking=False)``).
- A registering thread: insert the callback, link or lock, then read the flag.
  `StopToken._stop`: set the flag, then read what is inserted.
  One of the two sees the other, so nothing is missed; `run_once` claims what both may see.
- Stopping twice is harmless and repeats every wake-up, so that a stop that was itself cut short
  (a KeyboardInterrupt in its middle) can be completed by the next.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, final

from .checks import is_async
from .errors import (
    NotConstructibleError,
    OutOfRangeError,
    Stopped,
    WrongFunctionError,
    WrongStateError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator
    from contextlib import AbstractContextManager
    from types import TracebackType


def _import_until_set(token: StopToken) -> Coroutine[Any, Any, None]:
    """Import what waits in an event loop, and so AnyIO, and use it from now on."""
    import_module("asyncrun._system.eventloop")
    return until_set(token)


until_set: Callable[[StopToken], Coroutine[Any, Any, None]] = _import_until_set
"""Wait in an event loop, for ``await token``; `_system.eventloop` puts its function here."""


class StopToken:
    """The reading end of a stop flag; get one from `stop_token` or `StopSource.token`.

    In async code ``await token`` waits until it is set. On cancel: it waits no longer.

    For readers it quacks like `threading.Event`: whatever takes an event to wait on or to look at
    (`tenacity.sleep_using_event`, say) takes a token.

    All methods may be called from any thread.
    """

    __slots__ = (
        "__weakref__",
        "_callbacks",
        "_children",
        "_observed",
        "_on_first_look",
        "_reasons",
        "_set",
        "_wait_lock",
    )

    _set: bool
    _observed: bool
    _on_first_look: Callable[[], object] | None
    _reasons: dict[None, str | None]
    _wait_lock: dict[None, threading.Lock]
    _children: dict[weakref.ref[StopToken], None]
    _callbacks: dict[StopCallback, None]

    def __init__(self) -> None:
        raise NotConstructibleError("StopToken", "stop_token(), or StopSource().token")

    def is_set(self) -> bool:
        """Return whether this token was asked to stop."""
        if not self._observed:
            self._mark_observed()
        return self._set

    @property
    def reason(self) -> str | None:
        """The reason given to the first `StopSource.stop`; None as long as it is not set."""
        return self._reasons.get(None) if self._set else None

    def check(self) -> None:
        """Check the token at a safe point: do nothing, or raise.

        Raises:
            Stopped: The token is set.
        """
        if not self._observed:
            self._mark_observed()
        if self._set:
            raise Stopped(self.reason)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the token is set, or for at most ``timeout`` seconds.

        Args:
            timeout: Seconds; None waits without limit, and zero or less does not wait.

        Returns:
            Whether the token is set.
        """
        if self.is_set():
            return True
        seconds = -1.0 if timeout is None else min(max(timeout, 0.0), threading.TIMEOUT_MAX)
        lock = self._wait_lock.get(None) or self._wait_lock.setdefault(None, _locked())
        try:
            if not self._set:  # a handler that looks must not wait for the stop it interrupted
                lock.acquire(timeout=seconds)
        finally:
            # Let the next one through, even if a KeyboardInterrupt ends this wait: CPython looks
            # for signals after a call, and there is none before this one.
            if self._set:
                try:  # noqa: SIM105
                    lock.release()
                except RuntimeError:
                    pass
        return self._set

    def sleep(self, seconds: float) -> None:
        """Sleep as `time.sleep` does, but wake up and raise at once when the token is set.

        Args:
            seconds: How long, at least 0; `math.inf` sleeps until the token is set.

        Raises:
            ValueError: ``seconds`` is negative or not a number.
            Stopped: The token is set.
        """
        if not seconds >= 0:
            raise OutOfRangeError("seconds", ">= 0", seconds)
        if self.wait(seconds):
            raise Stopped(self.reason)

    def on_stop(
        self, callback: Callable[..., object], *args: object
    ) -> AbstractContextManager[None]:
        """Call something when the token is set: the way to wake code that cannot look.

        Use it around the blocking operation, with what interrupts that operation from outside::

            with stop_token().on_stop(connection.interrupt):
                connection.execute(query)

        The callback runs once, in the thread that stops (mostly the event loop's), or at once if
        the token is set already; so it must be quick and must not block. Its exception is logged
        and stops no other callback. On leaving the block the callback is forgotten; if it is just
        running in another thread, leaving waits for it to return, so that what it uses (a
        connection, a process id) can be disposed of safely after the block.

        Args:
            callback: What to call.
            *args: Its positional arguments.

        Returns:
            A context manager, to be entered once.

        Raises:
            TypeError: ``callback`` is not callable, or async.
        """
        if not callable(callback) or is_async(callback):
            given: object = callback
            if inspect.iscoroutine(given):
                given.close()
            cure = "the callback is called and not awaited, by whatever thread stops"
            raise WrongFunctionError("on_stop()", "a plain function", callback, cure)
        return StopCallback(self, callback, args)

    def __await__(self) -> Generator[Any, None, None]:
        return until_set(self).__await__()

    def __repr__(self) -> str:
        state = "not set" if not self._set else "set" if (r := self.reason) is None else f"set: {r}"
        return f"<StopToken {state}>"

    def _stop(self, reason: str | None) -> None:
        self._reasons.setdefault(None, reason)
        self._set = True
        if (lock := self._wait_lock.get(None)) is not None and lock.locked():
            try:  # noqa: SIM105 - suppress() is slow, and a runner stops many at once
                lock.release()
            except RuntimeError:  # somebody who passes has just opened it
                pass
        if self._children:
            for link in list(self._children):
                if (child := link()) is not None:
                    child._stop(self.reason)
        if self._callbacks:
            for registration in reversed(list(self._callbacks)):
                registration.run_once()

    def _link(self, child: StopToken) -> None:
        # Weak, so that the links of short-lived calls do not pile up in a long-lived parent:
        # nobody can see the flag of a child that nobody holds.
        # No call comes between these two lines, and so no KeyboardInterrupt.
        link = weakref.ref(child, self._children.pop)
        self._children[link] = None
        if self._set:
            child._stop(self.reason)

    def _mark_observed(self) -> None:
        """Note the first look, and tell of it."""
        self._observed = True
        if self._on_first_look is not None:
            self._on_first_look()

    def _is_cooperative(self) -> bool:
        """Return whether a stop is likely to be noticed: the flag was read, or a callback set."""
        return self._observed or bool(self._callbacks)


@final
class StopFlag(StopToken):
    """A stop flag: what a `StopToken` is an end of.

    Args:
        on_first_look: What is called when its token is first read, if anything.
    """

    __slots__ = ()

    def __init__(self, on_first_look: Callable[[], object] | None = None) -> None:
        self._set = False
        self._observed = False
        self._on_first_look = on_first_look
        self._reasons = {}
        # One, made by the first waiter: most tokens are never waited for.
        self._wait_lock = {}
        self._children = {}
        self._callbacks = {}


def _locked() -> threading.Lock:
    """Make a gate that is closed until the flag is set.

    Then those who wait at it go through one by one. Woken all at once they would fight for the
    GIL, which takes longer.
    """
    lock = threading.Lock()
    lock.acquire()
    return lock


_DEREGISTERED: Final = (0,)


@final
class StopCallback:
    """One registration of `StopToken.on_stop`.

    The one entry of ``_claim`` is made by whoever decides the callback's fate: a stop (it runs;
    the entry holds its thread) or the end of the block (it does not). It is not a lock, for a
    KeyboardInterrupt may hide from a stop that it has just taken it, and then nobody would
    release ``_finished``, which is held until the callback has run.
    """

    __slots__ = ("_args", "_callback", "_claim", "_entered", "_finished", "_token")

    def __init__(
        self, token: StopToken, callback: Callable[..., object], args: tuple[object, ...]
    ) -> None:
        self._token = token
        self._callback = callback
        self._args = args
        self._claim: dict[None, tuple[int]] = {}
        self._finished = threading.Lock()
        self._finished.acquire()
        self._entered = False

    def __enter__(self) -> None:
        if self._entered:
            raise WrongStateError("this on_stop() block", "was entered before", "make a new one")
        self._entered = True
        token = self._token
        token._callbacks[self] = None
        if token._on_first_look is not None:
            token._on_first_look()
        if token._set:
            try:
                self.run_once()
            except BaseException:  # the block will be neither entered nor left
                self.__exit__(None, None, None)
                raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del self._token._callbacks[self]
        claim = self._claim.setdefault(None, _DEREGISTERED)
        if claim is not _DEREGISTERED and claim[0] != threading.get_ident():
            self._finished.acquire()

    def run_once(self) -> None:
        claim = (threading.get_ident(),)
        try:
            if self._claim.setdefault(None, claim) is claim:
                self._token._observed = True  # who is woken by it has the end still to come
                self._callback(*self._args)
        except (Exception, Stopped):
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            logging.getLogger("asyncrun").exception(
                "the on_stop callback %r failed", self._callback
            )
        finally:
            # No call comes before `release`: only after a call can an interrupt come in between.
            if self._claim[None] is claim:
                self._finished.release()


@final
class StopSource:
    """The writing end of a stop flag: whoever holds it may ask the holders of its token to stop.

    Args:
        *links: Tokens to follow: as soon as one of them is set, so is this source's, with that
            one's reason. A link ends by itself when nobody holds this source or its token.
    """

    __slots__ = ("_token",)

    def __init__(self, *links: StopToken) -> None:
        self._token = StopFlag()
        for parent in links:
            parent._link(self._token)

    @property
    def token(self) -> StopToken:
        """The flag's reading end."""
        return self._token

    def stop(self, reason: str | None = None) -> None:
        """Set the token, wake all that wait on it and run its `StopToken.on_stop` callbacks.

        Only the first call sets the reason; further ones are harmless. It may be called from any
        thread and from a signal handler.

        Args:
            reason: Why, in a few words, for the message of `Stopped`.
        """
        self._token._stop(reason)

    def __repr__(self) -> str:
        return f"<StopSource of {self._token!r}>"
