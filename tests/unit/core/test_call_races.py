"""The claims of a call: its worker and its waiter meet at every single bytecode."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Self

import pytest

from asyncrun import Stopped
from asyncrun._core.call import Call
from asyncrun._core.registry import running_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.conftest import Interleave, Scenario


@pytest.fixture(autouse=True)
def no_call_outlives_its_test() -> Iterator[None]:
    yield
    running_calls.clear()


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def __enter__(self) -> Self:
        logging.getLogger("asyncrun").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("asyncrun").removeHandler(self)


class _Meeting:
    """A worker whose call fails, and a waiter that is cancelled."""

    error: BaseException = ValueError("late")
    logged = 1

    def __init__(self) -> None:
        self.call = Call(print, (), name="job")
        self.log = _Records()
        self.log.__enter__()
        self.began: bool | None = None
        self.over: list[bool] = []

    def begin(self) -> None:
        self.began = self.call.try_start()

    def end(self) -> None:
        if self.began:
            assert self.call in running_calls
            self.over.append(self.call.worker_done(self.error))

    def work(self) -> None:
        self.begin()
        self.end()

    def leave(self) -> None:
        self.over.append(over := self.call.waiter_done(KeyboardInterrupt()))
        if over:
            assert self.call not in running_calls, "over, but still listed"

    def check(self) -> None:
        self.log.__exit__()
        assert self.over.count(True) == 1, "its slot is given back once"
        assert len(self.over) == 1 + bool(self.began)
        assert self.call not in running_calls
        token = self.call.token
        if not self.began:
            assert self.over == [True]
            assert not self.log.records
            assert not token.is_set()
            return
        assert [record.exc_info and record.exc_info[1] for record in self.log.records] == (
            [self.error] * self.logged
        )
        assert self.call.error is None, "a cycle with its own traceback"


class LeaveMeetsWork(_Meeting):
    def first(self) -> None:
        self.leave()

    def second(self) -> None:
        self.work()


class WorkMeetsLeave(_Meeting):
    def first(self) -> None:
        self.work()

    def second(self) -> None:
        self.leave()


class LeaveMeetsBegin(LeaveMeetsWork):
    def second(self) -> None:
        self.begin()

    def check(self) -> None:
        self.end()
        super().check()


class LeaveMeetsEnd(LeaveMeetsWork):
    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def second(self) -> None:
        self.end()


class EndMeetsLeave(WorkMeetsLeave):
    def __init__(self) -> None:
        super().__init__()
        self.begin()

    def first(self) -> None:
        self.end()


class LateStopped(WorkMeetsLeave):
    error = Stopped("in time")
    logged = 0


@pytest.mark.parametrize(
    "scenario",
    [LeaveMeetsWork, WorkMeetsLeave, LeaveMeetsBegin, LeaveMeetsEnd, EndMeetsLeave, LateStopped],
)
def test_one_side_finds_the_call_over_and_its_late_error_is_logged_once(  # rule 7, rule 8
    interleave: Interleave, scenario: Callable[[], Scenario]
) -> None:
    interleave(scenario, "thread")


def test_a_call_whose_waiter_has_left_is_dropped() -> None:
    call = Call(print, ())
    assert call.waiter_done() is True
    assert call.try_start() is False
    assert call not in running_calls


def test_a_call_that_is_left_while_it_runs_is_asked_to_stop() -> None:  # rule 5
    call = Call(print, ())
    assert call.try_start()
    try:
        assert call.waiter_done() is False
        assert call.token.reason == "its caller was cancelled"
    finally:
        assert call.worker_done() is True


@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_that_reached_the_waiter_is_not_logged(wrapped: bool) -> None:  # rule 8
    error = ValueError("seen")
    delivered: Exception = error
    if wrapped:  # as asyncio does with a StopIteration
        delivered = RuntimeError()
        delivered.__cause__ = error
    call = Call(print, ())
    with _Records() as log:
        assert call.try_start()
        assert call.worker_done(error) is False
        assert call not in running_calls
        assert call.waiter_done(delivered) is True
    assert not log.records
    assert call.error is None


def test_an_error_that_the_waiter_did_not_see_is_logged_even_if_it_equals_one_that_it_saw() -> None:
    class SameError(Exception):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = None  # type: ignore[assignment]

    call = Call(print, ())
    with _Records() as log:
        assert call.try_start()
        assert call.worker_done(error := SameError("unseen")) is False
        assert call.waiter_done(KeyboardInterrupt()) is True
    assert [record.exc_info and record.exc_info[1] for record in log.records] == [error]


def test_a_call_follows_the_token_that_it_is_given() -> None:  # rule 3
    parent = Call(print, ())
    child = Call(print, (), parent_token=parent.token)
    parent.token._stop("all")
    assert child.token.reason == "all"


def test_a_call_heeds_once_its_token_was_looked_at() -> None:  # rule 9
    call = Call(print, ())
    assert not call.is_cooperative()
    call.token.is_set()
    assert call.is_cooperative()


# rule 8
def test_a_time_out_that_comes_with_the_outcome_is_undone() -> None:
    call = Call(int, ())
    assert call.try_start()
    call.revive()
    assert call.expire("it took too long")
    call.revive()
    assert call.expired is None
    assert not call.worker_done()
    assert call.waiter_done()
