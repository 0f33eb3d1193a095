"""An error, with all the errors that hang on it, as bytes.

    error ──► records ──► bytes ──► records ──► error
    (one record for each error that can be reached from the first; links are numbers of records)

Rules of this module (rule 20):

- Links are causes, contexts, members of groups, and errors among arguments and attributes. They
  may form cycles, and chains of any length: nothing here recurs along causes and contexts.
- Pickle calls ``cls(*args)``, which fails or doubles the message where ``__init__`` wants something
  else than ``args``. So an error is built without its ``__init__``, unless its class says itself
  how it is pickled.
- An error that cannot be sent is replaced by one that says so; the others stay what they are.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import traceback
from contextlib import suppress
from types import MemberDescriptorType, NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, cast

from ..._core.errors import SerializationError
from .by_value import by_value_pickler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Resolve = Callable[[int], BaseException]

PROTOCOL: Final = pickle.HIGHEST_PROTOCOL
"""Both ends are the same Python."""

NONE: Final = -1
"""In place of the number of a record: there is no such error."""


class Record(NamedTuple):
    """One error.

    Attributes:
        head: How it is made, pickled.
        body: What is set on it afterwards, pickled.
        members: The numbers of those in a group.
        cause: The number of its ``__cause__``.
        context: The number of its ``__context__``.
        suppress: Its ``__suppress_context__``.
    """

    head: bytes
    body: bytes
    members: tuple[int, ...]
    cause: int
    context: int
    suppress: bool


def dump(error: BaseException, raiser: str) -> bytes | list[Record]:
    """Return what `load` makes an error of: for most errors what pickle gives.

    Args:
        error: The error.
        raiser: What raised it, for an error that takes the place of one that cannot be sent.

    Returns:
        The bytes of an error on which nothing hangs and that pickle gets right; else the records
        of the error, the first, and of all that hang on it.
    """
    if error.__cause__ is None and error.__context__ is None and _is_simple(error):
        with suppress(Exception):  # its class is not where its name says
            return pickle.dumps((error, error.__suppress_context__), PROTOCOL)
    return _Dumper(raiser).dump(error)


def load(content: bytes | Sequence[Record], what: str) -> BaseException:
    """Return the error that `dump` was given.

    Args:
        content: What that returned.
        what: How an error names one that cannot be made here.

    Returns:
        The error, or one that says why it cannot be made here.
    """
    if not isinstance(content, bytes):
        return _Builder(content, what).build()
    try:
        simple: tuple[BaseException, bool] = pickle.loads(content)  # noqa: S301 - from our own
    except Exception as exc:  # noqa: BLE001 - its class cannot be imported here
        return SerializationError(what, "unpickled", one_line(exc))
    error = simple[0]
    error.__suppress_context__ = simple[1]
    return error


def end_causes(error: BaseException, last: BaseException) -> None:
    """Put one more error at the end of a chain of causes; where it bites its tail, there."""
    seen = {id(error)}
    while (cause := error.__cause__) is not None and id(cause) not in seen:
        seen.add(id(cause))
        error = cause
    _set(error, "__cause__", last)


def one_line(error: Exception) -> str:
    """Return the message; `traceback` bears with a ``__str__`` that raises."""
    formatted = traceback.TracebackException.from_exception(error)
    formatted.__notes__ = None  # pickle of Python 3.14 notes which part of our message it was at
    return list(formatted.format_exception_only())[-1].strip()


#
# Here to there
#

_SIMPLE: Final = frozenset({str, int, float, bool, bytes, NoneType})

_HOOKS: Final = ("__reduce_ex__", "__reduce__", "__getstate__", "__setstate__", "__getnewargs__")


def _is_simple(error: BaseException) -> bool:
    """Return whether pickle gets an error right. Nothing is kept: a class leads to its module."""
    kind = type(error)
    return (
        _SIMPLE.issuperset(map(type, error.args))
        and _SIMPLE.issuperset(map(type, vars(error).values()))
        and _has_no(kind, (*_HOOKS, "__init__", "__new__", "__setattr__"))
        and all(_is_builtin(each) or "__slots__" not in vars(each) for each in kind.__mro__)
        and kind not in copyreg.dispatch_table
    )


def _has_no(kind: type, names: tuple[str, ...]) -> bool:
    """Return whether a class has these methods, if at all, from builtin ones."""
    return all(map(_is_builtin, filter(None, (_owner(kind, name) for name in names))))


class _Dumper:
    def __init__(self, raiser: str) -> None:
        self._raiser = raiser
        self._errors: list[BaseException] = []
        self._places: dict[int, int] = {}

    def dump(self, error: BaseException) -> list[Record]:
        self._place(error)
        return [self._record(each) for each in self._errors]  # which grows meanwhile

    def _place(self, error: BaseException | None) -> int:
        if error is None:
            return NONE
        place = self._places.setdefault(id(error), len(self._errors))
        if place == len(self._errors):
            self._errors.append(error)
        return place

    def _record(self, error: BaseException) -> Record:
        members = tuple(map(self._place, _members(error)))
        links = self._place(error.__cause__), self._place(error.__context__)
        why, pickles = "", None
        for parts in (_own_parts, _parts):
            known = len(self._errors)
            try:
                if (found := parts(error)) is None:
                    continue
                pickles = self._pickle(found[0]), self._pickle(found[1])
                _try(pickles, len(members))
                break
            except Exception as exc:  # noqa: BLE001 - whatever its parts may raise
                why, pickles = why or one_line(exc), None
                self._forget(known)
        head, body = pickles or self._instead(error, why)
        return Record(head, body, members, *links, error.__suppress_context__)

    def _forget(self, known: int) -> None:
        """Forget the errors that were found in what turned out not to be sendable."""
        for error in self._errors[known:]:
            del self._places[id(error)]
        del self._errors[known:]

    def _instead(self, error: BaseException, why: str) -> tuple[bytes, bytes]:
        what = f"the {type(error).__qualname__} that {self._raiser} raised"
        head = _Head(SerializationError, (what, "pickled", why))
        return self._pickle(head), self._pickle((None, _notes(error)))

    def _pickle(self, value: object) -> bytes:
        file = io.BytesIO()
        try:
            _Pickler(file, self._place).dump(value)
        except Exception:
            if (base := by_value_pickler()) is None:
                raise
            file = io.BytesIO()
            _numbering(base, self._place)(file, PROTOCOL).dump(value)
        return file.getvalue()


class _Pickler(pickle.Pickler):
    """A pickler for which an error is the number of its record."""

    def __init__(self, file: io.BytesIO, place: Callable[[BaseException], int]) -> None:
        super().__init__(file, PROTOCOL)
        self._place = place

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, BaseException):
            return _resolve, (self._place(value),)
        return NotImplemented


def _numbering(base: Any, place: Callable[[BaseException], int]) -> type[pickle.Pickler]:
    """Return such a pickler that has overrides of its own."""

    def reducer_override(self: object, value: object) -> Any:
        if isinstance(value, BaseException):
            return _resolve, (place(value),)
        return base.reducer_override(self, value)

    return type("Numbering", (base,), {"reducer_override": reducer_override})


def _resolve(_place: int) -> NoReturn:
    """Stand for the function of that kind that an `_Unpickler` has."""
    raise NotImplementedError


class _Head(NamedTuple):
    """How an error is made: a function, or a class and its builtin base, and the arguments."""

    make: Callable[..., object]
    args: tuple[object, ...]
    base: type[BaseException] | None = None


_Parts = tuple[_Head, tuple[object, ...]]


def _own_parts(error: BaseException) -> _Parts | None:
    """Return the parts of an error as its class says; None if that says nothing."""
    kind = type(error)
    by_copyreg = copyreg.dispatch_table.get(kind)
    if by_copyreg is None and _has_no(kind, _HOOKS):
        return None
    reduced: Any = error.__reduce_ex__(PROTOCOL) if by_copyreg is None else by_copyreg(error)
    return _Head(*reduced[:2]), (_state(reduced), _notes(error))


def _state(reduced: Any) -> Any:
    return reduced[2] if len(reduced) > 2 else None  # noqa: PLR2004


def _parts(error: BaseException) -> _Parts:
    """Return the parts of an error, for it to be made without its ``__init__``."""
    kind = base = type(error)
    while not _is_builtin(base):
        base = cast("type[BaseException]", base.__base__)
    state: dict[str, object] = dict(vars(error))
    if issubclass(base, BaseExceptionGroup):
        args: tuple[object, ...] = (cast("Any", error).message,)
    else:
        reduced: Any = base.__reduce__(error)
        args = reduced[1]
        state = {**(_state(reduced) or {}), **state}
    rest = None if args is error.args else error.args
    return _Head(kind, args, base), (rest, state, _slots(error))


def _slots(error: BaseException) -> list[tuple[str, object]]:
    """Return what is in the ``__slots__`` of an error."""
    members = {
        name: member
        for each in reversed(type(error).__mro__)
        for name, member in vars(each).items()
        if isinstance(member, MemberDescriptorType) and not _is_builtin(each)
    }
    slots: list[tuple[str, object]] = []
    for name, member in members.items():
        with suppress(AttributeError):  # it was never set
            slots.append((name, member.__get__(error)))
    return slots


def _owner(kind: type, name: str) -> type | None:
    return next((each for each in kind.__mro__ if name in vars(each)), None)


def _is_builtin(kind: type) -> bool:
    return kind.__module__ == "builtins"


def _members(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions


def _notes(error: BaseException) -> list[str]:
    notes = vars(error).get("__notes__")
    if not isinstance(notes, list):
        return []
    return [note for note in cast("list[object]", notes) if isinstance(note, str)]


def _try(pickles: tuple[bytes, bytes], members: int) -> None:
    """Make an error here, as it is to be made there."""
    error = _make(pickles[0], _stand_in, [Exception()] * members)
    _fill(error, pickles[1], _stand_in)


def _stand_in(_place: int) -> BaseException:
    return Exception()


#
# There
#


class _Unpickler(pickle.Unpickler):  # noqa: S301 - from a process of our own
    """An unpickler that gets errors by the numbers of their records."""

    def __init__(self, content: bytes, resolve: Resolve) -> None:
        super().__init__(io.BytesIO(content))
        self._resolve = resolve

    def find_class(self, module: str, name: str) -> Any:
        if name == "_resolve" and module == __name__:
            return self._resolve
        return super().find_class(module, name)


def _make(content: bytes, resolve: Resolve, members: list[BaseException]) -> BaseException:
    """Make an error from its head."""
    head: _Head = _Unpickler(content, resolve).load()
    base = head.base
    if base is None:
        error = head.make(*head.args)
        if not isinstance(error, BaseException):
            raise TypeError(error)
        return error
    args = (*head.args, members) if issubclass(base, BaseExceptionGroup) else head.args
    error = cast("Any", base).__new__(head.make, *args)
    cast("Any", base).__init__(error, *args)
    return cast("BaseException", error)


def _fill(error: BaseException, content: bytes, resolve: Resolve) -> None:
    """Set what is in the body of an error."""
    body: Any = _Unpickler(content, resolve).load()
    if len(body) == 2:  # noqa: PLR2004
        state, notes = body
        if state is not None:
            cast("Any", error).__setstate__(state)
        if notes:
            vars(error)["__notes__"] = notes
        return
    args, attributes, slots = body
    if args is not None:
        _set(error, "args", args)
    for name, value in attributes.items():
        if (owner := _owner(type(error), name)) is not None and _is_builtin(owner):
            _set(error, name, value)
        else:
            vars(error)[name] = value
    for name, value in slots:
        _set(error, name, value)


def _set(error: BaseException, name: str, value: object) -> None:
    """Set an attribute, whatever ``__setattr__`` the class has."""
    BaseException.__setattr__(error, name, value)


class _Builder:
    def __init__(self, records: Sequence[Record], what: str) -> None:
        self._records = records
        self._what = what
        self._errors: dict[int, BaseException] = {}
        self._begun: set[int] = set()

    def build(self) -> BaseException:
        for place in reversed(range(len(self._records))):  # mostly those inside come first
            self._error(place)
        for place, record in enumerate(self._records):
            error = self._errors[place]
            try:
                _fill(error, record.body, self._error)
            except Exception as exc:  # noqa: BLE001 - it was possible in the other process
                note = f"its attributes cannot be unpickled: {one_line(exc)}"
                vars(error)["__notes__"] = [*_notes(error), note]
            for name, link in (("__cause__", record.cause), ("__context__", record.context)):
                _set(error, name, None if link == NONE else self._errors[link])
            _set(error, "__suppress_context__", record.suppress)
        return self._errors[0]

    def _error(self, place: int) -> BaseException:
        if place in self._errors:
            return self._errors[place]
        if place in self._begun:
            return SerializationError(self._what, "unpickled", "it is among its own arguments")
        self._begun.add(place)
        record = self._records[place]
        try:
            error = _make(record.head, self._error, [*map(self._error, record.members)])
        except Exception as exc:  # noqa: BLE001 - it was possible in the other process
            error = SerializationError(self._what, "unpickled", one_line(exc))
        self._errors[place] = error
        return error
