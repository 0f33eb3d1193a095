"""Maps with a `buffersize`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.conftest import HeldThreadCall
from tests.contract.stdlib_parity.conftest import EXECUTORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import ThreadPoolExecutor


# `ThreadPoolExecutor` has it from Python 3.14 on.
buffered = pytest.mark.parametrize(
    "executor_class", EXECUTORS if sys.version_info >= (3, 14) else EXECUTORS[1:]
)


@buffered
def test_no_more_items_are_taken_ahead_than_the_buffer_holds(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(5):
            taken.append(item)
            yield item

    with executor_class(2) as executor:
        mapping: Any = executor.map
        results = mapping(str, items(), buffersize=2)
        assert len(taken) == 2
        for number in range(5):
            assert next(results) == str(number)
            assert len(taken) == min(number + 3, 5)
        assert list(results) == []
        assert list(mapping(pow, [2, 3, 4], [3, 2], buffersize=1)) == [8, 9]
        assert list(mapping(str, [], buffersize=1)) == []


@buffered
@pytest.mark.parametrize("buffersize", [0, -1])
def test_a_buffer_holds_at_least_one(
    executor_class: type[ThreadPoolExecutor], buffersize: int
) -> None:
    with executor_class(1) as executor:
        mapping: Any = executor.map
        with pytest.raises(ValueError, match="buffersize must be"):
            mapping(str, [1], buffersize=buffersize)


@buffered
def test_an_error_of_a_buffered_input_is_raised_where_it_is_taken(
    executor_class: type[ThreadPoolExecutor],
) -> None:

    def items() -> Iterator[int]:
        yield 0
        yield 1
        raise LookupError

    with executor_class(1) as executor:
        mapping: Any = executor.map
        results = mapping(str, items(), buffersize=1)
        assert next(results) == "0"
        with pytest.raises(LookupError):
            next(results)
        assert list(results) == []


@buffered
def test_what_is_submitted_while_a_buffered_map_is_read_begins_in_its_turn(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked, order = HeldThreadCall(), list[object]()

    def call(item: int) -> None:
        if item == 0:
            blocked.stuck()
        order.append(item)

    with executor_class(1) as executor:
        mapping: Any = executor.map
        results = mapping(call, range(6), buffersize=3)
        executor.submit(order.append, "submitted")
        blocked.released.set()
        assert list(results) == [None] * 6
    assert order == [0, 1, 2, "submitted", 3, 4, 5]
