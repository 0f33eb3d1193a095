"""One call of a `ProcessPoolExecutor`.

Rule of this module: a thread of the pool takes a process for the call, and gives it back before the
future has its outcome. So whoever sees that outcome finds the process free, or gone.
"""

from __future__ import annotations

import time
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any, Final, TypeVar, final

from ..._core.errors import CallTimeoutError, Stopped, WorkerStartError
from ..._core.registry import STARTING
from ..._workers.remote.exchange import Exchange
from ..call import FutureCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._workers.process.pool import ProcessPool
    from ..pool.threads import Pool

T = TypeVar("T")

BROKEN: Final = (
    "A process initializer failed, or the main module did when a process imported it; "
    "the process pool is not usable anymore"
)


def make_broken_error() -> BrokenProcessPool:
    """Return the error of a pool whose processes cannot begin."""
    return BrokenProcessPool(BROKEN)


def break_pool(pool: Pool, error: WorkerStartError) -> BrokenProcessPool | WorkerStartError:
    """Break a pool down for whose call no process was there, if that will not change.

    Args:
        pool: The pool.
        error: Why there was none.

    Returns:
        The error of the call.
    """
    if not error.is_permanent:  # there was no memory, say
        return error
    pool.break_down()
    broken = make_broken_error()
    broken.__cause__ = error
    return broken


def initialize(initializer: Callable[..., object], args: tuple[object, ...]) -> None:
    """Call the initializer in a worker process; log its error as `concurrent.futures` does."""
    try:
        initializer(*args)
    except BaseException:
        import logging  # noqa: PLC0415 - 10 ms, and rarely needed

        logging.getLogger("concurrent.futures").critical("Exception in initializer:", exc_info=True)
        raise


def call_with_keywords(func: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
    """Call a function in a worker process, to which only positional arguments go."""
    return func(*args, **kwargs)


def _drop_frames(error: BaseException) -> None:
    """Drop the frames of this process from an error: they say nothing, and hold the call."""
    errors = [error]
    while errors:
        error = errors.pop()
        if error.__traceback__ is not None:
            error.__traceback__ = None
            errors += [each for each in (error.__cause__, error.__context__) if each is not None]


@final
class ProcessCall(FutureCall[T]):
    """A call in a process, and the future that its outcome goes to.

    Args:
        processes: Where to take a process.
        threads: Whose thread takes it.
        func: The function.
        args: Its positional arguments.
        kwargs: Its keyword arguments.

    Attributes:
        location: See `Call.location`.
        is_answered: See `Call.is_answered`.
    """

    __slots__ = ("_has_expired", "_processes", "is_answered", "location")

    location: str | None
    is_answered: bool

    def __init__(
        self,
        processes: ProcessPool,
        threads: Pool,
        func: Callable[..., T],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(threads, func, args, kwargs)
        self._processes = processes
        self._has_expired = self.is_answered = False

    @property
    def func(self) -> Callable[..., Any]:
        """The function that the process calls."""
        return call_with_keywords if self._kwargs else self._func

    @property
    def args(self) -> tuple[object, ...]:
        """Its positional arguments."""
        return (self._func, self._args, self._kwargs) if self._kwargs else self._args

    def _invoke(self) -> T:
        exchange: Exchange[T] = Exchange(self, self._processes)
        try:
            result = exchange.run()
        except BaseException as exc:
            if isinstance(exc, WorkerStartError) and self.location is STARTING:
                raise break_pool(self._pool, exc)  # noqa: ASYNC104, B904 - it has its cause
            if not self._has_expired:
                raise
            cause = None if isinstance(exc, Stopped) else exc
            raise self._time_out() from cause  # noqa: ASYNC104 - in a thread nothing is cancelled
        if self._has_expired:
            raise self._time_out()
        return result

    def on_begin(self) -> None:
        """See `Call.on_begin`."""
        self.started = time.monotonic()
        self.begin()

    def expire(self) -> None:
        """See `Timed.expire`: the call is asked to stop, and its end is waited for."""
        if not self.is_answered:  # else only its process has yet to exit
            self._has_expired = True
            self.stop(f"it took longer than {self.timeout:g} s")

    def _end(self, error: BaseException | None) -> None:
        super()._end(error)
        if error is not None:
            _drop_frames(error)

    def _time_out(self) -> CallTimeoutError:
        return CallTimeoutError(self.name, self.timeout or 0.0)

    def is_ending(self) -> bool:
        """See `WorkItem.is_ending`: if need be, its process is ended."""
        return True
