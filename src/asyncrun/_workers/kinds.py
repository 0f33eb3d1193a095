"""The kinds of worker that a runner has, by name.

Rule of this module: it is the only one that lists them. What processes need is imported when the
first call for one comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, final

import anyio

from .._core.errors import UnknownWorkerError
from .slots import SlotQueue
from .thread.worker import ThreadWorker

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Worker

KINDS: Final = ("thread", "process")

DEFAULT_THREADS: Final = 40
"""As many as AnyIO and Trio allow by default: threads that block on I/O cost memory, not cores."""


@final
@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of a runner that are for its workers; see `Runner`.

    Attributes:
        max_threads: As in `Runner`.
        max_processes: As in `Runner`.
        initializer: A function that each worker process calls first, with its arguments; or None.
        max_tasks_per_child: As in `Runner`.
        grace: As in `Runner`.
    """

    max_threads: int | None
    max_processes: int | None
    initializer: tuple[Callable[..., object], tuple[Any, ...]] | None
    max_tasks_per_child: int | None
    grace: float


def make_worker(
    kind: str, options: WorkerOptions, on_abandoned_call_end: Callable[[], None]
) -> Worker:
    """Make a worker of one kind, in its event loop.

    Args:
        kind: One of `KINDS`.
        options: Its options among those of others.
        on_abandoned_call_end: Called in the event loop's thread when an abandoned call has ended.

    Returns:
        The worker.

    Raises:
        UnknownWorkerError: There is no such kind (a `ValueError`).
    """
    if kind == "thread":
        return ThreadWorker(
            anyio.CapacityLimiter(options.max_threads or DEFAULT_THREADS),
            on_abandoned_call_end=on_abandoned_call_end,
            slot_queue=SlotQueue(),
        )
    if kind == "process":
        from .._system.cpu import usable_cores  # noqa: PLC0415 - rarely needed
        from .process.pool import ProcessPool  # noqa: PLC0415
        from .process.worker import ProcessWorker  # noqa: PLC0415

        return ProcessWorker(
            anyio.CapacityLimiter(options.max_processes or usable_cores()),
            ProcessPool(options.initializer, options.max_tasks_per_child, options.grace),
            on_abandoned_call_end=on_abandoned_call_end,
            slot_queue=SlotQueue(),
        )
    raise UnknownWorkerError(kind, KINDS)
