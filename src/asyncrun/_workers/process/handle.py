"""One worker process, as its parent sees it.

Rules of this module (rules 18 to 20):

- A process belongs to one thread at a time, which sends it calls and waits for the responses. If
  the call is asked to stop, the waiting thread goes through the stop sequence: the flag; time, for
  a call that has reached a safe point; SIGTERM to the process group; SIGKILL to it. So the next
  thread gets a process with nothing to do, or another one.
- A process goes from one state to the next, and never back but from busy to idle:

  ======= ================================= ============================================
  state   how it is known                   left by
  ======= ================================= ============================================
  new     ``location`` is None              `start`
  busy    a call, or the start, is          its response
          unanswered
  idle    `is_usable`                       `send`; `close_input`, when it is to exit
  ended   ``channels.has_ended``            `terminate`, which reaps it
  reaped  ``_reaped``; nothing leads to it  nothing
  ======= ================================= ============================================
- What a process has started ends with it, unless it has left its process group.
- A prefetched call needs a permit to start. The worker reads permits from a socket that the parent
  can read too. So the parent can revoke unused permits at any time, even from a stuck or dead
  worker, and knows for certain which calls have started.
"""

from __future__ import annotations

import os
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final, final

from ..._core.errors import WorkerStartError, describe_exit, first_leaf
from ..._core.stop import StopFlag, StopToken
from ..process_group import TERM_TIMEOUT, terminate_group, wait_until
from ..remote.endpoint import WorkerGone
from ..remote.serialization import dumps, raise_error
from .ipc.channels import ProcessChannels, Ready
from .ipc.framing import Frame, encode
from .ipc.protocol import NO_PERMIT
from .loop_reader import make_reader
from .spawn import IMPORTING, SpawnContext, is_importing_main, spawn_worker
from .stop_sequence import StopSequence

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping, Sequence

    from .loop_reader import ResponseReader

    Initializer = tuple[Callable[..., object], tuple[object, ...]]

LIVENESS_INTERVAL: Final = 1.0
"""Seconds between two looks whether a process lives whose end of a socket a fork may hold."""

LAST_WORDS: Final = 1.0
"""Seconds for a process that could not begin to exit by itself: it may have logged why, to a queue
that another thread of it flushes."""


@final
class WorkerProcess:
    """A worker process.

    Args:
        initializer: What it does first: a function and its arguments; or None.
        grace: Seconds for a call that has met a safe point, after it was asked to stop.
        bootstrap: Makes what the process runs; see `spawn_worker`.
        environment: See `SpawnContext`.

    Attributes:
        channels: What leads to it.
        pid: Its id, and that of its process group; 0 before it is started.
        location: See `Endpoint.location`.
        last_call_id: How many calls were sent: the id of the last one.
        calls_used: How many of them were not taken back.
        known_function: The function, pickled, that it knows already.
        reader: What hears it in an event loop, if anything does.
        popen: The process; None before it is started.

    Raises:
        OSError: There are no more descriptors.
    """

    channels: ProcessChannels
    pid: int
    location: str | None
    last_call_id: int
    calls_used: int
    known_function: bytes
    reader: ResponseReader | None
    popen: subprocess.Popen[bytes] | None

    def __init__(
        self,
        initializer: Initializer | None,
        grace: float,
        bootstrap: Callable[..., Callable[[], object]],
        environment: Mapping[str, str],
    ) -> None:
        self.channels = ProcessChannels()
        self.pid = 0
        self.location = None
        self.last_call_id = 0
        self.calls_used = 0
        self.known_function = b""
        self.reader = None
        self._revoked = 0
        self._initializer = initializer
        self._grace = grace
        self._term_timeout = TERM_TIMEOUT
        self._bootstrap = bootstrap
        self._environment = environment
        self.popen = None
        self._lifeline: tuple[int, ...] = ()
        self._permit_epoch = 0
        self._unanswered = 0
        self._pushed_back: Frame | None = None
        self._reaped = False
        self.set_current_call(0, StopFlag())
        _known.add(weakref.ref(self, _known.discard))  # as `registry.register` does

    #
    # Its life
    #

    def start(self, name: str) -> None:
        """See `Endpoint.start`."""
        initializer = self._spawn(name)
        try:
            self._send_all(encode(Frame(0, 0, initializer)))
            frame = self.receive(None)
        except WorkerGone as exc:
            if exc.returncode is None or self.stop_requested():
                raise WorkerGone(None) from None
            how = describe_exit(max(exc.returncode, 0), -min(exc.returncode, 0) or None)
            failure = WorkerStartError(name, f"it {how} as it began")
            failure.is_permanent = exc.returncode >= 0  # else memory was short, say
            raise failure from None
        if frame is not None and frame.is_error:
            what = str(frame.extra, "utf-8")
            try:
                raise_error(frame.body, what)
            except BaseException as exc:  # noqa: ASYNC103 - it came in a message
                self.terminate(LAST_WORDS)
                error = first_leaf(exc)
                why = f"there {what} raised {type(error).__name__}: {error}"
                if isinstance(error, WorkerStartError):
                    why = error.why
                failure = WorkerStartError(name, why)
                failure.is_permanent = True
                raise failure from exc  # noqa: ASYNC104

    def _spawn(self, name: str) -> bytes:
        """Start it, and return the initializer as it is to be sent."""
        if is_importing_main():
            raise WorkerStartError(name, IMPORTING)
        context, initializer = SpawnContext(self._environment), b""
        if self._initializer is not None:
            how = context.pickle, context.pickle_by_value
            initializer = dumps(self._initializer, "the initializer", *how)
        try:
            bootstrap = partial(
                self._bootstrap, shared_flag_fd=context.inherit(self.channels.shared_flag_fd)
            )
            self.popen, self._lifeline = spawn_worker(self.channels.child_ends, bootstrap, context)
        except OSError as exc:
            raise WorkerStartError(name, str(exc)) from exc
        self.pid = self.popen.pid
        self.location = f"process {self.pid}"
        self.channels.connect(self.pid)
        self._unanswered = 1
        return initializer

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return not self._reaped and self.popen is not None and self.popen.poll() is None

    def kill_soon(self, *, at_once: bool) -> None:
        """Make its thread end it without a time of grace, once its call is asked to stop.

        Args:
            at_once: Whether by SIGKILL alone.
        """
        self._grace = 0.0
        self._term_timeout = 0.0 if at_once else TERM_TIMEOUT
        self._stop_sequence.cut_short()
        self.wake()

    def is_usable(self) -> bool:
        """See `Endpoint.is_usable`."""
        return self.location is not None and not self.channels.has_ended and not self._unanswered

    def close_input(self) -> None:
        """Close its input, so that it exits by itself; then `terminate` it."""
        self.channels.shut_down()

    def terminate(self, timeout: float = 0.0) -> int:
        """End it, with all that it has started.

        Args:
            timeout: Seconds that it may take to exit by itself.

        Returns:
            Its return code.
        """
        popen = self.popen
        self.channels.has_ended = True
        if popen is None or self._reaped:  # its id may be that of another one by now
            self.close_fds()
            return popen.returncode or 0 if popen is not None else 0
        try:
            wait_until(lambda: popen.poll() is not None, timeout)
            terminate_group(popen, self._term_timeout)
            self._reaped = True
            return popen.returncode or 0
        finally:
            self.close_fds()

    def close_fds(self) -> None:
        """Close what leads to it."""
        if self.reader is not None:
            self.reader.close()
            self.reader = None
        self.channels.close()
        lifeline, self._lifeline = self._lifeline, ()
        for fd in lifeline:
            os.close(fd)

    #
    # Calls
    #

    def send(self, function: bytes, arguments: bytes) -> None:
        """See `Endpoint.send`."""
        self.last_call_id += 1
        self.calls_used += 1
        self._unanswered += 1
        first, self.known_function = b"" if function is self.known_function else function, function
        try:
            is_sent = self._send_all(encode(Frame(self.last_call_id, NO_PERMIT, first, arguments)))
        except WorkerGone:
            self._revoked += 1
            raise
        self._revoked += not is_sent

    def prefetch(self, calls: Sequence[bytes]) -> None:
        """See `Endpoint.prefetch`."""
        self.channels.grant_permits(self._permit_epoch, len(calls))
        self._unanswered += len(calls)
        self.calls_used += len(calls)
        call_id, self.last_call_id = self.last_call_id + 1, self.last_call_id + len(calls)
        frames = [Frame(call_id + i, self._permit_epoch, b"", each) for i, each in enumerate(calls)]
        self._send_all([b"".join(piece for frame in frames for piece in encode(frame))])

    def revoke(self) -> None:
        """See `Endpoint.revoke`."""
        if count := self.channels.revoke_permits():
            self._revoked += count
            self._unanswered -= count
            self.calls_used -= count
            self._permit_epoch = (self._permit_epoch + 1) % NO_PERMIT

    def take_revoked(self) -> int:
        """See `Endpoint.take_revoked`."""
        count, self._revoked = self._revoked, 0
        return count

    def set_current_call(self, call_id: int, token: StopToken) -> None:
        """See `Endpoint.set_current_call`."""
        self._stop_sequence = StopSequence(call_id, token, self._grace)

    def wake(self) -> None:
        """See `Endpoint.wake`."""
        self.channels.wake()
        if (reader := self.reader) is not None:
            reader.interrupt()

    def stop_requested(self) -> bool:
        """Return whether the call is asked to stop."""
        return self._stop_sequence.is_set()

    def poll(self) -> bool:
        """Return, when a channel is readable, whether a response is still sure to come."""
        ready = self.channels.select(0)
        if Ready.ACK in ready:
            self._read_acks()
        if Ready.EXITED in ready and Ready.RESPONSE not in ready:
            self.channels.has_ended = True
        return not self.channels.has_ended and not self.stop_requested()

    def receive_nowait(self) -> Frame | None:
        """Return a response if it is there."""
        frame, self._pushed_back = self._pushed_back or self.channels.receive_nowait(), None
        self._unanswered -= frame is not None
        return frame

    def unread(self, frame: Frame) -> None:
        """See `Endpoint.unread`."""
        self._pushed_back = frame
        self._unanswered += 1

    def receive(self, timeout: float | None) -> Frame | None:
        """See `Endpoint.receive`."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            has_ended = self.channels.has_ended  # before the look: it may have answered and ended
            if (frame := self.receive_nowait()) is not None:
                return frame
            if has_ended:
                raise WorkerGone(self._reap())
            if not self.channels.has_ended and not self._wait_io(until):
                return None

    async def receive_async(self) -> Frame | None:
        """See `Endpoint.receive_async`.

        On cancel: nothing is lost.
        """
        if self.reader is None:
            self.reader = make_reader(self)
        return await self.reader.receive()

    def _send_all(self, contents: Sequence[memoryview | bytes]) -> bool:
        """Send bytes; return whether all of them went off."""
        for content in contents:
            rest = content
            while rest:
                try:
                    if (count := self.channels.send(rest)) == len(rest):
                        break
                    rest = memoryview(rest)[count:]
                except BlockingIOError:
                    self._wait_io(None, to_send=True)
                except OSError:  # it has ended: that is seen when all that it has said was read
                    return False
        return True

    def _wait_io(self, until: float | None, *, to_send: bool = False) -> bool:
        """Wait until the process has sent something, or can take more; return False if late."""
        while True:
            if self._stop_sequence.should_request():
                self._request_stop()
                if self._revoked:
                    return False
            now = time.monotonic()
            limits = [
                now + LIVENESS_INTERVAL,
                self._stop_sequence.deadline or now + LIVENESS_INTERVAL,
                until or now + LIVENESS_INTERVAL,
            ]
            ready = self.channels.select(max(0.0, min(limits) - now), to_send=to_send)
            if ready & (Ready.RESPONSE | Ready.WRITABLE):
                return True
            if Ready.ACK in ready:
                self._read_acks()
            if self._stop_sequence.must_kill(self.channels.is_cooperative):
                self.revoke()
                self.terminate()
                raise WorkerGone(None)
            if until is not None and time.monotonic() >= until:
                return False
            if Ready.EXITED in ready or (not ready and not self.is_alive()):
                raise WorkerGone(self._reap())

    def _reap(self) -> int:
        """Return the return code of a process that has closed its end."""
        wait_until(lambda: not self.is_alive(), TERM_TIMEOUT)
        self.revoke()
        return self.terminate()

    def _request_stop(self) -> None:
        self._stop_sequence.start()
        if self.last_call_id:  # else it is not ready: there is no call to wait for
            self.revoke()  # first, so that none of them is in its place when it ends
            self._stop_sequence.send_request(self.channels.send_request)

    def _read_acks(self) -> None:
        for frame in self.channels.acks():
            self._stop_sequence.on_ack(frame)


_known: Final[set[weakref.ref[WorkerProcess]]] = set()


def _after_fork() -> None:
    """Close, in a child that was forked, what leads to the parent's workers."""
    for link in list(_known):
        if (process := link()) is not None:
            process._reaped = True  # the child is not to end it
            process.close_fds()


getattr(os, "register_at_fork", dict)(after_in_child=_after_fork)  # Windows has no such thing
