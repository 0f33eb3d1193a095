"""A second Ctrl-C, those that a program catches, and the lines that a person reads meanwhile."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final

import pytest

from .pseudo_terminal import CTRL_BACKSLASH, CTRL_C

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pseudo_terminal import PseudoTerminal

pytestmark = pytest.mark.measured

SLOW_END: Final = {
    "finally": """
import time
try:
    print("ready", flush=True)
    time.sleep(1000)
finally:
    print("cleaning", flush=True)
    time.sleep(1000)
""",
    "an error that came of it": """
import time
try:
    print("ready", flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    try:
        1 / 0
    except ZeroDivisionError:
        print("cleaning", flush=True)
        time.sleep(1000)
""",
    "__exit__": """
import contextlib, time
@contextlib.contextmanager
def manager():
    try:
        yield
    finally:
        print("cleaning", flush=True)
        time.sleep(1000)
with manager():
    print("ready", flush=True)
    time.sleep(1000)
""",
    "asyncio": """
import asyncio
async def main():
    try:
        print("ready", flush=True)
        await asyncio.sleep(1000)
    finally:
        print("cleaning", flush=True)
        await asyncio.sleep(1000)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("where", SLOW_END)
def test_a_second_interrupt_ends_a_program_that_still_handles_the_first(
    open_terminal: Callable[..., PseudoTerminal], where: str
) -> None:
    terminal = open_terminal(SLOW_END[where])
    terminal.expect("ready")
    terminal.press(CTRL_C)
    terminal.expect("cleaning")
    if where != "asyncio":
        terminal.expect("the program still handles the interrupt, at ")
    terminal.press(CTRL_C)
    status, text = terminal.finish()
    assert status == -signal.SIGINT
    assert "Traceback" not in text


PROMPT: Final = """
import time
for number in range(3):
    try:
        print(f"ready {number}", flush=True)
        time.sleep(1000)
    except KeyboardInterrupt:
        print(f"caught {number}", flush=True)
print("done")
"""


def test_a_program_that_catches_interrupts_gets_each_of_them(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal(PROMPT)
    for number in range(3):
        terminal.expect(f"ready {number}")
        terminal.press(CTRL_C)
        terminal.expect(f"caught {number}")
    status, text = terminal.finish()
    assert status == 0
    assert text.endswith("caught 2\ndone\n")
    assert "asyncrun" not in text


def test_the_second_interrupt_of_a_program_that_caught_one_and_ends_is_the_last(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal("""
import threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
try:
    print("ready", flush=True)
    time.sleep(1000)
except KeyboardInterrupt:
    print("caught", flush=True)
""")
    terminal.expect("ready")
    terminal.press(CTRL_C)
    terminal.expect("waiting for 1 thread to end (the first: Thread-1 (sleep), ")
    terminal.press(CTRL_C)
    assert terminal.finish().status == -signal.SIGINT


def test_what_runs_is_printed_at_sigquit_and_goes_on(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal("""
import threading
from concurrent.futures import ThreadPoolExecutor
ready = threading.Event()
def call():
    ready.set()
    return input()
with ThreadPoolExecutor() as executor:
    future = executor.submit(call)
    ready.wait()
    print("ready", flush=True); print("got", future.result())
""")
    terminal.expect("ready")
    terminal.press(CTRL_BACKSLASH)
    terminal.expect("asyncrun: running: the main thread, at ")
    terminal.expect("program.py:11")
    terminal.expect("asyncrun: running: call, ")
    terminal.expect("program.py:7")
    terminal.press(b"it\n")
    status, text = terminal.finish()
    assert status == 0
    assert text.endswith("got it\n")


def test_sigquit_is_left_alone_without_a_report(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal("print('ready', flush=True); input()", "--no-report")
    terminal.expect("ready")
    terminal.press(CTRL_BACKSLASH)
    assert terminal.finish().status == -signal.SIGQUIT


def test_an_exit_handler_that_hangs_is_ended_after_a_time(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal(
        """
import atexit, time
atexit.register(time.sleep, 1000)
print("ready", flush=True)
time.sleep(1000)
""",
        "--exit-timeout",
        "0.3",
    )
    terminal.expect("ready")
    terminal.press(CTRL_C)
    status, text = terminal.finish()
    assert status == -signal.SIGINT
    assert "still here 0.3 s after SIGINT; the stacks of all threads" in text


def test_a_hook_of_the_programs_own_sees_the_interrupt(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal("""
import sys, time
sys.excepthook = lambda kind, exc, tb: print(kind.__name__, tb.tb_lineno)
print("ready", flush=True); time.sleep(1000)
""")
    terminal.expect("ready")
    terminal.press(CTRL_C)
    status, text = terminal.finish()
    assert status == -signal.SIGINT
    assert text == "ready\nKeyboardInterrupt 4\nasyncrun: interrupted by SIGINT\n"


def test_a_traceback_that_the_program_prints_ends_with_its_own_line(
    open_terminal: Callable[..., PseudoTerminal],
) -> None:
    terminal = open_terminal("""
import time, traceback
try:
    print("ready", flush=True); time.sleep(1000)
except KeyboardInterrupt:
    traceback.print_exc()
""")
    terminal.expect("ready")
    terminal.press(CTRL_C)
    text = terminal.finish().text
    assert text.count("File ") == 1
    assert ", line 4, in <module>" in text
    assert text.endswith("\nKeyboardInterrupt\n")


SERVER: Final = """
import multiprocessing, signal, sys, threading, time
from concurrent.futures import ThreadPoolExecutor

def serve():
    stopped = threading.Event()
    signal.signal(signal.SIGINT, lambda signum, frame: stopped.set())
    pool = ThreadPoolExecutor(1)
    begun = threading.Event()
    pool.submit(lambda: (begun.set(), time.sleep(1000)))
    begun.wait()
    print("ready", flush=True)
    stopped.wait()
    print("stopped", flush=True)
    sys.exit(3)

if __name__ == "__main__":
    if not METHOD:
        serve()
    signal.signal(signal.SIGINT, lambda signum, frame: None)
    child = multiprocessing.get_context(METHOD).Process(target=serve)
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("method", [None, "fork", "spawn"])
def test_a_server_that_has_made_up_its_mind_to_go_is_kept_by_no_call(
    open_terminal: Callable[..., PseudoTerminal], method: str | None
) -> None:
    terminal = open_terminal(SERVER.replace("METHOD", repr(method)))
    terminal.expect("ready")
    terminal.press(CTRL_C)
    status, text = terminal.finish()
    assert (status, text) == (3, "ready\nstopped\n")
