"""Programs with worker processes: rules 18 and 20, and what calls may do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import all_gone, numbers, program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Child

ENTRIES = pytest.mark.parametrize(
    "entry", ["asyncrun.run(main, **run_options)", "anyio.run(main, **run_options)"]
)


# rules 11 and 20
@ENTRIES
def test_a_program_that_ends_normally_leaves_nothing_and_says_nothing(
    start: Callable[..., Child], tmp_path: Path, backend: str, entry: str
) -> None:
    main = f"""
async def main():
    async with Runner(max_processes=2) as runner:
        await work(runner, 100)
        await runner.run_sync(parents, int, worker="process")
{entry}
"""
    child = start(program(tmp_path, "", main), backend)
    child.expect("all right")
    pids = numbers(child._line())
    assert child.finish() == (0, "", "")
    assert all_gone(pids, 0)


# rule 18
def test_a_call_that_cannot_be_sent_or_fails_gives_its_slot_back(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    begin = time.monotonic()
    async with Runner(max_processes=1) as runner:
        for _ in range(3):
            for func, args in ((lambda: 1), ()), (double, (main(),)), (os.strerror, ("a",)):
                try:
                    await runner.run_sync(func, *args, worker="process")
                except TypeError as exc:
                    say(type(exc).__name__)
                for arg in args:
                    if not isinstance(arg, str):
                        arg.close()
            assert not runner.calls()
            await runner.run_sync(double, 1, worker="process")
    say(time.monotonic() - begin < 4)
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, "", main), backend)
    said = "SerializationError\nSerializationError\nTypeError\n" * 3 + "True\n"
    assert child.finish() == (0, said, "")


# rules 9 and 18
def test_one_of_many_calls_that_fails_ends_the_runner_at_once(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        await runner.run_sync(double, 1, worker="process")
        global begin
        begin = time.monotonic()
        runner.submit(os.strerror, "a", worker="process")
        for number in range(10):
            runner.submit(double, number, worker="process")
try:
    asyncrun.run(main, **run_options)
except* TypeError as group:
    say(time.monotonic() - begin < 4)
"""
    child = start(program(tmp_path, "", main), backend)
    assert child.finish() == (0, "True\n", "")


# rule 18
def test_items_behind_a_slow_one_go_to_another_process(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    item = """
def item(number):
    if number == 50:
        say("slow")
        while not Path(folder, "go").exists():
            time.sleep(0.001)
    return number
"""
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        async with runner.map(item, range(1000), worker="process", ordered=False) as results:
            for _ in range(999):
                assert await anext(results) != 50
            say("the others are done")
            say(await anext(results))
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, f"folder = {str(tmp_path)!r}" + item, main), backend)
    child.expect("slow", "the others are done")
    (tmp_path / "go").touch()
    assert child.finish() == (0, "50\n", "")


# rule 20
def test_what_calls_print_arrives_as_whole_lines(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    chatter = """
def chatter(letter):
    for number in range(2000):
        print(f"{letter}{number:04}", letter * 74)
"""
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        for letter in "ab":
            runner.submit(chatter, letter, worker="process")
asyncrun.run(main)
"""
    child = start(program(tmp_path, chatter, main))
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    lines = output.splitlines()
    for letter in "ab":
        wanted = [f"{letter}{number:04} {letter * 74}" for number in range(2000)]
        assert [line for line in lines if line.startswith(letter)] == wanted
    assert len(lines) == 4000


# rule 20
def test_a_call_prints_what_has_no_end_of_line_and_reads_nothing(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    functions = """
def ask():
    print("no end", end="")
    print("error", file=sys.stderr, end="")
    return sys.stdin.read(), os.read(0, 10)
"""
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        answer = await runner.run_sync(ask, worker="process")
        say(" of line", answer, sys.stdin.readline())
asyncrun.run(main)
"""
    child = start(program(tmp_path, functions, main))
    assert child.process.stdin is not None
    child.process.stdin.write("for the parent")
    child.process.stdin.close()
    child.process.stdin = None
    assert child.finish() == (0, "no end of line ('', b'') for the parent\n", "error")


SHARED = """
import multiprocessing
from multiprocessing import shared_memory

def share(*things):
    global lock, queue, value, memory
    lock, queue, value, memory = things

def use(number):
    with lock:
        value.value += number
        memory.buf[number] = number
    queue.put(number)

def attach(name):
    block = shared_memory.SharedMemory(name=name)
    got = bytes(block.buf[:10])
    block.close()
    return got

def create():
    block = shared_memory.SharedMemory(create=True, size=10)
    block.buf[0] = 7
    block.close()
    return block.name
"""


def test_locks_queues_values_and_memory_are_shared_with_workers(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
context = multiprocessing.get_context("spawn")
memory = shared_memory.SharedMemory(create=True, size=10)
things = context.Lock(), context.Queue(), context.Value("i", 0), memory
async def main():
    workers = ProcessWorkers(2, initializer=share, initargs=things)
    async with Runner() as runner:
        async with runner.map(use, range(10), worker=workers) as results:
            async for _ in results:
                pass
        say(sorted(things[1].get() for _ in range(10)) == list(range(10)), things[2].value)
        say(bytes(memory.buf[:10]) == bytes(range(10)))
        say(await runner.run_sync(attach, memory.name, worker=workers) == bytes(range(10)))
        theirs = shared_memory.SharedMemory(await runner.run_sync(create, worker=workers))
    say(theirs.buf[0])
    theirs.close()
    theirs.unlink()
asyncrun.run(main)
memory.close()
memory.unlink()
"""
    child = start(program(tmp_path, SHARED, main))
    assert child.finish() == (0, "True 45\nTrue\nTrue\n7\n", "")


def test_a_lock_cannot_be_an_argument_of_a_call(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    async with Runner() as runner:
        try:
            await runner.run_sync(print, multiprocessing.Lock(), worker="process")
        except TypeError as exc:
            say(exc)
asyncrun.run(main)
"""
    status, output, errors = start(program(tmp_path, SHARED, main)).finish()
    assert (status, errors) == (0, "")
    assert output.startswith("an argument of print() cannot be pickled: RuntimeError: Lock objects")


CHILDREN = """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)

def own(kind):
    with multiprocessing.get_context(kind).Pool(2) as pool:
        return pool.map(double, range(10))

def fork():
    if (pid := os.fork()) == 0:
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def shell():
    return subprocess.run(["echo", "there"], capture_output=True, check=True).stdout

async def nested():
    async with Runner(max_processes=1) as runner:
        return await runner.run_sync(double, 21, worker="process")

def inner():
    return anyio.run(nested)
"""


@pytest.mark.parametrize(
    ("call", "args", "result"),
    [
        ("own", ("fork",), list(range(0, 20, 2))),
        ("own", ("spawn",), list(range(0, 20, 2))),
        ("shell", (), b"there\n"),
        ("inner", (), 42),
    ],
    ids=["fork", "spawn", "subprocess", "runner"],
)
def test_a_call_may_have_children_of_its_own(
    start: Callable[..., Child], tmp_path: Path, call: str, args: tuple[str], result: object
) -> None:
    main = f"""
async def main():
    async with Runner() as runner:
        say(await runner.run_sync({call}, *{args!r}, worker="process") == {result!r})
        await work(runner, 100)
asyncrun.run(main)
"""
    child = start(program(tmp_path, CHILDREN, main))
    assert child.finish() == (0, "True\nall right\n", "")


def test_a_forked_child_of_the_parent_may_end_freely(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        await work(runner, 100)
        if (pid := os.fork()) == 0:
            os._exit(5)
        await work(runner, 100)
        say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        say(await runner.run_sync(fork))
        say(await runner.run_sync(own, "fork") == list(range(0, 20, 2)))
        await work(runner, 100)
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, CHILDREN, main), backend)
    right = "all right\n"
    assert child.finish() == (0, f"{right}{right}5\n5\nTrue\n{right}", "")


def test_a_fork_in_a_call_that_does_not_end_where_it_should_answers_nothing(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    stray = """
def stray():
    return (os.fork() == 0) + 1
"""
    main = """
async def main():
    async with Runner(max_processes=1) as runner:
        for _ in range(3):
            say(await runner.run_sync(stray, worker="process"))
        await work(runner, 100)
asyncrun.run(main)
"""
    child = start(program(tmp_path, CHILDREN + stray, main))
    assert child.finish() == (0, "1\n1\n1\nall right\n", "")


def test_a_runner_may_be_in_another_thread_and_there_may_be_more_than_one(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    main = """
async def main():
    async with Runner(max_processes=1) as first, Runner(max_processes=1) as second:
        async with anyio.create_task_group() as group:
            for runner in (first, second):
                group.start_soon(work, runner, 200)
threads = [threading.Thread(target=anyio.run, args=(main,), kwargs=run_options) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
asyncrun.run(main, **run_options)
"""
    child = start(program(tmp_path, "", main), backend)
    assert child.finish() == (0, "all right\n" * 6, "")


# rule 19
def test_a_thread_whose_runner_has_workers_may_end_before_the_program(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    main = """
async def main():
    async with Runner(max_processes=2) as runner:
        await runner.run_sync(double, 1)
        await anyio.sleep(0)
        pid = await runner.run_sync(os.getpid, worker="process")
        for _ in range(5):  # whichever thread it was that has started the process
            with CancelScope() as scope:
                scope.cancel()
                await runner.run_sync(time.sleep, 0)
        say(pid == await runner.run_sync(os.getpid, worker="process"))
thread = threading.Thread(target=partial(anyio.run, main))
thread.start()
thread.join()
"""
    child = start(program(tmp_path, "", main))
    assert child.finish() == (0, "True\n", "")
