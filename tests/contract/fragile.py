"""Errors and values that go badly to another process and back, and calls that give them.

Worker processes import it: it needs little.
"""

from __future__ import annotations

from typing import Any, NoReturn

from tests.contract.jobs import fail


class FussyError(Exception):
    """An error whose ``__init__`` wants something else than ``args``."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(f"code {code}")
        self.code = code
        self.hint = hint


def fuss(number: int) -> NoReturn:
    error = FussyError(number, hint="look here")
    error.add_note("a note from there")
    raise error


def deep_fail() -> NoReturn:
    try:
        fail("the first")
    except LookupError as exc:
        raise ValueError("the second") from exc


class Sticky:
    """Something that cannot be pickled."""

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("I stay here")


class Brittle:
    """Something that can be pickled and not unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return fail, ("broken on its way",)


def give_sticky(_: object = None) -> Sticky:
    return Sticky()


def give_brittle(_: object = None) -> Brittle:
    return Brittle()


def give_sticky_at_three(number: int) -> object:
    return Sticky() if number == 3 else number


class StickyError(Exception):
    def __init__(self) -> None:
        super().__init__(Sticky())


def raise_sticky(_: object = None) -> NoReturn:
    raise StickyError


def identity(value: object) -> object:
    return value
