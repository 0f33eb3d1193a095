# pyright: basic
"""The handlers of the launcher, called in this process."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun._executors import at_exit
from asyncrun._program import interrupts, own_handlers, plain_threads
from asyncrun._program.installed import inheriting, offloading
from asyncrun._system import process_exit

if TYPE_CHECKING:
    from collections.abc import Iterator


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Return the lines that are printed; nothing ends this process, and all handlers come back."""

    def kill(signum: int, *_: object) -> None:
        raise Killed(signum)

    lines: list[str] = []
    monkeypatch.setattr(interrupts, "kill_self", kill)
    monkeypatch.setattr(at_exit, "end_interrupted", partial(kill, signal.SIGINT))
    monkeypatch.setattr(interrupts, "print_stderr", lines.extend)
    monkeypatch.setattr(interrupts, "is_terminal", lambda: True)
    monkeypatch.setattr(interrupts, "_presses", [])
    monkeypatch.setattr(interrupts, "PATIENCE", 0.01)
    monkeypatch.setattr(process_exit, "PAUSE", 0)
    monkeypatch.setattr(at_exit, "stops", [])
    monkeypatch.setattr(interrupts, "_ended", [])
    monkeypatch.setattr(own_handlers, "watch", lambda: None)
    monkeypatch.setattr(at_exit, "reports", at_exit.reports[:])
    monkeypatch.setattr(offloading, "listeners", [])
    monkeypatch.setattr(signal, "default_int_handler", signal.default_int_handler)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGQUIT)}
    yield lines
    for signum, handler in before.items():
        signal.signal(signum, handler)


def take_over(*, reports: bool = True) -> None:
    interrupts.take_over(reports=reports, exit_timeout=5)


def test_the_second_interrupt_ends_the_process(printed: list[str]) -> None:
    take_over()
    assert signal.getsignal(signal.SIGINT) is interrupts.Interrupt is signal.default_int_handler
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as exc:
        assert interrupts.is_handling_interrupt()
        tb = exc.__traceback__
        assert tb is not None
        assert tb.tb_next is None
        with pytest.raises(Killed):
            signal.raise_signal(signal.SIGINT)
    assert not interrupts.is_handling_interrupt()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    interrupts._ignore(signal.SIGINT, None)


def test_a_handler_of_the_program_that_hands_the_signal_on_stays(printed: list[str]) -> None:
    def handler(signum: int, frame: Any) -> None:
        signal.default_int_handler(signum, frame)

    take_over()
    signal.signal(signal.SIGINT, handler)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_group_of_interrupts_is_one(printed: list[str]) -> None:
    group = BaseExceptionGroup("all", [KeyboardInterrupt(), KeyboardInterrupt()])
    assert interrupts.is_interrupt(group)
    assert not interrupts.is_interrupt(BaseExceptionGroup("", [KeyboardInterrupt(), ValueError()]))
    assert not interrupts.is_interrupt(ValueError())
    assert not interrupts._leads_to_interrupt(ValueError())


def test_a_person_is_told_what_the_program_does_with_an_interrupt(printed: list[str]) -> None:
    interrupts._presses.append(0.0)
    interrupts._explain(threading.get_ident(), 1)
    assert not printed
    try:
        signal.default_int_handler(signal.SIGINT, None)
    except KeyboardInterrupt:
        interrupts._explain(threading.get_ident(), 2)  # another one has come
        assert not printed
        interrupts._explain(threading.get_ident(), 1)
    assert printed[0].startswith("the program still handles the interrupt, at ")
    assert "test_interrupts.py" in printed[0]


def test_an_interrupt_without_a_thread_to_tell_of_it_is_one(
    printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    take_over()
    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    monkeypatch.setattr(interrupts, "is_terminal", lambda: False)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_sigquit_prints_what_runs(printed: list[str]) -> None:
    take_over()
    signal.raise_signal(signal.SIGQUIT)
    assert printed[0].startswith("running: the main thread, at ")
    assert "test_interrupts.py" in printed[0]


def test_an_interrupt_of_a_loop_is_noted_and_a_second_one_is_the_end(printed: list[str]) -> None:
    take_over()
    offloading._notify(signal.SIGINT, is_second=False)
    assert len(interrupts._presses) == 1
    with pytest.raises(Killed):
        offloading._notify(signal.SIGINT, is_second=True)
    take_over(reports=False)
    assert not at_exit.reports


def test_handlers_of_others_and_prompts_are_left_alone(
    printed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(*_: object) -> None:
        pass

    for signum in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(signum, handler)
    take_over()
    assert signal.getsignal(signal.SIGINT) is handler is signal.getsignal(signal.SIGQUIT)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    take_over()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def end(error: BaseException | None) -> None:
    def prepare() -> Any:
        def program() -> None:
            if error is not None:
                raise error

        return program

    interrupts.run_program(prepare)


@pytest.mark.parametrize("error", [None, SystemExit(3), ValueError("wrong")])
def test_after_an_interrupt_the_kernel_takes_the_next_one_at_the_end(
    printed: list[str], error: BaseException | None, capsys: pytest.CaptureFixture[str]
) -> None:
    take_over()
    interrupts._presses.append(0.0)
    status = 0
    try:
        end(error)
    except SystemExit as exc:
        status = int(str(exc.code))
    assert status == (0 if error is None else 3 if isinstance(error, SystemExit) else 1)
    assert ("ValueError: wrong" in capsys.readouterr().err) == isinstance(error, ValueError)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


def test_a_prompt_comes_after_an_error(
    printed: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    end(KeyboardInterrupt())
    assert "KeyboardInterrupt" in capsys.readouterr().err


@pytest.mark.parametrize("thing", [SystemExit(4), KeyError("in the hook")])
def test_a_hook_may_raise(
    printed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    thing: BaseException,
) -> None:
    def hook(*_: object) -> None:
        raise thing

    monkeypatch.setattr(sys, "excepthook", hook)
    with pytest.raises(SystemExit):
        end(ValueError("wrong"))
    errors = capsys.readouterr().err
    assert ("Original exception was:" in errors) == isinstance(thing, KeyError)


def test_the_end_kills_what_inherits(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []

    def send(pid: int, signum: int) -> None:
        sent.append((pid, signum))
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", send)
    monkeypatch.setattr(os, "kill", send)

    class Process:
        def __init__(self, exitcode: int | None) -> None:
            self.exitcode = exitcode

    released = threading.Event()
    manager = threading.Thread(target=released.wait)
    ended = threading.Thread()
    inheriting.register(ended, {4713: Process(None)})
    inheriting.register(manager, {4711: Process(None), 4712: Process(1)})
    manager.start()
    try:
        assert inheriting.kill_all() == [manager]
    finally:
        released.set()
        manager.join()
    assert sent == [(4711, signal.SIGKILL)] * 2


@pytest.mark.parametrize("has_writer", [True, False])
def test_a_worker_that_inherits_leads_a_group_that_ends_with_the_program(
    monkeypatch: pytest.MonkeyPatch, has_writer: bool
) -> None:
    import multiprocessing

    from asyncrun._workers.process.child import main

    done: list[object] = []
    monkeypatch.setattr(os, "setpgid", lambda a, b: done.append((a, b)))
    monkeypatch.setattr(main, "leave_terminal", lambda: done.append("left"))

    def kill_group_with_parent(fd: int, _: int) -> None:
        os.close(fd)

    monkeypatch.setattr(inheriting, "kill_group_with_parent", kill_group_with_parent)
    reader, writer = multiprocessing.Pipe(duplex=False)
    initializer = done.append if has_writer else None
    inheriting.initialize(
        reader, writer if has_writer else None, initializer, *(["yes"] if has_writer else [])
    )
    assert done == [(0, 0), "left", *(["yes"] if has_writer else [])]
    assert writer.closed == has_writer
    reader.close()
    if not has_writer:
        writer.close()


@pytest.fixture
def new_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take only threads that the test starts: pytest's own are not waited for."""
    before, every = threading.enumerate(), plain_threads.plain_threads

    def new() -> list[threading.Thread]:
        return [each for each in every() if each not in before]

    monkeypatch.setattr(plain_threads, "plain_threads", new)


def test_a_plain_thread_is_described_while_it_runs(
    new_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, released = threading.Event(), threading.Event()

    class Own(threading.Thread):
        def run(self) -> None:
            entered.set()
            released.wait()

    thread = Own(name="mine")
    thread.start()
    entered.wait()
    try:
        (line,) = plain_threads.described()
        assert line.startswith("mine (")
        assert "Own.run), 0." in line
        assert "test_interrupts.py" in line
        assert plain_threads.report() == [f"left running: {plain_threads.described()[0]}"]
        assert plain_threads._age(None) is None
        monkeypatch.setattr(plain_threads, "_age", lambda _: None)
        assert "Own.run), at " in plain_threads.described()[0]
    finally:
        released.set()
        thread.join()
    assert not plain_threads.described()


def test_an_end_that_waits_for_threads_is_announced(
    new_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed: list[str] = []
    started: list[object] = []
    released = threading.Event()
    monkeypatch.setattr(plain_threads, "NOTICEABLE", 0)
    monkeypatch.setattr(plain_threads, "is_terminal", lambda: True)
    monkeypatch.setattr(plain_threads, "print_stderr", printed.extend)
    monkeypatch.setattr(_thread, "start_new_thread", lambda *args: started.append(args[0]))
    plain_threads.announce()
    plain_threads._announce()
    assert not printed
    assert not started
    threads = [threading.Thread(target=released.wait) for _ in range(2)]
    monkeypatch.undo()
    for thread in threads:
        thread.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(plain_threads, "NOTICEABLE", 0)
            patch.setattr(plain_threads, "plain_threads", lambda: threads)
            patch.setattr(plain_threads, "is_terminal", lambda: True)
            patch.setattr(plain_threads, "print_stderr", printed.extend)
            patch.setattr(_thread, "start_new_thread", lambda *args: args[0]())
            plain_threads.announce()
    finally:
        released.set()
        for thread in threads:
            thread.join()
    assert printed[0].startswith("waiting for 2 threads to end (the first: Thread-")


@pytest.mark.parametrize("count", [0, 1])
def test_an_interrupt_after_the_end_of_the_program_ends_the_process(
    printed: list[str], count: int
) -> None:
    take_over()
    interrupts._ended.extend([True] * count)
    with pytest.raises(Killed if count else KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_importing_the_main_module_starts_nothing() -> None:
    import importlib

    assert importlib.import_module("asyncrun.__main__").__name__ == "asyncrun.__main__"
