"""One call, run by an endpoint for the thread that waits.

Rule of this module: the thread takes an endpoint for the call, and gives it back when the call has
ended, before anybody sees the outcome. An endpoint that ended before the call began costs nothing
but another attempt.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar, cast

from ..._core.errors import Stopped
from ..._core.registry import STARTING
from ..._core.stop import StopCallback
from .endpoint import WorkerGone
from .errors import WorkerDied
from .serialization import dumps, loads, raise_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ..._core.stop import StopToken
    from .endpoint import Endpoint, EndpointPool, Response

T = TypeVar("T")

MAX_ATTEMPTS: Final = 3
"""How many processes may end before they begin a call: an idle one may be killed at any moment."""


class CallForEndpoint(Protocol):
    """A call as its exchange with an endpoint sees it.

    Attributes:
        location: See `Call.location`.
        is_answered: See `Call.is_answered`.
    """

    location: str | None
    is_answered: bool

    @property
    def func(self) -> Callable[..., Any]:
        """The function."""
        ...

    @property
    def args(self) -> tuple[object, ...]:
        """Its positional arguments."""
        ...

    @property
    def name(self) -> str:
        """See `RunningCall.name`."""
        ...

    @property
    def function(self) -> str:
        """See `RunningCall.function`."""
        ...

    @property
    def token(self) -> StopToken:
        """Its stop flag."""
        ...

    @property
    def on_begin(self) -> Callable[[], None] | None:
        """See `Call.on_begin`."""
        ...


class Exchange(Generic[T]):
    """A call, run by a process for the thread that waits.

    Args:
        call: The call.
        pool: Where to take a process.
    """

    def __init__(self, call: CallForEndpoint, pool: EndpointPool[Any]) -> None:
        call.location = STARTING
        call.is_answered = False
        self._call = call
        self._pool = pool
        self._function = ""  # its name, when it has been pickled
        self._pickled: tuple[bytes, bytes] | None = None
        self._process: Endpoint | None = None
        self._stop_callback: AbstractContextManager[None] = nullcontext()

    def run(self) -> T:
        """Run the call in a process, and wait for the end; also as a `SlotLease` does.

        Returns:
            Its result.

        Raises:
            BaseException: The call has raised it.
            WorkerStartError: There was no process, and `CallForEndpoint.location` is `STARTING`.
            WorkerDied: The process ended under the call.
            Stopped: It was ended, as the call was asked to stop.
        """
        call, attempts = self._call, MAX_ATTEMPTS
        while True:
            attempts -= 1
            process = self._process
            try:
                if process is None:
                    process = self._start()
                frame = cast("Response", process.receive(None))
                call.is_answered = True
                return self.finish(frame)
            except WorkerGone as exc:
                process = cast("Endpoint", process or self._process)
                if exc.returncode is None:
                    raise Stopped(call.token.reason) from None
                if not (process.take_revoked() and attempts):
                    raise WorkerDied(call.name, process.pid, exc.returncode) from None
            finally:
                self._release_process()

    def finish(self, frame: Response) -> T:
        """Return the result of a response, or raise its error."""
        result: T = load_response(frame, self._function)
        return result

    def _start(self) -> Endpoint:
        call = self._call
        self._pickle()
        call.location = STARTING  # again, if the process of an earlier attempt has died
        process: Endpoint = self._pool.acquire(call.name)
        self._attach(process)
        if process.location is None:
            process.set_current_call(1, call.token)
            process.start(call.name)
        self._send(process)
        return process

    def _attach(self, process: Endpoint) -> None:
        self._process = process
        self._stop_callback = StopCallback(self._call.token, process.wake, ())
        self._stop_callback.__enter__()

    def _release_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self._stop_callback.__exit__(None, None, None)
            self._pool.release(process)

    def _pickle(self) -> tuple[bytes, bytes]:
        call = self._call
        if self._pickled is None:
            function = self._function = call.function
            arguments = dumps(call.args, f"an argument of {function}()")
            self._pickled = self._pool.pickle_function(call.func, function), arguments
        return self._pickled

    def _send(self, process: Endpoint) -> None:
        function, arguments = self._pickle()
        call = self._call
        call.location = process.location
        process.set_current_call(process.last_call_id + 1, call.token)
        if call.on_begin is not None:
            call.on_begin()
        process.send(function, arguments)


def load_response(frame: Response, function: str) -> Any:
    """Return the result of a response, or raise its error."""
    if frame.is_error:
        raise_error(frame.body, f"{function}()")
    return loads(frame.body, f"the result of {function}()")
