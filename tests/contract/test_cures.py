"""The advice in the errors of misuse: each is followed to the letter here, and works."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import pytest

import asyncrun
from asyncrun import ProcessWorkers, Runner, stop_token

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

pytestmark = pytest.mark.anyio
PATIENCE = 30.0


async def double(number: int = 3) -> int:
    return 2 * number


async def numbers() -> AsyncGenerator[int]:
    yield 1


def count() -> Generator[int]:
    yield 1


class Numbers:
    """Something to call that makes an async generator."""

    async def __call__(self) -> AsyncGenerator[int]:
        yield 1


async def in_another_thread(func: Any) -> object:
    """Call something in a thread that neither AnyIO nor asyncrun has started."""
    outcomes, done = list[object](), anyio.Event()
    token = anyio.lowlevel.current_token()

    def run() -> None:
        try:
            outcomes.append(func())
        except RuntimeError as exc:
            outcomes.append(exc)
        anyio.from_thread.run_sync(done.set, token=token)

    thread = threading.Thread(target=run)
    thread.start()
    with anyio.fail_after(PATIENCE):
        await done.wait()
    await anyio.to_thread.run_sync(thread.join)
    (outcome,) = outcomes
    return outcome


UNCALLED = "give the function and its arguments, without calling it"


def advised(advice: str) -> pytest.RaisesExc[TypeError]:
    """Expect that something is refused with this advice."""
    return pytest.RaisesExc(TypeError, match=re.escape(f"; {advice}") + "$")


def said(error: object) -> str:
    assert isinstance(error, Exception)
    return str(error)


WHERE = (
    "where token = anyio.lowlevel.current_token() was taken in the event loop; "
    "in a call, token can be left out"
)


async def test_another_thread_is_told_how_to_submit() -> None:
    token = anyio.lowlevel.current_token()
    async with Runner() as runner:
        error = await in_another_thread(partial(runner.submit, str, 1))
        way = "go through anyio.from_thread.run_sync(runner.submit, ..., token=token), "
        assert said(error).endswith(f"; {way}{WHERE}")

        def submit() -> anyio.TaskHandle[str]:
            return anyio.from_thread.run_sync(runner.submit, str, 1, token=token)

        def submit_in_a_call() -> anyio.TaskHandle[str]:
            return anyio.from_thread.run_sync(runner.submit, str, 1)

        handle: Any = await in_another_thread(submit)
        assert await handle == "1"
        for func in (submit, submit_in_a_call):
            assert await (await runner.run_sync(func)) == "1"


async def test_another_thread_is_told_how_to_start_a_task() -> None:
    token = anyio.lowlevel.current_token()
    async with Runner() as runner:
        error = await in_another_thread(partial(runner.start_soon, double))
        way = "go through anyio.from_thread.run_sync(runner.start_soon, ..., token=token), "
        assert said(error).endswith(f"; {way}{WHERE}")
        start = lambda: anyio.from_thread.run_sync(runner.start_soon, double, token=token)  # type: ignore[arg-type]  # noqa: E731
        handle: Any = await in_another_thread(start)
        assert await handle == 6


async def test_another_thread_is_told_how_to_run_a_call() -> None:
    token = anyio.lowlevel.current_token()
    async with Runner() as runner:

        def run_a_loop() -> None:
            anyio.run(lambda: runner.run_sync(str, 1))

        error = await in_another_thread(run_a_loop)
        way = "go through anyio.from_thread.run(runner.run_sync, ..., token=token), "
        assert said(error).endswith(f"; {way}{WHERE}")
        run: Any = partial(anyio.from_thread.run, token=token)
        assert await in_another_thread(lambda: run(runner.run_sync, str, 1)) == "1"


async def test_another_thread_is_told_how_to_map() -> None:
    token = anyio.lowlevel.current_token()
    async with Runner() as runner:
        error = await in_another_thread(partial(runner.map, str, [1]))
        way = (
            "go through anyio.from_thread.run(func, token=token), let the async func use the map, "
        )
        assert said(error).endswith(f"; {way}{WHERE}")

        async def func() -> list[str]:
            async with runner.map(str, [1]) as results:
                return [result async for result in results]
            raise AssertionError

        assert await in_another_thread(partial(anyio.from_thread.run, func, token=token)) == ["1"]


@pytest.mark.parametrize("given", ["function", "object", "partial", "callable"])
async def test_an_async_generator_is_to_be_iterated(given: str) -> None:
    things: dict[str, Any] = {
        "function": numbers,
        "object": numbers(),
        "partial": partial(numbers),
        "callable": Numbers(),
    }
    thing = things[given]
    async with Runner() as runner:
        advice = "iterate it with `async for`, in an async function that Runner.start_soon() starts"
        with advised(advice):
            runner.submit(thing)
        with advised(advice):
            await runner.run_sync(thing)
        with advised(advice):
            await asyncrun.run_sync(thing)
        with advised(advice):
            runner.map(thing, [1])
        with advised("iterate it with `async for` in an async function, and give that"):
            runner.start_soon(thing)

        async def consume() -> list[int]:
            return [each async for each in (thing if given == "object" else thing())]

        assert await runner.start_soon(consume) == [1]


async def test_start_soon_says_what_to_do_with_what_is_not_async() -> None:
    wrong: Any
    async with Runner() as runner:
        for wrong in (str, lambda: count()):  # noqa: PLW0108
            with pytest.raises(
                TypeError, match=r"; a blocking function is for Runner\.submit\(\)$"
            ):
                runner.start_soon(wrong)
        assert await runner.submit(str) == ""
        wrong = count()
        with pytest.raises(
            TypeError, match=r"; iterate it in a function; a blocking function is f"
        ):
            runner.start_soon(wrong)
        assert await runner.submit(lambda: list(wrong)) == [1]
        wrong = double(3)
        with advised(UNCALLED):
            runner.start_soon(wrong)
        assert await runner.start_soon(double, 3) == 6
        with advised(UNCALLED):
            runner.start_soon("double")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_start_soon_says_what_to_do_with_what_can_be_awaited(anyio_backend_name: str) -> None:
    class Awaitable:
        def __await__(self) -> Generator[Any, Any, int]:
            return double(3).__await__()

    wrong: Any = Awaitable()
    async with Runner() as runner:
        with advised("await it in an async function, and give that"):
            runner.start_soon(wrong)
        with advised("use that in an async function, and give that function"):
            runner.start_soon(lambda: wrong)

        async def use() -> int:
            return int(await wrong)

        assert await runner.start_soon(use) == 6


async def test_what_is_no_blocking_function_is_told_what_is() -> None:
    wrong: Any
    async with Runner() as runner:
        wrong = double(3)
        with pytest.raises(
            TypeError, match=r"; await it, or give the function and its arguments, w"
        ):
            runner.submit(wrong)
        assert await runner.start_soon(double, 3) == await double(3)
        wrong = count()
        with pytest.raises(
            TypeError, match=r"; give a function that iterates it, such as list, and"
        ):
            runner.submit(wrong)
        assert await runner.submit(list, wrong) == [1]
        wrong = "text"
        with advised(UNCALLED):
            runner.submit(wrong)
        wrong = {1: "one"}
        with advised("give a function, such as its method get"):
            runner.submit(wrong, 1)
        assert await runner.submit(wrong.get, 1) == "one"


async def test_map_says_what_to_give() -> None:
    wrong: Any
    async with Runner() as runner:
        with pytest.raises(
            TypeError, match=r"; await it with each item, or start it with Runner\.st"
        ):
            runner.map(double, [1, 2])
        assert [await runner.start_soon(double, item) for item in (1, 2)] == [2, 4]
        for wrong in ("str", [1, 2]):
            with advised("give the function itself, and then the items"):
                runner.map(wrong, wrong)
        wrong = {1: "one"}
        with advised("give a function, such as its method get"):
            runner.map(wrong, [1])
        async with runner.map(wrong.get, [1]) as results:
            assert [result async for result in results] == ["one"]
        wrong = numbers
        with advised("call it: the items are in what it returns"):
            runner.map(str, wrong)
        async with runner.map(str, numbers()) as results:
            assert [result async for result in results] == ["1"]


def test_an_initializer_is_to_be_a_plain_function() -> None:
    wrong: Any = double
    with advised("a worker process calls it, and has no event loop to await it"):
        ProcessWorkers(initializer=wrong)
    wrong = "setup"
    with pytest.raises(
        TypeError, match="; give the function itself, and its arguments as initargs"
    ):
        ProcessWorkers(initializer=wrong)


async def test_on_stop_calls_and_does_not_await() -> None:
    wrong: Any
    for wrong in (double, double(3), numbers):
        with pytest.raises(
            TypeError, match="; the callback is called and not awaited, by whatever"
        ):
            stop_token().on_stop(wrong)
    with stop_token().on_stop(str):
        pass


INSIDE = r"^Already running an event loop in this thread; await main\(\) instead$"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_run_in_a_running_loop_says_what_to_do(backend: str) -> None:
    wrong: Any
    for wrong in (double, double(3)):
        with pytest.raises(RuntimeError, match=INSIDE):
            asyncrun.run(wrong, backend=backend)
    assert await double() == 6
    # In a thread of its own it is fine.
    assert await asyncrun.run_sync(lambda: asyncrun.run(double, 3, backend=backend)) == 6


async def test_run_in_a_callback_says_so_too(anyio_backend_name: str) -> None:
    caught, done = list[str](), anyio.Event()

    def callback() -> None:
        with pytest.raises(RuntimeError) as error:
            asyncrun.run(double)
        caught.append(str(error.value))
        done.set()

    if anyio_backend_name == "asyncio":
        asyncio.get_running_loop().call_soon(callback)
    else:
        import trio

        trio.lowlevel.current_trio_token().run_sync_soon(callback)
    with anyio.fail_after(PATIENCE):
        await done.wait()
    assert re.search(INSIDE, caught[0])


def test_run_inside_run_says_so_too(backend: str) -> None:
    async def main() -> int:
        with pytest.raises(RuntimeError, match=INSIDE):
            asyncrun.run(double)
        return await double()

    assert asyncrun.run(main, backend="trio" if backend == "trio" else "asyncio") == 6


def test_run_says_what_to_do_with_what_is_not_async() -> None:
    wrong: Any = str
    with advised("a blocking function can be called without run()"):
        asyncrun.run(wrong)
    wrong = double(3)
    with pytest.raises(
        TypeError, match=r"; give the function and its arguments, without calling it"
    ):
        asyncrun.run(wrong)
    assert asyncrun.run(double, 3) == 6


@pytest.mark.parametrize("missing", ["asyncio", "trio"])
def test_run_needs_no_backend_that_is_not_loaded(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    from asyncrun._core.checks import check_outside

    monkeypatch.delitem(sys.modules, missing)
    check_outside(double)
