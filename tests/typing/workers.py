"""What fulfils the protocols of workers, checked by mypy and pyright and never executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrun._workers.base import Worker
    from asyncrun._workers.process.handle import WorkerProcess
    from asyncrun._workers.process.ipc.framing import Frame
    from asyncrun._workers.process.pool import ProcessPool
    from asyncrun._workers.process.worker import ProcessWorker
    from asyncrun._workers.remote.endpoint import Endpoint, EndpointPool, Response
    from asyncrun._workers.thread.worker import ThreadWorker


def check_workers(thread: ThreadWorker, process: ProcessWorker) -> tuple[Worker, Worker]:
    return thread, process


def check_endpoints(
    pool: ProcessPool, handle: WorkerProcess, frame: Frame
) -> tuple[EndpointPool[WorkerProcess], Endpoint, Response]:
    return pool, handle, frame
