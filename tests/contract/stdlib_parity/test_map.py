"""The two ThreadPoolExecutors are alike: map."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from concurrent import futures
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pytest

from tests.contract.conftest import PATIENCE, HeldThreadCall
from tests.contract.stdlib_parity.conftest import Alone, Thing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")


def same(item: T) -> T:
    return item


def close(results: Iterator[Any]) -> None:
    cast("Generator[Any]", results).close()


def fail_at(place: int, error: BaseException, item: int) -> int:
    if item == place:
        raise error
    return item


def test_results_come_in_the_order_of_the_items_whichever_ends_first(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    last = threading.Event()

    def call(item: int) -> int:
        if item == 0:
            assert last.wait(PATIENCE)
        if item == 9:
            last.set()
        return item * item

    with executor_class(2) as executor:
        assert list(executor.map(call, range(10))) == [item * item for item in range(10)]


def test_items_run_side_by_side(executor_class: type[ThreadPoolExecutor]) -> None:
    together = threading.Barrier(4)
    with executor_class(4) as executor:
        ranks = executor.map(together.wait, [PATIENCE] * 8)
        assert sorted(ranks) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_arguments_come_from_all_iterables_until_the_shortest_ends(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(2) as executor:
        assert list(executor.map(pow, [2, 3, 4], itertools.count(1))) == [2, 9, 64]
        assert list(executor.map(max, "ab", (), "cd")) == []
        assert list(executor.map(divmod, iter([7, 8, 9]), [2, 3])) == [(3, 1), (2, 2)]


def test_without_items_nothing_is_called(executor_class: type[ThreadPoolExecutor]) -> None:
    called = threading.Event()
    with executor_class(2) as executor:
        results: Any = executor.map
        assert list(results(called.set, [])) == []
        assert list(results(called.set)) == []
        assert list(results(called.set, [], timeout=0)) == []
    assert not called.is_set()


def test_tuples_are_items_like_others(executor_class: type[ThreadPoolExecutor]) -> None:
    items = [(1, 2), (), None]
    with executor_class(2) as executor:
        assert list(executor.map(same, items)) == items


@pytest.mark.parametrize("error", [LookupError(), Alone(), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_is_raised_at_its_place_and_ends_the_results(
    executor_class: type[ThreadPoolExecutor], error: BaseException
) -> None:
    with executor_class(2) as executor:
        results = executor.map(partial(fail_at, 3, error), range(9))
        assert [next(results) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(type(error)) as caught:
            next(results)
        assert caught.value is error
        assert list(results) == []
        assert list(executor.map(str, range(2))) == ["0", "1"]


def test_the_traceback_of_an_error_names_what_raised_it(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    with executor_class(1) as executor:
        results = executor.map(partial(fail_at, 0, LookupError()), [0])
        with pytest.raises(LookupError) as caught:
            next(results)
    assert caught.traceback[-1].name == "fail_at"


def test_what_cannot_be_called_fails_where_the_first_result_was_to_be(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    not_callable: Any = 5
    with executor_class(1) as executor:
        for iterables in ([1], [2]), ([1],):
            results = executor.map(not_callable, *iterables)
            with pytest.raises(TypeError):
                next(results)


def test_what_is_not_iterable_is_refused_at_the_call(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    not_iterable: Any = 5
    with executor_class(1) as executor:
        with pytest.raises(TypeError):
            executor.map(str, not_iterable)
        with pytest.raises(TypeError):
            executor.map(max, [1], not_iterable)


@pytest.mark.parametrize("others", [[], [range(9)]])
def test_an_error_of_the_input_is_raised_at_the_call(
    executor_class: type[ThreadPoolExecutor], others: list[range]
) -> None:
    error = LookupError("my own")

    def items() -> Iterator[int]:
        yield 1
        raise error

    with executor_class(1) as executor:
        with pytest.raises(LookupError) as caught:
            executor.map(max, items(), *others)
        assert caught.value is error
        assert executor.submit(str, 1).result(PATIENCE) == "1"


def test_items_are_taken_at_once_in_the_callers_thread(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(5):
            taken.append(threading.get_ident())
            yield item

    blocked = HeldThreadCall()
    with executor_class(1) as executor:
        executor.submit(blocked.stuck)
        results = executor.map(str, items())
        assert taken == [threading.get_ident()] * 5
        blocked.released.set()
        assert list(results) == list("01234")


def test_items_run_even_if_no_result_is_ever_read(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    called: list[int] = []
    with executor_class(2) as executor:
        results = executor.map(called.append, range(50))
        executor.map(called.append, range(50, 100))  # not even kept
    assert sorted(called) == list(range(100))
    close(results)


def test_results_can_be_read_after_the_shutdown(executor_class: type[ThreadPoolExecutor]) -> None:
    with executor_class(2) as executor:
        results = executor.map(str, range(20))
    assert list(results) == [str(item) for item in range(20)]


@pytest.mark.parametrize("end", ["close", "forget", "error", "time-out"])
def test_the_end_of_the_results_drops_what_has_not_begun(
    executor_class: type[ThreadPoolExecutor], end: str
) -> None:
    blocked = HeldThreadCall()
    called: list[int] = []

    def call(item: int) -> None:
        called.append(item)
        if item == 1:
            blocked.stuck()
        elif end == "error":
            raise LookupError

    with executor_class(1) as executor:
        results = executor.map(call, range(9), timeout=0 if end == "time-out" else None)
        blocked.enter()
        if end != "error":
            next(results)
        if end in {"error", "time-out"}:
            with pytest.raises((LookupError, TimeoutError)):
                next(results)
        if end == "close":
            close(results)
        del results
        blocked.released.set()
    assert called == [0, 1]


def test_a_timeout_counts_from_the_call_and_for_all_results(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    with executor_class(2) as executor:
        results = executor.map(blocked.stuck, range(3), timeout=0.05)
        with pytest.raises(TimeoutError):
            list(results)
        assert list(results) == []
        blocked.released.set()


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_what_is_ready_is_given_even_after_the_timeout(
    executor_class: type[ThreadPoolExecutor], timeout: float
) -> None:
    with executor_class(2) as executor:
        results = executor.map(str, range(5), timeout=timeout)
    assert list(results) == list("01234")


@pytest.mark.parametrize("chunksize", [1, 3, 100])
def test_the_chunksize_has_no_meaning(
    executor_class: type[ThreadPoolExecutor], chunksize: int
) -> None:
    together = threading.Barrier(3)
    with executor_class(3) as executor:
        ranks = executor.map(together.wait, [PATIENCE] * 3, chunksize=chunksize)
        assert sorted(ranks) == [0, 1, 2]


def test_what_a_shutdown_cancels_is_raised_at_its_place(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    with executor_class(1) as executor:
        results = executor.map(blocked.stuck, range(3))
        blocked.enter()
        executor.shutdown(wait=False, cancel_futures=True)
        blocked.released.set()
        assert next(results) == "late"
        with pytest.raises(futures.CancelledError):
            next(results)
        assert list(results) == []


def test_items_wait_for_calls_before_them_and_are_done_after_a_shutdown(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    executor = executor_class(1)
    executor.submit(blocked.stuck)
    results = executor.map(str, range(5))
    executor.shutdown(wait=False)
    blocked.released.set()
    assert list(results) == list("01234")


def test_a_call_may_map(executor_class: type[ThreadPoolExecutor]) -> None:
    with executor_class(2) as executor:
        outer = executor.submit(lambda: list(executor.map(str, range(5))))
        assert outer.result(PATIENCE) == list("01234")


def test_many_maps_share_the_threads(executor_class: type[ThreadPoolExecutor]) -> None:
    with executor_class(2) as executor:
        maps = [executor.map(str, range(50)) for _ in range(20)]
        assert [list(each) for each in maps] == [[str(item) for item in range(50)]] * 20


def test_neither_items_nor_results_are_kept_when_they_were_read(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    deadline = time.monotonic() + PATIENCE
    links: list[weakref.ref[Thing]] = []

    def items() -> Iterator[Thing]:
        for _ in range(5):
            item = Thing()
            links.append(weakref.ref(item))
            yield item
            del item

    def call(_: Thing) -> Thing:
        return Thing()

    with executor_class(2) as executor:
        for result in executor.map(call, items()):
            links.append(weakref.ref(result))
            del result
            while links[-1]() is not None:
                assert time.monotonic() < deadline, "a result is kept"
                os.sched_yield()
        while any(link() is not None for link in links):
            assert time.monotonic() < deadline, "an item is kept"
            os.sched_yield()


def test_what_is_submitted_after_a_map_begins_after_its_items(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked, order = HeldThreadCall(), list[object]()

    def items() -> Iterator[int]:
        yield 0
        blocked.enter()
        yield from (1, 2)

    def call(item: int) -> None:
        if item == 0:
            blocked.stuck()
        order.append(item)

    with executor_class(1) as executor:
        executor.map(call, items())
        executor.submit(order.append, "submitted")
        blocked.released.set()
    assert order == [0, 1, 2, "submitted"]
