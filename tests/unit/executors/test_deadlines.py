"""The clock of calls with a time limit."""

from __future__ import annotations

import heapq
import threading
import time
import weakref
from queue import SimpleQueue
from typing import Any

import pytest

from asyncrun._core.errors import CallTimeoutError
from asyncrun._executors.call import FutureCall
from asyncrun._executors.pool import deadlines
from asyncrun._executors.pool.deadlines import Deadline
from asyncrun._executors.pool.threads import Pool

PATIENCE = 30.0


class Call:
    """A call that says when its time is over."""

    def __init__(self, *, is_over: bool = False) -> None:
        self.expired = threading.Event()
        self._is_over = is_over

    def is_over(self) -> bool:
        return self._is_over

    def expire(self) -> None:
        self.expired.set()


class EndedError(Exception):
    """The clock's thread is to end."""


class Inbox(SimpleQueue[Any]):
    """Deadlines that are all there; then the clock is to end."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        if self.empty():
            raise EndedError
        return super().get()


def test_deadlines_come_in_their_order_and_what_is_over_or_gone_has_none() -> None:
    order: list[str] = []

    class Named(Call):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def expire(self) -> None:
            order.append(self.name)
            super().expire()

    deadlines.ensure_clock()
    late, soon, over, gone = Named("late"), Named("soon"), Call(is_over=True), Named("gone")
    deadlines.set_deadline(late, 0.2)
    deadlines.set_deadline(gone, 0.01)
    del gone
    deadlines.set_deadline(over, 0.01)
    deadlines.set_deadline(soon, 0.1)
    assert late.expired.wait(PATIENCE)
    assert order == ["soon", "late"]
    assert not over.expired.is_set()


def test_calls_that_are_over_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "SPARE", 10)
    sizes: list[int] = []

    def note(heap: list[Deadline]) -> None:
        sizes.append(len(heap))

    monkeypatch.setattr(heapq, "heapify", note)
    calls = [Call(is_over=number % 20 != 0) for number in range(100)]
    inbox, due = Inbox(), time.monotonic() + 1000
    for number, call in enumerate(calls):
        inbox.put(Deadline(due, number, weakref.ref(call)))
    with pytest.raises(EndedError):
        deadlines._run(inbox)
    assert sizes
    assert max(sizes) <= 5


def test_where_there_is_no_thread_the_clock_ends_the_call_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    call = Call()
    deadlines._expire(Deadline(0.0, 0, weakref.ref(call)))
    assert call.expired.is_set()


def test_a_call_that_has_just_ended_does_not_expire() -> None:
    pool = Pool(
        "a pool", prefix="thread", size=1, grace=1.0, initialize=None, make_broken_error=LookupError
    )
    call = FutureCall(pool, int, (), {})
    call.timeout = 1.0
    call.future.set_result(3)
    call.expire()
    assert call.is_over()
    assert call.future.result() == 3


def test_a_result_that_comes_after_the_limit_is_dropped() -> None:
    pool = Pool(
        "a pool", prefix="thread", size=1, grace=1.0, initialize=None, make_broken_error=LookupError
    )

    def expire_and_return() -> int:
        call.expire()
        return 3

    call: FutureCall[int] = FutureCall(pool, expire_and_return, (), {})
    call.timeout = 1.0
    pool.waiting[call.future] = call
    call.run()
    assert isinstance(call.future.exception(), CallTimeoutError)
