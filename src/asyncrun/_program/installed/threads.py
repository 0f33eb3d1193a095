"""The thread pool that takes the place of the standard library's in a whole program."""

from __future__ import annotations

from abc import ABCMeta
from concurrent.futures import thread
from typing import TYPE_CHECKING, Any, Final

from ..._executors.thread import ThreadPoolExecutor as StoppableThreadPoolExecutor
from .options import options

if TYPE_CHECKING:
    from collections.abc import Callable

replaced: Final = thread.ThreadPoolExecutor


class Replacement(ABCMeta):
    """The type of a class that takes another one's place: what was made before is of it, too.

    It is an `abc.ABCMeta`, because a subclass may have that as its own.
    """

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__dict__.get("replaces", ())) or type.__instancecheck__(
            cls, instance
        )

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__dict__.get("replaces", ())) or type.__subclasscheck__(
            cls, subclass
        )


class ThreadPoolExecutor(StoppableThreadPoolExecutor, metaclass=Replacement):
    """An `asyncrun.futures.ThreadPoolExecutor` with the constructor of the standard library's.

    Args:
        max_workers: As there.
        thread_name_prefix: As there.
        initializer: As there.
        initargs: As there.

    Attributes:
        replaces: The standard library's.
    """

    replaces = replaced

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(
            max_workers, thread_name_prefix, initializer, initargs, grace=options.grace
        )
