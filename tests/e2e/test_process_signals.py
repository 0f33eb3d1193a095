"""Cancellation and signals with worker processes: rules 15, 18 and 20."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.e2e.snippets import LAST_LINE, shown_on
from tests.e2e.worker_programs import all_gone, is_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from typing import Any

    from tests.conftest import Child

STAYS = """
def heed():
    safe_point()
    say("ready")
    try:
        stop_token().sleep(1000)
    finally:
        say("cleaned up")

def ignore():
    say("ready")
    nap()

def seize():
    say("ready")
    hold()
"""

CANCEL = """
async def main():
    async with Runner(max_processes=1) as runner:
        call = runner.submit({call}, worker="process")
        await runner.run_sync(sys.stdin.readline)
        call.cancel()
        say("double", await runner.run_sync(double, 7, worker="process"))
asyncrun.run(main, **run_options)
"""


def tell(child: Child) -> None:
    """Write a line to a program's standard input."""
    assert child.process.stdin is not None
    child.process.stdin.write("\n")
    child.process.stdin.flush()


# rule 18
@pytest.mark.parametrize("stay", ["nap", "hold"])
def test_a_cancelled_call_takes_its_grandchildren_along(
    start: Callable[..., Child], tmp_path: Path, backend: str, stay: str
) -> None:
    shell = "trap '' TERM INT HUP; sleep 1000 & echo $$ $!; wait"
    family = f"""
def family():
    subprocess.Popen(["sh", "-c", {shell!r}])
    parents({stay})
"""
    child = start(program(tmp_path, family, CANCEL.format(call="family")), backend)
    pids = [pid for _ in range(2) for pid in numbers(child._line())]
    tell(child)
    child.expect("double 14")
    assert all(is_gone(pid) for pid in pids)
    assert child.finish() == (0, "", "")


# rule 18
def test_a_cancelled_call_gives_its_grandchildren_time_to_clean_up(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    shell = f"trap ': > {mark}; exit' TERM; sleep 1000 & echo ready; wait"
    family = f"def family():\n    subprocess.run(['sh', '-c', {shell!r}])"
    child = start(program(tmp_path, family, CANCEL.format(call="family")))
    child.expect()
    tell(child)
    child.expect("double 14")
    assert mark.exists()
    assert child.finish() == (0, "", "")


# rule 18
def test_a_cancelled_call_that_heeds_keeps_its_process(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(os.getpid, worker="process")
        call = runner.submit(heed, worker="process")
        await runner.run_sync(sys.stdin.readline)
        call.cancel()
        say(await runner.run_sync(os.getpid, worker="process") == pid)
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, STAYS, main), backend)
    child.expect()
    tell(child)
    assert child.finish() == (0, "cleaned up\nTrue\n", "")


# rule 18
def test_a_call_that_raises_on_sigterm_cleans_up(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    tidy = """
def tidy():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        ignore()
    finally:
        say("cleaned up")
"""
    child = start(program(tmp_path, STAYS + tidy, CANCEL.format(call="tidy")))
    child.expect()
    tell(child)
    assert child.finish() == (0, "cleaned up\ndouble 14\n", "")


@contextmanager
def terminal() -> Generator[tuple[int, dict[str, Any]]]:
    """Return a terminal's other side, and the options with which a child is started in it."""
    master, slave = pty.openpty()
    control: dict[str, Any] = {
        "stdin": slave,
        "preexec_fn": lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        "pass_fds": (slave,),
    }
    try:
        yield master, control
    finally:
        os.close(master)
        os.close(slave)


ENDED = """
async def main():
    async with Runner(max_processes=2, grace=30) as runner:
        await runner.run_sync(parents, int, worker="process")
        for _ in range(2):
            runner.submit({call}, worker="process")
asyncrun.run(main, **run_options)
"""
SIGNALLED = "os.dup2(0, 2)  # the terminal" + ENDED


# rules 14 and 20
@pytest.mark.parametrize(
    ("call", "said"), [("heed", "cleaned up\n" * 2), ("ignore", ""), ("seize", "")]
)
def test_ctrl_c_in_a_terminal_reaches_only_the_parent_which_ends_all(
    start: Callable[..., Child], tmp_path: Path, backend: str, call: str, said: str
) -> None:
    with terminal() as (master, options):
        child = start(program(tmp_path, STAYS, SIGNALLED.format(call=call)), backend, **options)
        pids = numbers(child._line())
        child.expect("ready", "ready")
        os.write(master, b"\x03")
        status, output, _ = child.finish()
        shown = shown_on(master, options["stdin"]).removeprefix("^C")
    assert (status, output, shown) == (-signal.SIGINT, said, LAST_LINE)
    assert all_gone(pids, 0)


# rules 14 and 18
@pytest.mark.parametrize(
    ("call", "said"), [("heed", "cleaned up\n" * 2), ("ignore", ""), ("seize", "")]
)
def test_sigterm_ends_all(
    start: Callable[..., Child], tmp_path: Path, call: str, said: str
) -> None:
    child = start(program(tmp_path, STAYS, ENDED.format(call=call)))
    pids = numbers(child._line())
    child.expect("ready", "ready")
    child.send(signal.SIGTERM)
    line = LAST_LINE.replace("SIGINT", "SIGTERM")
    assert child.finish() == (-signal.SIGTERM, said, line)
    assert all_gone(pids, 0)


# rules 14 and 18
def test_a_signal_ends_a_map(start: Callable[..., Child], tmp_path: Path, backend: str) -> None:
    main = """
async def main():
    async with Runner(max_processes=2, grace=30) as runner:
        await runner.run_sync(parents, int, worker="process")
        async with runner.map(item, range(2), worker="process") as results:
            async for _ in results:
                pass
asyncrun.run(main, **run_options)
"""
    items = "def item(number):\n    [heed, seize][number]()"
    child = start(program(tmp_path, STAYS + items, main), backend)
    pids = numbers(child._line())
    child.expect("ready", "ready")
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "cleaned up\n", LAST_LINE)
    assert all_gone(pids, 0)


# rules 15 and 19
def test_a_second_ctrl_c_during_grace_ends_all_at_once(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    dawdle = """
def dawdle():
    with stop_token().on_stop(say, "asked"):
        parents(nap)
"""
    main = """
async def main():
    async with Runner(grace=1000) as runner:
        await runner.run_sync(dawdle, worker="process")
asyncrun.run(main, **run_options)
"""
    with terminal() as (master, options):
        child = start(program(tmp_path, dawdle, main), backend, **options)
        pids = numbers(child._line())
        os.write(master, b"\x03")
        child.expect("asked")
        os.write(master, b"\x03")
        assert child.finish() == (-signal.SIGINT, "", "")
        assert all_gone(pids, 1.0)


# rule 18
def test_a_program_may_go_on_after_interrupted(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def first():
    async with Runner(max_processes=2) as runner:
        await work(runner, 100)
        for call in (heed, ignore):
            runner.submit(call, worker="process")
async def second():
    async with Runner(max_processes=2) as runner:
        await work(runner)
for _ in range(2):
    try:
        asyncrun.run(first, **run_options)
    except asyncrun.Interrupted as exc:
        say(exc)
asyncrun.run(second, **run_options)
"""
    child = start(program(tmp_path, STAYS, main), backend)
    for _ in range(2):
        child.expect("all right", "ready", "ready")
        child.send(signal.SIGINT)
        child.expect("cleaned up", "interrupted by SIGINT")
    assert child.finish() == (0, "all right\n", "")


# rule 18
def test_a_signal_that_cancels_a_scope_leaves_the_runner_usable(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        for _ in range(2):
            with CancelScope() as scope, anyio.open_signal_receiver(signal.SIGINT) as signals:
                async with anyio.create_task_group() as group:
                    for call in (heed, ignore):
                        group.start_soon(partial(runner.run_sync, call, worker="process"))
                    async for _ in signals:
                        scope.cancel()
            await work(runner)
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, STAYS, main), backend)
    for _ in range(2):
        child.expect("ready", "ready")
        child.send(signal.SIGINT)
        child.expect("cleaned up", "all right")
    assert child.finish() == (0, "", "")


# rule 18
@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ("asyncio.run(main())", "asyncio"),
        ("anyio.run(main, **run_options)", "uvloop"),
        ("anyio.run(main, **run_options)", "trio"),
    ],
)
def test_a_program_may_go_on_after_a_keyboard_interrupt(
    start: Callable[..., Child], tmp_path: Path, entry: str, kind: str
) -> None:
    main = f"""
async def main():
    async with Runner(max_processes=2) as runner:
        await work(runner, 1000 if turn == 2 else 100)
        if turn < 2:
            for call in (heed, ignore):
                runner.submit(call, worker="process")
for turn in range(3):
    try:
        {entry}
    except KeyboardInterrupt:
        say("interrupted")
"""
    child = start(program(tmp_path, STAYS, main), kind)
    for _ in range(2):
        child.expect("all right", "ready", "ready")
        child.rest()
        child.send(signal.SIGINT)
        child.expect("cleaned up", "interrupted")
    assert child.finish() == (0, "all right\n", "")


# rules 12 and 20
@pytest.mark.parametrize("call", ["heed", "seize"])
def test_ctrl_c_under_anyio_run_ends_all(
    start: Callable[..., Child], tmp_path: Path, backend: str, call: str
) -> None:
    ended = ENDED.format(call=call).replace("asyncrun.run", "anyio.run")
    with terminal() as (master, options):
        child = start(program(tmp_path, STAYS, ended), backend, **options)
        pids = numbers(child._line())
        child.expect("ready", "ready")
        child.rest()
        os.write(master, b"\x03")
        status, output, errors = child.finish()
    assert (status, output) == (-signal.SIGINT, "cleaned up\n" * 2 * (call == "heed")), errors
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert "program.py" in errors
    assert "mp_main" not in errors
    assert all_gone(pids, 0)


TERMINAL = """
import getpass, termios, warnings

def tries(what):
    try:
        what()
    except (OSError, EOFError) as exc:
        return type(exc).__name__
    return "fine"

def read():
    with open("/dev/tty") as terminal:
        terminal.readline()

def ask():
    warnings.simplefilter("ignore")
    getpass.getpass()

def write():
    sys.stderr.write("written ")
    sys.stderr.flush()
    subprocess.run("printf 'by a child ' >&2", shell=True, check=True)

def fork(what):
    if (pid := os.fork()) == 0:
        os._exit(tries(what) == "fine")
    assert os.waitpid(pid, 0)[1] == 0

def touch():
    return [tries(each) for each in (read, ask, input, write, partial(fork, read))]

def look():
    code = "try: open('/dev/tty')\\nexcept OSError: raise SystemExit(7)"
    return subprocess.run([sys.executable, "-c", code]).returncode
"""


# rules 21 and 25
@pytest.mark.parametrize("stop", [False, True])
def test_a_call_that_touches_the_terminal_gets_an_error_at_once(
    start: Callable[..., Child], tmp_path: Path, backend: str, *, stop: bool
) -> None:
    main = f"""
os.dup2(0, 2)  # the terminal
before = termios.tcgetattr(0)
before[3] |= {stop} and termios.TOSTOP  # what a group in the background prints, stops it
termios.tcsetattr(0, termios.TCSANOW, before)
before = termios.tcgetattr(0)
async def main():
    async with Runner(max_processes=1) as runner:
        say(await runner.run_sync(touch, worker="process"))
        say(await runner.run_sync(look, worker="process"))
asyncrun.run(main, **run_options)
say(termios.tcgetattr(0) == before)
os.close(os.open("/dev/tty", os.O_RDWR))  # the program still has it
"""
    with terminal() as (master, options):
        child = start(program(tmp_path, TERMINAL, main), backend, **options)
        status, output, _ = child.finish()
        shown = shown_on(master, options["stdin"])
    said = "['OSError', 'EOFError', 'EOFError', 'fine', 'fine']\n7\nTrue\n"
    assert (status, output) == (0, said)
    assert "written by a child " in shown
