"""Parcels: what goes to another process and comes back as itself, or as an error that says why."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest

from asyncrun import Stopped, WorkerDied
from asyncrun._core.checks import check_seconds
from asyncrun._core.errors import RemoteTraceback, SerializationError
from asyncrun._workers.remote.serialization import (
    dump_error,
    dumps,
    has_no_globals,
    loads,
    raise_error,
)

NUMBERS = [1, 2]


class PlainError(Exception):
    pass


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, True),
        ({"a": [1, 2.5, (b"b", True)]}, True),
        (PlainError(), False),
        (check_seconds, False),
        (Path("a"), False),
        ([[[NUMBERS]]], True),
    ],
)
def test_what_runs_no_code_as_it_is_unpickled(value: object, expected: bool) -> None:
    assert has_no_globals(dumps(value, "it")) == expected


class WantsTwoError(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code


class HoldsLockError(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class MuteError(Exception):
    def __str__(self) -> NoReturn:
        raise RuntimeError("no words")


class OddError(Exception):
    @property
    def __notes__(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("no notes")


class NotLoadable:
    def __reduce__(self) -> tuple[Any, ...]:
        return unloadable, ()


def unloadable() -> NoReturn:
    raise LookupError("not here")


def fail(error: BaseException) -> NoReturn:
    raise error


def sent(error: BaseException) -> BaseException:
    """Raise an error, and give what arrives."""
    with pytest.raises(type(error)) as raised:
        fail(error)
    with pytest.raises(BaseException) as arrived:  # noqa: PT011
        raise_error(dump_error(raised.value, "f()"), "f()")
    return arrived.value


def test_values_come_back() -> None:
    assert loads(dumps({"a": (1, b"2")}, "it"), "it") == {"a": (1, b"2")}


def test_what_cannot_be_pickled_is_named() -> None:
    wanted = r"^the thing cannot be pickled: TypeError: cannot pickle '_thread.lock' object; worker"
    with pytest.raises(TypeError, match=wanted):
        dumps(threading.Lock(), "the thing")


class Noted:
    """Something whose error comes with a note, as all of them do from Python 3.14 on."""

    def __reduce__(self) -> NoReturn:
        error = RuntimeError("I stay here")
        error.add_note("when serializing something")
        raise error


def test_the_reason_why_something_cannot_be_pickled_is_no_note() -> None:
    with pytest.raises(SerializationError, match="cannot be pickled: RuntimeError: I stay here; "):
        dumps(Noted(), "it")


def test_what_cannot_be_unpickled_is_named() -> None:
    with pytest.raises(TypeError, match=r"^it cannot be unpickled: LookupError: not here; worker"):
        loads(dumps(NotLoadable(), "it"), "it")


@pytest.mark.parametrize(
    "error", [PlainError("a", 1), KeyboardInterrupt(), SystemExit(3), Stopped("why"), Stopped()]
)
def test_an_error_arrives_as_itself(error: BaseException) -> None:
    error.add_note("a note")
    arrived = sent(error)
    assert type(arrived) is type(error)
    assert arrived.args == error.args
    assert arrived.__notes__ == ["a note"]


def test_an_error_with_an_init_of_its_own_arrives_as_itself() -> None:
    arrived = sent(WantsTwoError(404, "gone"))
    assert isinstance(arrived, WantsTwoError)
    assert (str(arrived), arrived.code) == ("404: gone", 404)


def test_errors_of_ours_arrive_as_themselves() -> None:
    with pytest.raises(ValueError, match="grace") as raised:
        check_seconds("grace", -1)
    arrived: Any = sent(raised.value)
    assert (str(arrived), arrived.actual) == (str(raised.value), -1)
    died: Any = sent(WorkerDied("f", 12, -9))
    assert (died.name, died.pid, died.status, died.signum) == ("f", 12, None, 9)


def test_an_error_that_cannot_be_sent_is_replaced_by_one_that_says_so() -> None:
    arrived = sent_instead(HoldsLockError())
    assert str(arrived).startswith(
        "the HoldsLockError that f() raised cannot be pickled: TypeError: cannot pickle"
    )
    assert "HoldsLockError: locked" in str(arrived.__cause__)


def sent_instead(error: BaseException) -> SerializationError:
    with pytest.raises(SerializationError) as arrived:
        raise_error(dump_error(error, "f()"), "f()")
    return arrived.value


def test_the_cause_is_the_traceback_from_there() -> None:
    arrived = sent(PlainError("no"))
    assert isinstance(arrived.__cause__, RemoteTraceback)
    text = str(arrived.__cause__)
    assert text.startswith('\n"""\nTraceback (most recent call last):\n')
    assert "in fail\n    raise error\n" in text
    assert text.endswith('PlainError: no\n"""')


def test_a_stop_has_no_cause() -> None:
    assert sent(Stopped()).__cause__ is None


@pytest.mark.parametrize("error", [MuteError("x"), OddError("x")])
def test_an_error_that_cannot_be_printed_arrives_all_the_same(error: Exception) -> None:
    arrived = sent(error)
    assert type(arrived) is type(error)
    assert "in fail" in str(arrived.__cause__)
