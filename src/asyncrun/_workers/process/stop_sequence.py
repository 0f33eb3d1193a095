"""How long a call in a worker process may go on that was asked to stop.

Rule of this module (rule 18): a call that has met a safe point has time to end by itself, any
other one has none; and which of the two it is, its process must say at once, or have said before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from .ipc.framing import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.stop import StopToken

ACK_TIMEOUT: Final = 0.05
"""Seconds in which a worker must say whether its call has met a safe point: if it does not, the
call holds the GIL. CPython hands the GIL over every 0.005 s."""

MAX_REASON_BYTES: Final = 4096
"""Bytes of a reason that are sent."""


@final
class StopSequence:
    """The stop sequence of one call.

    Args:
        call_id: The call's id.
        token: Its stop flag.
        grace: Seconds for a call that has met a safe point, after it was asked to stop.

    Attributes:
        call_id: The call's id.
        token: Its stop flag.
        deadline: When its process is to be ended, by `time.monotonic`; None if it is not asked.
    """

    __slots__ = ("_grace", "_is_acknowledged", "_requested_at", "call_id", "deadline", "token")

    call_id: int
    token: StopToken
    deadline: float | None

    def __init__(self, call_id: int, token: StopToken, grace: float) -> None:
        self.call_id = call_id
        self.token = token
        self.deadline = None
        self._grace = grace
        self._requested_at = 0.0
        self._is_acknowledged = False

    def cut_short(self) -> None:
        """Leave the call no time, from any thread."""
        self._grace = 0.0
        if self.deadline is not None:
            self.deadline = self._requested_at

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self.token._set

    def should_request(self) -> bool:
        """Return whether the call is to be asked to stop."""
        return self.token._set and self.deadline is None

    def start(self) -> None:
        """Note that it is asked, or about to be."""
        self._requested_at = self.deadline = time.monotonic()

    def send_request(self, send: Callable[[Frame], bool]) -> None:
        """Ask it; without an answer it has no time."""
        reason = self.token.reason
        text = b"" if reason is None else str(reason).encode("utf-8", "replace")[:MAX_REASON_BYTES]
        if send(Frame(self.call_id, reason is not None, text)):
            self.deadline = self._requested_at + ACK_TIMEOUT

    def on_ack(self, ack: Frame) -> None:
        """Hear the answer: whether the call is likely to end by itself."""
        if ack.call_id == self.call_id and self.deadline is not None:
            self._is_acknowledged = True
            self.deadline = self._requested_at + (self._grace if ack.code else 0.0)

    def must_kill(self, is_cooperative: Callable[[], bool]) -> bool:
        """Return whether it has had its time.

        Args:
            is_cooperative: Tells whether it is likely to end by itself, should there be no answer.

        Returns:
            Whether its process is to be ended.
        """
        if self.deadline is None or time.monotonic() < self.deadline:
            return False
        if not self._is_acknowledged and is_cooperative():
            self._is_acknowledged = True
            self.deadline = self._requested_at + self._grace
        return time.monotonic() >= self.deadline
