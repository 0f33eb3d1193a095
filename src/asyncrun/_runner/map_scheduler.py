"""The slots that a map takes, and the time limit of its items.

Rules of this module:

- A map asks for one slot at a time: for the next one when it has got the last.
- A map that no thread can be started for any more goes on with the slots that it has.
"""

from __future__ import annotations

import time
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, final

import anyio

from .._core.errors import ItemTimeoutError
from .._core.registry import STARTING, location_of
from .map_input import YIELD_INTERVAL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from anyio.abc import TaskGroup

    from .._core.batch import Batch
    from .._core.registry import RunningCall
    from .._workers.base import Worker


@final
class MapScheduler:
    """Takes slots of a worker for a batch.

    Args:
        batch: The items.
        worker: Where they run.
        max_concurrency: How many slots the batch may have at once.
        on_consumer_end: Called in the event loop's thread when a slot was given back.

    Attributes:
        tasks: The map's task group while it is open.
    """

    tasks: TaskGroup | None

    def __init__(
        self,
        batch: Batch[Any],
        worker: Worker,
        max_concurrency: int,
        on_consumer_end: Callable[[], None],
    ) -> None:
        self.tasks = None
        self._batch = batch
        self._worker = worker
        self._max_concurrency = max_concurrency
        self._on_consumer_end = on_consumer_end
        self._request_pending = False
        self._context = Context()
        batch.request_consumer = self.request_consumer

    def take_context(self) -> None:
        """Keep a copy of the context variables of this task for the items, whoever reads them."""
        self._context = copy_context()

    def request_consumer(self) -> None:
        """Ask for one more slot if there is work for it; the next one when this one is there."""
        batch = self._batch
        if (
            len(batch.consumers) < self._max_concurrency
            and not self._request_pending
            and batch.needs_consumer()
            and self.tasks is not None
        ):
            self._request_pending = True
            self._context.copy().run(self.tasks.start_soon, self._run_consumer)

    async def _run_consumer(self) -> None:
        is_admitted = is_over = False

        def on_slot() -> None:
            nonlocal is_admitted
            is_admitted = True
            self._request_pending = False
            self.request_consumer()

        try:
            await self._worker.serve(self._batch, on_slot)
        except RuntimeError as exc:
            if not self._batch.consumers:
                self._batch.fail(exc)
            self._max_concurrency = len(self._batch.consumers)  # no more threads can be started
        except BaseException:
            is_over = True
            self._max_concurrency = 0  # it is cancelled: no other one is to take its place
            raise
        finally:
            if not is_admitted:
                self._request_pending = False
            if not is_over:
                self._on_consumer_end()
                self.request_consumer()

    async def enforce_timeouts(self, seconds: float) -> None:
        """Make an error the outcome of items that run too long, and ask them to stop.

        On cancel: items have no time limit any more.

        Args:
            seconds: How long an item may run.
        """
        batch = self._batch
        while True:
            now = time.monotonic()
            running = [each for each in list(batch.running) if location_of(each) is not STARTING]
            for item in running:
                if item.started + seconds <= now:
                    error = ItemTimeoutError(batch.function, seconds, item.arg)
                    batch.time_out(item, error, f"it took longer than {seconds:g} s")
            oldest = min((item.started for item in running), default=now)
            await anyio.sleep(max(oldest + seconds - now, YIELD_INTERVAL))

    def is_stalled(self) -> bool:
        """Return whether the map stands still until a call ends that was asked to stop (rule 7)."""
        return not self._batch.pending.empty() and bool(self.holders())

    def holders(self) -> Sequence[RunningCall]:
        """Return the calls that were asked to stop and hold every slot that the map may take."""
        stuck = list(self._batch.abandoned)
        return stuck if len(stuck) >= self._max_concurrency else self._worker.holders()
