"""Every exception: its base class, its message, its attributes."""

from __future__ import annotations

import copy
import pickle
import signal
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from asyncrun import (
    CallTimeoutError,
    Interrupted,
    ItemTimeoutError,
    SerializationError,
    Stopped,
    StopSource,
    WorkerDied,
    WorkerStartError,
)
from asyncrun._core import errors
from asyncrun._core.errors import (
    NotConstructibleError,
    NotIterableError,
    OutOfRangeError,
    RemoteTraceback,
    ShutDownError,
    UnknownWorkerError,
    WrongFunctionError,
    WrongStateError,
    _Picklable,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("error", "base", "message", "data"),
    [
        (Stopped(), BaseException, "asked to stop", {"reason": None}),
        (Stopped("late"), BaseException, "asked to stop: late", {"reason": "late"}),
        (Stopped(""), BaseException, "asked to stop: ", {"reason": ""}),
        (Interrupted(2), KeyboardInterrupt, "interrupted by SIGINT", {"signum": signal.SIGINT}),
        (
            Interrupted(signal.SIGTERM),
            KeyboardInterrupt,
            "interrupted by SIGTERM",
            {"signum": signal.SIGTERM},
        ),
        (
            OutOfRangeError("grace", ">= 0 seconds", -1.0),
            ValueError,
            "grace must be >= 0 seconds, was -1.0",
            {"option": "grace", "expected": ">= 0 seconds", "actual": -1.0},
        ),
        (
            WrongFunctionError("run()", "a function", 3),
            TypeError,
            "run() wants a function, got 3",
            {"caller": "run()", "expected": "a function", "actual": 3, "hint": ""},
        ),
        (
            WrongFunctionError("run()", "a function", "x", "call it"),
            TypeError,
            "run() wants a function, got 'x'; call it",
            {"caller": "run()", "expected": "a function", "actual": "x", "hint": "call it"},
        ),
        (
            NotConstructibleError("StopToken", "stop_token()"),
            TypeError,
            "StopToken is not to be called; get one from stop_token()",
            {"what": "StopToken", "source": "stop_token()"},
        ),
        (
            UnknownWorkerError(7),
            ValueError,
            "worker must be 'thread', 'process' or a worker object such as ProcessWorkers(), was 7",
            {"worker": 7},
        ),
        (
            NotIterableError("Runner.map()", 5),
            TypeError,
            "Runner.map() wants an iterable or an async iterable of items, got 5",
            {"caller": "Runner.map()", "actual": 5},
        ),
        (
            CallTimeoutError("fetch", 0.5),
            TimeoutError,
            "fetch took longer than 0.5 s",
            {"name": "fetch", "seconds": 0.5},
        ),
        (
            ItemTimeoutError("fetch", 0.5, "a"),
            CallTimeoutError,
            "fetch took longer than 0.5 s",
            {"name": "fetch", "seconds": 0.5, "item": "a"},
        ),
        (
            ShutDownError("the pool", "was stopped: enough"),
            RuntimeError,
            "cannot schedule new futures after shutdown: the pool was stopped: enough",
            {"executor": "the pool", "what": "was stopped: enough"},
        ),
        (
            WrongStateError("the runner", "was left", "make a new one"),
            RuntimeError,
            "the runner was left; make a new one",
            {"what": "the runner", "state": "was left", "hint": "make a new one"},
        ),
        (
            WorkerDied("crunch", 12, 3),
            BrokenProcessPool,
            "the worker process of crunch (process 12) ended with status 3",
            {"name": "crunch", "pid": 12, "status": 3, "signum": None},
        ),
        (
            WorkerDied("crunch", 12, -11),
            BrokenProcessPool,
            "the worker process of crunch (process 12) was killed by SIGSEGV",
            {"name": "crunch", "pid": 12, "status": None, "signum": 11},
        ),
        (
            WorkerDied("c", 12, -9),
            BrokenProcessPool,
            "the worker process of c (process 12) was killed by SIGKILL; is there memory enough?",
            {"name": "c", "pid": 12, "status": None, "signum": 9},
        ),
        (
            WorkerDied("crunch", 12, -40),
            BrokenProcessPool,
            "the worker process of crunch (process 12) was killed by signal 40",
            {"name": "crunch", "pid": 12, "status": None, "signum": 40},
        ),
        (
            WorkerStartError("crunch", "there is no Python"),
            RuntimeError,
            "no worker process could be started for crunch: there is no Python",
            {"name": "crunch", "why": "there is no Python"},
        ),
        (
            SerializationError("the result of crunch()", "pickled", "TypeError: a lock"),
            TypeError,
            (
                "the result of crunch() cannot be pickled: TypeError: a lock; "
                "worker processes take and give what pickle and cloudpickle can"
            ),
            {"what": "the result of crunch()", "done": "pickled", "why": "TypeError: a lock"},
        ),
        (
            RemoteTraceback("Traceback: ...\n"),
            Exception,
            '\n"""\nTraceback: ...\n"""',
            {"text": "Traceback: ...\n"},
        ),
    ],
    ids=str,
)
def test_an_error_says_what_is_wrong_and_keeps_its_data(
    error: BaseException, base: type[BaseException], message: str, data: dict[str, object]
) -> None:
    assert [each for each in type(error).__bases__ if each is not _Picklable] == [base]
    assert str(error) == message
    assert vars(error) == data


def test_every_error_is_tested_here() -> None:
    tested = {
        CallTimeoutError,
        Interrupted,
        UnknownWorkerError,
        NotConstructibleError,
        NotIterableError,
        SerializationError,
        WorkerStartError,
        OutOfRangeError,
        RemoteTraceback,
        ShutDownError,
        Stopped,
        ItemTimeoutError,
        WrongFunctionError,
        WrongStateError,
    }
    classes = {each for each in vars(errors).values() if isinstance(each, type)}
    assert {each for each in classes if issubclass(each, BaseException)} - {_Picklable} == tested


def test_stopped_passes_through_a_retry_loop_that_catches_exceptions() -> None:  # rule 2
    source = StopSource()
    source.stop("enough")

    def retry() -> None:
        while True:
            with suppress(Exception):
                source.token.check()

    with pytest.raises(Stopped, match="enough"):
        retry()


def _pickled(error: BaseException) -> BaseException:
    copied: BaseException = pickle.loads(pickle.dumps(error))
    return copied


@pytest.mark.parametrize("again", [copy.copy, _pickled])
@pytest.mark.parametrize(
    "error",
    [
        Stopped(),
        Stopped("late"),
        Stopped(""),
        Interrupted(15),
        WorkerDied("crunch", 12, -9),
        OutOfRangeError("grace", ">= 0 seconds", -1.0),
        WrongFunctionError("run()", "a function", "x", "call it"),
        NotIterableError("Runner.map()", 5),
        CallTimeoutError("fetch", 0.5),
        ItemTimeoutError("fetch", 0.5, "a"),
        UnknownWorkerError("green"),
        WrongStateError("the runner", "was left", "make a new one"),
        ShutDownError("the pool", "was stopped: enough"),
        WorkerStartError("crunch", "there is no Python"),
        SerializationError("the result of crunch()", "pickled", "TypeError: a lock"),
        RemoteTraceback("Traceback: ..."),
    ],
    ids=str,
)
def test_what_travels_between_processes_can_be_pickled(
    again: Callable[[BaseException], BaseException], error: BaseException
) -> None:
    copied = again(error)
    assert type(copied) is type(error)
    assert str(copied) == str(error)
    assert vars(copied) == vars(error)


def test_an_interrupt_by_no_known_signal_cannot_be() -> None:
    with pytest.raises(ValueError, match="not a valid Signals"):
        Interrupted(0)
