"""Stops, waits and claims that meet at every single bytecode.

"handler": the second thing happens in the same thread, as in a signal handler. "thread": it
happens in another thread. "signal": as "handler", but only where CPython really runs handlers,
so that a handler may also raise.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from asyncrun import Stopped, StopSource, StopToken
from tests.unit.conftest import wait_lock_is_right

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.unit.conftest import Interleave, Scenario

how = pytest.mark.parametrize("how", ["handler", "thread"])


class _Scenario:
    """A token with a linked child, a callback on each, and a record of what happened."""

    def __init__(self) -> None:
        self.source = StopSource()
        self.child = StopSource(self.source.token)
        self.token = self.source.token
        self.ran: list[str] = []

    def hook(self, name: str, token: StopToken | None = None) -> AbstractContextManager[None]:
        return (token or self.token).on_stop(self.ran.append, name)

    def check_set(self, *reasons: str) -> None:
        assert self.token.reason in reasons
        assert self.child.token.reason == self.token.reason
        assert self.token.is_set()
        assert self.child.token.is_set()
        assert wait_lock_is_right(self.token)


class WaitIsStopped(_Scenario):
    woken: object = None

    def first(self) -> None:
        self.woken = self.token.wait()

    def second(self) -> None:
        self.source.stop("second")

    def check(self) -> None:
        assert self.woken is True
        self.check_set("second")


class SleepIsStopped(_Scenario):
    def first(self) -> None:
        with pytest.raises(Stopped, match=r"^asked to stop: second$"):
            self.child.token.sleep(float("inf"))

    def second(self) -> None:
        self.source.stop("second")

    def check(self) -> None:
        self.check_set("second")
        assert wait_lock_is_right(self.child.token)


class PollIsStopped(_Scenario):
    saw: tuple[bool, str | None] = False, None

    def first(self) -> None:
        reason = self.token.reason
        is_set = self.token.is_set()
        self.saw = is_set, reason

    def second(self) -> None:
        self.source.stop("second")

    def check(self) -> None:
        assert self.saw in {(False, None), (True, None), (True, "second")}
        self.check_set("second")


class StopIsPolled(_Scenario):
    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        saw = self.token.reason, self.token.is_set()
        assert saw in {(None, False), ("first", True)}, "a reason, but not set"

    def check(self) -> None:
        self.check_set("first")


class BlockIsStopped(_Scenario):
    set_inside = False
    ran_inside = 0

    def first(self) -> None:
        with self.hook("callback"):
            # What a stop does inside the block is seen at its end; this is not interrupted.
            self.set_inside = self.token._set
            self.ran_inside = len(self.ran)
        self.ran_when_left = len(self.ran)

    def second(self) -> None:
        self.source.stop("second")

    def check(self) -> None:
        assert self.ran in ([], ["callback"])
        assert self.ran_inside >= self.set_inside, "set, but not called"
        assert self.ran_when_left == len(self.ran), "called after the block"
        assert not self.token._callbacks
        self.check_set("second")


class StopIsStopped(_Scenario):
    """Both stops try to do all of it, and one may find the other in its very middle."""

    def __init__(self) -> None:
        super().__init__()
        self.hooks = [self.hook("outer"), self.hook("inner"), self.hook("child", self.child.token)]
        for hook in self.hooks:
            hook.__enter__()

    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        self.source.stop("second")
        assert self.token.is_set()
        assert self.child.token.is_set()

    def check(self) -> None:
        assert sorted(self.ran) == ["child", "inner", "outer"]
        assert wait_lock_is_right(self.token)
        for hook in self.hooks:
            hook.__exit__(None, None, None)
        self.source.stop("third")
        assert len(self.ran) == 3
        self.check_set("first", "second")


class LinkIsStopped(_Scenario):
    def first(self) -> None:
        self.child = StopSource(self.source.token)

    def second(self) -> None:
        self.source.stop("second")

    def check(self) -> None:
        self.check_set("second")


class StopIsLinked(_Scenario):
    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        self.child = StopSource(self.source.token)

    def check(self) -> None:
        self.check_set("first")


class StopLosesChild(_Scenario):
    """A child's last holder lets go of it while its parent stops."""

    def __init__(self) -> None:
        super().__init__()
        self.others = [StopSource(self.token), StopSource(self.token)]

    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        self.others.pop(0)

    def check(self) -> None:
        self.check_set("first")
        assert self.others[0].token.is_set()
        assert len(self.token._children) == 2


class StopIsAwaited(_Scenario):
    """While the waiters are being woken, one of them times out and another one comes."""

    def __init__(self) -> None:
        super().__init__()

    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        if self.token.is_set():
            assert self.token.wait()
        assert self.token.wait(0) == self.token.is_set()

    def check(self) -> None:
        self.check_set("first")


class StopMeetsEntry(_Scenario):
    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        self.block = self.hook("callback")
        self.block.__enter__()

    def check(self) -> None:
        assert self.ran == ["callback"]
        self.block.__exit__(None, None, None)
        self.check_set("first")


class StopMeetsExit(_Scenario):
    """Leaving the block in one thread while another one is about to call, or just calling."""

    def __init__(self) -> None:
        super().__init__()
        self.block = self.hook("callback")
        self.block.__enter__()

    def first(self) -> None:
        self.source.stop("first")

    def second(self) -> None:
        self.block.__exit__(None, None, None)
        self.ran_when_left = len(self.ran)

    def check(self) -> None:
        assert self.ran in ([], ["callback"])
        assert self.ran_when_left == len(self.ran), "called after the block"
        assert not self.token._callbacks
        self.check_set("first")


@how
@pytest.mark.parametrize(
    "scenario",
    [
        WaitIsStopped,
        SleepIsStopped,
        PollIsStopped,
        StopIsPolled,
        BlockIsStopped,
        StopIsStopped,
        LinkIsStopped,
        StopIsLinked,
        StopLosesChild,
        StopIsAwaited,
        StopMeetsEntry,
    ],
)
def test_nothing_is_missed_and_nothing_hangs_wherever_a_stop_comes(  # rule 1, rule 2, rule 3
    interleave: Interleave, scenario: Callable[[], Scenario], how: str
) -> None:
    interleave(scenario, how)


def test_leaving_a_block_never_overtakes_its_callback(interleave: Interleave) -> None:  # rule 2
    # In one thread only the callback itself can leave the block while it runs: see test_stop.py.
    interleave(StopMeetsExit, "thread")


class StopIsInterrupted(StopIsStopped):
    def first(self) -> None:
        with suppress(KeyboardInterrupt):
            self.source.stop("first")

    def second(self) -> None:
        raise KeyboardInterrupt

    def check(self) -> None:
        self.source.stop("again")
        # The one callback that was just to be called is as if the interrupt had come inside it.
        assert len(self.ran) == len(set(self.ran)) >= 2
        assert wait_lock_is_right(self.token)
        for hook in self.hooks:
            hook.__exit__(None, None, None)
        self.check_set("first", "again")


class EntryIsInterrupted(_Scenario):
    """An interrupt inside ``__enter__``; one inside ``__exit__`` is beyond what Python code can."""

    def __init__(self) -> None:
        super().__init__()
        self.source.stop("before")
        self.block = self.hook("callback")
        self.entered = False

    def first(self) -> None:
        with suppress(KeyboardInterrupt):
            self.block.__enter__()
            self.entered = True

    def second(self) -> None:
        self.listed = list(self.token._callbacks)
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.entered:
            self.block.__exit__(None, None, None)
        ran = len(self.ran)
        assert not self.token._callbacks
        self.source.stop("again")
        for hook in self.listed:  # by a stop in another thread, before the interrupt
            hook.run_once()
        assert len(self.ran) == ran, "called after the block"
        self.check_set("before")


class WaitIsInterrupted(_Scenario):
    def first(self) -> None:
        with suppress(KeyboardInterrupt):
            self.token.wait(0)

    def second(self) -> None:
        raise KeyboardInterrupt

    def check(self) -> None:
        assert wait_lock_is_right(self.token)


class StoppingGate:
    """A gate whose token is set as soon as somebody waits at it."""

    def __init__(self, source: StopSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._lock.acquire()
        self.locked = self._lock.locked
        self.release = self._lock.release

    def acquire(self, timeout: float) -> bool:
        stopper = threading.Thread(target=self._source.stop, args=("while it waits",))
        stopper.start()
        stopper.join()
        return self._lock.acquire(timeout=timeout)


class PassageIsInterrupted(_Scenario):
    """A waiter that is let through, and interrupted, still lets the next one through."""

    def __init__(self) -> None:
        super().__init__()
        self.token._wait_lock[None] = StoppingGate(self.source)  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]

    def first(self) -> None:
        with suppress(KeyboardInterrupt):
            self.token.wait()

    def second(self) -> None:
        raise KeyboardInterrupt

    def check(self) -> None:
        if self.token._set:
            self.check_set("while it waits")
            assert not self.token._wait_lock[None].locked()


@pytest.mark.parametrize(
    "scenario", [StopIsInterrupted, EntryIsInterrupted, WaitIsInterrupted, PassageIsInterrupted]
)
def test_what_a_keyboard_interrupt_cut_short_can_be_completed(
    interleave: Interleave, scenario: Callable[[], Scenario]
) -> None:
    interleave(scenario, "signal")
