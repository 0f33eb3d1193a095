"""One blocking call, awaited with and without a runner: rules 5 to 8."""

from __future__ import annotations

import asyncio
import functools
import logging
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

import asyncrun
from asyncrun._core.registry import running_calls

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio
PATIENCE = 30.0

variable: ContextVar[str] = ContextVar("variable", default="nothing")


async def test_gives_the_result_and_passes_the_arguments(offloading: Callable[..., Any]) -> None:
    async with offloading() as call:
        assert await call(divmod, 7, 3) == (2, 1)


async def test_an_error_comes_out_as_itself(offloading: Callable[..., Any]) -> None:
    error = LookupError("no such thing")

    def fail() -> None:
        raise error

    async with offloading() as call:
        with pytest.raises(LookupError) as caught:
            await call(fail)
    assert caught.value is error


async def test_a_stop_iteration_becomes_a_runtime_error_and_is_not_logged_as_late(
    offloading: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with offloading() as call:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await call(next, iter(()))
    assert not caplog.records


# rule 6
async def test_context_variables_go_along_and_do_not_come_back(
    offloading: Callable[..., Any],
) -> None:
    def look() -> str:
        seen = variable.get()
        variable.set("changed")
        return seen

    variable.set("mine")
    async with offloading() as call:
        assert await call(look) == "mine"
    assert variable.get() == "mine"


# rule 6
async def test_anyio_from_thread_works_inside(offloading: Callable[..., Any]) -> None:
    async def ask(question: str) -> str:
        await anyio.lowlevel.checkpoint()
        return question + "!"

    def call_back() -> tuple[str, int]:
        anyio.from_thread.check_cancelled()
        return anyio.from_thread.run(ask, "what"), anyio.from_thread.run_sync(len, "four")

    async with offloading() as call:
        assert await call(call_back) == ("what!", 4)


# rule 6
async def test_check_cancelled_raises_inside_once_the_caller_is_cancelled(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked = held_call()
    seen: list[type[BaseException]] = []

    def look() -> None:
        blocked.stuck()
        try:
            anyio.from_thread.check_cancelled()
        except BaseException as exc:
            seen.append(type(exc))
            raise

    async with offloading() as call:
        await abandon(call, look, blocked)
        blocked.released.set()
        await ended()
    assert seen == [anyio.get_cancelled_exc_class()]


async def abandon(
    call: Callable[..., Any], func: Callable[[], object], held_thread_call: HeldCall
) -> None:
    """Start a call, wait until it is in, and cancel it."""
    async with anyio.create_task_group() as group:
        group.start_soon(call, func)
        await held_thread_call.inside.wait()
        group.cancel_scope.cancel()


async def ended() -> None:
    """Wait until no call is running, and the loop knows it."""
    while running_calls:
        await anyio.lowlevel.checkpoint()
    await anyio.wait_all_tasks_blocked()


# rule 5
async def test_a_cancelled_scope_ends_the_await_and_sets_the_token(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked = held_call()
    async with offloading() as call:
        await abandon(call, blocked.stuck, blocked)
        assert not blocked.left.is_set()
        assert blocked.token.is_set()
        assert blocked.token.reason == "its caller was cancelled"
        blocked.released.set()


# rule 5
async def test_a_timeout_ends_the_await_and_sets_the_token(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked = held_call()
    async with offloading() as call, anyio.create_task_group() as group:
        with anyio.CancelScope() as scope:

            async def expire() -> None:
                await blocked.inside.wait()
                scope.deadline = anyio.current_time()

            group.start_soon(expire)
            await call(blocked.stuck)
        assert scope.cancelled_caught
        assert blocked.token.is_set()
        blocked.released.set()


# rule 5
async def test_a_failing_sibling_ends_the_await_and_sets_the_token(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked = held_call()

    async def fail() -> None:
        await blocked.inside.wait()
        raise LookupError

    async with offloading() as call:
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:
                group.start_soon(call, blocked.stuck)
                group.start_soon(fail)
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        assert blocked.token.is_set()
        blocked.released.set()


# rule 5
@pytest.mark.parametrize("anyio_backend", [("asyncio", {}), ("asyncio", {"use_uvloop": True})])
async def test_native_asyncio_cancellation_ends_the_await_and_sets_the_token(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked = held_call()
    async with offloading() as call:
        task = asyncio.ensure_future(call(blocked.stuck))
        await blocked.inside.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert blocked.token.is_set()
        blocked.released.set()


async def test_a_call_whose_caller_is_cancelled_before_it_begins_never_runs(
    offloading: Callable[..., Any],
) -> None:
    begun: list[bool] = []
    async with offloading(1) as call:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await call(begun.append, True)
        assert await call(str, 1) == "1"
    assert begun == []


# rule 7
async def test_an_abandoned_call_holds_its_slot_until_its_thread_has_ended(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked, order = held_call(), list[str]()

    def first() -> None:
        blocked.stuck()
        order.append("first")

    async with offloading(1) as call:
        await abandon(call, first, blocked)
        async with anyio.create_task_group() as group:
            group.start_soon(call, order.append, "second")
            await anyio.wait_all_tasks_blocked()
            assert order == []
            blocked.released.set()
    assert order == ["first", "second"]


# rule 7
async def test_a_call_that_waits_for_a_slot_can_be_cancelled(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    blocked, begun = held_call(), list[bool]()
    async with offloading(1) as call:
        await abandon(call, blocked.stuck, blocked)
        async with anyio.create_task_group() as group:
            group.start_soon(call, begun.append, True)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        blocked.released.set()
        await ended()
        assert await call(str, 1) == "1"
    assert begun == []


# rule 7
async def test_a_runner_does_not_use_anyios_default_limiter(held_call: type[HeldCall]) -> None:
    made = [held_call() for _ in range(3)]
    default = anyio.to_thread.current_default_thread_limiter()
    async with asyncrun.Runner() as runner:
        for blocked in made:
            runner.submit(blocked.stuck)
        for blocked in made:
            await blocked.inside.wait()
            blocked.released.set()
        assert default.borrowed_tokens == 0


# rule 7
async def test_without_a_runner_a_call_takes_a_slot_of_anyios_default_limiter(
    held_call: type[HeldCall],
) -> None:
    blocked = held_call()
    default = anyio.to_thread.current_default_thread_limiter()
    await abandon(asyncrun.run_sync, blocked.stuck, blocked)
    assert default.borrowed_tokens == 1
    blocked.released.set()
    await ended()
    assert default.borrowed_tokens == 0


# rule 8
async def test_a_late_result_is_dropped_in_silence(
    offloading: Callable[..., Any], held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with offloading() as call:
        await abandon(call, blocked.stuck, blocked)
        blocked.released.set()
        await ended()
    assert not caplog.records


# rule 8
async def test_a_late_error_is_logged_with_its_traceback(
    offloading: Callable[..., Any], held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()

    def fail_late() -> None:
        blocked.stuck()
        raise LookupError("too late")

    async with offloading() as call:
        await abandon(call, fail_late, blocked)
        blocked.released.set()
        await ended()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.WARNING)
    assert "fail_late failed after its caller had stopped waiting" in record.getMessage()
    assert record.exc_info is not None
    assert "too late" in str(record.exc_info[1])
    assert record.exc_info[2] is not None


# rules 6 and 8
@pytest.mark.parametrize(
    ("anyio_backend", "way"),
    [
        ("asyncio", "check_cancelled"),
        ("asyncio", "run"),  # Trio does not cancel what an abandoned call has it run
        ("trio", "check_cancelled"),
    ],
)
async def test_a_late_end_by_anyios_cancellation_is_not_logged(
    offloading: Callable[..., Any],
    held_call: type[HeldCall],
    caplog: pytest.LogCaptureFixture,
    way: str,
) -> None:
    blocked = held_call()

    async def call_back() -> None:
        blocked.inside.set()
        await anyio.sleep_forever()

    def cooperate_with_anyio() -> None:
        if way == "check_cancelled":
            blocked.stuck()
            anyio.from_thread.check_cancelled()
        else:
            anyio.from_thread.run(call_back)

    async with offloading() as call:
        await abandon(call, cooperate_with_anyio, blocked)
        blocked.released.set()
        await ended()
    assert not caplog.records


# rules 7 and 8
async def test_a_log_handler_that_fails_costs_no_slot(
    offloading: Callable[..., Any], held_call: type[HeldCall]
) -> None:
    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError

    def fail_late() -> None:
        blocked.stuck()
        raise LookupError

    blocked, handler = held_call(), Failing()
    logger = logging.getLogger("asyncrun")
    logger.addHandler(handler)
    try:
        async with offloading(1) as call:
            await abandon(call, fail_late, blocked)
            blocked.released.set()
            assert await call(str, 1) == "1"
    finally:
        logger.removeHandler(handler)


# rule 8
async def test_a_late_stopped_is_not_logged(
    offloading: Callable[..., Any], held_call: type[HeldCall], caplog: pytest.LogCaptureFixture
) -> None:
    blocked = held_call()
    async with offloading() as call:
        await abandon(call, blocked.cooperative, blocked)
        await ended()
    assert blocked.left.is_set()
    assert not caplog.records


async def test_a_coroutine_function_is_refused(offloading: Callable[..., Any]) -> None:
    class Async:
        async def __call__(self) -> None: ...

    async def generate() -> AsyncGenerator[int]:
        yield 1

    async with offloading() as call:
        for wrong in (anyio.sleep, functools.partial(anyio.sleep, 1), Async(), generate):
            with pytest.raises(TypeError, match=r"wants a blocking function, got .*start_soon"):
                await call(wrong)


async def test_what_is_not_callable_is_refused(offloading: Callable[..., Any]) -> None:
    async with offloading() as call:
        with pytest.raises(TypeError, match="wants a blocking function, got 'text'"):
            await call("text")
