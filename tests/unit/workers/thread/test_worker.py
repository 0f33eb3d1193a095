"""The worker that runs calls in threads."""

from __future__ import annotations

import anyio
import pytest

from asyncrun._core.call import Call
from asyncrun._workers.slots import Slots
from asyncrun._workers.thread.worker import ThreadWorker


def test_a_call_whose_waiter_has_left_before_its_thread_came_does_not_run() -> None:
    async def main() -> None:
        worker = ThreadWorker(Slots(anyio.CapacityLimiter(1)))
        call = Call(pytest.fail, ("it runs",))
        assert call.waiter_done()
        worker._run_lease(call, in_any_thread=True)

    anyio.run(main)
