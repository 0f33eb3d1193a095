"""The flag, sentence by sentence of its docstrings."""

from __future__ import annotations

import contextvars
import gc
import math
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import tenacity

from asyncrun import Stopped, StopSource, StopToken, safe_point, stop_token
from asyncrun._core.current import NO_CALL, current_token
from asyncrun._core.errors import OutOfRangeError
from tests.unit.conftest import wait_lock_is_right

if TYPE_CHECKING:
    from tests.unit.conftest import Spawn

WITHOUT_LIMIT = pytest.mark.parametrize("timeout", [None, 1e9, 1e300, math.inf])
AT_ONCE = pytest.mark.parametrize("timeout", [0, 0.0, -0.0, -1, -1e300, -math.inf])


def _inside(token: StopToken, func: Callable[[], object]) -> object:
    """Run a function as in a call that has this token."""

    def call() -> object:
        current_token.set(token)
        return func()

    return contextvars.copy_context().run(call)


Look = Callable[[StopToken], object]
SAFE_POINTS: dict[str, Look] = {
    "check": StopToken.check,
    "sleep(0)": lambda token: token.sleep(0),
    "sleep(inf)": lambda token: token.sleep(math.inf),
    "safe_point": lambda token: _inside(token, safe_point),
}
LOOKS: dict[str, Look] = {
    "is_set": StopToken.is_set,
    "check": StopToken.check,
    "wait": lambda token: token.wait(0),
    "sleep": lambda token: token.sleep(0),
    "safe_point": lambda token: _inside(token, safe_point),
}
NO_LOOKS: dict[str, Look] = {
    "stop_token": lambda token: _inside(token, stop_token),
    "reason": lambda token: token.reason,
    "repr": repr,
    "on_stop": lambda token: token.on_stop(print),
}


# The flag


def test_a_new_token_is_not_set_and_has_no_reason() -> None:  # rule 2
    token = StopSource().token
    assert token.is_set() is False
    assert token.reason is None
    token.check()
    assert repr(token) == "<StopToken not set>"


def test_stopping_sets_the_token_for_good() -> None:  # rule 1
    source = StopSource()
    assert source.stop("enough") is None  # type: ignore[func-returns-value]
    assert source.token is source.token
    assert source.token.is_set() is True
    assert source.token.reason == "enough"
    assert repr(source.token) == "<StopToken set: enough>"
    assert repr(source) == "<StopSource of <StopToken set: enough>>"


@pytest.mark.parametrize("first", ["one", "", None])
def test_the_first_reason_stays(first: str | None) -> None:  # rule 1
    source = StopSource()
    source.stop(first)
    source.stop("two")
    source.stop()
    assert source.token.reason == first


def test_a_token_that_was_set_without_a_reason_says_no_more_than_that() -> None:
    source = StopSource()
    source.stop()
    assert source.token.reason is None
    assert repr(source.token) == "<StopToken set>"
    with pytest.raises(Stopped, match=r"^asked to stop$") as caught:
        source.token.check()
    assert caught.value.reason is None


@pytest.mark.parametrize("look", SAFE_POINTS.values(), ids=SAFE_POINTS)
def test_every_safe_point_raises_with_the_reason(look: Look) -> None:
    source = StopSource()
    source.stop("enough")
    with pytest.raises(Stopped, match=r"^asked to stop: enough$") as caught:
        look(source.token)
    assert caught.value.reason == "enough"


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_token_knows_that_it_was_looked_at(look: Look) -> None:  # rule 9
    token = StopSource().token
    assert not token._is_cooperative()
    look(token)
    assert token._is_cooperative()


@pytest.mark.parametrize("look", NO_LOOKS.values(), ids=NO_LOOKS)
def test_what_only_describes_a_token_is_no_look(look: Look) -> None:  # rule 9
    token = StopSource().token
    look(token)
    assert not token._is_cooperative()


def test_a_token_is_heeded_inside_a_block_and_not_after_it() -> None:  # rule 9
    token = StopSource().token
    with token.on_stop(print):
        assert token._is_cooperative()
    assert not token._is_cooperative()


# Waiting, as on an Event


@AT_ONCE
def test_wait_of_zero_or_less_only_looks(timeout: float) -> None:  # rule 2
    source = StopSource()
    assert source.token.wait(timeout) is False is threading.Event().wait(timeout)
    source.stop()
    assert source.token.wait(timeout) is True
    assert wait_lock_is_right(source.token)


@WITHOUT_LIMIT
def test_wait_returns_at_once_when_the_token_is_set_already(timeout: float | None) -> None:
    source = StopSource()
    source.stop()
    assert source.token.wait(timeout) is True


@WITHOUT_LIMIT
def test_a_stop_wakes_all_that_wait(spawn: Spawn, timeout: float | None) -> None:  # rule 2
    source = StopSource()
    waiting = [spawn(lambda: source.token.wait(timeout)) for _ in range(3)]
    for task in waiting:
        task.settle()
        assert not task.done
    source.stop()
    assert [task.finish() for task in waiting] == [True, True, True]
    assert wait_lock_is_right(source.token)


def test_wait_ends_after_its_timeout() -> None:
    token = StopSource().token
    start = time.monotonic()
    assert token.wait(0.01) is False
    assert token.wait(timeout=0.01) is False
    assert time.monotonic() - start >= 0.02
    assert wait_lock_is_right(token)


def test_wait_refuses_what_is_no_number() -> None:
    token = StopSource().token
    with pytest.raises(ValueError, match="not a number"):
        token.wait(math.nan)
    with pytest.raises(TypeError):
        token.wait("1")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert wait_lock_is_right(token)


def test_sleep_sleeps() -> None:
    start = time.monotonic()
    StopSource().token.sleep(0.01)
    StopSource().token.sleep(0)
    assert time.monotonic() - start >= 0.01


def test_a_stop_ends_a_sleep_by_an_exception(spawn: Spawn) -> None:  # rule 2
    source = StopSource()
    sleeper = spawn(lambda: source.token.sleep(math.inf))
    sleeper.settle()
    assert not sleeper.done
    source.stop("wake up")
    with pytest.raises(Stopped, match="wake up"):
        sleeper.finish()


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("seconds", [-1, -1e-9, -math.inf, math.nan])
def test_sleep_refuses_what_is_no_duration(seconds: float, stopped: bool) -> None:
    source = StopSource()
    if stopped:
        source.stop()
    with pytest.raises(OutOfRangeError, match=r"^seconds must be >= 0, was (-|nan)") as caught:
        source.token.sleep(seconds)
    assert caught.value.actual is seconds


def _as_event(token: StopToken) -> Any:
    return token


def test_tenacity_takes_a_token_for_an_event() -> None:  # rule 2
    source = StopSource()
    attempts: list[int] = []

    @tenacity.retry(
        sleep=tenacity.sleep_using_event(_as_event(source.token)),
        stop=tenacity.stop_when_event_set(_as_event(source.token)),
        wait=tenacity.wait_fixed(0.001),
    )
    def fail() -> None:
        attempts.append(len(attempts))
        if len(attempts) == 3:
            source.stop()
        raise ValueError

    with pytest.raises(tenacity.RetryError):
        fail()
    assert len(attempts) == 3


def test_tenacity_sleeping_on_a_token_wakes_up_when_it_is_set(spawn: Spawn) -> None:  # rule 2
    source = StopSource()
    sleep = tenacity.sleep_using_event(_as_event(source.token))
    sleeper = spawn(lambda: sleep(1e6))
    sleeper.settle()
    assert not sleeper.done
    source.stop()
    sleeper.finish()


# A real signal


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="POSIX only")
def test_a_signal_handler_may_stop_what_it_has_interrupted(spawn: Spawn) -> None:  # rule 1
    source = StopSource()
    main = threading.get_ident()
    ran: list[str] = []

    def send() -> None:
        while not source.token._observed:
            os.sched_yield()
        # CPython may miss the first: one that comes after it has looked for signals, and before the
        # thread sleeps in the lock, wakes nobody (1 of 10,000 under load).
        while not source.token._set:
            signal.pthread_kill(main, signal.SIGUSR1)
            os.sched_yield()

    def stop_again() -> None:
        signal.raise_signal(signal.SIGUSR1)
        ran.append("inner")

    def handler(signum: int, frame: object) -> None:
        source.stop("signal")

    previous = signal.signal(signal.SIGUSR1, handler)
    try:
        with source.token.on_stop(ran.append, "outer"), source.token.on_stop(stop_again):
            sender = spawn(send)
            assert source.token.wait() is True
            sender.finish()
            assert sorted(ran) == ["inner", "outer"]
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert source.token.reason == "signal"


# Links


def test_a_stop_reaches_all_that_follow_with_its_reason() -> None:  # rule 3
    parent = StopSource()
    child = StopSource(parent.token)
    grandchildren = [StopSource(child.token) for _ in range(3)]
    parent.stop("from above")
    for source in (child, *grandchildren):
        assert source.token.reason == "from above"
        assert source.token.is_set()


def test_a_stop_does_not_reach_upwards_or_sideways() -> None:  # rule 3
    parent = StopSource()
    child, sibling = StopSource(parent.token), StopSource(parent.token)
    child.stop("below")
    assert (parent.token.is_set(), sibling.token.is_set()) == (False, False)
    parent.stop("above")
    assert (child.token.reason, sibling.token.reason) == ("below", "above")


def test_a_source_follows_whichever_parent_comes_first() -> None:  # rule 3
    one, two = StopSource(), StopSource()
    child = StopSource(one.token, two.token, two.token)
    two.stop("two")
    one.stop("one")
    assert child.token.reason == "two"


def test_a_source_that_follows_a_set_token_is_set_from_the_start() -> None:  # rule 3
    parent = StopSource()
    parent.stop("before")
    assert StopSource(StopSource().token, parent.token).token.reason == "before"


def test_a_linked_stop_wakes_waiters_and_runs_callbacks(spawn: Spawn) -> None:  # rule 3
    parent = StopSource()
    child = StopSource(parent.token)
    ran: list[str] = []
    waiter = spawn(child.token.wait)
    waiter.settle()
    with child.token.on_stop(ran.append, "child"), parent.token.on_stop(ran.append, "parent"):
        parent.stop()
    assert waiter.finish() is True
    assert sorted(ran) == ["child", "parent"]


def test_links_of_short_lived_sources_do_not_pile_up() -> None:  # rule 3
    parent = StopSource()
    kept = [StopSource(parent.token) for _ in range(100)]
    assert len(parent.token._children) == 100
    del kept[1:]
    gc.collect()
    assert len(parent.token._children) == 1
    parent.stop()
    assert kept[0].token.is_set()


def test_a_callback_of_a_stop_may_drop_a_source_that_follows_the_same_token() -> None:  # rule 3
    source = StopSource()
    first = StopSource(source.token)
    others = [StopSource(source.token)]
    with first.token.on_stop(others.clear):
        source.stop()
    assert not others
    assert len(source.token._children) == 1


def test_a_link_lives_as_long_as_somebody_holds_the_token() -> None:  # rule 3
    parent = StopSource()
    token = StopSource(parent.token).token
    gc.collect()
    parent.stop("still linked")
    assert token.reason == "still linked"


def test_a_child_outlives_its_parent_and_does_not_hold_it() -> None:  # rule 3
    parent = StopSource()
    child = StopSource(parent.token)
    gone = weakref.ref(parent.token)
    del parent
    gc.collect()
    assert gone() is None
    assert not child.token.is_set()


# Outside a call


def test_outside_a_call_a_safe_point_does_nothing_and_the_token_is_never_set() -> None:  # rule 4
    safe_point()
    assert stop_token() is NO_CALL
    assert not stop_token().is_set()
    assert stop_token().wait(0) is False
    with stop_token().on_stop(pytest.fail, "it was called"):
        pass


def test_inside_a_call_they_find_its_token() -> None:  # rule 4
    source = StopSource()
    assert _inside(source.token, stop_token) is source.token
    _inside(source.token, safe_point)
    source.stop()
    safe_point()  # this is not inside


def test_a_thread_started_by_a_call_has_its_token_in_a_copy_of_the_context(spawn: Spawn) -> None:
    token = StopSource().token

    def call() -> tuple[object, object]:
        context = contextvars.copy_context()
        bare = spawn(lambda: contextvars.Context().run(stop_token))
        copied = spawn(lambda: context.run(stop_token))
        return bare.finish(), copied.finish()

    assert _inside(token, call) == (NO_CALL, token)
