"""A worker outside of this process, as a call and an item loop use it.

Rules of this module:

- A thread that has an endpoint from `EndpointPool.acquire` is the only one that uses it, until it
  gives the endpoint back. `Endpoint.wake` alone may be called by any other one.
- An endpoint runs one call at a time, in the order in which the calls were sent. It sends the
  responses in that order, too.
- Which of the calls have started is known for certain, also when the worker is stuck or dead: all
  that `Endpoint.take_revoked` does not count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..._core.stop import StopToken

SMALL: Final = 1 << 16
"""Bytes that an endpoint takes without waiting, and that are unpickled in no time."""


@final
class WorkerGone(Exception):  # noqa: N818 - so it is called
    """The process has ended.

    Args:
        returncode: How, as `subprocess.Popen.returncode` says it; None if it was ended here.
    """

    def __init__(self, returncode: int | None) -> None:
        super().__init__(returncode)
        self.returncode = returncode


class Response(Protocol):
    """The response to one call."""

    @property
    def call_id(self) -> int:
        """The id of the call."""
        ...

    @property
    def is_error(self) -> bool:
        """Whether the call has raised."""
        ...

    @property
    def body(self) -> memoryview | bytes:
        """The result, or the error as `serialization.dump_error` gives it; pickled."""
        ...

    @property
    def extra(self) -> memoryview | bytes:
        """How long the call ran: nanoseconds, as a little-endian number."""
        ...


class Endpoint(Protocol):
    """One worker outside of this process."""

    @property
    def pid(self) -> int:
        """Its process id, once it is started."""
        ...

    @property
    def location(self) -> str | None:
        """Its name in reports, as in "process 4711"; None before it is started."""
        ...

    @property
    def last_call_id(self) -> int:
        """The id of the last call that was sent; ids count from 1."""
        ...

    def start(self, name: str) -> None:
        """Start it, and wait until it is ready.

        Args:
            name: The call that it is for.

        Raises:
            WorkerStartError: That was not possible (a `RuntimeError`).
            SerializationError: The initializer cannot be pickled (a `TypeError`).
            WorkerGone: The call was asked to stop meanwhile.
        """
        ...

    def is_usable(self) -> bool:
        """Return whether it may take another call, as far as is known."""
        ...

    def send(self, function: bytes, arguments: bytes) -> None:
        """Send a call that may start at once; no other one is unanswered.

        Args:
            function: The function, pickled.
            arguments: Its arguments, pickled.
        """
        ...

    def prefetch(self, calls: Sequence[bytes]) -> None:
        """Send more calls of the same function; each starts when the one before it has ended.

        Args:
            calls: For each its arguments, pickled; all together at most `SMALL` bytes.
        """
        ...

    def revoke(self) -> None:
        """Take back the calls that were prefetched and have not started, for `take_revoked`."""
        ...

    def take_revoked(self) -> int:
        """Return how many calls, the last ones, were revoked since this was last called."""
        ...

    def set_current_call(self, call_id: int, token: StopToken) -> None:
        """Go through the stop sequence, from now on, when this call is asked to stop.

        Args:
            call_id: Its id.
            token: Its stop flag; after setting it, call `wake`.
        """
        ...

    def wake(self) -> None:
        """Read the stop flag again; from any thread and from a signal handler."""
        ...

    def receive(self, timeout: float | None) -> Response | None:
        """Wait for a response, in a thread.

        Args:
            timeout: Seconds; None waits without limit.

        Returns:
            The response; None if there was none in time, or a call was revoked.

        Raises:
            WorkerGone: The worker has ended, or was ended, as the call was asked to stop.
        """
        ...

    async def receive_async(self) -> Response | None:
        """Wait for a response, in an event loop.

        On cancel: nothing is lost.

        Returns:
            The response; None if a thread must `receive` it: the worker has ended, or its call is
            asked to stop.
        """
        ...

    def unread(self, frame: Any) -> None:
        """Put back a response that has come from here, for the next `receive`."""
        ...


EndpointT = TypeVar("EndpointT", bound=Endpoint)


class EndpointPool(Protocol[EndpointT]):
    """The workers outside of this process that a runner uses."""

    def acquire(self, name: str) -> EndpointT:
        """Return an endpoint, which may have to be started yet; `release` it.

        Args:
            name: The call that it is for.

        Returns:
            The endpoint.

        Raises:
            WorkerStartError: There is none (a `RuntimeError`).
            WorkerGone: The pool was closed; so the call was asked to stop.
        """
        ...

    def acquire_idle_nowait(self, attach: Callable[[EndpointT], object]) -> bool:
        """Acquire an endpoint that can take more than one call, if there is one, without waiting.

        Args:
            attach: Gets the endpoint before it is acquired: a KeyboardInterrupt may come between.

        Returns:
            Whether there is one.
        """
        ...

    def release(self, process: EndpointT) -> None:
        """Release an endpoint; that takes time if it cannot take another call."""
        ...

    def calls_left(self, process: EndpointT) -> float:
        """Return how many more calls an endpoint may run."""
        ...

    def pickle_function(self, func: Callable[..., object], name: str) -> bytes:
        """Pickle a function; the same one gives the same object, where that is certain."""
        ...
