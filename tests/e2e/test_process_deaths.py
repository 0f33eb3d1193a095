"""Calls and worker processes that end in unusual ways: rules 11, 18 and 20."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import all_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

DEATHS = """
def leave():
    os._exit(3)

def crash():
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGSEGV)

def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)

def run_out():
    os.kill(os.getpid(), signal.SIGRTMIN + 1)
"""

MEMORY = "; is there memory enough?"
REAL_TIME = signal.SIGRTMIN + 1
DYING = pytest.mark.parametrize(
    ("call", "status", "signum", "how"),
    [
        ("leave", 3, None, "ended with status 3"),
        ("crash", None, signal.SIGSEGV.value, "was killed by SIGSEGV"),
        ("be_killed", None, signal.SIGKILL.value, f"was killed by SIGKILL{MEMORY}"),
        ("run_out", None, REAL_TIME, f"was killed by signal {REAL_TIME}"),
    ],
    ids=["exit", "crash", "kill", "real time"],
)


@DYING
def test_a_worker_that_dies_in_a_call_is_the_error_of_that_call(
    start: Callable[..., Child],
    tmp_path: Path,
    call: str,
    status: int | None,
    signum: int | None,
    how: str,
) -> None:
    main = f"""
async def main():
    async with Runner(max_processes=2) as runner:
        try:
            await runner.run_sync({call}, worker="process")
        except WorkerDied as exc:
            say(exc.name, exc.status, exc.signum, isinstance(exc, RuntimeError))
            say(str(exc).replace(str(exc.pid), "PID"))
        await work(runner, 100)
asyncrun.run(main)
"""
    child = start(program(tmp_path, DEATHS, main))
    said = f"{call} {status} {signum} True\nthe worker process of {call} (process PID) {how}\n"
    assert child.finish() == (0, said + "all right\n", "")


def test_a_worker_that_dies_in_a_call_ends_a_program_with_a_traceback(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner() as runner:
        await runner.run_sync(leave, worker="process")
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, DEATHS, main), backend)
    status, output, errors = child.finish()
    assert (status, output) == (1, "")
    assert "await runner.run_sync(leave, worker=" in errors
    assert "asyncrun.WorkerDied: the worker process of leave (process " in errors.replace(
        "asyncrun._workers.remote.errors.", "asyncrun."
    )


@DYING
def test_a_worker_that_dies_in_a_map_is_the_error_of_that_item(
    start: Callable[..., Child],
    tmp_path: Path,
    call: str,
    status: int | None,
    signum: int | None,
    how: str,
) -> None:
    item = f"""
def item(number):
    if number == 50:
        {call}()
    return number
"""
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        async with runner.map(
            item, range(100), worker="process", return_exceptions=True
        ) as results:
            everything = [each async for each in results]
        error = everything[50]
        everything[50] = 50
        say(everything == list(range(100)))
        say(type(error).__name__, error.status, error.signum, error.__notes__)
asyncrun.run(main)
"""
    child = start(program(tmp_path, DEATHS + item, main))
    said = f"True\nWorkerDied {status} {signum} ['item 50 of the map: 50']\n"
    assert child.finish() == (0, said, "")


def test_an_idle_worker_that_dies_is_nobodys_error(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        for _ in range(2):
            pid = await runner.run_sync(os.getpid, worker="process")
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # or it may still take a call
            assert await runner.run_sync(os.getpid, worker="process") != pid
            os.kill(await runner.run_sync(os.getpid, worker="process"), signal.SIGSTOP)
            with move_on_after(0.05):
                await runner.run_sync(os.getpid, worker="process")
        await work(runner, 100)
asyncrun.run(main)
"""
    child = start(program(tmp_path, "", main))
    assert child.finish() == (0, "all right\n", "")


def test_a_worker_that_dies_takes_along_what_its_call_has_started(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    async with Runner() as runner:
        try:
            await runner.run_sync(parents, leave, worker="process")
        except WorkerDied:
            say("died")
        await sleep_forever()
asyncrun.run(main)
"""
    child = start(program(tmp_path, DEATHS, main))
    pids = numbers(child._line())
    child.expect("died")
    assert all_gone(pids, 0)


# rule 20
@pytest.mark.parametrize("how", ["sys.exit(4)", "raise SystemExit(4)", "raise KeyboardInterrupt"])
def test_an_exit_in_a_call_comes_out_of_it_and_ends_no_worker(
    start: Callable[..., Child], tmp_path: Path, how: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(os.getpid, worker="process")
        try:
            await runner.run_sync(call, worker="process")
        except (SystemExit, KeyboardInterrupt) as exc:
            say(repr(exc))
        say(await runner.run_sync(os.getpid, worker="process") == pid)
asyncrun.run(main)
"""
    child = start(program(tmp_path, f"def call():\n    {how}", main))
    kind = "KeyboardInterrupt()" if "Key" in how else "SystemExit(4)"
    assert child.finish() == (0, f"{kind}\nTrue\n", "")


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr", "sys.stdin", None])
def test_a_call_that_closes_a_standard_stream_does_no_harm(
    start: Callable[..., Child], tmp_path: Path, stream: str | None
) -> None:
    close = f"""
def close():
    if {stream} is not None:
        return {stream}.close()
    for fd in range(3):
        os.close(fd)
"""
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        pid = await runner.run_sync(os.getpid, worker="process")
        for _ in range(2):
            try:
                await runner.run_sync(close, worker="process")
            except OSError:
                pass
        assert await runner.run_sync(os.getpid, worker="process") == pid
        await work(runner, 100)
asyncrun.run(main)
"""
    child = start(program(tmp_path, close, main))
    assert child.finish() == (0, "all right\n", "")


@pytest.mark.parametrize("calls", ["None", "1"])
@pytest.mark.parametrize("hang", ["threading.Thread(target=nap).start()", "atexit.register(nap)"])
def test_neither_a_thread_that_is_left_nor_an_exit_handler_that_hangs_holds_up_the_end(
    start: Callable[..., Child], tmp_path: Path, hang: str, calls: str
) -> None:
    hanging = f"""
def hanging():
    {hang}
    return os.getpid()
"""
    main = f"""
async def main():
    workers = ProcessWorkers(1, max_tasks_per_child={calls})
    async with Runner() as runner:
        say(await runner.run_sync(hanging, worker=workers))
        begin = time.monotonic()
    say("left", time.monotonic() - begin < 8)
asyncrun.run(main)
"""
    child = start(program(tmp_path, hanging, main))
    pids = numbers(child._line())
    child.expect("left True")
    assert all_gone(pids, 0)
    assert child.finish() == (0, "", "")


@pytest.mark.parametrize("calls", ["None", "1"])
def test_exit_handlers_run_in_the_workers_and_in_the_parent(
    start: Callable[..., Child], tmp_path: Path, calls: str
) -> None:
    lasting = """
def last():
    time.sleep(0.05)
    print("worker's")

def lasting():
    atexit.register(last)
"""
    main = f"""
atexit.register(say, "parent's")
async def main():
    workers = ProcessWorkers(1, max_tasks_per_child={calls})
    async with Runner() as runner:
        await runner.run_sync(lasting, worker=workers)
    say("left")
asyncrun.run(main)
"""
    child = start(program(tmp_path, lasting, main))
    assert child.finish() == (0, "worker's\nleft\nparent's\n", "")


# rule 20
def test_sigint_to_a_worker_by_hand_does_nothing(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        say(await runner.run_sync(patient, worker="process"))
asyncrun.run(main)
"""
    patient = """
def patient():
    got = []
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, lambda *args: (got.append(1), handler(*args)))
    say(os.getpid())
    while not got:
        time.sleep(0.001)
    return "went on"
"""
    child = start(program(tmp_path, patient, main))
    (pid,) = numbers(child._line())
    os.kill(pid, signal.SIGINT)
    assert child.finish() == (0, "went on\n", "")


# rule 20
@pytest.mark.parametrize("ignored", [False, True])
def test_what_a_call_starts_can_be_interrupted_unless_that_is_ignored_everywhere(
    start: Callable[..., Child], tmp_path: Path, ignored: bool
) -> None:
    main = f"""
if {ignored}:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
async def main():
    async with Runner() as runner:
        say(await runner.run_sync(ignored, worker="process"))
asyncrun.run(main)
"""
    functions = """
def ignored():
    command = ["grep", "^Sig", "/proc/self/status"]
    lines = subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout
    ignored = int(lines.partition("SigIgn:")[2].split()[0], 16)
    blocked = int(lines.partition("SigBlk:")[2].split()[0], 16)
    return bool(ignored & 1 << signal.SIGINT - 1), bool(ignored & 1 << signal.SIGTERM - 1), blocked
"""
    child = start(program(tmp_path, functions, main))
    assert child.finish() == (0, f"({ignored}, False, 0)\n", "")


# rule 20
def test_what_a_call_forks_can_be_interrupted(start: Callable[..., Child], tmp_path: Path) -> None:
    main = """
async def main():
    async with Runner() as runner:
        say(await runner.run_sync(fork, worker="process"))
asyncrun.run(main)
"""
    functions = """
def fork():
    if (pid := os.fork()) == 0:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            os._exit(5)
        os._exit(6)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""
    child = start(program(tmp_path, functions, main))
    assert child.finish() == (0, "5\n", "")
