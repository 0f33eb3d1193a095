"""Runner.map when items or the input fail, or no thread is to be had."""

from __future__ import annotations

import dataclasses
import logging
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import anyio
import pytest

from asyncrun import Runner, Stopped
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from asyncrun._runner.map_results import MapResults
    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


class Alone(BaseException):
    """An error that is no `Exception`."""


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    """An error that takes no note, as nothing can be set on it."""


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_error_ends_the_map_as_itself_and_the_others_are_asked_to_stop(
    held_call: type[HeldCall], ordered: bool
) -> None:
    error = LookupError("my own")
    heeding, failing = [held_call(), held_call()], held_call()

    def call(item: HeldCall | int) -> None:
        if item is failing:
            failing.stuck()
            raise error
        assert not isinstance(item, int), "this was to wait"
        item.cooperative()

    async with Runner(max_threads=3) as runner:
        items = [heeding[0], failing, heeding[1], *range(10)]
        async with runner.map(call, items, ordered=ordered) as results:
            for blocked in (*heeding, failing):
                await blocked.inside.wait()
            failing.released.set()
            with pytest.raises(LookupError) as caught:
                await anext(results)
            assert caught.value is error
            (note,) = error.__notes__
            assert note.startswith("item 1 of the map: <")
            assert results.failed >= 1
            with pytest.raises(StopAsyncIteration):
                await anext(results)
            for blocked in heeding:
                await until(blocked.left.is_set)
                assert blocked.token.reason == "another item failed"
        assert results.started == 3
        assert await runner.run_sync(str, 1) == "1"


@pytest.mark.parametrize("how", ["error", "stop"])
async def test_an_async_input_is_not_taken_any_further_when_the_map_has_ended(how: str) -> None:
    produced, more = 0, anyio.Event()

    async def numbers() -> AsyncGenerator[int]:
        nonlocal produced
        yield 0
        await more.wait()
        while produced < 1000:  # and never lets the event loop turn
            produced += 1
            yield produced

    def call(number: int) -> int:
        if how == "error":
            raise LookupError
        return number

    async with (
        aclosing(numbers()) as items,
        Runner() as runner,
        runner.map(call, items, buffersize=4) as results,
    ):
        await until(lambda: results.done)
        if how == "stop":
            runner.stop()
        with anyio.CancelScope(shield=True):
            await until(lambda: results._batch.closed)
            more.set()
            await anyio.wait_all_tasks_blocked()
        assert produced <= 4
        with pytest.raises(LookupError):
            await anext(results)


async def test_an_error_comes_before_results_that_were_not_read_yet(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()

    def call(number: int) -> int:
        if number == 5:
            blocked.stuck()
            raise LookupError
        return number

    async with Runner(max_threads=1) as runner, runner.map(call, range(9)) as results:
        assert await anext(results) == 0
        await blocked.inside.wait()
        blocked.released.set()
        await until(lambda: results.failed)
        await until(lambda: results._batch.closed)
        with pytest.raises(LookupError):
            await anext(results)


async def test_an_error_wakes_a_reader_that_waits_for_another_item(
    held_call: type[HeldCall],
) -> None:
    first, failing = held_call(), held_call()

    def call(held_thread_call: HeldCall) -> None:
        held_thread_call.stuck()
        if held_thread_call is failing:
            raise LookupError

    async def fail() -> None:
        await anyio.wait_all_tasks_blocked()
        failing.released.set()

    async with Runner(max_threads=2) as runner, runner.map(call, [first, failing]) as results:
        await first.inside.wait()
        await failing.inside.wait()
        runner.start_soon(fail)
        with pytest.raises(LookupError):
            await anext(results)
        first.released.set()


async def test_only_one_of_several_readers_gets_the_error_and_the_others_the_end(
    held_call: type[HeldCall],
) -> None:
    blocked, ends = held_call(), list[str]()

    def fail(item: int) -> None:
        blocked.stuck()
        raise LookupError

    async def read(results: AsyncIterator[None]) -> None:
        try:
            async for _ in results:
                pytest.fail("there are no results")
            ends.append("end")
        except LookupError:
            ends.append("error")

    async with (
        Runner() as runner,
        runner.map(fail, range(1)) as results,
        anyio.create_task_group() as group,
    ):
        for _ in range(3):
            group.start_soon(read, results)
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        blocked.released.set()
    assert sorted(ends) == ["end", "end", "error"]


def _has_failed(results: MapResults[Any], number: int) -> bool:
    return results.failed == number


# rule 8
async def test_further_errors_are_logged(
    held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    made = [held_call(), held_call()]

    def fail(held_thread_call: HeldCall) -> NoReturn:
        held_thread_call.stuck()
        raise LookupError(str(made.index(held_thread_call)))

    async with Runner() as runner, runner.map(fail, made) as results:
        for blocked in made:
            await blocked.inside.wait()
        for number, blocked in enumerate(made):
            blocked.released.set()
            await until(partial(_has_failed, results, number + 1))
        await until(lambda: len(results._batch.failures) == 2)
        with pytest.raises(LookupError, match="0"):
            await anext(results)
        assert caplog.records == []
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    assert record.getMessage().endswith("failed after its caller had stopped waiting")
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "1"


class Raising:
    def __repr__(self) -> str:
        raise ValueError("no repr")


class array:  # noqa: N801 - `reprlib` takes it for another one
    pass


def _nest(depth: int) -> list[Any]:
    return [_nest(depth - 1)] * 9 if depth else []


ODD_ITEMS: dict[str, tuple[Any, str]] = {
    "short": ("page 7", "item 0 of the map: 'page 7'"),
    "long text": ("x" * 10**6, "item 0 of the map: 'xxx"),
    "long list": (list(range(10**5)), "item 0 of the map: [0, 1, 2"),
    "deep": (_nest(7), "item 0 of the map: [["),
    "bytes": (b"y" * 10**6, "item 0 of the map: b'yyy"),
    "big number": (10**5000, "item 0 of the map: "),
    "no repr": (Raising(), "item 0 of the map: <Raising instance at"),
    "no repr inside": ([Raising()], "item 0 of the map: [<Raising instance at"),
    "a name of the library": (array(), "item 0 of the map: "),
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("kind", ODD_ITEMS)
async def test_the_note_names_the_item_shortly_whatever_it_is(kind: str, keep: bool) -> None:
    item, text = ODD_ITEMS[kind]

    def fail(_: object) -> NoReturn:
        raise LookupError

    async with Runner() as runner, runner.map(fail, [item], return_exceptions=keep) as results:
        if keep:
            error: object = await anext(results)
        else:
            with pytest.raises(LookupError) as caught:
                await anext(results)
            error = caught.value
        assert isinstance(error, LookupError)
        (note,) = error.__notes__
        assert note.startswith(text)
        assert len(note) < 400


async def test_an_error_that_takes_no_note_comes_out_all_the_same() -> None:
    def fail(item: int) -> int:
        if item == 1:
            raise FrozenError
        return item

    async with Runner() as runner:
        async with runner.map(fail, range(3), return_exceptions=True) as results:
            got = [result async for result in results]
            assert [type(result) for result in got] == [int, FrozenError, int]
        async with runner.map(fail, range(3)) as results:
            with pytest.raises(FrozenError):
                [result async for result in results]


@pytest.mark.parametrize("ordered", [True, False])
async def test_with_return_exceptions_an_error_takes_its_place_and_costs_no_other_result(
    ordered: bool,
) -> None:
    def call(number: int) -> int:
        if number % 3 == 1:
            raise LookupError(number)
        if number % 3 == 2:
            raise StopIteration(number)
        return number

    async with Runner(max_threads=4) as runner:
        async with runner.map(call, range(99), return_exceptions=True, ordered=ordered) as results:
            got = [result async for result in results]
        assert (results.done, results.failed) == (99, 66)
        numbers = [r.args[0] if isinstance(r, Exception) else r for r in got]
        assert sorted(numbers) == list(range(99))
        assert not ordered or numbers == list(range(99))
        for result, number in zip(got, numbers, strict=True):
            assert type(result) is (int, LookupError, StopIteration)[number % 3]
            if isinstance(result, Exception):
                assert result.__notes__ == [f"item {number} of the map: {number}"]


@pytest.mark.parametrize("kind", [Alone, KeyboardInterrupt, SystemExit, Stopped])
async def test_with_return_exceptions_other_base_exceptions_end_the_map(
    held_call: type[HeldCall], kind: type[BaseException]
) -> None:
    blocked = held_call()

    def call(number: int) -> None:
        if number:
            blocked.cooperative()
        assert blocked.inside.is_set() or blocked.released.wait(PATIENCE)
        raise kind

    async with (
        Runner(max_threads=2) as runner,
        runner.map(call, range(2), return_exceptions=True) as results,
    ):
        await blocked.inside.wait()
        blocked.released.set()
        with pytest.raises(kind) as caught:
            await anext(results)
        assert caught.value.__notes__ == ["item 0 of the map: 0"]
        await until(blocked.left.is_set)
        assert blocked.token.reason == "another item failed"
    assert await anyio.to_thread.run_sync(str, 1) == "1"


@pytest.mark.parametrize("kind", [StopIteration, StopAsyncIteration])
@pytest.mark.parametrize("ordered", [True, False])
async def test_an_item_that_raises_what_ends_a_loop_does_not_end_it_silently(
    kind: type[Exception], ordered: bool
) -> None:
    def fail(item: int) -> NoReturn:
        raise kind("mine")

    async with Runner() as runner, runner.map(fail, range(1), ordered=ordered) as results:
        with pytest.raises(RuntimeError, match=f"{kind.__name__} was raised where") as caught:
            async for _ in results:
                pytest.fail("there are no results")
        assert isinstance(caught.value.__cause__, kind)
        assert caught.value.__cause__.__notes__ == ["item 0 of the map: 0"]
