"""Frames: whatever pieces they come in, they come out as they went in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from asyncrun._workers.process.ipc.framing import CHUNK, Decoder, Frame, encode

sizes = st.one_of(st.integers(0, 100), st.integers(0, 3 * CHUNK))
heads = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 256), sizes, sizes)


@settings(deadline=None, max_examples=50)
@given(st.lists(heads, max_size=5), st.lists(st.integers(1, 2 * CHUNK), min_size=1))
def test_frames_come_out_as_they_went_in(
    sent: list[tuple[int, int, int, int]], pieces: list[int]
) -> None:
    frames = [Frame(key, code, b"1" * first, b"2" * second) for key, code, first, second in sent]
    stream = memoryview(b"".join(piece for frame in frames for piece in encode(frame)))
    decoder, got, pieces = Decoder(), list[Frame](), [max(pieces[0], len(stream) // 50), *pieces]
    while stream:
        room = decoder.get_buffer()
        assert len(room) > 0
        pieces.append(piece := pieces.pop(0))
        count = min(len(room), len(stream), piece)
        room[:count] = stream[:count]
        stream = stream[count:]
        decoder.buffer_updated(count)
        while (frame := decoder.next_frame()) is not None:
            got.append(Frame(frame.call_id, frame.code, bytes(frame.body), bytes(frame.extra)))
    assert got == frames
    assert decoder.next_frame() is None


def test_a_small_frame_is_one_piece_and_a_large_one_is_not_copied() -> None:
    large = memoryview(bytes(CHUNK))
    assert len(encode(Frame(1, 2, b"3", b"4"))) == 1
    assert encode(Frame(1, 2, large, b"4"))[1] is large


def test_what_a_frame_holds_is_there_until_there_is_room_for_more() -> None:
    decoder = Decoder()
    for piece in encode(Frame(1, 2, b"first" * CHUNK, b"second")):
        rest = memoryview(piece)
        while rest:
            room = decoder.get_buffer()
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            decoder.buffer_updated(count)
    frame = decoder.next_frame()
    assert frame is not None
    assert len(decoder.get_buffer()) == CHUNK  # another buffer: the large one is not kept
    assert (frame.body, frame.extra) == (b"first" * CHUNK, b"second")
