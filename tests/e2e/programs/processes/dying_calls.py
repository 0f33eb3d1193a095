"""Call what ends its worker process: ``asyncio {call,map,family} CALL``."""

from __future__ import annotations

import os
import signal
import sys

import anyio

import asyncrun
from asyncrun import Runner, WorkerDied
from common import say
from processes.workload import parents, work


def leave() -> None:
    os._exit(3)


def crash() -> None:
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)


def be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run_out() -> None:
    os.kill(os.getpid(), signal.SIGRTMIN + 1)


CALLS = {call.__name__: call for call in (leave, crash, be_killed, run_out)}
CALL = CALLS[sys.argv[3]]


def item(number: int) -> int:
    if number == 50:
        CALL()
    return number


async def die_in_a_call() -> None:
    async with Runner(max_processes=2) as runner:
        try:
            await runner.run_sync(CALL, worker="process")
        except WorkerDied as exc:
            is_kin = isinstance(exc, RuntimeError)  # pyright: ignore[reportUnnecessaryIsInstance]
            say(exc.name, exc.status, exc.signum, is_kin)
            say(str(exc).replace(str(exc.pid), "PID"))
        await work(runner, 100)


async def die_in_a_map() -> None:
    async with Runner(max_processes=2) as runner:
        async with runner.map(
            item, range(100), worker="process", return_exceptions=True
        ) as results:
            everything = [each async for each in results]
        error = everything[50]
        everything[50] = 50
        say(everything == list(range(100)))
        assert isinstance(error, WorkerDied)
        say(type(error).__name__, error.status, error.signum, error.__notes__)


async def die_with_a_family() -> None:
    async with Runner() as runner:
        try:
            await runner.run_sync(parents, CALL, worker="process")
        except WorkerDied:
            say("died")
        await anyio.sleep_forever()


MAINS = {"call": die_in_a_call, "map": die_in_a_map, "family": die_with_a_family}

if __name__ == "__main__":
    asyncrun.run(MAINS[sys.argv[2]])
