"""Any order of steps of several real threads, against a model that is a few dictionaries.

Each rule is one step of one thread, and it is over when the thread has done it or waits: so the
order is Hypothesis's, not the scheduler's.
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from asyncrun import Stopped, StopSource
from tests.unit.conftest import wait_lock_is_right

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from hypothesis.stateful import MultipleResults

PATIENCE = 15.0
THREADS = 3


@pytest.fixture(autouse=True, scope="module")
def failing_callbacks_are_not_printed() -> Iterator[None]:
    logger = logging.getLogger("asyncrun")
    logger.disabled = True
    yield
    logger.disabled = False


class Actor:
    """A thread that does one step after the other, as it is told."""

    def __init__(self) -> None:
        self._steps: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._results: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (step := self._steps.get()) is not None:
            try:
                self._results.put(step())
            except BaseException as exc:  # noqa: BLE001 - the test looks at it
                self._results.put(exc)
            del step  # it holds tokens

    def begin(self, step: Callable[[], object]) -> None:
        self._steps.put(step)

    def result(self) -> object:
        return self._results.get(timeout=PATIENCE)

    def busy(self) -> bool:
        return self._results.empty()

    def do(self, step: Callable[[], object]) -> object:
        self.begin(step)
        return self.result()

    def end(self) -> None:
        self._steps.put(None)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


@dataclass(eq=False)
class Flag:
    """A source, and what the model knows of it."""

    source: StopSource
    parents: list[Flag]
    reason: str | None = None
    stopped: bool = False
    waiting: list[tuple[Actor, bool]] = field(default_factory=list[tuple[Actor, bool]])
    blocks: list[Block] = field(default_factory=list["Block"])

    def above(self) -> list[Flag]:
        return [self, *(each for parent in self.parents for each in parent.above())]


@dataclass(eq=False)
class Block:
    """An `on_stop` block, and how often it must have been called."""

    flag: Flag
    manager: AbstractContextManager[None]
    calls: list[int]
    wanted: int


class StopMachine(RuleBasedStateMachine):
    flags = Bundle[Flag]("flags")
    blocks = Bundle[Block]("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.idle = [Actor() for _ in range(THREADS)]
        self.actors = list(self.idle)
        self.known: list[Flag] = []
        self.all_blocks: list[Block] = []

    def actor(self) -> Actor:
        self.idle.append(self.idle.pop(0))  # in turn
        return self.idle[-1]

    @rule(target=flags, parents=st.lists(flags, max_size=2))
    def make(self, parents: list[Flag]) -> Flag:
        source = self.actor().do(lambda: StopSource(*(each.source.token for each in parents)))
        assert isinstance(source, StopSource)
        flag = Flag(source, parents)
        self.known.append(flag)
        for parent in parents:
            if parent.stopped and not flag.stopped:
                flag.stopped, flag.reason = True, parent.reason
        return flag

    @precondition(lambda self: self.idle)
    @rule(flag=flags, reason=st.sampled_from(["one", "two", None]))
    def stop(self, flag: Flag, reason: str | None) -> None:
        reached = [each for each in self.known if flag in each.above() and not each.stopped]
        assert self.actor().do(lambda: flag.source.stop(reason)) is None
        for each in reached:
            each.stopped = True
            each.reason = reason
            for block in each.blocks:
                block.wanted = 1
            for actor, sleeps in each.waiting:
                result = actor.result()
                assert isinstance(result, Stopped) if sleeps else result is True
                self.idle.append(actor)
            each.waiting.clear()

    @precondition(lambda self: len(self.idle) > 1)
    @rule(flag=flags, sleeps=st.booleans())
    def wait(self, flag: Flag, sleeps: bool) -> None:
        token = flag.source.token
        actor = self.idle.pop(0)
        actor.begin(lambda: token.sleep(float("inf")) if sleeps else token.wait())
        if flag.stopped:
            result = actor.result()
            assert isinstance(result, Stopped) if sleeps else result is True
            self.idle.append(actor)
            return
        flag.waiting.append((actor, sleeps))
        deadline = time.monotonic() + PATIENCE
        while not token._observed:
            assert time.monotonic() < deadline
            os.sched_yield()

    @rule(flag=flags, timeout=st.sampled_from([0, -1.0, 1e-6]))
    def look(self, flag: Flag, timeout: float) -> None:
        token = flag.source.token
        assert self.actor().do(lambda: token.wait(timeout)) is flag.stopped
        assert isinstance(self.actor().do(token.check), Stopped) is flag.stopped

    @rule(target=blocks, flag=flags, fails=st.booleans())
    def enter(self, flag: Flag, fails: bool) -> Block:
        calls: list[int] = []

        def callback() -> None:
            calls.append(threading.get_ident())
            if fails:
                raise ValueError

        block = Block(flag, flag.source.token.on_stop(callback), calls, int(flag.stopped))
        assert self.actor().do(block.manager.__enter__) is None
        flag.blocks.append(block)
        self.all_blocks.append(block)
        return block

    @rule(block=consumes(blocks))
    def leave(self, block: Block) -> None:
        assert self.actor().do(lambda: block.manager.__exit__(None, None, None)) is None
        block.flag.blocks.remove(block)

    @rule(target=flags, flag=consumes(flags))
    def lose(self, flag: Flag) -> Flag | MultipleResults[Flag]:
        """Drop a source that nothing depends on."""
        children = any(flag in each.above() for each in self.known if each is not flag)
        if children or flag.waiting or any(each.flag is flag for each in self.all_blocks):
            return flag
        self.known.remove(flag)
        del flag.source
        return multiple()

    @invariant()
    def the_flags_are_as_the_model_says(self) -> None:
        for flag in self.known:
            token = flag.source.token
            assert token._set is flag.stopped
            assert token.reason == flag.reason
            assert wait_lock_is_right(token)
            assert len(token._callbacks) == len(flag.blocks)
            children = sum(flag in each.parents for each in self.known)
            if len(token._children) != children:
                gc.collect()  # the traceback of a `Stopped` may hold the token of a lost source
            assert len(token._children) == children

    @invariant()
    def nobody_wakes_up_for_nothing(self) -> None:
        assert all(actor.busy() for flag in self.known for actor, _ in flag.waiting)

    @invariant()
    def every_callback_ran_as_often_as_it_should(self) -> None:
        assert [len(each.calls) for each in self.all_blocks] == [
            each.wanted for each in self.all_blocks
        ]

    def teardown(self) -> None:
        for flag in self.known:
            flag.source.stop()
        for actor in self.actors:
            actor.end()


TestStopMachine = StopMachine.TestCase
TestStopMachine.settings = settings(deadline=None, max_examples=100, stateful_step_count=30)
