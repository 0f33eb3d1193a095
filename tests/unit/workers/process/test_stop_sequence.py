"""How long a call may go on that was asked to stop, by a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from asyncrun import StopSource
from asyncrun._workers.process import stop_sequence
from asyncrun._workers.process.ipc.framing import Frame
from asyncrun._workers.process.stop_sequence import ACK_TIMEOUT, MAX_REASON_BYTES, StopSequence

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE = 5.0
KEY = 7


class Clock:
    """The time."""

    def __init__(self) -> None:
        self.now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stop_sequence, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def begun(source: StopSource | None = None) -> StopSequence:
    """Make the stop sequence of a call that is asked."""
    source = source or StopSource()
    source.stop()
    sequence = StopSequence(KEY, source.token, GRACE)
    assert sequence.should_request()
    sequence.start()
    return sequence


def lasts(
    sequence: StopSequence, clock: Clock, is_cooperative: Callable[[], bool] = lambda: False
) -> float:
    """Return how long the call has."""
    start = clock.now
    while not sequence.must_kill(is_cooperative):
        assert sequence.deadline is not None
        clock.now = sequence.deadline
    return clock.now - start


def test_it_begins_when_the_flag_is_set_and_once(clock: Clock) -> None:
    source = StopSource()
    sequence = StopSequence(KEY, source.token, GRACE)
    assert not sequence.is_set()
    assert not sequence.should_request()
    assert not sequence.must_kill(lambda: True)
    source.stop()
    assert sequence.is_set()
    assert sequence.should_request()
    sequence.start()
    assert not sequence.should_request()


@pytest.mark.parametrize(
    ("reason", "sent"),
    [(None, (0, b"")), ("why", (1, b"why")), ("x" * 9999, (1, b"x" * MAX_REASON_BYTES))],
)
def test_the_call_gets_its_reason(
    clock: Clock, reason: str | None, sent: tuple[int, bytes]
) -> None:
    source, frames = StopSource(), list[Frame]()
    source.stop(reason)

    def send(frame: Frame) -> bool:
        frames.append(frame)
        return True

    begun(source).send_request(send)
    (frame,) = frames
    assert (frame.call_id, (frame.code, frame.body)) == (KEY, sent)


# rule 18
@pytest.mark.parametrize(("code", "seconds"), [(0, 0.0), (1, GRACE)])
def test_what_its_process_says_counts(clock: Clock, code: int, seconds: float) -> None:
    sequence = begun()
    sequence.send_request(lambda _: True)
    sequence.on_ack(Frame(KEY, code, b""))
    assert lasts(sequence, clock, lambda: not code) == seconds


def test_what_it_says_of_another_call_does_not(clock: Clock) -> None:
    sequence = begun()
    sequence.send_request(lambda _: True)
    sequence.on_ack(Frame(KEY - 1, 1, b""))
    assert lasts(sequence, clock) == pytest.approx(ACK_TIMEOUT)


def test_what_comes_before_it_is_asked_does_not(clock: Clock) -> None:
    sequence = StopSequence(KEY, StopSource().token, GRACE)
    sequence.on_ack(Frame(KEY, 1, b""))
    assert sequence.deadline is None


@pytest.mark.parametrize(("is_cooperative", "seconds"), [(False, ACK_TIMEOUT), (True, GRACE)])
def test_without_an_answer_counts_what_it_has_said_before(
    clock: Clock, is_cooperative: bool, seconds: float
) -> None:
    sequence = begun()
    sequence.send_request(lambda _: True)
    assert lasts(sequence, clock, lambda: is_cooperative) == pytest.approx(seconds)


def test_who_cannot_be_asked_has_no_time(clock: Clock) -> None:
    sequence = begun()
    sequence.send_request(lambda _: False)
    assert lasts(sequence, clock) == 0
