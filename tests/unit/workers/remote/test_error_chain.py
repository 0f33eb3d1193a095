"""Errors that go to another process with their causes, contexts, notes and groups."""

from __future__ import annotations

import copyreg
import json
import subprocess
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, NoReturn, cast

import pytest

from asyncrun._core.errors import RemoteTraceback, SerializationError
from asyncrun._workers.remote import error_chain
from asyncrun._workers.remote.serialization import dump_error, raise_error
from tests.unit.workers.remote.error_classes import (
    ApiError,
    DiskError,
    DoublesError,
    FrozenError,
    InitGroup,
    LockError,
    OddReduceError,
    OwnError,
    RegisteredError,
    SlotsError,
    StrangeNewError,
    code_group,
    reduce_registered,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def arrived(error: BaseException) -> BaseException:
    """Send an error, and give what arrives."""
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        raise_error(dump_error(error, "f()"), "f()")
    return raised.value


def raised(func: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        func()
    return caught.value


def chain(error: BaseException) -> NoReturn:
    try:
        fail_from(LockError(), ApiError({"status": 503}))
    except ApiError as exc:
        exc.add_note("a note")
        raise error from exc


# rule 20
@pytest.mark.parametrize(
    ("error", "names"),
    [
        (ApiError({"status": 404}, again=True), ("args", "answer", "again")),
        (DoublesError("shop"), ("args",)),
        (FrozenError(7), ("args", "code")),
        (SlotsError(7), ("args", "left")),
        (DiskError("/a"), ("args", "errno", "strerror", "filename", "path")),
        (FileNotFoundError(2, "no file", "a"), ("args", "errno", "strerror", "filename")),
        (UnicodeDecodeError("ascii", b"a\xff", 1, 2, "bad"), ("args", "start", "reason")),
        (ImportError("no", name="a", path="b"), ("args", "name", "path")),
        (SyntaxError("bad", ("a.py", 3, 4, "text")), ("args", "filename", "lineno", "text")),
        (StopIteration(3), ("args", "value")),
        (SystemExit(3), ("args", "code")),
        (StrangeNewError(1, 2), ("args",)),
        (json.JSONDecodeError("bad", "text", 1), ("args", "msg", "doc", "pos", "colno")),
        (subprocess.CalledProcessError(3, ["a"], b"out"), ("args", "returncode", "cmd", "output")),
        (OwnError(1, 2), ("args", "both")),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("where", ["alone", "in a group", "as a cause", "as an argument"])
def test_an_error_is_the_same_wherever_it_stands(
    error: Exception, names: tuple[str, ...], where: str
) -> None:
    vars(error)["__notes__"] = ["a note"]
    found: Any
    match where:
        case "alone":
            found = arrived(error)
        case "in a group":
            found = arrived(BaseExceptionGroup("one", [ValueError(), error]))
            found = found.exceptions[1]
        case "as a cause":
            found = arrived(raised(lambda: fail_from(error))).__cause__
        case _:
            (found,) = arrived(ValueError(error)).args
    assert type(found) is type(error)
    assert [getattr(found, name) for name in names] == [getattr(error, name) for name in names]
    assert (str(found), found.__notes__) == (str(error), ["a note"])


def fail_from(cause: BaseException | None, error: BaseException | None = None) -> NoReturn:
    raise error or LookupError() from cause


# rule 20
def test_a_group_of_errors_with_an_init_of_their_own_arrives() -> None:
    members = [ApiError({"status": 1}), ApiError({"status": 2})]
    inner = ExceptionGroup("2 of 9", members)
    inner.add_note("inner")
    outer: Any = arrived(ExceptionGroup("all", [inner, DiskError("/a"), inner]))
    first, disk, last = outer.exceptions
    assert (outer.message, type(disk)) == ("all", DiskError)
    assert first is last
    assert (str(first), first.__notes__) == ("2 of 9 (2 sub-exceptions)", ["inner"])
    assert [each.answer for each in first.exceptions] == [{"status": 1}, {"status": 2}]


@pytest.mark.parametrize(
    ("group", "names"),
    [
        (code_group([ApiError({"status": 3})], 3), ("message", "code")),
        (InitGroup("it", [KeyboardInterrupt()]), ("message", "extra")),
        (BaseExceptionGroup("it", [SystemExit(3)]), ("message",)),
    ],
)
def test_a_group_of_a_class_of_its_own_arrives(
    group: BaseExceptionGroup[BaseException], names: tuple[str, ...]
) -> None:
    found: Any = arrived(group)
    assert type(found) is type(group)
    assert [getattr(found, name) for name in names] == [getattr(group, name) for name in names]
    assert [type(each) for each in found.exceptions] == [type(each) for each in group.exceptions]
    assert type(found.subgroup(BaseException)) is type(group)
    assert type(found.derive(group.exceptions)) is type(group)


# rule 20
def test_the_cause_is_what_it_was_and_the_traceback_from_there_is_the_last_cause() -> None:
    error: Any = arrived(raised(lambda: chain(ValueError("no"))))
    first, second, last = error.__cause__, error.__cause__.__cause__, error.__cause__.__cause__
    assert (type(first), first.answer, first.__notes__) == (ApiError, {"status": 503}, ["a note"])
    assert isinstance(second, SerializationError)
    assert str(second).startswith("the LockError that f() raised cannot be pickled: TypeError")
    last = second.__cause__
    assert isinstance(last, RemoteTraceback)
    assert "in chain\n" in str(last)
    assert str(last).count("status 503") == 1
    text = "".join(traceback.format_exception(error))
    assert text.count("Traceback from there") + text.count(str(last)) == 1


def test_a_context_is_kept_as_an_object() -> None:
    def fail() -> None:
        try:
            fail_from(None, ApiError({"status": 5}))
        except ApiError:
            raise LookupError("meanwhile")  # noqa: B904

    error: Any = arrived(raised(fail))
    assert isinstance(error.__cause__, RemoteTraceback)
    assert error.__context__.answer == {"status": 5}
    assert error.__context__.__cause__ is None


@pytest.mark.parametrize("suppress", [True, False])
def test_whether_a_context_is_shown_is_kept(suppress: bool) -> None:
    first = ValueError()
    first.__context__, first.__suppress_context__ = LookupError(), suppress
    found: Any = arrived(ExceptionGroup("it", [first])).__cause__
    assert isinstance(found, RemoteTraceback)
    found = arrived(ExceptionGroup("it", [first]))
    member = found.exceptions[0]
    assert member.__suppress_context__ is suppress
    assert isinstance(member.__context__, LookupError)


def test_links_may_form_cycles() -> None:
    first, second = ValueError("1"), ApiError({"status": 2})
    first.__cause__ = second
    second.__cause__ = first
    second.__context__ = second
    cast("Any", second).answer["self"] = second
    found: Any = arrived(first)
    other = found.__cause__
    assert (str(found), other.answer["status"]) == ("1", 2)
    assert other.answer["self"] is other
    assert other.__context__ is other
    assert isinstance(other.__cause__, RemoteTraceback)
    first.__cause__ = first
    found = arrived(first)
    assert isinstance(found.__cause__, RemoteTraceback)


def test_an_error_among_its_own_arguments_is_replaced_there() -> None:
    error = ValueError("a")
    error.args = (error, "b")
    found: Any = arrived(error)
    inside, rest = found.args
    assert (type(found), rest) == (ValueError, "b")
    assert "it is among its own arguments" in str(inside)


@pytest.mark.parametrize("link", ["__cause__", "__context__"])
def test_a_chain_may_be_long(link: str) -> None:
    length = 2 * sys.getrecursionlimit()
    error: BaseException = ApiError({"status": 0})
    for number in range(1, length):
        before, error = error, ApiError({"status": number})
        setattr(error, link, before)
    found: Any = arrived(error)
    for number in reversed(range(length)):
        assert found.answer == {"status": number}
        found = getattr(found, link)
    assert isinstance(found, RemoteTraceback | None)


def test_groups_may_be_nested_deeply() -> None:
    error: Any = ApiError({"status": 0})
    for _ in range(200):
        error = ExceptionGroup("it", [error])
    found: Any = arrived(error)
    for _ in range(200):
        (found,) = found.exceptions
    assert found.answer == {"status": 0}


def test_one_that_cannot_be_sent_is_replaced_alone() -> None:
    locked = LockError()
    locked.add_note("a note")
    locked.__cause__ = ApiError({"status": 6})
    found: Any = arrived(ExceptionGroup("it", [locked, ApiError({"status": 7})]))
    first, second = found.exceptions
    assert str(first).startswith("the LockError that f() raised cannot be pickled: TypeError: ")
    assert first.__notes__ == ["a note"]
    assert (first.__cause__.answer, second.answer) == ({"status": 6}, {"status": 7})


class HoldsBoth(Exception):  # noqa: N818 - for a test
    def __init__(self, error: Exception) -> None:
        self.error = error
        self.lock = threading.Lock()


def test_what_hangs_on_nothing_but_what_cannot_be_sent_does_not_go_along() -> None:
    records = error_chain.dump(HoldsBoth(ApiError({"status": 1})), "f()")
    assert len(records) == 1


def test_a_class_may_say_how_it_is_pickled() -> None:
    copyreg.pickle(RegisteredError, reduce_registered)
    try:
        found: Any = arrived(RegisteredError(1, 2))
    finally:
        del copyreg.dispatch_table[RegisteredError]
    assert (found.both, found.again) == ((1, 2), True)
    found = arrived(OwnError(1, ApiError({"status": 8})))
    assert found.both[1].answer == {"status": 8}


def test_a_class_that_says_nonsense_is_pickled_as_any_other() -> None:
    found = arrived(OddReduceError("a"))
    assert (type(found), found.args) == (OddReduceError, ("a",))


class Lost:
    """Can be unpickled only in the process that has pickled it."""

    here = True

    def __reduce__(self) -> tuple[Any, ...]:
        return find, ()


def find() -> Lost:
    if not Lost.here:
        raise LookupError("lost")
    return Lost()


def test_what_cannot_be_made_in_the_other_process_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ValueError("it")
    error.lost = Lost()  # type: ignore[attr-defined]
    content = dump_error(ExceptionGroup("both", [ValueError(Lost()), error]), "f()")
    monkeypatch.setattr(Lost, "here", False)
    with pytest.raises(ExceptionGroup) as caught:
        raise_error(content, "f()")
    first, second = caught.value.exceptions
    assert str(first).startswith(
        "the error that f() raised cannot be unpickled: LookupError: lost; worker"
    )
    assert isinstance(first, SerializationError)
    assert (type(second), second.args) == (ValueError, ("it",))
    assert second.__notes__ == ["its attributes cannot be unpickled: LookupError: lost"]


class PassingError(Exception):
    pass


def test_a_class_that_is_not_found_in_either_process_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passing = PassingError(1)
    content = dump_error(passing, "f()")
    monkeypatch.delattr(sys.modules[__name__], "PassingError")
    with pytest.raises(
        SerializationError, match=r"cannot be unpickled: AttributeError: "
    ) as caught:
        raise_error(content, "f()")
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert type(arrived(passing)) is type(passing)
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    found = arrived(passing)
    assert "the PassingError that f() raised cannot be pickled" in str(found)


def test_the_name_of_a_place_is_no_function_to_call() -> None:
    with pytest.raises(NotImplementedError):
        error_chain._resolve(0)
