"""A wake-up descriptor for a plain asyncio loop in the main thread.

Rules of this module:

- Python runs a signal handler when the main thread reaches its next bytecode. A handler that does
  not raise lets `select` go on waiting (PEP 475), and a signal that comes just before `select`
  does not end it at all. So the loop sees what the handler did only when something else wakes it.
- uvloop, Trio and asyncio on Windows set a wake-up descriptor; asyncio elsewhere does so only for
  `loop.add_signal_handler`. A descriptor that another party has set is left in place.
- No signal byte is lost: asyncio runs its own handlers from these bytes. To look at the present
  descriptor is to replace it for a moment, so the bytes of that moment are passed on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, final

import anyio.lowlevel

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import TracebackType

_set_wakeup_fd: Final = partial(signal.set_wakeup_fd, warn_on_full_buffer=False)


@final
class _WakeUp:
    """The descriptor of one event loop: a context manager that may be entered several times.

    Its sockets stay open until the loop shuts its asynchronous generators down, or is collected:
    opening them costs a sixth of a whole call.
    """

    def __init__(self, loop: Any) -> None:
        import socket  # noqa: PLC0415 - the loop has loaded it

        self._users = 0
        self._receiver, self._sender = socket.socketpair()
        self._receiver.settimeout(0)
        self._sender.settimeout(0)
        loop.add_reader(self._receiver.fileno(), self._receive)
        self._keeper: AsyncGenerator[None] | None = self._keep()
        with suppress(StopIteration):
            self._keeper.__anext__().send(None)

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._keeper = None  # it holds the loop, where Python 3.11 does not see that
            if not self.is_closed():  # in a forked child it is
                loop: Any = anyio.lowlevel.current_token().native_token
                loop.remove_reader(self._receiver.fileno())
                self.close()

    def is_closed(self) -> bool:
        """Return True if a new one is needed."""
        return self._sender.fileno() == -1

    def __enter__(self) -> None:
        self._users += 1
        # Each time, for asyncio sets none when its last own handler is removed.
        if (current := _set_wakeup_fd(self._sender.fileno())) not in (-1, self._sender.fileno()):
            self._leave_to(current)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _is_main_thread():  # else a coroutine is closed elsewhere, and this stays as it is
            self._users -= 1
            if not self._users:
                self._uninstall()

    def _uninstall(self) -> None:
        if (current := _set_wakeup_fd(self._sender.fileno())) == self._sender.fileno():
            _set_wakeup_fd(-1)
        else:
            self._leave_to(current)

    def _leave_to(self, descriptor: int) -> None:
        """Put another party's descriptor back, and pass on what came meanwhile."""
        _set_wakeup_fd(descriptor)
        if received := self._receive():
            with suppress(OSError):
                os.write(descriptor, received)

    def _receive(self) -> bytes:
        try:
            return self._receiver.recv(4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Remove the descriptor and close the sockets; the loop has ended, or will be gone."""
        if self._users:
            if not _is_main_thread():
                self._receiver.detach()  # its number must not become that of another file
                self._sender.detach()
                return
            self._users = 0
            self._uninstall()
        self._receiver.close()
        self._sender.close()

    def __del__(self) -> None:
        self.close()


@final
class _Nothing:
    """Stands in where the loop needs no descriptor, or cannot have one."""

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


_NOTHING: Final = _Nothing()

# A loop holds its descriptor by the reader, and the descriptor's generator holds the loop.
_known: Final[weakref.WeakKeyDictionary[Any, weakref.ref[_WakeUp]]] = weakref.WeakKeyDictionary()


def waking_the_loop() -> _WakeUp | _Nothing:
    """Return a context manager in which each signal wakes the event loop that runs here."""
    if (asyncio := sys.modules.get("asyncio")) is None or not _is_main_thread():
        return _NOTHING
    loop = anyio.lowlevel.current_token().native_token
    if not isinstance(loop, asyncio.SelectorEventLoop):
        return _NOTHING
    link = _known.get(loop)
    if link is None or (known := link()) is None or known.is_closed():
        known = _WakeUp(loop)
        _known[loop] = weakref.ref(known)
    return known


def _is_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _after_fork() -> None:
    """Remove the descriptors in a forked child: its signals are not to wake the parent's loop."""
    for link in list(_known.values()):
        if (known := link()) is not None:
            known.close()
    _known.clear()


getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)  # Windows has no such thing
