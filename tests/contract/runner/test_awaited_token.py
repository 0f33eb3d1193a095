"""A token that async code awaits."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from asyncrun import Runner, StopSource, StopToken, stop_token
from asyncrun._core.errors import NotConstructibleError
from tests.contract.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio


def by_thread(source: StopSource) -> None:
    threading.Thread(target=source.stop, args=("enough",)).start()


def by_handler(source: StopSource) -> None:
    def handle(_signum: int, _frame: object) -> None:
        source.stop("enough")

    previous = signal.signal(signal.SIGUSR1, handle)
    try:
        signal.raise_signal(signal.SIGUSR1)
    finally:
        signal.signal(signal.SIGUSR1, previous)


def here(source: StopSource) -> None:
    source.stop("enough")


@pytest.mark.parametrize("stop", [by_thread, by_handler, here])
async def test_it_ends_the_wait_when_it_is_set(stop: Callable[[StopSource], None]) -> None:
    source = StopSource()
    ended: list[str | None] = []

    async def wait() -> None:
        await source.token
        ended.append(source.token.reason)

    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert ended == []
            stop(source)
    assert ended == ["enough"] * 3
    assert not source.token._callbacks


async def test_one_that_is_set_already_ends_the_wait_at_once() -> None:
    source = StopSource()
    source.stop()
    with anyio.fail_after(PATIENCE):
        await source.token


async def test_a_wait_that_is_cancelled_leaves_nothing_behind() -> None:
    source = StopSource()
    with anyio.move_on_after(0) as scope:
        await source.token
    assert scope.cancelled_caught
    assert not source.token._callbacks


async def test_the_token_of_a_call_can_be_awaited_elsewhere() -> None:
    tokens: list[StopToken] = []

    def call() -> None:
        tokens.append(stop_token())
        stop_token().wait(PATIENCE)

    async with Runner() as runner:
        handle = runner.submit(call)
        while not tokens:
            await anyio.lowlevel.checkpoint()
        handle.cancel()
        with anyio.fail_after(PATIENCE):
            await tokens[0]


async def test_a_token_is_not_made_by_mistake() -> None:
    make: Any = StopToken
    for args in ((), (print,)):
        with pytest.raises(TypeError):
            make(*args)
    said = "StopToken is not to be called; get one from stop_token(), or StopSource().token"
    with pytest.raises(NotConstructibleError) as caught:
        make()
    assert str(caught.value) == said
