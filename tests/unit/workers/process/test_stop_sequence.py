"""How long a call may go on that was asked to stop, by a clock of the test's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from asyncrun import StopSource
from asyncrun._workers.process import stop_sequence
from asyncrun._workers.process.ipc.framing import Frame
from asyncrun._workers.process.stop_sequence import ANSWER_PATIENCE, SHORT, Ladder

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


def begun(source: StopSource | None = None) -> Ladder:
    """Make the ladder of a call that is asked."""
    source = source or StopSource()
    source.stop()
    ladder = Ladder(KEY, source.token, GRACE)
    assert ladder.is_to_ask()
    ladder.begin()
    return ladder


def lasts(ladder: Ladder, clock: Clock, heeds: Callable[[], bool] = lambda: False) -> float:
    """Tell how long the call has."""
    start = clock.now
    while not ladder.is_over(heeds):
        assert ladder.deadline is not None
        clock.now = ladder.deadline
    return clock.now - start


def test_it_begins_when_the_flag_is_set_and_once(clock: Clock) -> None:
    source = StopSource()
    ladder = Ladder(KEY, source.token, GRACE)
    assert not ladder.is_set()
    assert not ladder.is_to_ask()
    assert not ladder.is_over(lambda: True)
    source.stop()
    assert ladder.is_set()
    assert ladder.is_to_ask()
    ladder.begin()
    assert not ladder.is_to_ask()


@pytest.mark.parametrize(
    ("reason", "sent"), [(None, (0, b"")), ("why", (1, b"why")), ("x" * 9999, (1, b"x" * SHORT))]
)
def test_the_call_gets_its_reason(
    clock: Clock, reason: str | None, sent: tuple[int, bytes]
) -> None:
    source, frames = StopSource(), list[Frame]()
    source.stop(reason)

    def send(frame: Frame) -> bool:
        frames.append(frame)
        return True

    begun(source).ask(send)
    (frame,) = frames
    assert (frame.id, (frame.code, frame.first)) == (KEY, sent)


# rule 18
@pytest.mark.parametrize(("code", "seconds"), [(0, 0.0), (1, GRACE)])
def test_what_its_process_says_counts(clock: Clock, code: int, seconds: float) -> None:
    ladder = begun()
    ladder.ask(lambda _: True)
    ladder.hear(Frame(KEY, code, b""))
    assert lasts(ladder, clock, lambda: not code) == seconds


def test_what_it_says_of_another_call_does_not(clock: Clock) -> None:
    ladder = begun()
    ladder.ask(lambda _: True)
    ladder.hear(Frame(KEY - 1, 1, b""))
    assert lasts(ladder, clock) == pytest.approx(ANSWER_PATIENCE)


def test_what_comes_before_it_is_asked_does_not(clock: Clock) -> None:
    ladder = Ladder(KEY, StopSource().token, GRACE)
    ladder.hear(Frame(KEY, 1, b""))
    assert ladder.deadline is None


@pytest.mark.parametrize(("heeds", "seconds"), [(False, ANSWER_PATIENCE), (True, GRACE)])
def test_without_an_answer_counts_what_it_has_said_before(
    clock: Clock, heeds: bool, seconds: float
) -> None:
    ladder = begun()
    ladder.ask(lambda _: True)
    assert lasts(ladder, clock, lambda: heeds) == pytest.approx(seconds)


def test_who_cannot_be_asked_has_no_time(clock: Clock) -> None:
    ladder = begun()
    ladder.ask(lambda _: False)
    assert lasts(ladder, clock) == 0
