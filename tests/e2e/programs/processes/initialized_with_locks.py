"""Initialize worker processes with a lock and a queue."""

from __future__ import annotations

import multiprocessing
from typing import Any

import anyio

from asyncrun import ProcessWorkers, Runner

state: list[Any] = []


def remember(*values: object) -> None:
    state.extend(values)


def count_up(number: int) -> int:
    lock, queue = state
    with lock:
        queue.put(number)
    return number


def try_lock() -> bool:
    got: bool = state[0].acquire(block=False)
    if got:
        state[0].release()
    return got


async def main() -> None:
    context = multiprocessing.get_context("spawn")
    lock, queue = context.Lock(), context.Queue()
    workers = ProcessWorkers(2, initializer=remember, initargs=(lock, queue))
    async with Runner() as runner:
        async with runner.map(count_up, range(100), worker=workers) as results:
            assert [result async for result in results] == list(range(100))
        assert sorted(queue.get(timeout=30) for _ in range(100)) == list(range(100))
        lock.acquire()
        assert not await runner.run_sync(try_lock, worker=workers)
        lock.release()
        assert await runner.run_sync(try_lock, worker=workers)
    print("done")


if __name__ == "__main__":
    anyio.run(main)
