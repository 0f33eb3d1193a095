"""Share a lock, a queue, a value and memory with worker processes."""

from __future__ import annotations

import multiprocessing
from multiprocessing import shared_memory
from typing import Any

import asyncrun
from asyncrun import ProcessWorkers, Runner
from common import say

shared: list[Any] = []


def share(*things: object) -> None:
    shared.extend(things)


def use(number: int) -> None:
    lock, queue, value, memory = shared
    with lock:
        value.value += number
        memory.buf[number] = number
    queue.put(number)


def attach(name: str) -> bytes:
    block: Any = shared_memory.SharedMemory(name=name)
    got = bytes(block.buf[:10])
    block.close()
    return got


def create() -> str:
    block: Any = shared_memory.SharedMemory(create=True, size=10)
    block.buf[0] = 7
    block.close()
    name: str = block.name
    return name


async def main(things: tuple[Any, ...]) -> None:
    _, queue, value, memory = things
    theirs: list[Any] = []
    workers = ProcessWorkers(2, initializer=share, initargs=things)
    async with Runner() as runner:
        async with runner.map(use, range(10), worker=workers) as results:
            async for _ in results:
                pass
        say(sorted(queue.get() for _ in range(10)) == list(range(10)), value.value)
        say(bytes(memory.buf[:10]) == bytes(range(10)))
        say(await runner.run_sync(attach, memory.name, worker=workers) == bytes(range(10)))
        theirs.append(shared_memory.SharedMemory(await runner.run_sync(create, worker=workers)))
    say(theirs[0].buf[0])
    theirs[0].close()
    theirs[0].unlink()


if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    block = shared_memory.SharedMemory(create=True, size=10)
    asyncrun.run(main, (context.Lock(), context.Queue(), context.Value("i", 0), block))
    block.close()
    block.unlink()
