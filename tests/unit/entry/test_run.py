"""Parts of the entry point that are too late, too rare or too deadly to be seen from outside."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import os
import pathlib
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from asyncrun import Interrupted
from asyncrun._entry import excepthook
from asyncrun._entry import signals as signals_module
from asyncrun._entry import watchdog as watchdog_module
from asyncrun._system import process_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SIGNUM = signal.SIGUSR1
PATIENCE = 30.0


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    died: list[int] = []
    monkeypatch.setattr(process_exit, "kill_self", died.append)
    monkeypatch.setattr(watchdog_module, "kill_self", died.append)
    return died


@pytest.fixture
def restored() -> Iterator[None]:
    before = {
        signum: signal.getsignal(signum) for signum in (SIGNUM, *process_exit.TERMINATION_SIGNALS)
    }
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


# rule 14
def test_the_end_runs_exit_handlers_flushes_and_dies(
    deaths: list[int], monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    order: list[str] = []

    class Stream:
        def write(self, text: str) -> None:
            order.append(text)

        def flush(self) -> None:
            order.append("flush")

    def run_exit_handlers() -> None:
        order.append("atexit")
        raise SystemExit

    monkeypatch.setattr(atexit, "_run_exitfuncs", run_exit_handlers)
    monkeypatch.setattr(sys, "stdout", Stream())
    monkeypatch.setattr(sys, "stderr", Stream())
    excepthook._ExceptHook(print)(Interrupted, Interrupted(signal.SIGINT), None)
    message = "asyncrun: interrupted by SIGINT\n"
    assert order == [message, "flush", "atexit", "flush", "flush"]
    assert deaths == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL


# rule 14
@pytest.mark.parametrize("main_thread", [True, False])
def test_death_unblocks_the_signal_restores_the_default_and_falls_back_to_an_exit_status(
    main_thread: bool, monkeypatch: pytest.MonkeyPatch, restored: None
) -> None:
    seen: list[object] = []

    def raise_signal(signum: int) -> None:
        blocked = signum in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        seen.append((signum, blocked, default(signum)))

    def default(signum: int) -> bool:
        with pathlib.Path("/proc/thread-self/status").open() as status:
            (caught,) = [line.split()[1] for line in status if line.startswith("SigCgt:")]
        return not int(caught, 16) & 1 << (signum - 1)

    signal.signal(SIGNUM, lambda signum, frame: None)
    monkeypatch.setattr(signal, "raise_signal", raise_signal)
    monkeypatch.setattr(os, "_exit", seen.append)

    def die() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNUM})
        process_exit.kill_self(SIGNUM)

    if main_thread:
        die()
    else:
        thread = threading.Thread(target=die)
        thread.start()
        thread.join()
    assert seen == [(SIGNUM, False, True), 128 + SIGNUM]


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise ValueError


# rule 13
@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("disk full\nsee below"), "ValueError: disk full"),
        (ValueError(), "ValueError"),
        (ExceptionGroup("several", [LookupError("first"), ValueError()]), "LookupError: first"),
        (UnprintableError(), "UnprintableError: <its message cannot be printed>"),
    ],
)
def test_the_last_line_names_the_first_error_of_main(error: Exception, line: str) -> None:
    error.add_note("a note")
    interrupted = Interrupted(signal.SIGINT)
    interrupted.__cause__ = error
    assert excepthook._final_lines(interrupted)[0] == f"interrupted by SIGINT; as it ended, {line}"


# rule 11
def test_streams_are_flushed_even_if_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[str] = []

    class Stream:
        def __init__(self, name: str) -> None:
            self.name = name

        def flush(self) -> None:
            flushed.append(self.name)
            raise OSError

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(sys, "stdout", Stream("stdout"))
    monkeypatch.setattr(sys, "stderr", Stream("stderr"))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    process_exit.flush_streams(None)
    assert flushed == ["stdout", "stderr"]


# rule 11
def test_streams_without_a_buffer_take_the_place_of_those_that_a_call_may_hold(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "output").open("w") as stdout, io.StringIO() as stderr:
        monkeypatch.setattr(sys, "stdout", stdout)
        monkeypatch.setattr(sys, "__stdout__", stdout)
        monkeypatch.setattr(sys, "stderr", stderr)
        print("before, ", end="")
        process_exit.replace_std_streams()
        assert sys.stdout is stdout
        monkeypatch.setattr(process_exit, "is_busy", lambda: True)
        process_exit.replace_std_streams()
        assert sys.stdout is not stdout
        assert sys.stderr is stderr
        print("after", end="")
        assert (tmp_path / "output").read_text() == "before, after"


# rule 14
@pytest.mark.parametrize("is_busy", [True, False])
def test_the_exit_handler_of_logging_is_bounded_while_a_call_may_hold_a_stream(
    deaths: list[int], monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    done: list[str] = []
    released = threading.Event()

    def shutdown() -> None:
        done.append("logging")
        released.wait(PATIENCE)

    def unregister(handler: Callable[[], None]) -> None:
        done.append(f"not {handler.__name__}")

    monkeypatch.setattr(process_exit, "is_busy", lambda: is_busy)
    monkeypatch.setattr(process_exit, "FLUSH_TIMEOUT", 0.01)
    monkeypatch.setattr(logging, "shutdown", shutdown)
    monkeypatch.setattr(atexit, "unregister", unregister)
    monkeypatch.setattr(atexit, "_run_exitfuncs", lambda: done.append("all"))
    process_exit._run_exit_handlers()
    released.set()
    assert done == (["not shutdown", "all", "logging"] if is_busy else ["all"])


# rule 17
@pytest.mark.parametrize("has_files_in_memory", [True, False])
def test_the_watchdog_dumps_the_stacks_and_dies(
    deaths: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    has_files_in_memory: bool,
) -> None:
    if not has_files_in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    watchdog = watchdog_module.Watchdog(0.001)
    watchdog.arm(SIGNUM)
    watchdog._thread.join(PATIENCE)
    assert deaths == [SIGNUM]
    errors = capfd.readouterr().err
    assert "asyncrun: still here 0.001 s after SIGUSR1; the stacks" in errors
    assert "most recent call first" in errors


# rules 16 and 17
def test_a_signal_that_a_handler_of_main_hands_on_may_arm_what_is_being_dismissed(
    deaths: list[int], restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = signals_module.SignalHandlers(exit_timeout=0.001)
    with signals:
        watchdog = signals._watchdog
        assert watchdog is not None
        dismiss = watchdog.cancel

        def late() -> None:
            signals._on_signal(signal.SIGINT, None)
            dismiss()

        monkeypatch.setattr(watchdog, "cancel", late)
    watchdog._thread.join(PATIENCE)
    assert deaths == [signal.SIGINT]


# rules 14 and 17
def test_the_watchdog_spares_an_interactive_interpreter(
    deaths: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    watchdog = watchdog_module.Watchdog(0.001)
    watchdog.arm(SIGNUM)
    watchdog._thread.join(PATIENCE)
    assert deaths == []


# rules 13 and 17
def test_the_first_signal_counts_and_arms_the_watchdog(
    deaths: list[int], restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = signals_module.SignalHandlers(exit_timeout=0.001)
    with signals:
        signals._on_signal(signal.SIGTERM, None)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        signals._on_signal(signal.SIGINT, None)
        assert signals.signum == signal.SIGTERM
        assert not gc.isenabled()
        assert signals._watchdog is not None
        signals._watchdog._thread.join(PATIENCE)
    assert deaths == [signal.SIGTERM]
    assert gc.isenabled()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# rules 13 and 16
def test_a_signal_while_the_handlers_are_taken_back_is_kept_and_changes_none(
    restored: None,
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = signals_module.SignalHandlers(None)
    with signals:
        pass
    signals._on_signal(signal.SIGINT, None)
    assert signals.signum == signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_forked_child_gives_the_handlers_back_at_once_and_may_leave_run(restored: None) -> None:
    before = [signal.getsignal(signum) for signum in process_exit.TERMINATION_SIGNALS]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    signals = signals_module.SignalHandlers(None)
    with signals:
        signals_module._before_fork()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask | set(
            process_exit.TERMINATION_SIGNALS
        )
        signals_module._after_fork_in_child()
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        assert [signal.getsignal(signum) for signum in process_exit.TERMINATION_SIGNALS] == before
    assert [signal.getsignal(signum) for signum in process_exit.TERMINATION_SIGNALS] == before
    signals_module._before_fork()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask


# rule 15
@pytest.mark.parametrize(("parents_group", "pauses"), [("same", 1), ("other", 0), ("gone", 0)])
def test_a_handler_waits_for_a_repetition_where_the_parent_may_send_one(
    parents_group: str, pauses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def getpgid(pid: int) -> int:
        assert pid == os.getppid()
        if parents_group == "gone":
            raise ProcessLookupError
        return os.getpgrp() + (parents_group == "other")

    slept: list[float] = []
    monkeypatch.setattr(os, "getpgid", getpgid)
    monkeypatch.setattr(time, "sleep", slept.append)
    process_exit.await_repetition()
    assert slept == [process_exit.PAUSE] * pauses


# rules 15 and 16
def test_a_signal_that_comes_between_two_handlers_is_the_first(
    restored: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signals = signals_module.SignalHandlers(None)

    def slow(signum: int) -> bool:
        if signum == signal.SIGTERM:
            signals._on_signal(signal.SIGINT, None)
        return process_exit.has_default_handler(signum)

    monkeypatch.setattr(signals_module, "has_default_handler", slow)
    gc.disable()
    try:
        with signals:
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert signals.signum == signal.SIGINT


# rule 15
def test_only_a_repetition_is_ignored(deaths: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_exit, "_noticed", [])
    process_exit.handle_repetition(signal.SIGTERM, None)
    assert deaths == [signal.SIGTERM]
    process_exit.notice()
    process_exit.handle_repetition(signal.SIGTERM, None)
    monkeypatch.setattr(process_exit, "REPETITION", 0)
    process_exit.handle_repetition(signal.SIGHUP, None)
    assert deaths == [signal.SIGTERM, signal.SIGHUP]
