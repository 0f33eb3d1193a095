"""Messages on a stream of bytes, between this process and a worker process.

Rules of this module:

- Nothing here reads or writes: bytes go in, frames come out, and the other way round.
- A large frame is received where it will be read: it is not copied on its way.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, final

from ...remote.endpoint import SMALL
from .protocol import Code

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD: Final = Struct("<QQQQ")

CHUNK: Final = SMALL
"""Bytes to receive at a time: more only makes the buffer fall out of the processor's cache."""


class Frame(NamedTuple):
    """One message.

    Attributes:
        call_id: The call that it is about.
        code: What it says.
        body: Its content.
        extra: More of that.
    """

    call_id: int
    code: int
    body: memoryview | bytes
    extra: memoryview | bytes = b""

    @property
    def is_error(self) -> bool:
        """Whether a call, or the initializer, has raised; of frames from a worker process."""
        return self.code == Code.RAISED


def encode(frame: Frame) -> Sequence[memoryview | bytes]:
    """Return the bytes of a frame, in pieces where joining them would copy too much."""
    call_id, code, body, extra = frame
    head = _HEAD.pack(call_id, code, len(body), len(extra))
    if len(body) + len(extra) <= CHUNK:
        return (b"".join((head, body, extra)),)
    return (head, body, extra)


@final
class Decoder:
    """Takes bytes as they come and gives frames.

    What a frame holds is there until `get_buffer` is called again.
    """

    __slots__ = ("_buffer", "_end", "_start")

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(CHUNK))
        self._start: int = 0
        self._end: int = 0

    def get_buffer(self) -> memoryview:
        """Return the place for the next bytes; then call `buffer_updated` with their number."""
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = 0
            if len(self._buffer) > CHUNK:
                self._buffer = memoryview(bytearray(CHUNK))
            return self._buffer
        if start + (size := self._size()) > len(self._buffer):
            # Into another buffer, for frames of this one may still be in use.
            buffer = memoryview(bytearray(max(CHUNK, size)))
            buffer[: end - start] = self._buffer[start:end]
            self._buffer, self._start, self._end = buffer, 0, end - start
        return self._buffer[self._end :]

    def buffer_updated(self, count: int) -> None:
        """Note how many bytes have come."""
        self._end += count

    def next_frame(self) -> Frame | None:
        """Return the next frame, if all of it is there."""
        start = self._start
        if self._end - start < _HEAD.size:
            return None
        head: tuple[int, int, int, int] = _HEAD.unpack_from(self._buffer, start)
        call_id, code, first, second = head
        start += _HEAD.size
        middle = start + first
        if (end := middle + second) > self._end:
            return None
        self._start = end
        return Frame(call_id, code, self._buffer[start:middle], self._buffer[middle:end])

    def _size(self) -> int:
        """Return how long the next frame is, as far as is known."""
        if self._end - self._start < _HEAD.size:
            return _HEAD.size
        head: tuple[int, int, int, int] = _HEAD.unpack_from(self._buffer, self._start)
        return _HEAD.size + head[2] + head[3]
