"""Classes of errors and of groups, each of them difficult for pickle in its own way."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class ApiError(Exception):
    """Wants something else than its ``args``."""

    def __init__(self, answer: dict[str, int], *, again: bool = False) -> None:
        super().__init__(f"status {answer['status']}")
        self.answer = answer
        self.again = again


class DoublesError(Exception):
    """Would double its message if its ``__init__`` were called with its ``args``."""

    def __init__(self, name: str, status: int = 500) -> None:
        super().__init__(f"{name} gave {status}")


class SlotsError(Exception):
    __slots__ = ("__own", "left", "right")

    def __init__(self, left: int) -> None:
        self.left = left
        self.__own = 3

    def own(self) -> int:
        return self.__own


@dataclass(frozen=True)
class FrozenError(Exception):
    code: int


class DiskError(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(28, "no space", path)
        self.path = path


class StrangeNewError(Exception):
    def __new__(cls, _first: int, _second: int) -> Self:  # pyright: ignore[reportInconsistentConstructor]
        return super().__new__(cls, "made")


class LockError(Exception):
    def __init__(self) -> None:
        super().__init__("locked")
        self.lock = threading.Lock()


class OwnError(Exception):
    """Says itself how it is pickled."""

    def __init__(self, left: int, right: object) -> None:
        super().__init__("own")
        self.both = left, right

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.both


class OddReduceError(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ()


class RegisteredError(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__("registered")
        self.both = left, right


def reduce_registered(error: RegisteredError) -> tuple[Any, ...]:
    return RegisteredError, error.both, {"again": True}


class CodeGroup(ExceptionGroup[Exception]):
    """A group as Python's documentation derives it."""

    code: int

    def __new__(cls, errors: Sequence[Exception], code: int) -> Self:  # pyright: ignore[reportInconsistentConstructor]
        self = super().__new__(cls, f"code {code}", errors)
        self.code = code
        return self

    def derive(self, errors: Sequence[Exception]) -> CodeGroup:  # type: ignore[override]
        return code_group(errors, self.code)


code_group = cast("Callable[..., CodeGroup]", CodeGroup)


class InitGroup(BaseExceptionGroup[BaseException]):
    def __init__(self, _message: str, _errors: Sequence[BaseException]) -> None:  # pyright: ignore[reportInconsistentConstructor]
        self.extra = "extra"

    def derive(self, errors: Sequence[BaseException]) -> InitGroup:  # type: ignore[override]
        return InitGroup(self.message, errors)
