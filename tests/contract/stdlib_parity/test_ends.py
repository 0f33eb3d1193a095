"""The two ThreadPoolExecutors are alike: threads, ends, and asyncio."""

from __future__ import annotations

import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.thread import BrokenThreadPool
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.conftest import PATIENCE, HeldThreadCall, wait_until
from tests.contract.stdlib_parity.conftest import REFUSED, Alone, threads_of

if TYPE_CHECKING:
    from concurrent import futures


@pytest.mark.parametrize("number", [0, -1])
def test_there_is_at_least_one_thread(
    executor_class: type[ThreadPoolExecutor], number: int
) -> None:
    with pytest.raises(ValueError, match="max_workers must be"):
        executor_class(number)
    with pytest.raises(ValueError, match="max_workers must be"):
        executor_class(max_workers=number)


@pytest.mark.parametrize("number", [1, 3, None])
def test_so_many_calls_run_at_once_and_no_more(
    executor_class: type[ThreadPoolExecutor], number: int | None
) -> None:
    count_cores = getattr(os, "process_cpu_count", os.cpu_count)
    size = number or min(32, (count_cores() or 1) + 4)
    made = [HeldThreadCall() for _ in range(size + 1)]
    with executor_class(number) as executor:
        *held, last = [executor.submit(blocked.stuck) for blocked in made]
        for blocked in made[:-1]:
            blocked.enter()
        assert all(future.running() for future in held)
        assert last.cancel(), "it has begun"
        for blocked in made:
            blocked.released.set()
    assert not made[-1].inside.is_set()


def test_threads_come_with_the_first_call(executor_class: type[ThreadPoolExecutor]) -> None:
    before = threading.enumerate()
    with executor_class(3) as executor:
        assert threading.enumerate() == before
        (thread,) = threads_of(executor, 1)
        assert set(threading.enumerate()) - set(before) == {thread}


def test_there_are_never_more_threads_than_calls(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    submitted, blocked = threading.Event(), HeldThreadCall()
    numbers, before = itertools.count(), set(threading.enumerate())

    def initialize() -> None:
        if next(numbers) == 0:
            assert submitted.wait(PATIENCE)
        else:
            blocked.enter()

    with executor_class(9, initializer=initialize) as executor:
        for _ in range(2):
            executor.submit(blocked.stuck)
        submitted.set()
        blocked.enter()
        threads = set(threading.enumerate()) - before
        blocked.released.set()
    assert len(threads) == 2


def test_a_thread_that_idles_is_used_again(executor_class: type[ThreadPoolExecutor]) -> None:
    # It idles only a moment after it has given a result, so a few calls may be too early.
    seen: list[threading.Thread] = []
    with executor_class(100) as executor:
        while len(seen) == len(set(seen)) < 100:
            seen.append(executor.submit(threading.current_thread).result(PATIENCE))
    assert len(set(seen)) < len(seen)


def test_calls_begin_in_their_order(executor_class: type[ThreadPoolExecutor]) -> None:
    called: list[int] = []
    with executor_class(1) as executor:
        for number in range(100):
            executor.submit(called.append, number)
    assert called == list(range(100))


def test_threads_are_named_by_the_prefix_and_numbered(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(3, "mine") as executor:
        names = {thread.name for thread in threads_of(executor, 3)}
    assert names == {"mine_0", "mine_1", "mine_2"}


def test_without_a_prefix_each_executor_has_names_of_its_own(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(2) as executor, executor_class(2, thread_name_prefix="") as other:
        names = sorted(thread.name for each in (executor, other) for thread in threads_of(each, 2))
    assert len(set(names)) == 4
    assert [name.rpartition("_")[2] for name in names] == ["0", "1"] * 2
    assert len({name.rpartition("_")[0] for name in names}) == 2
    assert all(name.startswith("ThreadPoolExecutor-") for name in names)


def test_each_thread_first_calls_the_initializer_once(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    called: list[tuple[object, ...]] = []

    def initialize(*args: object) -> None:
        called.append((threading.current_thread(), *args))

    with executor_class(2, "", initialize, ("a", "b")) as executor:
        assert called == []
        threads = threads_of(executor, 2)
        threads_of(executor, 2)
    assert sorted(called, key=str) == sorted(((each, "a", "b") for each in threads), key=str)


@pytest.mark.parametrize("error", [LookupError("my own"), Alone(), SystemExit(1)])
def test_a_failing_initializer_breaks_the_executor(
    executor_class: type[ThreadPoolExecutor],
    error: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    blocked = HeldThreadCall()

    def initialize(error: BaseException) -> None:
        blocked.stuck()
        raise error

    with executor_class(1, initializer=initialize, initargs=(error,)) as executor:
        called = [executor.submit(int) for _ in range(3)]
        blocked.released.set()
        for future in called:
            assert isinstance(future.exception(PATIENCE), BrokenThreadPool)
        for _ in range(2):
            with pytest.raises(BrokenThreadPool):
                executor.submit(int)
        with pytest.raises(BrokenThreadPool):
            executor.map(int, [1])
    with pytest.raises(BrokenThreadPool):
        executor.submit(int)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def test_when_a_later_thread_fails_to_initialize_what_runs_goes_on(
    executor_class: type[ThreadPoolExecutor], caplog: pytest.LogCaptureFixture
) -> None:
    blocked, failing = HeldThreadCall(), HeldThreadCall()
    numbers = itertools.count()

    def initialize() -> None:
        if next(numbers):
            failing.stuck()
            raise LookupError

    with executor_class(2, initializer=initialize) as executor:
        held = executor.submit(blocked.stuck)
        blocked.enter()
        waiting = [executor.submit(int) for _ in range(3)]
        failing.released.set()
        for future in waiting:
            assert isinstance(future.exception(PATIENCE), BrokenThreadPool)
        blocked.released.set()
        assert held.result(PATIENCE) == "late"
    (record,) = caplog.records
    assert "initializer" in record.message


@pytest.mark.parametrize("initializer", [5, "text", ()])
def test_what_cannot_be_called_is_no_initializer(
    executor_class: type[ThreadPoolExecutor], initializer: Any
) -> None:
    with pytest.raises(TypeError):
        executor_class(initializer=initializer)


def test_a_shutdown_waits_for_all_calls_and_for_the_threads(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    executor = executor_class(2)
    threads = threads_of(executor, 2)
    called = [executor.submit(str, number) for number in range(50)]
    executor.shutdown()
    assert all(future.done() for future in called)
    assert not any(thread.is_alive() for thread in threads)


def test_a_shutdown_that_does_not_wait_leaves_the_calls_to_be_done(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    executor = executor_class(1)
    called: list[futures.Future[Any]] = [
        executor.submit(blocked.stuck),
        executor.submit(int),
        executor.submit(str, 1),
    ]
    executor.shutdown(wait=False)
    assert not any(future.done() for future in called)
    blocked.released.set()
    assert [future.result(PATIENCE) for future in called] == ["late", 0, "1"]


@pytest.mark.parametrize("earlier", [False, True])
def test_a_shutdown_can_cancel_what_has_not_begun(
    executor_class: type[ThreadPoolExecutor], earlier: bool
) -> None:
    blocked = HeldThreadCall()
    executor = executor_class(1)
    held = executor.submit(blocked.stuck)
    waiting = [executor.submit(int) for _ in range(3)]
    blocked.enter()
    if earlier:
        executor.shutdown(wait=False)
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(future.cancelled() for future in waiting)
    assert held.running()
    blocked.released.set()
    executor.shutdown(wait=True, cancel_futures=True)
    assert held.result(0) == "late"


def test_an_executor_can_be_shut_down_again_and_unused(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(1) as executor:
        executor.shutdown(True)
        executor.shutdown(wait=False)
        executor.shutdown(cancel_futures=True)


def test_two_threads_can_wait_for_the_end_at_once(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    executor = executor_class(1)
    future = executor.submit(blocked.stuck)
    with ThreadPoolExecutor(2) as others:
        waiting = [others.submit(executor.shutdown) for _ in range(2)]
        wait_until(lambda: all(each.running() for each in waiting))
        assert not any(each.done() for each in waiting)
        blocked.released.set()
        for each in waiting:
            assert each.result(PATIENCE) is None
            assert future.done()


def test_an_executor_that_was_shut_down_takes_no_calls(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    executor = executor_class(1)
    executor.shutdown()
    with pytest.raises(RuntimeError, match=f"^{REFUSED}"):
        executor.submit(int)
    with pytest.raises(RuntimeError, match=f"^{REFUSED}"):
        executor.map(int, [1])
    assert list(executor.map(int, [])) == []


def test_a_call_that_runs_meanwhile_is_refused_as_well(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    executor = executor_class(2)

    def call() -> None:
        blocked.stuck()
        executor.submit(int)

    future = executor.submit(call)
    executor.shutdown(wait=False)
    blocked.released.set()
    with pytest.raises(RuntimeError, match=f"^{REFUSED}"):
        future.result(PATIENCE)


def test_a_call_cannot_wait_for_the_end_of_its_own_thread(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(1) as executor:
        future = executor.submit(executor.shutdown)
        with pytest.raises(RuntimeError):
            future.result(PATIENCE)


def test_a_block_gives_the_executor_and_ends_with_all_calls_done(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    made = executor_class(1)
    with made as executor:
        assert executor is made
        called = [executor.submit(str, number) for number in range(50)]
    assert all(future.done() for future in called)
    with pytest.raises(RuntimeError, match=f"^{REFUSED}"):
        executor.submit(int)
