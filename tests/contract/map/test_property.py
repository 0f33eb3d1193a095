"""Runner.map under whatever options, errors, delays and exits: what must always hold."""

from __future__ import annotations

import threading
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from asyncrun import Runner, safe_point, stop_token
from asyncrun._system.eventloop import threadsafe_caller
from tests.contract.conftest import PATIENCE, until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

pytestmark = pytest.mark.anyio


class ItemError(Exception):
    pass


class InputError(Exception):
    pass


@dataclass
class Plan:
    """One example: the items, which of them fail, in which order they end, and the options."""

    order: list[int]
    failing: set[int]
    threads: int
    limit: int | None
    buffer: int
    leave_after: int | None
    ordered: bool
    keep: bool
    asynchronous: bool
    input_fails: bool

    @property
    def ends_early(self) -> bool:
        return self.leave_after is not None and self.leave_after < len(self.order)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    number = draw(st.integers(0, 25))
    some = st.none() | st.integers(1, 5)
    return Plan(
        order=draw(st.permutations(range(number))),
        failing=draw(st.sets(st.integers(0, 24), max_size=4)) & set(range(number)),
        threads=draw(st.integers(1, 4)),
        limit=draw(some),
        buffer=draw(st.integers(1, 9)),
        leave_after=draw(st.none() | st.integers(0, 25)),
        ordered=draw(st.booleans()),
        keep=draw(st.booleans()),
        asynchronous=draw(st.booleans()),
        input_fails=draw(st.booleans()),
    )


@dataclass
class World:
    """Runs a plan: every item waits until it is let go, in the order that was drawn."""

    plan: Plan
    begun: list[int] = field(default_factory=list[int])
    ended: list[int] = field(default_factory=list[int])
    got: list[Any] = field(default_factory=list[Any])
    produced: int = 0
    ahead: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.some_begun: anyio.Event
        self.lock = threading.Lock()
        self.doors = [threading.Event() for _ in self.plan.order]

    def call(self, number: int) -> int:
        with self.lock:
            self.begun.append(number)
            self.most = max(self.most, len(self.begun) - len(self.ended))
        try:
            with stop_token().on_stop(self.doors[number].set):
                self.call_soon(self.some_begun.set)
                assert self.doors[number].wait(PATIENCE)
            safe_point()
            if number in self.plan.failing:
                raise ItemError(number)
            return number
        finally:
            with self.lock:
                self.ended.append(number)

    def items(self) -> Iterator[int]:
        for number in range(len(self.plan.order)):
            self.produced += 1
            self.ahead = max(self.ahead, self.produced - len(self.got))
            yield number
        if self.plan.input_fails:
            raise InputError

    async def async_items(self) -> AsyncGenerator[int]:
        for number in self.items():
            await anyio.lowlevel.checkpoint()
            yield number

    async def let_go(self) -> None:
        rank = {number: place for place, number in enumerate(self.plan.order)}
        while True:
            # A loop that turned all the time would keep the threads from the GIL.
            await self.some_begun.wait()
            self.some_begun = anyio.Event()
            while inside := [each for each in list(self.begun) if not self.doors[each].is_set()]:
                self.doors[min(inside, key=rank.__getitem__)].set()
                await anyio.lowlevel.checkpoint()

    async def run(self) -> BaseException | None:
        plan, caught = self.plan, None
        self.call_soon, self.some_begun = threadsafe_caller(), anyio.Event()
        async with aclosing(self.async_items()) as items, anyio.create_task_group() as group:
            group.start_soon(self.let_go)
            async with Runner(max_threads=plan.threads, grace=PATIENCE) as runner:
                results = runner.map(
                    self.call,
                    items if plan.asynchronous else self.items(),
                    ordered=plan.ordered,
                    buffersize=plan.buffer,
                    return_exceptions=plan.keep,
                    max_concurrency=plan.limit,
                )
                try:
                    async with results:
                        if plan.leave_after != 0:
                            async for result in results:
                                self.got.append(result)
                                assert results.done >= len(self.got)
                                if len(self.got) == plan.leave_after:
                                    break
                except (ItemError, InputError) as exc:
                    caught = exc
                # One that had just begun is not waited for: it has met no safe point yet.
                await until(lambda: not runner.calls())
                assert results.running == 0
                assert results.started == len(self.begun)
                assert results.failed <= results.done <= results.started
            group.cancel_scope.cancel()
        return caught


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(plan=plans())
async def test_whatever_happens(plan: Plan) -> None:
    world = World(plan)
    with anyio.fail_after(PATIENCE):
        error = await world.run()
    number = len(plan.order)
    indices = [r.args[0] if isinstance(r, ItemError) else r for r in world.got]
    # Every result once, in order where promised.
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(number))
    assert not plan.ordered or indices == list(range(len(indices)))
    for result, index in zip(world.got, indices, strict=True):
        assert isinstance(result, ItemError) == (index in plan.failing)
    # Never more than the buffer ahead, never more than the limit at once.
    assert world.ahead <= plan.buffer
    assert world.most <= min(plan.threads, plan.limit or plan.threads)
    # Nothing began twice, and all that began has ended.
    assert len(set(world.begun)) == len(world.begun)
    assert sorted(world.begun) == sorted(world.ended)
    # What ended it.
    if isinstance(error, ItemError):
        index = error.args[0]
        assert not plan.keep
        assert index in plan.failing
        assert error.__notes__ == [f"item {index} of the map: {index}"]
    elif isinstance(error, InputError):
        assert plan.input_fails
        assert sorted(indices) == list(range(number))
    elif plan.ends_early:
        assert len(indices) == plan.leave_after
    else:
        assert sorted(indices) == list(range(number))
        assert plan.keep or not plan.failing
        assert not plan.input_fails or plan.leave_after == number
