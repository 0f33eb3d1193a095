"""`StopToken.on_stop`, sentence by sentence of its docstring."""

from __future__ import annotations

import logging
import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from asyncrun import Stopped, StopSource
from asyncrun._core.errors import WrongFunctionError, WrongStateError

if TYPE_CHECKING:
    from tests.unit.conftest import Spawn, Task


def _callback_that_waits_for(
    leaving: list[Task], order: list[str], called: threading.Event
) -> None:
    """A callback that is not over before somebody tries to leave its block."""
    called.set()
    while not (leaving and (leaving[0].blocked or leaving[0].done)):
        os.sched_yield()
    order.append("called")


def test_the_callback_runs_once_with_its_arguments() -> None:  # rule 2
    source = StopSource()
    ran: list[tuple[object, ...]] = []

    def callback(*args: object) -> None:
        ran.append(args)

    with source.token.on_stop(callback, 1, "two"):
        assert not ran
        source.stop()
        assert ran == [(1, "two")]
        source.stop()
    source.stop()
    assert ran == [(1, "two")]


def test_the_callback_runs_in_the_thread_that_stops(spawn: Spawn) -> None:
    source = StopSource()
    threads: list[int] = []

    def stop() -> int:
        source.stop()
        return threading.get_ident()

    with source.token.on_stop(lambda: threads.append(threading.get_ident())):
        stopper = spawn(stop).finish()
    assert threads == [stopper]


def test_the_callback_runs_on_entering_if_the_token_is_set_already() -> None:  # rule 2
    source = StopSource()
    source.stop()
    ran: list[int] = []
    block = source.token.on_stop(ran.append, 1)
    assert not ran
    with block:
        assert ran == [1]
        source.stop()
    assert ran == [1]


def test_the_callback_is_forgotten_on_leaving() -> None:  # rule 2
    source = StopSource()
    with source.token.on_stop(pytest.fail, "it was called"):
        pass
    assert not source.token._callbacks
    source.stop()


def test_an_error_in_the_block_comes_through_and_the_callback_is_forgotten() -> None:
    source = StopSource()
    error = ValueError()
    with (
        pytest.raises(ValueError, match=r"^$") as caught,
        source.token.on_stop(pytest.fail, "it was called"),
    ):
        raise error
    assert caught.value is error
    source.stop()


def test_the_inner_block_is_called_first() -> None:
    source = StopSource()
    ran: list[str] = []
    with source.token.on_stop(ran.append, "outer"), source.token.on_stop(ran.append, "inner"):
        source.stop()
    assert ran == ["inner", "outer"]


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("error", [ValueError("broken"), Stopped("safe point")], ids=repr)
def test_a_failing_callback_is_logged_and_the_others_still_run(  # rule 2
    caplog: pytest.LogCaptureFixture, error: BaseException, stopped: bool
) -> None:
    source = StopSource()
    child = StopSource(source.token)
    ran: list[str] = []

    def fail() -> None:
        ran.append("fail")
        raise error

    if stopped:
        source.stop()
    with (
        source.token.on_stop(ran.append, "outer"),
        source.token.on_stop(fail),
        source.token.on_stop(ran.append, "inner"),
        child.token.on_stop(ran.append, "child"),
    ):
        source.stop()
    assert sorted(ran) == ["child", "fail", "inner", "outer"]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncrun", logging.ERROR)
    assert record.getMessage() == f"the on_stop callback {fail!r} failed"
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_comes_through_and_a_later_stop_completes_the_rest(
    caplog: pytest.LogCaptureFixture, error: type[BaseException], linked: bool
) -> None:
    parent = StopSource()
    source = StopSource(parent.token) if linked else parent
    ran: list[str] = []

    def interrupt() -> None:
        ran.append("interrupted")
        raise error

    with parent.token.on_stop(ran.append, "outer"):
        with source.token.on_stop(interrupt):
            with pytest.raises(error):
                parent.stop("first")
            assert ran == ["interrupted"]
            assert source.token.is_set()
            parent.stop("later")
        assert ran == ["interrupted", "outer"]
    assert parent.token.reason == "first"
    assert not caplog.records


def test_a_block_that_a_callback_keeps_from_being_entered_is_forgotten() -> None:
    source = StopSource()
    source.stop()

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), source.token.on_stop(interrupt):
        pytest.fail("the block was entered")
    assert not source.token._callbacks


def test_leaving_waits_for_a_callback_that_is_running_in_another_thread(  # rule 2
    spawn: Spawn,
) -> None:
    source = StopSource()
    order: list[str] = []
    leaving: list[Task] = []
    entered, called = threading.Event(), threading.Event()

    def block() -> None:
        with source.token.on_stop(_callback_that_waits_for, leaving, order, called):
            entered.set()
            called.wait()
        order.append("left")

    leaver = spawn(block)
    entered.wait()
    stopper = spawn(source.stop)
    called.wait()
    leaving.append(leaver)
    stopper.finish()
    leaver.finish()
    assert order == ["called", "left"]


def test_leaving_does_not_wait_for_other_callbacks(spawn: Spawn) -> None:
    source = StopSource()
    order: list[str] = []
    leaving: list[Task] = []
    called = threading.Event()
    with ExitStack() as stack:
        stack.enter_context(source.token.on_stop(order.append, "too late"))
        with source.token.on_stop(_callback_that_waits_for, leaving, order, called):
            stopper = spawn(source.stop)
            called.wait()
            leaving.append(spawn(stack.close))
            leaving[0].finish()
            stopper.finish()
    assert order == ["called"]


def test_leaving_after_the_callback_has_returned_does_not_wait(spawn: Spawn) -> None:
    source = StopSource()
    with source.token.on_stop(len, ()):
        spawn(source.stop).finish()


def test_a_callback_may_leave_its_own_block(spawn: Spawn) -> None:
    source = StopSource()
    stack = ExitStack()
    ran: list[str] = []
    stack.callback(ran.append, "left")
    stack.enter_context(source.token.on_stop(stack.close))
    spawn(source.stop).finish()  # in a thread, so that a deadlock is only a failure
    assert ran == ["left"]
    assert not source.token._callbacks


def test_a_callback_may_use_its_token(spawn: Spawn) -> None:
    source = StopSource()
    saw: list[object] = []

    def callback() -> None:
        source.stop("again")
        saw.append(source.token.wait())
        with source.token.on_stop(saw.append, "nested"):
            pass

    with source.token.on_stop(callback):
        spawn(source.stop).finish()
    assert saw == [True, "nested"]


@pytest.mark.parametrize("nested", [False, True])
def test_a_block_can_be_entered_once(nested: bool) -> None:
    source = StopSource()
    ran: list[int] = []
    block = source.token.on_stop(ran.append, 1)
    with ExitStack() as stack:
        stack.enter_context(block)
        if not nested:
            stack.close()
        with pytest.raises(WrongStateError, match=r"^this on_stop\(\) block was entered before; "):
            block.__enter__()
        source.stop()
    assert ran == [1] * nested


def test_what_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(WrongFunctionError, match=r"on_stop\(\) wants a plain function, got 3"):
        StopSource().token.on_stop(3)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
