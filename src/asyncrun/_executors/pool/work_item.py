"""The base class of what a thread of a pool runs.

Rule of this module: a pool lists each work item, as waiting or as active; so stopping the pool
finds it. While it runs a user's code, that code finds it by its thread (`token_by_thread`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, final

from ..._core.current import token_by_thread
from ..._core.stop import StopFlag, StopToken

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._core.registry import RunningCall


class WorkItem(ABC):
    """Something that a thread of a pool is to do.

    Attributes:
        token: The stop flag of what it runs; there may be none before that.
    """

    __slots__ = ()

    token: StopToken

    @abstractmethod
    def run(self) -> None:
        """Do it, in the pool's thread."""
        ...

    @abstractmethod
    def cancel_pending(self) -> None:
        """Cancel what has not started; from any thread."""
        ...

    @abstractmethod
    def stop(self, reason: str | None) -> None:
        """Ask what has begun to stop; from any thread."""
        ...

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Fail what has not started, because the pool cannot run it."""
        ...

    def is_ending(self) -> bool:
        """Return whether it is likely to end soon after it was asked to stop, or is to begin."""
        token: StopToken | None = getattr(self, "token", None)
        return token is None or token._is_cooperative()

    @abstractmethod
    def running_calls(self) -> list[RunningCall]:
        """Return the running calls, but for those that are registered in another way."""
        ...


@final
class Initialization(WorkItem):
    """The initializer of a thread."""

    __slots__ = ("_func", "has_failed", "token")

    def __init__(self, func: Callable[[], object]) -> None:
        self._func = func
        self.token: StopToken = StopFlag()
        self.has_failed = True

    def run(self) -> None:
        ident = threading.get_ident()
        token_by_thread[ident] = self
        try:
            self._func()
        except BaseException:  # noqa: ASYNC103 - whatever it is, the pool cannot be used
            import logging  # noqa: PLC0415 - 10 ms, and rarely needed

            # Where and how `concurrent.futures` logs it.
            logging.getLogger("concurrent.futures").critical(
                "Exception in initializer:", exc_info=True
            )
        else:
            self.has_failed = False
        finally:
            del token_by_thread[ident]

    def cancel_pending(self) -> None: ...

    def fail(self, error: Exception) -> None: ...

    def stop(self, reason: str | None) -> None:
        self.token._stop(reason)

    def running_calls(self) -> list[RunningCall]:
        return []
