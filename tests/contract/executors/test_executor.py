"""A ThreadPoolExecutor beyond the standard library's: every call can be stopped."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import Stopped, StopToken, safe_point, stop_token
from asyncrun.futures import ThreadPoolExecutor
from tests.contract.conftest import PATIENCE, HeldThreadCall, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VARIABLE: ContextVar[str] = ContextVar("variable", default="default")


# Every call has a token and a context


@pytest.mark.parametrize("how", ["submit", "map", "map of two"])
def test_every_call_has_a_token_of_its_own_and_the_context_of_its_submitter(how: str) -> None:
    def call(*_: object) -> tuple[StopToken, str]:
        safe_point()
        before = VARIABLE.get()
        VARIABLE.set("of this call alone")
        return stop_token(), before

    with ThreadPoolExecutor(1) as executor:
        VARIABLE.set("submitter's")
        if how == "submit":
            got = [executor.submit(call, n).result() for n in range(3)]
        else:
            got = list(executor.map(call, *[range(3)] * (2 if "two" in how else 1)))
    assert len({id(token) for token, _ in got}) == 3
    assert [value for _, value in got] == ["submitter's"] * 3
    assert VARIABLE.get() == "submitter's"


@pytest.mark.parametrize("how", ["submit", "map"])
@pytest.mark.parametrize("wrap", ["run", "partial", "inside"])
def test_code_that_runs_in_another_context_finds_the_token_of_its_call(
    held_thread_call: type[HeldThreadCall], how: str, wrap: str
) -> None:
    one = held_thread_call()
    context = copy_context()
    func: Callable[..., Any] = one.cooperative
    calls: dict[str, Callable[[], object]] = {
        "run": partial(context.run, func),
        "partial": partial(partial(context.run, func), None),
        "inside": lambda: context.run(func),
    }
    call = calls[wrap]
    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(call) if how == "submit" else None
        if future is None:
            executor.map(HeldThreadCall.do, [call])
        one.enter()
        assert [info.stopping for info in executor.calls()] == [False]
        if future is not None:
            name = "<lambda>" if wrap == "inside" else "cooperative"
            assert [info.name.split(".")[-1] for info in executor.calls()] == [name]
            assert not future.cancel()
        else:
            executor.stop()
        assert one.left.wait(PATIENCE)


def test_outside_of_its_calls_a_thread_of_the_pool_has_no_token() -> None:
    seen: list[bool] = []

    def look(_: object) -> None:
        safe_point()
        seen.append(stop_token().is_set())

    with ThreadPoolExecutor(1) as executor:
        future = executor.submit(stop_token)
        future.result()
        future.cancel()
        future.add_done_callback(look)
        executor.submit(int).result()
    assert seen == [False]
    safe_point()


# Futures


def test_cancelling_a_running_future_asks_its_call_to_stop_and_is_false(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with ThreadPoolExecutor() as executor:
        future = executor.submit(one.cooperative)
        one.enter()
        assert future.cancel() is False
        assert not future.cancelled()
        with pytest.raises(Stopped, match="its future was cancelled"):
            future.result(PATIENCE)


def test_an_on_stop_callback_wakes_a_call_whose_future_is_cancelled() -> None:
    go, inside = threading.Event(), threading.Event()

    def call() -> str:
        with stop_token().on_stop(go.set):
            inside.set()
            assert go.wait(PATIENCE)
        return "woken"

    with ThreadPoolExecutor() as executor:
        future = executor.submit(call)
        assert inside.wait(PATIENCE)
        future.cancel()
        assert future.result(PATIENCE) == "woken"


def test_a_cancelled_future_that_waits_behind_a_stuck_call_does_not_hold_up_the_end(
    held_thread_call: type[HeldThreadCall],
) -> None:
    one = held_thread_call()
    with ThreadPoolExecutor(1) as executor:
        stuck = executor.submit(one.stuck)
        one.enter()
        behind = executor.submit(int)
        stuck.cancel()
        assert behind.cancel() is True
        executor.shutdown()
        assert one.token.is_set()
        assert not one.left.is_set()
        one.released.set()
        assert stuck.result(PATIENCE) == "late"


# Maps


def test_leaving_a_map_early_flags_what_runs_and_logs_its_late_errors(
    held_thread_call: type[HeldThreadCall], caplog: pytest.LogCaptureFixture
) -> None:
    one, heeding = held_thread_call(), held_thread_call()

    def call(number: int) -> int:
        if number == 1:
            one.stuck()
            raise LookupError
        if number == 2:
            heeding.cooperative()
        return number

    with ThreadPoolExecutor(2) as executor:
        results = executor.map(call, range(10))
        assert next(results) == 0
        one.enter()
        heeding.enter()
        del results
        assert heeding.left.wait(PATIENCE)
        one.released.set()
        wait_until(lambda: caplog.records)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_a_call_that_is_submitted_does_not_wait_for_a_whole_map() -> None:
    seen = threading.Event()

    def call(_: int) -> bool:
        return seen.is_set()

    with ThreadPoolExecutor(1) as executor:
        results = executor.map(call, iter(lambda: 0, 1), buffersize=100)
        future = executor.submit(seen.set)
        assert any(results)  # an endless one
        assert future.done() or future.result(PATIENCE) is None


@pytest.mark.parametrize("size", [1, 3])
def test_with_a_buffersize_the_input_is_read_no_further_ahead(size: int) -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for number in range(10):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as executor:
        results = executor.map(str, items(), buffersize=size)
        assert len(taken) == size
        for number in range(10):
            assert next(results) == str(number)
            assert len(taken) == min(number + 1 + size, 10)
        assert next(results, None) is None


def test_the_input_of_a_buffered_map_may_fail_and_its_executor_lives_as_long() -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise LookupError

    results = ThreadPoolExecutor(1).map(str, items(), buffersize=2)
    gc.collect()
    assert next(results) == "0"
    with pytest.raises(LookupError):
        list(results)


def test_a_map_tells_what_took_too_long() -> None:
    go = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        results = executor.map(go.wait, [PATIENCE] * 2, timeout=0.01)
        with pytest.raises(TimeoutError, match=r"^map of Event.wait took longer than 0.01 s$"):
            next(results)
        go.set()


# What is refused, and what the system refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_workers": 0}, "max_workers must be greater than 0"),
        ({"max_workers": 1.5}, "max_workers must be a whole number >= 1 or None, was 1.5"),
        ({"grace": -1.0}, "grace must be >= 0 seconds, was -1.0"),
        ({"grace": float("nan")}, "grace must be >= 0 seconds, was nan"),
    ],
)
def test_options_out_of_their_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        ThreadPoolExecutor(**options)


def test_bad_functions_and_buffers_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^initializer must be a callable$"):
        ThreadPoolExecutor(initializer="x")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    with (
        ThreadPoolExecutor() as executor,
        pytest.raises(ValueError, match=r"buffersize must be .*, was 0"),
    ):
        executor.map(str, [1], buffersize=0)


def test_a_thread_that_cannot_start_is_an_error_for_that_call_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    with ThreadPoolExecutor(2) as executor:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.submit(int)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            executor.map(int, "12")
        monkeypatch.setattr(threading.Thread, "start", start)
        assert executor.submit(int).result(PATIENCE) == 0
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert list(executor.map(int, "12")) == [1, 2]  # the one thread does it all
        monkeypatch.setattr(threading.Thread, "start", start)
        assert {thread.name[-2:] for thread in executor._threads} <= {"_0", "_1"}


def test_an_error_that_is_no_exception_in_a_callback_does_not_end_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def callback(_: object) -> None:
        raise SystemExit

    with ThreadPoolExecutor(1) as executor:
        go = threading.Event()
        future = executor.submit(go.wait, PATIENCE)
        future.add_done_callback(callback)
        go.set()
        assert executor.submit(int).result(PATIENCE) == 0
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.CRITICAL)


# What is running


def test_calls_lists_what_runs_in_futures_and_maps(held_thread_call: type[HeldThreadCall]) -> None:
    made = [held_thread_call(), held_thread_call()]
    with ThreadPoolExecutor(2) as executor, ThreadPoolExecutor() as other:
        executor.submit(made[0].stuck)
        executor.map(HeldThreadCall.stuck, made[1:])
        for each in made:
            each.enter()
        executor.submit(int)
        first, second = executor.calls()
        assert {first.name, second.name} == {"HeldThreadCall.stuck"}
        assert all("/contract/conftest.py:" in str(info.where) for info in (first, second))
        assert other.calls() == []
        for each in made:
            each.released.set()
    assert executor.calls() == []


def test_nothing_keeps_a_pool_whose_executor_is_gone() -> None:
    executor = ThreadPoolExecutor(2)
    executor.submit(int).result(PATIENCE)
    pool = weakref.ref(executor._pool)
    (thread,) = executor._threads
    del executor
    gc.collect()
    thread.join(PATIENCE)

    def is_gone() -> bool:
        gc.collect()
        return pool() is None

    wait_until(is_gone)
