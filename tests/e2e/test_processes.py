"""Programs with worker processes: rules 18 and 20, and what calls may do there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import PROCESSES, all_gone, numbers, program

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
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROCESSES / "unsendable_calls.py", backend)
    said = "PicklingFailedError\nPicklingFailedError\nTypeError\n" * 3 + "True\n"
    assert child.finish() == (0, said, "")


# rules 9 and 18
def test_one_of_many_calls_that_fails_ends_the_runner_at_once(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROCESSES / "failing_call.py", backend)
    assert child.finish() == (0, "True\n", "")


# rule 18
def test_items_behind_a_slow_one_go_to_another_process(
    start: Callable[..., Child], tmp_path: Path, backend: str
) -> None:
    child = start(PROCESSES / "slow_item.py", backend, str(tmp_path / "go"))
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


@pytest.mark.measured
def test_locks_queues_values_and_memory_are_shared_with_workers(
    start: Callable[..., Child],
) -> None:
    child = start(PROCESSES / "shared_things.py")
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
    status, output, errors = start(program(tmp_path, "import multiprocessing", main)).finish()
    assert (status, errors) == (0, "")
    assert output.startswith("an argument of print() cannot be pickled: RuntimeError: Lock objects")


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
    start: Callable[..., Child], call: str, args: tuple[str], result: object
) -> None:
    child = start(PROCESSES / "calls_with_children.py", "asyncio", call, *args)
    assert child.finish() == (0, f"{result!r}\nall right\n", "")


def test_a_forked_child_of_the_parent_may_end_freely(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROCESSES / "parent_that_forks.py", backend)
    right = "all right\n"
    assert child.finish() == (0, f"{right}{right}5\n5\nTrue\n{right}", "")


def test_a_fork_in_a_call_that_does_not_end_where_it_should_answers_nothing(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    stray = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)
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
    child = start(program(tmp_path, stray, main))
    assert child.finish() == (0, "1\n1\n1\nall right\n", "")


def test_a_runner_may_be_in_another_thread_and_there_may_be_more_than_one(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(PROCESSES / "runners_in_threads.py", backend)
    assert child.finish() == (0, "all right\n" * 6, "")


# rule 19
def test_a_thread_whose_runner_has_workers_may_end_before_the_program(
    start: Callable[..., Child],
) -> None:
    child = start(PROCESSES / "thread_that_ends.py")
    assert child.finish() == (0, "True\n", "")
