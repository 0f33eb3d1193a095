"""The kinds of worker that a runner has by itself, by name.

Rule of this module: it is the only one that lists them. What processes need is imported when the
first call for one comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, cast

import anyio

from .._core.errors import UnknownWorkerError
from .slots import SlotQueue, Slots
from .thread.worker import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Worker, WorkerFactory

DEFAULT_THREADS: Final = 40
"""As many as AnyIO and Trio allow by default: threads that block on I/O cost memory, not cores."""


class WorkerOptions(NamedTuple):
    """The options of a runner that are for its workers; see `Runner`."""

    max_threads: int | None
    max_processes: int | None
    grace: float


def make_worker(
    kind: str | WorkerFactory,
    options: WorkerOptions,
    owner: object,
    on_abandoned_call_end: Callable[[], None],
) -> Worker:
    """Make a worker for a runner, in its event loop.

    Args:
        kind: What its user gave as ``worker=``.
        options: The runner's options.
        owner: The runner.
        on_abandoned_call_end: See `WorkerFactory.make_worker`.

    Returns:
        The worker.

    Raises:
        UnknownWorkerError: It is none (a `ValueError`).
        WrongStateError: See `WorkerFactory.make_worker` (a `RuntimeError`).
    """
    if kind == "thread":
        limiter = anyio.CapacityLimiter(options.max_threads or DEFAULT_THREADS)
        slots = Slots(limiter, SlotQueue())
        return ThreadWorker(slots, on_abandoned_call_end=on_abandoned_call_end)
    if kind == "process":
        from .process.worker import ProcessWorkers  # noqa: PLC0415 - rarely needed

        kind = ProcessWorkers(options.max_processes)
    if isinstance(kind, type) or not callable(getattr(kind, "make_worker", None)):
        raise UnknownWorkerError(kind)
    return cast("WorkerFactory", kind).make_worker(
        owner, grace=options.grace, on_abandoned_call_end=on_abandoned_call_end
    )
