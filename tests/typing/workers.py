"""Classes that fulfil the protocols of workers, checked by mypy and pyright and never executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncrun._workers.base import Worker, WorkerFactory
    from asyncrun._workers.process.handle import WorkerProcess
    from asyncrun._workers.process.ipc.framing import Frame
    from asyncrun._workers.process.pool import ProcessPool
    from asyncrun._workers.process.worker import ProcessWorker, ProcessWorkers
    from asyncrun._workers.remote.endpoint import Endpoint, EndpointPool, Response
    from asyncrun._workers.thread.worker import ThreadWorker
    from tests.contract.fresh_threads import FreshThreads, FreshThreadWorker
    from tests.contract.inline_endpoints import InlineEndpoint, InlinePool


def check_workers(
    thread: ThreadWorker, process: ProcessWorker, fresh: FreshThreadWorker
) -> tuple[Worker, Worker, Worker]:
    return thread, process, fresh


def check_factories(
    process: ProcessWorkers, fresh: FreshThreads
) -> tuple[WorkerFactory, WorkerFactory]:
    return process, fresh


def check_endpoints(
    pool: ProcessPool, handle: WorkerProcess, frame: Frame
) -> tuple[EndpointPool[WorkerProcess], Endpoint, Response]:
    return pool, handle, frame


def check_inline_endpoints(
    pool: InlinePool, endpoint: InlineEndpoint
) -> tuple[EndpointPool[InlineEndpoint], Endpoint]:
    return pool, endpoint
