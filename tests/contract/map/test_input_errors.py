"""Runner.map when its input fails, or no thread is to be had."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner, stop_token
from tests.contract.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


async def generate(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        await anyio.lowlevel.checkpoint()
        yield item


def _failing(error: BaseException) -> Iterator[int]:
    yield from range(20)
    raise error


class Odd:
    """An iterator, async or not, that raises what ends the other kind."""

    def __init__(self, error: Exception) -> None:
        self.numbers = iter(range(20))
        self.error = error

    def _next(self) -> int:
        for number in self.numbers:
            return number
        raise self.error


class OddIterator(Odd):
    def __iter__(self) -> OddIterator:
        return self

    def __next__(self) -> int:
        return self._next()


class OddAsyncIterator(Odd):
    def __aiter__(self) -> OddAsyncIterator:
        return self

    async def _give(self, number: int) -> int:
        return number

    def __anext__(self) -> Any:
        return self._give(self._next())


INPUTS: dict[str, tuple[Callable[[], Any], type[Exception]]] = {
    "sync": (lambda: _failing(LookupError("mine")), LookupError),
    "async": (lambda: generate(_failing(LookupError("mine"))), LookupError),
    "odd": (lambda: OddIterator(StopAsyncIteration("mine")), StopAsyncIteration),
    "odd async": (lambda: OddAsyncIterator(StopIteration("mine")), StopIteration),
}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", INPUTS)
async def test_an_input_that_raises_ends_the_map_after_the_results_of_the_items_before(
    kind: str, ordered: bool, keep: bool
) -> None:
    make, error = INPUTS[kind]
    got: list[int | Exception] = []
    async with Runner(max_threads=3) as runner:
        async with runner.map(
            int, make(), ordered=ordered, buffersize=5, return_exceptions=keep
        ) as results:
            with pytest.raises((error, RuntimeError)) as caught:
                async for result in results:
                    got.append(result)  # noqa: PERF401 - it would be lost
            assert type(caught.value) is (error if error is LookupError else RuntimeError)
            assert error is LookupError or isinstance(caught.value.__cause__, error)
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert (results.done, results.failed) == (20, 0)
    assert sorted(got, key=str) == sorted(range(20), key=str)
    assert not ordered or got == list(range(20))


async def test_an_input_that_raises_wakes_a_reader_that_has_nothing_to_wait_for(
    held_call: type[HeldCall],
) -> None:
    fail = anyio.Event()

    async def numbers() -> AsyncIterator[int]:
        yield 1
        await fail.wait()
        raise LookupError

    async def set_it() -> None:
        await anyio.wait_all_tasks_blocked()
        fail.set()

    async with Runner() as runner, runner.map(int, numbers()) as results:
        assert await anext(results) == 1
        runner.start_soon(set_it)
        with pytest.raises(LookupError):
            await anext(results)


async def test_an_input_whose_iterator_cannot_be_made_fails_at_the_call() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise LookupError

    async with Runner() as runner:
        with pytest.raises(LookupError):
            runner.map(int, Broken())
        assert await runner.run_sync(str, 1) == "1"


@pytest.mark.parametrize("before", [0, 5])
async def test_an_interrupt_in_the_input_comes_out_at_once(
    held_call: type[HeldCall], before: int
) -> None:
    blocked = held_call()

    def items() -> Iterator[int]:
        yield from range(before)
        raise KeyboardInterrupt

    def call(_: int) -> None:
        stop_token().wait(PATIENCE)

    runner = Runner(grace=PATIENCE)
    with pytest.raises(KeyboardInterrupt):
        async with runner, runner.map(call, items(), buffersize=before + 1) as results:
            await anext(results)
            blocked.inside.set()
    assert not blocked.inside.is_set()
    assert runner.calls() == []


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Refuse a thread after so many more calls."""
    left: list[int] = []

    def limited(start: Callable[..., Any]) -> Callable[..., Any]:
        def start_some(*args: Any, **kwargs: Any) -> Any:
            if not left:
                raise RuntimeError("can't start new thread")
            left.pop()
            return start(*args, **kwargs)

        return start_some

    def limit(number: int) -> None:
        import trio

        left[:] = [0] * number
        if anyio.get_cancelled_exc_class() is trio.Cancelled:  # it reuses threads, also others'
            start = trio.lowlevel.start_thread_soon
            monkeypatch.setattr("trio._threads.start_thread_soon", limited(start))
        else:
            monkeypatch.setattr(threading.Thread, "start", limited(threading.Thread.start))

    return limit


@pytest.mark.parametrize("keep", [False, True])
async def test_without_any_thread_the_error_comes_out_of_the_loop(
    threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    async with Runner(max_threads=3) as runner:
        threads(0)
        async with runner.map(str, range(9), return_exceptions=keep) as results:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await anext(results)
        monkeypatch.undo()
        async with runner.map(str, range(9)) as results:
            assert len([result async for result in results]) == 9


@pytest.mark.parametrize("number", [1, 2])
async def test_with_some_threads_it_goes_on_with_these(
    threads: Callable[[int], None], held_call: type[HeldCall], number: int
) -> None:
    made = [held_call() for _ in range(9)]
    async with Runner(max_threads=4) as runner:
        threads(number)
        async with runner.map(lambda blocked: blocked.stuck(), made) as results:
            for blocked in made[:number]:
                await blocked.inside.wait()
            await anyio.wait_all_tasks_blocked()
            assert results.running == number
            for blocked in made:
                blocked.released.set()
            assert [result async for result in results] == ["late"] * 9
