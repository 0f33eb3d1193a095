"""The two ThreadPoolExecutors are alike: they keep nothing that nobody needs."""

from __future__ import annotations

import functools
import weakref
from concurrent import futures
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.conftest import PATIENCE, HeldThreadCall, wait_until
from tests.contract.stdlib_parity.conftest import Thing, threads_of

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


def test_an_executor_that_nobody_has_any_more_does_what_waits_and_ends(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    blocked = HeldThreadCall()
    executor = executor_class(2)
    threads = threads_of(executor, 2)
    called: list[futures.Future[Any]] = [
        executor.submit(blocked.stuck),
        executor.submit(blocked.stuck),
    ]
    called.append(executor.submit(int))
    results = executor.map(str, range(3))
    link = weakref.ref(executor)
    del executor
    assert link() is None
    blocked.released.set()
    assert [future.result(PATIENCE) for future in called] == ["late", "late", 0]
    assert list(results) == list("012")
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_idle_threads_end_when_nobody_has_their_executor(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    executor = executor_class(2)
    threads = threads_of(executor, 2)
    del executor
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


@pytest.mark.parametrize("outcome", ["result", "error", "cancelled"])
def test_neither_arguments_nor_outcome_of_a_call_are_kept(
    executor_class: type[ThreadPoolExecutor], outcome: str
) -> None:
    blocked = HeldThreadCall()

    def call(thing: Thing) -> Thing:
        if outcome == "error":
            raise LookupError(thing)
        return thing

    thing = Thing()
    link = weakref.ref(thing)
    with executor_class(1) as executor:
        executor.submit(blocked.stuck)
        future = executor.submit(functools.partial(call, thing))
        del thing
        assert link() is not None
        if outcome == "cancelled":
            future.cancel()
        blocked.released.set()
        futures.wait([future], PATIENCE)
        del future
        wait_until(lambda: link() is None)
        assert executor.submit(int).result(PATIENCE) == 0


def test_arguments_are_let_go_while_the_future_is_kept(
    executor_class: type[ThreadPoolExecutor],
) -> None:
    def call(thing: Thing, *, more: Thing) -> bool:
        return thing is more

    with executor_class(1) as executor:
        thing = Thing()
        link = weakref.ref(thing)
        future = executor.submit(call, thing, more=thing)
        del thing
        wait_until(lambda: link() is None)
        assert future.result(PATIENCE)
