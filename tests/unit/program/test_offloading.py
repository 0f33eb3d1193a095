# pyright: basic
"""Waits for threads that an interrupt ends, where private parts are other than they were."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from asyncrun._program.installed import offloading

if TYPE_CHECKING:
    import pytest


class Backend:
    """Stands for AnyIO's module."""

    class AsyncIOBackend:
        @classmethod
        async def run_sync_in_worker_thread(cls, event: asyncio.Event, shielded: list[Any]) -> None:
            if shielded:
                scope = shielded[0]
                await event.wait()
                assert not scope.shield
            await event.wait()


def test_only_waits_that_are_shielded_are_unshielded() -> None:
    async def main() -> None:
        event, scope = asyncio.Event(), SimpleNamespace(shield=True)
        wait: Any = Backend.AsyncIOBackend.run_sync_in_worker_thread
        tasks = [asyncio.create_task(wait(event, each)) for each in ([], [scope])]
        await asyncio.sleep(0)
        offloading._unshield(Backend, asyncio.get_running_loop())
        assert not scope.shield
        event.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())


def test_a_wait_of_trio_that_has_not_begun_is_left_alone() -> None:
    async def to_thread_run_sync() -> None:
        await asyncio.sleep(1000)

    async def main() -> None:
        coroutine = to_thread_run_sync()
        task = asyncio.create_task(coroutine)
        await asyncio.sleep(0)
        runner = SimpleNamespace(tasks=[SimpleNamespace(coro=coroutine)])
        offloading._let_abandon(SimpleNamespace(to_thread_run_sync=to_thread_run_sync), runner)
        task.cancel()

    asyncio.run(main())


def test_where_trio_handles_no_signal_nothing_is_put_in_place() -> None:
    class KIManager:
        handler = None

        def install(self, deliver: object, restrict: bool) -> None:
            pass

    offloading._change_trio(SimpleNamespace())  # another Trio
    offloading._change_trio(SimpleNamespace(KIManager=KIManager))
    before = signal.getsignal(signal.SIGINT)
    KIManager().install(None, False)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_asyncio_without_its_package_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    runners: Any = SimpleNamespace(Runner=asyncio.Runner)
    monkeypatch.setattr(asyncio, "Runner", asyncio.Runner)
    monkeypatch.delattr(asyncio, "Runner")
    offloading._change_asyncio(runners)
    assert issubclass(runners.Runner, __import__("asyncio.runners").runners.Runner)
    assert not hasattr(asyncio, "Runner")
