"""A signal at any moment of `run`, and threads that AnyIO or the system started or refused."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import BACKENDS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

PARTS = 4
"""Children that share the lines, so that none of them takes long."""

# Each round forks, and sends itself a signal before the n-th line that asyncrun runs in the main
# thread from the moment its handlers are there; so every line of the loop's side is covered.
EVERY_LINE = """
import os, signal, sys, threading
import anyio, anyio.abc, asyncrun
from pathlib import Path

backend, signum, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
options = {
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}[backend]
own = str(Path(asyncrun.__file__).parent)
if backend == "uvloop":
    import uvloop
anyio.run(anyio.sleep, 0, **options)

def call():
    asyncrun.stop_token().sleep(30)

async def main(sent):
    async with asyncrun.Runner() as runner:
        runner.submit(call)
        await runner.run_sync(str)
        with anyio.move_on_after(0):
            await runner.run_sync(call)
        if not sent:
            runner.stop()
            await anyio.sleep_forever()
    if sent:
        await anyio.sleep_forever()

def round(n):
    left, sent = n, []
    def trace(frame, event, arg):
        nonlocal left
        if not frame.f_code.co_filename.startswith(own):
            return trace if event == "call" else None
        if signal.getsignal(signum) in (signal.SIG_DFL, signal.default_int_handler):
            return trace
        if event == "line":
            left -= 1
            if left == 0:
                sys.settrace(None)
                sent.append(True)
                os.kill(os.getpid(), signum)
        return trace
    sys.settrace(trace)
    try:
        asyncrun.run(main, sent, **options)
    finally:
        sys.settrace(None)
    os._exit(42)  # the signal did not come: there are no more lines

for n in range(1 + int(sys.argv[4]), 5000, int(sys.argv[5])):
    errors = directory / f"{n}"
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        round(n)
    _, status = os.waitpid(pid, 0)
    status = os.waitstatus_to_exitcode(status)
    if status == 42:
        print("lines", n - 1, flush=True)
        break
    text = errors.read_text()
    if status != -signum or text != f"asyncrun: interrupted by {signal.Signals(signum).name}\\n":
        print("round", n, "status", status, text, flush=True)
"""


# rules 13 and 14; the two signals differ in nothing that a backend does
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize(
    ("backend", "signum"),
    [(name, signal.SIGINT) for name in BACKENDS] + [("asyncio", signal.SIGTERM)],
)
def test_a_signal_at_any_line_ends_the_program_by_it(
    start: Callable[..., Child], backend: str, signum: signal.Signals, tmp_path: Path, part: int
) -> None:
    share = str(part), str(PARTS)
    child = start(EVERY_LINE, backend, str(int(signum)), str(tmp_path), *share)
    status, output, errors = child.finish()
    assert status == 0, errors
    word, lines = output.split(maxsplit=1)
    assert word == "lines", output
    assert int(lines) > 100


# rule 13
def test_a_signal_that_another_thread_gets_wakes_the_loop(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        """
import os, signal, sys, threading
import anyio, asyncrun

def call():
    while True:  # until the main thread waits in its loop
        with open(f"/proc/self/task/{os.getpid()}/wchan") as file:
            if "poll" in file.read():
                break
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
    threading.Event().wait()

asyncrun.run(asyncrun.run_sync, call, **{
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}[sys.argv[1]])
""",
        backend,
    )
    status, _, errors = child.finish()
    assert status == -signal.SIGINT
    assert errors.splitlines()[0] == "asyncrun: interrupted by SIGINT"


def test_a_wake_up_descriptor_that_main_sets_is_left_in_place(start: Callable[..., Child]) -> None:
    child = start(
        """
import os, signal
import asyncrun

async def main():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    return writer

assert asyncrun.run(main) == signal.set_wakeup_fd(-1)
"""
    )
    assert child.finish() == (0, "", "")
