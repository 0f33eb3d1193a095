"""The types of the public API, checked by mypy and pyright and never executed."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Literal, assert_type

import anyio

import asyncrun
from asyncrun import (
    CallInfo,
    Interrupted,
    MapResults,
    ProcessWorkers,
    Runner,
    Stopped,
    StopSource,
    StopToken,
    WorkerDied,
    run,
    run_sync,
    safe_point,
    stop_token,
)
from asyncrun.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

if TYPE_CHECKING:
    import sqlite3
    import threading
    from collections.abc import AsyncIterator


def half(number: int, rest: str = "") -> float: ...  # type: ignore[empty-body] # pyright: ignore[reportReturnType]


async def half_async(number: int) -> float: ...  # type: ignore[empty-body] # pyright: ignore[reportReturnType]


async def nothing() -> None: ...


def numbers() -> AsyncIterator[int]: ...  # type: ignore[empty-body] # pyright: ignore[reportReturnType]


# run

assert_type(run(half_async, 1), float)
assert_type(run(half_async, 1, backend="trio", exit_timeout=5), float)
assert_type(run(nothing, backend_options={"use_uvloop": True}), None)
run(half_async)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
run(half_async, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
run(half, 1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
run(nothing())  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# run_sync


async def check_run_sync(limiter: anyio.CapacityLimiter) -> None:
    assert_type(await run_sync(half, 1), float)
    assert_type(await run_sync(half, 1, "rest", limiter=limiter), float)
    assert_type(await run_sync(partial(half, 1, rest="x")), float)
    assert_type(await run_sync(lambda: 1, name="one"), int)
    await run_sync(half)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await run_sync(half, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await run_sync(half, 1, limiter=3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


# Runner


async def check_runner() -> None:
    async with Runner(max_threads=8, grace=0.5, name="crawl") as runner:
        assert_type(runner, Runner)

        assert_type(await runner.run_sync(half, 1), float)
        assert_type(await runner.run_sync(half, 1, worker="thread"), float)
        assert_type(await runner.run_sync(half, 1, worker="process"), float)
        await runner.run_sync(half, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        await runner.run_sync(half, 1, worker="green")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

        handle = runner.submit(half, 1, name="half of one")
        assert_type(handle, anyio.TaskHandle[float])
        assert_type(await handle, float)
        runner.submit(half, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        runner.submit(half, 1, name=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

        task = runner.start_soon(half_async, 1)
        assert_type(task, anyio.TaskHandle[float])
        assert_type(await task, float)
        runner.start_soon(half_async, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        runner.start_soon(half, 1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

        async with runner.map(
            half, [1, 2], ordered=False, buffersize=8, item_timeout=1, max_concurrency=2
        ) as results:
            assert_type(results, MapResults[float])
            async for result in results:
                assert_type(result, float)
            assert_type(results.total, int | None)
            assert_type(results.started + results.done + results.failed + results.running, int)
        async with runner.map(half, numbers(), return_exceptions=True) as kept:
            assert_type(kept, MapResults[float | Exception])
            assert_type(await anext(kept), float | Exception)
        assert_type(runner.map(half, (1, 2), return_exceptions=False), MapResults[float])
        assert_type(
            runner.map(half, [1], return_exceptions=bool(kept)), MapResults[float | Exception]
        )
        runner.map(half, ["1"])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        runner.map(half, 1)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
        runner.map(half, [1], worker="green")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
        as_objects: MapResults[object] = runner.map(half, [1])
        print(as_objects)

        assert_type(runner.calls(), list[CallInfo])
        runner.stop()
        runner.stop("enough")
        runner.stop(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]

    Runner(8)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


def check_call_info(info: CallInfo) -> None:
    assert_type(info.name, str)
    assert_type(info.function, str)
    assert_type(info.age, float)
    assert_type(info.where, str | None)
    assert_type(info.stopping, bool)
    info.age = 1.0  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


# The token


def check_token(token: StopToken, connection: sqlite3.Connection) -> None:
    assert_type(token.is_set(), bool)
    assert_type(token.wait(), bool)
    assert_type(token.wait(timeout=1), bool)
    assert_type(token.reason, str | None)
    assert_type(token.on_stop(connection.interrupt), AbstractContextManager[None])
    with token.on_stop(print, "a", 1) as nothing:
        assert_type(nothing, None)
    token.reason = "x"  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    token.on_stop(1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert_type(stop_token(), StopToken)
    assert_type(StopSource(token, token).token, StopToken)
    safe_point()
    token.check()
    token.sleep(1)


def check_after_the_block(token: StopToken) -> int:
    # A block that may swallow exceptions would make this function end without a value.
    with token.on_stop(print):
        return 1


def check_is_like_an_event(token: StopToken, event: threading.Event) -> None:
    for each in (token, event):
        assert_type(each.is_set(), bool)
        assert_type(each.wait(1.0), bool)


# Worker processes

ProcessWorkers(2, initializer=half, initargs=(1, "rest"), max_tasks_per_child=100)
ProcessWorkers(initializer=print)
ProcessWorkers(initializer=half, initargs=("1",))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def check_worker_died(died: WorkerDied, info: CallInfo) -> None:
    assert_type(died.name, str)
    assert_type(died.pid, int)
    assert_type(died.status, int | None)
    assert_type(died.signum, int | None)
    assert_type(info.location, str | None)
    assert_type(info.state, Literal["starting", "running"])
    as_error: RuntimeError = died
    print(as_error)


# The errors


def check_errors(stopped: Stopped, interrupted: Interrupted) -> None:
    assert_type(stopped.reason, str | None)
    assert_type(interrupted.signum, signal.Signals)
    as_base: KeyboardInterrupt = interrupted
    as_error: Exception = stopped  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
    print(as_base, as_error, asyncrun.__all__)


def executor() -> None:
    with ThreadPoolExecutor(2, "pool", print, ("a thread",), grace=1.0) as pool:
        future = pool.submit(half, 1, rest="x")
        assert_type(future.result(), float)
        pool.submit(half, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        assert_type(list(pool.map(half, [1, 2], ["a", "b"])), list[float])
        assert_type(pool.calls(), list[CallInfo])
        pool.stop("enough")
        assert_type(pool.shutdown(wait=False, cancel_futures=True), None)
    assert_type(future.done(), bool)
    assert_type(asyncrun.joblib.register(), None)


def process_executor() -> None:
    with ProcessPoolExecutor(2, None, print, ("a process",), grace=1.0) as pool:
        assert_type(pool.submit(half, 1, rest="x").result(), float)
        assert_type(pool.options(timeout=1.0).submit(half, 1, rest="x"), Future[float])
        pool.options(timeout=1).submit(half, "1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
        assert_type(list(pool.map(half, [1, 2], ["a", "b"], chunksize=5)), list[float])
        pool.kill_workers()
