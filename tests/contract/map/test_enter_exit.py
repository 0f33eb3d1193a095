"""Runner.map while it is being entered, and while it is being left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from asyncrun import Runner, safe_point
from tests.contract.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.conftest import HeldCall

pytestmark = pytest.mark.anyio


async def test_a_map_that_is_cancelled_as_it_is_entered_takes_and_starts_nothing() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        taken.append(1)
        yield 1

    async with Runner() as runner:
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with runner.map(str, items()):
                pytest.fail("it was entered")
        assert scope.cancelled_caught
        assert await runner.run_sync(str, 1) == "1"
    assert taken == []


async def test_leaving_waits_no_longer_once_the_runner_stops(held_call: type[HeldCall]) -> None:
    blocked, left = held_call(), anyio.Event()

    def call(_: int) -> None:
        safe_point()  # so that it is waited for
        blocked.stuck()

    async def read() -> None:
        async with runner.map(call, [1]):
            await blocked.inside.wait()
        left.set()

    async with anyio.create_task_group() as group, Runner(grace=PATIENCE) as runner:
        group.start_soon(read)
        await blocked.inside.wait()
        await anyio.wait_all_tasks_blocked()
        assert not left.is_set()
        runner.stop()
        with anyio.fail_after(PATIENCE / 2, shield=True):
            await left.wait()
        blocked.released.set()
