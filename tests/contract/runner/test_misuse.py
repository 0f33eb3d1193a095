"""A runner in the wrong hands: each mistake is refused at the call, in words that help."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner

pytestmark = pytest.mark.anyio
PATIENCE = 30.0


async def test_a_runner_that_is_not_entered_is_refused() -> None:
    runner = Runner()
    with pytest.raises(RuntimeError, match="<Runner> is not entered yet; use it as `async with"):
        await runner.run_sync(str)
    with pytest.raises(RuntimeError, match="is not entered yet"):
        runner.submit(str)
    with pytest.raises(RuntimeError, match="is not entered yet"):
        runner.start_soon(anyio.sleep, 1)
    with pytest.raises(RuntimeError, match="is not entered yet"):
        runner.stop()
    assert runner.calls() == []


async def test_a_runner_that_was_left_is_refused() -> None:
    async with Runner(name="old") as runner:
        pass
    with pytest.raises(RuntimeError, match="<Runner 'old'> was left already; make a new one"):
        await runner.run_sync(str)
    with pytest.raises(RuntimeError, match="was left already"):
        runner.submit(str)
    with pytest.raises(RuntimeError, match="was left already"):
        runner.start_soon(anyio.sleep, 1)
    with pytest.raises(RuntimeError, match="was left already"):
        async with runner:
            pass


async def test_entering_twice_is_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(RuntimeError, match="is entered already; a runner can be entered once"):
            async with runner:
                pass
        assert await runner.run_sync(str, 1) == "1"


async def test_what_is_no_async_function_is_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"wants an async function.*it returned '', not a cor"):
            runner.start_soon(str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=r"give the function and its arguments, without call"):
            runner.start_soon(anyio.lowlevel.checkpoint())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        with pytest.raises(TypeError, match=r"wants an async function, got 3"):
            runner.start_soon(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_submit_refuses_a_coroutine_function_at_the_call() -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"Runner.submit\(\) wants a blocking function"):
            runner.submit(anyio.sleep, 1)


async def test_submit_refuses_a_call_that_was_made_already() -> None:
    async with Runner() as runner:
        with pytest.raises(TypeError, match=r"give the function and its arguments, without call"):
            runner.submit(anyio.lowlevel.checkpoint())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def test_another_thread_is_refused_and_told_how_to_come_back() -> None:
    async with Runner() as runner:
        with pytest.raises(RuntimeError, match=r"go through anyio.from_thread.run_sync\(runner.s"):
            await runner.run_sync(lambda: runner.submit(str))
        with pytest.raises(RuntimeError, match=r"belongs to the thread of its event loop"):
            await runner.run_sync(lambda: runner.start_soon(anyio.sleep, 0))

        def submit() -> anyio.TaskHandle[str]:
            return anyio.from_thread.run_sync(runner.submit, str, 1)

        assert await (await runner.run_sync(submit)) == "1"


async def test_other_workers_are_refused() -> None:
    async with Runner() as runner:
        with pytest.raises(ValueError, match=r"must be 'thread', 'process' or .*, was 'moon'"):
            await runner.run_sync(str, worker="moon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("grace", [-1, -0.001, float("nan"), float("-inf")])
def test_a_grace_out_of_range_is_refused(grace: float) -> None:
    with pytest.raises(ValueError, match=f"grace must be >= 0 seconds, was {grace}"):
        Runner(grace=grace)


@pytest.mark.parametrize("threads", [0, -1, 2.5, float("nan")])
def test_a_number_of_threads_out_of_range_is_refused(threads: Any) -> None:
    with pytest.raises(
        ValueError, match=f"max_threads must be a whole number >= 1 or None, was {threads}"
    ):
        Runner(max_threads=threads)
