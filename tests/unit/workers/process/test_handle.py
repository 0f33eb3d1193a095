"""A worker process that ends as it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asyncrun import StopSource, WorkerStartError
from asyncrun._workers.process.child.main import WorkerBootstrap
from asyncrun._workers.process.handle import WorkerProcess
from asyncrun._workers.remote.endpoint import WorkerGone

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def dying(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerProcess]:
    """A process that a signal to the group of its parent has killed."""

    def spawned(*_: object) -> bytes:
        return b""

    def sent_all(*_: object) -> bool:
        return True

    def receive(*_: object) -> None:
        raise WorkerGone(-15)

    process = WorkerProcess(None, 0.0, WorkerBootstrap, {})
    monkeypatch.setattr(WorkerProcess, "_spawn", spawned)
    monkeypatch.setattr(WorkerProcess, "_send_all", sent_all)
    monkeypatch.setattr(WorkerProcess, "receive", receive)
    yield process
    process.close_fds()


@pytest.mark.parametrize("is_stopped", [False, True])
def test_that_is_an_error_but_for_a_call_that_is_asked_to_stop(
    dying: WorkerProcess, is_stopped: bool
) -> None:
    source = StopSource()
    if is_stopped:
        source.stop()
    dying.set_current_call(1, source.token)
    error = WorkerGone if is_stopped else WorkerStartError
    with pytest.raises(error, match=None if is_stopped else "was killed by SIGTERM") as caught:
        dying.start("crunch")
    assert getattr(caught.value, "returncode", None) is None
    assert not getattr(caught.value, "is_permanent", False)
