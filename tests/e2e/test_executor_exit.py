"""Ctrl-C while the exit hook of executors waits: the first and the second one, at any moment."""

from __future__ import annotations

import os
import pty
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.snippets import LAST_LINE, shown_on
from tests.e2e.test_executor import HEAD

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from tests.conftest import Child

# A call that has passed a safe point, notices the stop, and takes its time to clean up.
LINGERING = (
    HEAD
    + """
def linger():
    safe_point()
    inside.release()
    stop_token().wait()
    say("asked")
    time.sleep(100)

executor = ThreadPoolExecutor(2, grace=100)
executor.submit(linger)
executor.submit(stuck)
wait_for(2)
"""
)


# rule 15
@pytest.mark.parametrize("phase", ["after an interrupt in the hook", "after an uncaught one"])
def test_a_second_ctrl_c_in_the_hook_ends_the_process_at_once_and_quietly(
    start: Callable[..., Child], phase: str
) -> None:
    uncaught = "uncaught" in phase
    child = start(LINGERING + ("threading.Event().wait()" if uncaught else ""))
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    child.expect("asked")
    child.rest("futex")
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, ""), errors
    if uncaught:
        assert errors.count("Traceback") == 1
        assert errors.endswith("\nKeyboardInterrupt\n")
    else:
        assert errors == ""


# rule 16
def test_a_handler_of_the_programs_own_stays_in_place_in_the_hook(
    start: Callable[..., Child],
) -> None:
    child = start(
        HEAD
        + """
def handler(*_):
    say("handled")
    if not executor.calls():
        raise KeyboardInterrupt

def heed():
    inside.release()
    stop_token().sleep(100)

def last_words():
    time.sleep(0)
    say(signal.getsignal(signal.SIGINT) is handler)

signal.signal(signal.SIGINT, handler)
atexit.register(last_words)
executor = ThreadPoolExecutor(2)
executor.submit(heed)
wait_for(1)
raise KeyboardInterrupt
"""
    )
    status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "ready\nTrue\natexit\n"), errors
    assert errors.count("Traceback") == 1


def test_the_programs_own_handler_may_interrupt_nothing(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
def handler(*_):
    say("handled")
    go.set()
go = threading.Event()
signal.signal(signal.SIGINT, handler)
executor = ThreadPoolExecutor(1)
executor.submit(wait_for, 1)
executor.submit(go.wait)
inside.release()
"""
    )
    child.expect()
    child.rest("futex")
    child.send(signal.SIGINT)
    assert child.finish() == (0, "handled\natexit\n", "")


def test_exit_handlers_find_pythons_own_handler_again(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
executor = ThreadPoolExecutor(1)
executor.submit(int)
atexit.register(lambda: say(signal.getsignal(signal.SIGINT) is signal.default_int_handler))
"""
    )
    assert child.finish() == (0, "True\natexit\n", "")


@contextmanager
def terminal() -> Generator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)
        os.close(slave)


# rules 15 and 26
@pytest.mark.parametrize(
    ("calls", "message"),
    [
        (1, "asyncrun: waiting for 1 call to end (the oldest: stuck, "),
        (2, "asyncrun: waiting for 2 calls to end (the oldest: stuck, "),
    ],
)
def test_on_a_terminal_the_hook_says_what_it_waits_for_and_ctrl_c_ends_it(
    start: Callable[..., Child], calls: int, message: str
) -> None:
    with terminal() as (master, slave):
        child = start(
            HEAD
            + f"""
os.dup2({slave}, 2)
executor = ThreadPoolExecutor()
asked = executor.submit(stuck)
while not asked.running():
    time.sleep(0)
asked.cancel()
futures = [executor.submit(stuck) for _ in range({calls})]
wait_for({calls + 1})
try:
    futures[0].result()
except KeyboardInterrupt:  # as click does
    say("Aborted!")
    sys.exit(1)
""",
            pass_fds=(slave,),
        )
        child.expect()
        child.rest("futex")
        child.send(signal.SIGINT)
        child.expect("Aborted!")
        seen = ""
        while "\n" not in seen:
            seen += os.read(master, 4096).decode()
        assert seen.startswith(message)
        assert seen.endswith("; Ctrl-C ends the program\r\n")
        child.send(signal.SIGINT)
        status, output, _ = child.finish()
        assert (status, output) == (-signal.SIGINT, "atexit\n")
        assert shown_on(master, slave).startswith(LAST_LINE)


@pytest.mark.parametrize("when", ["before", "inside", "after"])
def test_a_ctrl_c_that_comes_in_a_finalizer_ends_the_hook(
    start: Callable[..., Child], when: str
) -> None:
    child = start(
        HEAD
        + f"""
from asyncrun._executors import at_exit
class Freed:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)
wait = at_exit.Pool.wait
def wait_when_freed(pool, **how):
    at_exit.Pool.wait = wait
    check = how["check"]
    if "{when}" == "before":
        Freed()
    if "{when}" == "inside":
        how["check"] = lambda: (check(), freed and freed.pop() and None)
    wait(pool, **how)
    if "{when}" == "after":
        Freed()
freed = [Freed()] * ("{when}" == "inside")
at_exit.Pool.wait = wait_when_freed
executor = ThreadPoolExecutor(1)
executor.submit({"int" if when == "after" else "stuck"})
"""
    )
    status, _, errors = child.finish()
    assert status == -signal.SIGINT
    assert errors.startswith("Exception ignored in: <function Freed.__del__")
    assert f"KeyboardInterrupt: \n{LAST_LINE}" in errors


@pytest.mark.parametrize(
    "stream", ["open(os.devnull, 'w')", "None", "closed"], ids=["no terminal", "none", "closed"]
)
def test_without_a_terminal_the_hook_waits_in_silence(
    start: Callable[..., Child], stream: str
) -> None:
    child = start(
        HEAD
        + f"""
import asyncrun
from asyncrun._executors import at_exit
at_exit.NOTICEABLE = 0
closed = open(os.devnull, "w")
closed.close()
sys.stderr = {stream}
go = threading.Event()
executor = ThreadPoolExecutor(1)
executor.submit(go.wait)
is_terminal = at_exit.is_terminal
def look():
    answer = is_terminal()
    say("terminal", answer)
    go.set()
    return answer
at_exit.is_terminal = look
"""
    )
    assert child.finish() == (0, "terminal False\natexit\n", "")


# Each round forks, and sends itself a signal before the n-th line that asyncrun runs in the main
# thread from the moment the hook is in its `try`; where there are to be two, others follow from a
# thread until the process is gone.
ANY_LINE = (
    HEAD
    + """
from pathlib import Path
import asyncrun
from asyncrun._executors import at_exit
atexit.unregister(say)
directory, two, part, parts = Path(sys.argv[1]), *map(int, sys.argv[2:])
in_hook = []
own = str(Path(asyncrun.__file__).parent)

def call(_=None):
    safe_point()
    inside.release()
    while not executor._pool._wakers:  # the hook waits, and it ends by itself or is stopped
        if two and stop_token().is_set():  # it takes its time to clean up
            time.sleep(100)
        stop_token().sleep(0.001)

go = threading.Lock()
go.acquire()

def send():
    go.acquire()
    while True:
        time.sleep(0.05)  # as fast as a person may be
        os.kill(os.getpid(), signal.SIGINT)

def trace(frame, event, arg):
    global left
    if not frame.f_code.co_filename.startswith(own):
        return trace if event == "call" else None
    if frame.f_code is at_exit._on_interpreter_exit.__code__ and event in ("call", "return"):
        in_hook.append(event)
    if event == "line" and in_hook == ["call"]:
        left -= 1
        if left == 0:
            sys.settrace(None)
            if two:
                go.release()
            os.kill(os.getpid(), signal.SIGINT)
    return trace

for n in range(3 + part, 1000, parts):
    errors = directory / str(n)
    if (pid := os.fork()) == 0:
        os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT), 2)
        left = n
        if two:  # Python 3.12 starts no thread when the interpreter ends
            threading.Thread(target=send, daemon=True).start()
        executor = ThreadPoolExecutor(2, grace=100)
        executor.submit(call)
        executor.map(call, range(1))
        inside.acquire()
        inside.acquire()
        sys.settrace(trace)
        break
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = errors.read_text()
    if (status, text) == (0, ""):
        say("lines", n)
        break
    quiet = text == "asyncrun: interrupted by SIGINT\\n" or (two and text == "")
    if status != -signal.SIGINT or not quiet:
        say("round", n, "status", status, text)
"""
)
PARTS = 4


# rule 15
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("two", [False, True], ids=["one", "two"])
def test_ctrl_c_at_any_line_of_the_hook_ends_the_process_quietly(
    start: Callable[..., Child],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    two: bool,
    part: int,
) -> None:
    # The second signal comes while coverage writes its file, too.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    child = start(ANY_LINE, str(tmp_path), str(int(two)), str(part), str(PARTS))
    status, output, errors = child.finish()
    assert status == 0, errors
    word, lines = output.split(maxsplit=1)
    assert word == "lines", output
    assert int(lines) > 50
