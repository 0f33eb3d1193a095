"""A program that is stuck in two threads and in a process: ``stuck.py PIPE NAME [HOW]``.

It tells a named pipe what happens, for some surroundings hide what it prints. With ``blocked`` as
``HOW`` the event loop is stuck, too; with ``getpass`` one of the threads waits for a password.
"""

from __future__ import annotations

import atexit
import getpass
import os
import subprocess
import sys
import time
from pathlib import Path

import anyio

import asyncrun


def tell(*words: object) -> None:
    """Send a line to the pipe, in one piece."""
    pipe, name = sys.argv[1:3]
    descriptor = os.open(pipe, os.O_WRONLY)
    os.write(descriptor, f"{name} {' '.join(map(str, words))}\n".encode())
    os.close(descriptor)


def stuck_thread() -> None:
    tell("thread")
    time.sleep(100)


def asking_thread() -> None:
    tell("thread")
    getpass.getpass()


def stuck_process(begun: str) -> None:
    grandchild = subprocess.Popen(["sleep", "1000"])
    tell("worker", os.getpid(), grandchild.pid)
    Path(begun).write_text("")
    time.sleep(100)


def block_the_loop() -> None:
    time.sleep(100)


async def main(*how: str) -> None:
    begun = f"{sys.argv[1]}.{sys.argv[2]}"
    os.mkfifo(begun)
    try:
        async with asyncrun.Runner(max_threads=3, max_processes=1) as runner:
            runner.submit(stuck_process, begun, worker="process")
            runner.submit(asking_thread if "getpass" in how else stuck_thread)
            runner.submit(stuck_thread)
            await runner.run_sync(Path(begun).read_text)
            print("stuck", flush=True)
            tell("main", os.getpid())
            if "blocked" in how:
                block_the_loop()
            await anyio.sleep_forever()
    finally:
        tell("unwound")
        print("unwound\n", end="", flush=True)  # in one write: two programs share a terminal


if __name__ == "__main__":
    atexit.register(tell, "exit")
    asyncrun.run(main, *sys.argv[3:])
