"""How long a call in a worker process may go on that was asked to stop.

Rule of this room (DESIGN.md, 18): a call that has met a safe point has time to end by itself, any
other one has none; and which of the two it is, its process must say at once, or have said before.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, final

from .ipc.framing import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.stop import StopToken

ANSWER_PATIENCE: Final = 0.05
"""Seconds in which a worker must say whether its call has met a safe point: if it does not, the
call holds the GIL. CPython hands the GIL over every 0.005 s."""

SHORT: Final = 4096
"""Bytes of a reason that are sent."""


@final
class Ladder:
    """The ladder of one call.

    Args:
        key: The call's id.
        token: Its stop flag.
        grace: Seconds for a call that has met a safe point, after it was asked to stop.

    Attributes:
        key: The call's id.
        token: Its stop flag.
        deadline: When its process is to be ended, by `time.monotonic`; None if it is not asked.
    """

    __slots__ = ("_asked", "_grace", "_is_heard", "deadline", "key", "token")

    key: int
    token: StopToken
    deadline: float | None

    def __init__(self, key: int, token: StopToken, grace: float) -> None:
        self.key = key
        self.token = token
        self.deadline = None
        self._grace = grace
        self._asked = 0.0
        self._is_heard = False

    def is_set(self) -> bool:
        """Tell whether the flag is set."""
        return self.token._set

    def is_to_ask(self) -> bool:
        """Tell whether the call is to be asked to stop."""
        return self.token._set and self.deadline is None

    def begin(self) -> None:
        """Note that it is asked, or about to be."""
        self._asked = self.deadline = time.monotonic()

    def ask(self, send: Callable[[Frame], bool]) -> None:
        """Ask it; without an answer it has no time."""
        reason = self.token.reason
        text = b"" if reason is None else str(reason).encode("utf-8", "replace")[:SHORT]
        if send(Frame(self.key, reason is not None, text)):
            self.deadline = self._asked + ANSWER_PATIENCE

    def hear(self, reply: Frame) -> None:
        """Hear the answer: whether the call is likely to end by itself."""
        if reply.id == self.key and self.deadline is not None:
            self._is_heard = True
            self.deadline = self._asked + (self._grace if reply.code else 0.0)

    def is_over(self, heeds: Callable[[], bool]) -> bool:
        """Tell whether it has had its time.

        Args:
            heeds: Tells whether it is likely to end by itself, should there be no answer.

        Returns:
            Whether its process is to be ended.
        """
        if self.deadline is None or time.monotonic() < self.deadline:
            return False
        if not self._is_heard and heeds():
            self._is_heard = True
            self.deadline = self._asked + self._grace
        return time.monotonic() >= self.deadline
