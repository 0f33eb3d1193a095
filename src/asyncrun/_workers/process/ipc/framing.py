"""Messages on a stream of bytes, between this process and a worker process.

Rules of this room:

- Nothing here reads or writes: bytes go in, frames come out, and the other way round.
- A large frame is received where it will be read: it is not copied on its way.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple, final

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD: Final = Struct("<QQQQ")

SIZE: Final = 1 << 16
"""Bytes to receive at a time: more only makes the buffer fall out of the processor's cache."""


class Frame(NamedTuple):
    """One message.

    Attributes:
        id: The call that it is about.
        code: What it says.
        first: Its content.
        second: More of that.
    """

    id: int
    code: int
    first: memoryview | bytes
    second: memoryview | bytes = b""


def encode(frame: Frame) -> Sequence[memoryview | bytes]:
    """Give the bytes of a frame, in pieces where it would be a waste to copy them together."""
    key, code, first, second = frame
    head = _HEAD.pack(key, code, len(first), len(second))
    if len(first) + len(second) <= SIZE:
        return (b"".join((head, first, second)),)
    return (head, first, second)


@final
class Decoder:
    """Takes bytes as they come and gives frames.

    What a frame holds is there until `room` is called again.
    """

    __slots__ = ("_buffer", "_end", "_start")

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(SIZE))
        self._start: int = 0
        self._end: int = 0

    def room(self) -> memoryview:
        """Give the place for the bytes that come next; tell `received` how many came."""
        start, end = self._start, self._end
        if start == end:
            self._start = self._end = 0
            if len(self._buffer) > SIZE:
                self._buffer = memoryview(bytearray(SIZE))
            return self._buffer
        if start + (size := self._size()) > len(self._buffer):
            # Into another buffer, for frames of this one may still be in use.
            buffer = memoryview(bytearray(max(SIZE, size)))
            buffer[: end - start] = self._buffer[start:end]
            self._buffer, self._start, self._end = buffer, 0, end - start
        return self._buffer[self._end :]

    def received(self, count: int) -> None:
        """Note how many bytes have come."""
        self._end += count

    def frame(self) -> Frame | None:
        """Give the next frame, if all of it is there."""
        start = self._start
        if self._end - start < _HEAD.size:
            return None
        head: tuple[int, int, int, int] = _HEAD.unpack_from(self._buffer, start)
        key, code, first, second = head
        start += _HEAD.size
        middle = start + first
        if (end := middle + second) > self._end:
            return None
        self._start = end
        return Frame(key, code, self._buffer[start:middle], self._buffer[middle:end])

    def _size(self) -> int:
        """Tell how long the next frame is, as far as is known."""
        if self._end - self._start < _HEAD.size:
            return _HEAD.size
        head: tuple[int, int, int, int] = _HEAD.unpack_from(self._buffer, self._start)
        return _HEAD.size + head[2] + head[3]
