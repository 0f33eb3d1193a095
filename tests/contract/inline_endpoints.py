"""Endpoints that run their calls in threads of this process: the protocol, and no more."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple, final

import anyio.to_thread

from asyncrun._core.current import current_token
from asyncrun._core.stop import StopFlag, StopToken
from asyncrun._workers.remote.serialization import dump_error, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class InlineResponse(NamedTuple):
    """See `Response`."""

    call_id: int
    is_error: bool
    body: bytes
    extra: bytes


@final
class InlineEndpoint:
    """See `Endpoint`. A call starts when it is sent, or when the one before it has ended."""

    def __init__(self, number: int) -> None:
        self.pid = 0
        self.location: str | None = None
        self.last_call_id = 0
        self._number = number
        self._changed = threading.Condition()
        self._func: Callable[..., object]
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._is_closed = False
        self._responses: deque[InlineResponse] = deque()
        self._unanswered = self._revoked = 0
        self._current: tuple[int, StopToken] = 0, StopFlag()

    def start(self, name: str) -> None:
        self.pid = self._number
        self.location = f"thread {self._number}"
        threading.Thread(target=self._main, daemon=True).start()

    def is_usable(self) -> bool:
        return self.location is not None and not self._unanswered

    def send(self, function: bytes, arguments: bytes) -> None:
        self._func = loads(function, "the function")
        self.prefetch([arguments])

    def prefetch(self, calls: Sequence[bytes]) -> None:
        with self._changed:
            for arguments in calls:
                self.last_call_id += 1
                self._unanswered += 1
                self._waiting.append((self.last_call_id, arguments))
            self._changed.notify_all()

    def revoke(self) -> None:
        with self._changed:
            self._revoked += len(self._waiting)
            self._unanswered -= len(self._waiting)
            self._waiting.clear()

    def take_revoked(self) -> int:
        count, self._revoked = self._revoked, 0
        return count

    def set_current_call(self, call_id: int, token: StopToken) -> None:
        with self._changed:
            self._current = call_id, token
            self._changed.notify_all()

    def wake(self) -> None:
        """Do nothing: the calls have the very token."""

    def receive(self, timeout: float | None) -> InlineResponse | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._responses, timeout):
                return None
            self._unanswered -= 1
            return self._responses.popleft()

    async def receive_async(self) -> InlineResponse | None:
        return await anyio.to_thread.run_sync(self.receive, None)

    def unread(self, frame: Any) -> None:
        self._unanswered += 1
        self._responses.appendleft(frame)

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _main(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                call_id, arguments = self._waiting.popleft()
                # The next one may be announced only when the response to this one was read.
                while self._current[0] < call_id:
                    self._changed.wait()
                current_token.set(self._current[1])
            begun = time.perf_counter_ns()
            try:
                is_error, body = False, dumps(self._func(*loads(arguments, "it")), "the result")
            except BaseException as exc:  # noqa: BLE001 - it is sent
                is_error, body = True, dump_error(exc, "it")
            spent = (time.perf_counter_ns() - begun).to_bytes(8, "little")
            with self._changed:
                self._responses.append(InlineResponse(call_id, is_error, body, spent))
                self._changed.notify_all()


@final
class InlinePool:
    """See `EndpointPool`."""

    def __init__(self) -> None:
        self._made: list[InlineEndpoint] = []
        self._idle: list[InlineEndpoint] = []

    def acquire(self, name: str) -> InlineEndpoint:
        if self._idle:
            return self._idle.pop()
        self._made.append(InlineEndpoint(len(self._made) + 1))
        return self._made[-1]

    def acquire_idle_nowait(self, attach: Callable[[InlineEndpoint], object]) -> bool:
        if not self._idle:
            return False
        attach(self._idle[-1])
        self._idle.pop()
        return True

    def release(self, process: InlineEndpoint) -> None:
        if process.is_usable():
            self._idle.append(process)
        else:
            process.close()

    def calls_left(self, process: InlineEndpoint) -> float:
        return math.inf

    def pickle_function(self, func: Callable[..., object], name: str) -> bytes:
        return dumps(func, name)

    def close(self) -> None:
        for endpoint in self._made:
            endpoint.close()
