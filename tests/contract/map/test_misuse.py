"""Runner.map in the wrong hands: each mistake is refused at the call, in words that help."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

pytestmark = pytest.mark.anyio


async def test_a_runner_that_is_not_entered_or_was_left_is_refused() -> None:
    runner, maps = Runner(), list[Any]()
    with pytest.raises(RuntimeError, match="<Runner> is not entered yet; use it as `async with"):
        runner.map(str, [1])
    async with runner:
        maps.append(runner.map(str, [1]))
    with pytest.raises(RuntimeError, match="<Runner> was left already; make a new one"):
        runner.map(str, [1])
    with pytest.raises(RuntimeError, match="<Runner> was left already; make a new one"):
        async with maps[0]:
            pass


async def test_another_thread_is_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(RuntimeError, match=r"belongs to the thread of its event loop"):
            await runner.run_sync(runner.map, str, [1])
        results = runner.map(str, [1])

        async def enter() -> None:
            async with results:
                pass

        with pytest.raises(RuntimeError, match=r"belongs to the thread of its event loop"):
            await runner.run_sync(anyio.run, enter)
        async with results:
            assert [result async for result in results] == ["1"]


async def test_results_that_are_not_entered_are_refused_and_take_nothing() -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for number in range(3):
            taken.append(number)
            yield number

    async with Runner() as runner:
        results = runner.map(str, items())
        match = r"<map of str by <Runner>> is not entered yet; use it as `async with runner.map"
        with pytest.raises(RuntimeError, match=match):
            [result async for result in results]
        with pytest.raises(RuntimeError, match=match):
            await anext(results)
        assert taken == []
        await anyio.lowlevel.checkpoint()
        with anyio.fail_after(5):
            async with results:
                assert [result async for result in results] == ["0", "1", "2"]


async def test_results_that_were_left_are_refused() -> None:
    async with Runner() as runner:
        async with runner.map(str, range(1000), buffersize=2) as results:
            await anext(results)
        with pytest.raises(RuntimeError, match=r"<map of str by <Runner>> was left already; use"):
            await anext(results)
        with pytest.raises(RuntimeError, match=r"was left already"):
            [result async for result in results]
        with pytest.raises(RuntimeError, match=r"was left already; call Runner.map\(\) again"):
            async with results:
                pass


async def test_results_are_entered_once() -> None:
    async with Runner() as runner, runner.map(str, range(3)) as results:
        with pytest.raises(RuntimeError, match=r"is entered already; call Runner.map\(\) again"):
            async with results:
                pass
        assert [result async for result in results] == ["0", "1", "2"]


async def test_what_is_never_entered_runs_nothing() -> None:
    called = list[int]()
    async with Runner() as runner:
        runner.map(called.append, [1])
    assert called == []


async def async_function(item: object) -> None:
    await anyio.lowlevel.checkpoint()


async def async_generator(item: object) -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("func", [3, None, "str", async_function, async_generator])
async def test_what_is_no_blocking_function_is_refused(func: Any) -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"Runner.map\(\) wants a blocking function, got "):
            runner.map(func, [1])


async def test_a_call_that_was_made_already_is_refused() -> None:
    made: Any = async_function(1)
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"give the function and its arguments, without call"):
            runner.map(made, [1])


@pytest.mark.parametrize("items", [3, None, str, object()])
async def test_what_is_no_iterable_is_refused(items: Any) -> None:
    async with Runner() as runner:
        match = r"Runner.map\(\) wants an iterable or an async iterable of items, got "
        with pytest.raises(TypeError, match=match) as caught:
            runner.map(str, items)
        assert repr(items) in str(caught.value)


@pytest.mark.parametrize("option", ["buffersize", "max_concurrency"])
@pytest.mark.parametrize("value", [0, -1, 1.5, math.nan, math.inf])
async def test_a_number_out_of_range_is_refused(option: str, value: Any) -> None:
    options: dict[str, Any] = {option: value}
    async with Runner() as runner:
        with pytest.raises(
            ValueError, match=f"{option} must be a whole number >= 1 or None, was {value}"
        ):
            runner.map(str, [1], **options)


@pytest.mark.parametrize("seconds", [0, -1, -0.0, math.nan, -math.inf])
async def test_a_time_out_out_of_range_is_refused(seconds: float) -> None:
    async with Runner() as runner:
        with pytest.raises(
            ValueError, match=f"item_timeout must be > 0 seconds or None, was {seconds}"
        ):
            runner.map(str, [1], item_timeout=seconds)


async def test_other_workers_are_refused() -> None:
    options: dict[str, Any] = {"worker": "moon"}
    async with Runner() as runner:
        with pytest.raises(ValueError, match=r"must be 'thread', 'process' or .*, was 'moon'"):
            runner.map(str, [1], **options)


async def test_a_refusal_takes_nothing_from_the_input() -> None:
    items = iter(range(3))
    options: dict[str, Any] = {"item_timeout": 0}
    async with Runner() as runner:
        with pytest.raises(ValueError, match="item_timeout"):
            runner.map(str, items, **options)
        with pytest.raises(TypeError):
            runner.map(async_function, items)
        runner.map(str, items)
    assert list(items) == [0, 1, 2]
