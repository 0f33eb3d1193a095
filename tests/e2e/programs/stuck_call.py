"""A program that is stuck, for tests to interrupt: ``stuck_call.py ENTRY BACKEND CALL ENDING``.

It says ``ready`` from inside the call, just before the operation that blocks.
"""

from __future__ import annotations

import atexit
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import anyio

import asyncrun

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

inside = threading.Event()


def ready() -> None:
    print("ready", flush=True)
    print("buffered ", end="")
    inside.set()


def sleep() -> None:
    ready()
    time.sleep(60)


def lock() -> None:
    taken = threading.Lock()
    taken.acquire()
    ready()
    taken.acquire()


def receive() -> None:
    left, _right = socket.socketpair()
    ready()
    left.recv(1)


def read_line() -> None:
    ready()
    sys.stdin.readline()


def read_input() -> None:
    ready()
    input()  # this flushes standard output


def read_bytes() -> None:
    ready()
    sys.stdin.buffer.read()


def wait_for_process() -> None:
    process = subprocess.Popen(
        ["/bin/sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    ready()
    process.wait()


def spin() -> None:
    ready()
    while True:
        pass


def safe_points() -> None:
    asyncrun.safe_point()
    ready()
    while True:
        asyncrun.safe_point()


def token_sleep() -> None:
    asyncrun.safe_point()
    ready()
    asyncrun.stop_token().sleep(60)


def on_stop() -> None:
    import sqlite3

    connection = sqlite3.connect(":memory:", check_same_thread=False)
    # An interrupt that comes before the query does nothing: so the query itself says that it runs.
    connection.create_function("ready", 0, ready)
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT ready() UNION ALL SELECT i FROM n) SELECT count(*) FROM n"
    )
    try:
        with asyncrun.stop_token().on_stop(connection.interrupt):
            connection.execute(endless).fetchall()
    except sqlite3.OperationalError:
        asyncrun.safe_point()  # interrupted because it was asked to stop: say so
        raise


STUCK = [sleep, lock, receive, read_line, read_input, read_bytes, wait_for_process, spin]
COOPERATING = [safe_points, token_sleep, on_stop]
CALLS = {func.__name__: func for func in STUCK + COOPERATING}


def enter(entry: str, backend: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    options: dict[str, Any] = {"backend": "trio" if backend == "trio" else "asyncio"}
    if backend == "uvloop":
        options["backend_options"] = {"use_uvloop": True}
    match entry, backend:
        case "asyncrun.run", _:
            asyncrun.run(main, **options)
        case "anyio.run", _:
            anyio.run(main, **options)
        case "native", "asyncio":
            import asyncio

            asyncio.run(main())
        case "native", "uvloop":
            import uvloop

            uvloop.run(main())
        case _:
            import trio

            trio.run(main)


async def interrupted(call: Callable[[], None]) -> None:
    async with asyncrun.Runner() as runner:
        await runner.run_sync(call)


async def abandoned(call: Callable[[], None]) -> None:
    async with asyncrun.Runner(grace=0) as runner:
        handle = runner.submit(call)
        await asyncrun.run_sync(inside.wait)
        handle.cancel()


def program(entry: str, backend: str, call: str, ending: str) -> None:
    async def main() -> None:
        await (interrupted if ending == "interrupt" else abandoned)(CALLS[call])

    atexit.register(print, "atexit")
    if ending == "catch":
        try:
            asyncrun.run(interrupted, CALLS[call])
        except asyncrun.Interrupted:
            sys.exit(7)
    enter(entry, backend, main)
    sys.exit(7)


if __name__ == "__main__":
    program(*sys.argv[1:])
