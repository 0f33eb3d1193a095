"""Calls and their futures."""

from __future__ import annotations

import asyncio
import logging
import threading
import traceback
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from tests.contract.conftest import PATIENCE, HeldThreadCall
from tests.contract.stdlib_parity.conftest import Alone, collect, fail


def test_it_is_a_thread_pool_executor_and_gives_futures(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class() as executor:
        assert isinstance(executor, ThreadPoolExecutor)
        assert isinstance(executor.submit(int), futures.Future)


def test_a_call_has_the_arguments_that_were_given_whatever_their_names(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    names: dict[str, Any] = {"fn": 2, "self": 3, "func": 4, "args": 5, "timeout": 6}
    with executor_class(1) as executor:
        assert executor.submit(collect).result(PATIENCE) == ({},)
        assert executor.submit(collect, 0, 1, **names).result(PATIENCE) == (0, 1, names)


def test_a_result_is_the_very_object_that_was_returned_each_time(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    result = object()
    with executor_class(1) as executor:
        future = executor.submit(lambda: result)
        assert future.result(PATIENCE) is result
        assert future.result(0) is result
        assert future.exception() is None


def test_an_error_comes_out_as_itself_with_the_frame_that_raised_it(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    error = LookupError("my own")
    with executor_class(1) as executor:
        future = executor.submit(fail, error)
        with pytest.raises(LookupError) as caught:
            future.result(PATIENCE)
        assert caught.value is error is future.exception()
        assert traceback.extract_tb(error.__traceback__)[-1].name == "fail"


@pytest.mark.parametrize(
    "error",
    [
        Alone(),
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        StopIteration(),
        asyncio.CancelledError(),
        futures.CancelledError(),
        futures.TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_call_raises_is_its_outcome_and_the_thread_goes_on(
    executor_class: type[ThreadPoolExecutor], error: BaseException
) -> None:
    with executor_class(1) as executor:
        future = executor.submit(fail, error)
        assert future.exception(PATIENCE) is error
        assert not future.cancelled()
        with pytest.raises(type(error)):
            future.result()
        assert executor.submit(str, 1).result(PATIENCE) == "1"


def test_what_cannot_be_called_fails_in_its_future(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    not_callable: Any = 5
    with executor_class(1) as executor:
        assert isinstance(executor.submit(not_callable).exception(PATIENCE), TypeError)
        assert isinstance(executor.submit(not_callable, 1, a=2).exception(PATIENCE), TypeError)


def test_there_is_no_call_without_a_function(executor_class: type[ThreadPoolExecutor]) -> None:
    with executor_class(1) as executor:
        submit: Any = executor.submit
        with pytest.raises(TypeError):
            submit()
        with pytest.raises(TypeError):
            submit(fn=int)


def test_a_future_is_pending_then_running_then_done(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    def state(future: futures.Future[Any]) -> tuple[bool, bool, bool]:
        return future.running(), future.done(), future.cancelled()

    blocked = HeldThreadCall()
    with executor_class(1) as executor:
        first, second = executor.submit(blocked.stuck), executor.submit(str, 1)
        blocked.enter()
        assert state(first) == (True, False, False)
        assert state(second) == (False, False, False)
        blocked.released.set()
        assert (first.result(PATIENCE), second.result(PATIENCE)) == ("late", "1")
        assert state(first) == state(second) == (False, True, False)


def test_a_call_that_is_cancelled_in_time_never_begins(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked, called = HeldThreadCall(), threading.Event()
    with executor_class(1) as executor:
        executor.submit(blocked.stuck)
        future = executor.submit(called.set)
        assert future.cancel()
        assert future.cancel(), "once more changes nothing"
        assert future.cancelled()
        assert future.done()
        assert not future.running()
        with pytest.raises(futures.CancelledError):
            future.result(0)
        with pytest.raises(futures.CancelledError):
            future.exception(0)
        blocked.released.set()
    assert not called.is_set()
    assert future.cancelled()


def test_a_cancelled_call_wakes_who_waits_for_it(executor_class: type[ThreadPoolExecutor]) -> None:
    blocked, waits = HeldThreadCall(), threading.Event()

    def wait_for(future: futures.Future[None]) -> type[BaseException]:
        waits.set()
        with pytest.raises(futures.CancelledError) as caught:
            future.result(PATIENCE)
        return caught.type

    with executor_class(1) as executor, executor_class(1) as other:
        executor.submit(blocked.stuck)
        future = executor.submit(threading.Event().set)
        waiting = other.submit(wait_for, future)
        assert waits.wait(PATIENCE)
        assert future.cancel()
        assert waiting.result(PATIENCE) is futures.CancelledError
        blocked.released.set()


def test_a_call_that_runs_or_is_done_cannot_be_cancelled(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    with executor_class(1) as executor:
        future = executor.submit(blocked.stuck)
        blocked.enter()
        assert not future.cancel()
        assert not future.cancelled()
        assert future.running()
        blocked.released.set()
        assert future.result(PATIENCE) == "late"
        assert not future.cancel()
        assert not future.cancelled()
        assert future.result() == "late"


@pytest.mark.parametrize("timeout", [-1, 0, 0.001])
def test_waiting_for_an_outcome_ends_in_time_and_the_call_goes_on(
    executor_class: type[ThreadPoolExecutor], timeout: float
) -> None:
    blocked = HeldThreadCall()
    with executor_class(1) as executor:
        future = executor.submit(blocked.stuck)
        with pytest.raises(TimeoutError):
            future.result(timeout)
        with pytest.raises(TimeoutError):
            future.exception(timeout)
        blocked.released.set()
        assert future.result(PATIENCE) == "late"
        assert future.result(timeout) == "late"


@pytest.mark.parametrize("error", [None, LookupError(), Alone()])
def test_callbacks_run_in_the_calls_thread_in_their_order_when_it_is_done(
    executor_class: type[ThreadPoolExecutor], error: BaseException | None
) -> None:
    blocked = HeldThreadCall()
    seen: list[tuple[int, int, bool, futures.Future[int]]] = []

    def call() -> int:
        blocked.stuck()
        if error is not None:
            raise error
        return threading.get_ident()

    def note(number: int, future: futures.Future[int]) -> None:
        seen.append((number, threading.get_ident(), future.done(), future))

    with executor_class(1) as executor:
        ident = executor.submit(threading.get_ident).result(PATIENCE)
        future = executor.submit(call)
        for number in range(3):
            future.add_done_callback(partial(note, number))
        blocked.released.set()
    assert seen == [(number, ident, True, future) for number in range(3)]


def test_a_callback_added_late_runs_at_once_where_it_was_added(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    seen: list[tuple[int, futures.Future[int]]] = []
    with executor_class(1) as executor:
        future = executor.submit(int)
        future.result(PATIENCE)
        future.add_done_callback(lambda future: seen.append((threading.get_ident(), future)))
        assert seen == [(threading.get_ident(), future)]


def test_a_callback_of_a_cancelled_call_runs_once_where_it_was_cancelled(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    seen: list[tuple[int, bool]] = []
    with executor_class(1) as executor:
        executor.submit(blocked.stuck)
        future = executor.submit(int)
        future.add_done_callback(lambda f: seen.append((threading.get_ident(), f.cancelled())))
        assert future.cancel()
        assert seen == [(threading.get_ident(), True)]
        future.cancel()
        blocked.released.set()
    assert len(seen) == 1


def test_an_error_in_a_callback_is_logged_and_changes_nothing(
    executor_class: type[ThreadPoolExecutor], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, called = HeldThreadCall(), threading.Event()
    with executor_class(1) as executor:
        future = executor.submit(blocked.stuck)
        future.add_done_callback(lambda _: fail(LookupError("my own")))
        future.add_done_callback(lambda _: called.set())
        blocked.released.set()
        assert future.result(PATIENCE) == "late"
        assert executor.submit(str, 1).result(PATIENCE) == "1"
    assert called.is_set()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("concurrent.futures", logging.ERROR)
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def test_a_callback_may_submit_a_call(executor_class: type[ThreadPoolExecutor]) -> None:
    blocked, called = HeldThreadCall(), threading.Event()
    with executor_class(1) as executor:
        future = executor.submit(blocked.stuck)
        future.add_done_callback(lambda _: executor.submit(called.set))
        blocked.released.set()
        assert called.wait(PATIENCE)


def test_a_call_may_submit_others_and_wait_for_them(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(2) as executor:

        def outer() -> object:
            return executor.submit(collect, "inner").result(PATIENCE)

        assert executor.submit(outer).result(PATIENCE) == ("inner", {})


def test_calls_may_be_submitted_from_many_threads_at_once(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    together = threading.Barrier(8)
    called: list[list[futures.Future[str]]] = []

    def submit() -> None:
        together.wait(PATIENCE)
        called.append([executor.submit(str, number) for number in range(100)])

    with executor_class(3) as executor:
        threads = [threading.Thread(target=submit) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        wanted = [[str(number) for number in range(100)]] * 8
        assert [[future.result(PATIENCE) for future in each] for each in called] == wanted
