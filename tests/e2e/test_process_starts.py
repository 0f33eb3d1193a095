"""How worker processes start, and what happens when they cannot: in programs of every form."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import HEAD, PROCESSES, marked, program

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.measured

NOT = "WorkerStartError no worker process could be started for double: "


def test_a_missing_interpreter_is_the_error_of_the_call(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "failing_start.py", "asyncio", "interpreter", "/no/such/python")
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    first, cause, last = output.splitlines()
    assert first.startswith(f"{NOT}[Errno 2] No such file or directory: ")
    assert "/no/such/python" in first
    assert cause.startswith("FileNotFoundError(")
    assert last == "calls 0"


def test_an_interpreter_that_is_none_is_the_error_of_the_call(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "failing_start.py", "asyncio", "interpreter", "/bin/false")
    said = f"{NOT}it ended with status 1 as it began\nNone\ncalls 0\n"
    assert child.finish() == (0, said, "")


@pytest.mark.parametrize("what", ["descriptors", "processes"])
def test_a_worker_that_the_system_refuses_is_the_error_of_the_call(
    start: Callable[..., Child], what: str
) -> None:
    environment = dict(os.environ)
    environment.pop("COVERAGE_PROCESS_CONFIG", None)  # which writes files, as another user too
    child = start(PROCESSES / "refused_worker.py", "asyncio", what, env=environment)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    number = errno.EMFILE if what == "descriptors" else errno.EAGAIN
    refusal = f"{NOT}[Errno {number}] {os.strerror(number)}"
    assert output.splitlines() == [refusal, refusal, "calls 0"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("raise LookupError('no such shop')", "LookupError: no such shop"),
        ("sys.exit(3)", "SystemExit: 3"),
    ],
)
def test_an_initializer_that_raises_is_the_error_of_the_call(
    start: Callable[..., Child], what: str, said: str
) -> None:
    child = start(PROCESSES / "failing_start.py", "asyncio", "initializer", what)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    first, cause, last = output.splitlines()
    assert first == f"{NOT}there the initializer bad() raised {said}"
    assert cause in {"LookupError('no such shop')", "SystemExit(3)"}
    assert last == "calls 0"


@pytest.mark.parametrize(
    ("what", "how"),
    [
        ("os._exit(7)", "ended with status 7"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL; is there memory enough?"),
    ],
)
@pytest.mark.parametrize("where", ["initializer", "main module"])
def test_a_worker_that_dies_as_it_begins_is_the_error_of_the_call(
    start: Callable[..., Child], what: str, how: str, where: str
) -> None:
    child = start(PROCESSES / "failing_start.py", "asyncio", where, what)
    assert child.finish() == (0, f"{NOT}it {how} as it began\nNone\ncalls 0\n", "")


def test_an_error_of_a_worker_that_cannot_start_ends_a_map(start: Callable[..., Child]) -> None:
    child = start(PROCESSES / "failing_start_for_a_map.py")
    said = "there the initializer bad() raised LookupError: no such shop"
    assert child.finish() == (0, f"{NOT.removeprefix('WorkerStartError ')}{said}\n", "")


def test_a_main_module_that_raises_in_a_worker_is_the_error_of_the_call(
    start: Callable[..., Child],
) -> None:
    what = "raise LookupError(__name__)"
    child = start(PROCESSES / "failing_start.py", "asyncio", "main module", what)
    said = "there the main module raised LookupError: __mp_main__"
    cause = "LookupError('__mp_main__')"
    assert child.finish() == (0, f"{NOT}{said}\n{cause}\ncalls 0\n", "")


def test_a_main_module_without_a_guard_is_told_so_and_starts_no_more(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    path = tmp_path / "program.py"
    main = """
say("imported")
async def main():
    async with Runner() as runner:
        await runner.run_sync(double, 1, worker="process")
asyncrun.run(main)
"""
    path.write_text(HEAD + main)
    mark = f"ASYNCRUN_TEST_MARK={time.monotonic_ns()}"
    child = start(path, env=os.environ | dict([mark.split("=")]))
    status, output, errors = child.finish()
    assert (status, output) == (1, "imported\n" * 2)
    # Before Python 3.13 a line is drawn below it.
    *_, last = (line for line in errors.splitlines() if line.strip(" +-"))
    assert "put what starts it below `if __name__ == '__main__':`" in last
    assert not marked(mark)


# Programs of different forms

WORKS = """
async def main():
    async with Runner(max_processes=2) as runner:
        await work(runner, 100)
asyncrun.run(main, **run_options)
"""


def test_a_script_may_be_given_by_a_relative_path_from_another_folder(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    program(tmp_path, "", "os.chdir('/')\n" + WORKS)
    child = start(Path("program.py"), cwd=tmp_path)
    assert child.finish() == (0, "all right\n", "")


def python(start: Callable[..., Child], *args: str, **options: object) -> Child:
    """Start an interpreter with these arguments."""
    become = "import os, sys; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    return start(become, *args, **options)


def test_a_module_of_a_package_works(start: Callable[..., Child], tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    program(tmp_path / "package", "from . import __name__ as package\n", WORKS)
    child = python(start, "-m", "package.program", cwd=tmp_path)
    assert child.finish() == (0, "all right\n", "")


@pytest.mark.parametrize("is_hidden", [False, True])
@pytest.mark.parametrize("form", ["-c", "-", "folder", "-m"])
def test_a_program_without_a_name_calls_functions_of_modules_and_by_cloudpickle_its_own(
    start: Callable[..., Child],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    is_hidden: bool,
) -> None:
    (tmp_path / "tools.py").write_text("def triple(n): return 3 * n\n")
    (tmp_path / "folder").mkdir()
    code = (PROCESSES / "without_a_name.py").read_text()
    (tmp_path / "folder" / "__main__.py").write_text(code)
    if is_hidden:
        (tmp_path / "hidden").mkdir()
        (tmp_path / "hidden" / "cloudpickle.py").write_text("raise ImportError")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "hidden"), prepend=os.pathsep)
    if form == "-c":
        child = python(start, "-c", code, cwd=tmp_path)
    elif form in {"folder", "-m"}:
        child = python(start, *(["-m"] if form == "-m" else []), "folder", cwd=tmp_path)
    else:
        (tmp_path / "program").write_text(code)
        with (tmp_path / "program").open() as file:
            child = python(start, "-", cwd=tmp_path, stdin=file)
    status, output, errors = child.finish()
    assert (status, errors) == (0, "")
    first, *middle, last = output.splitlines()
    assert (first, last) == ("6", "9")
    if is_hidden:
        (error,) = middle
        assert "cannot be unpickled" in error
        assert "with the extra asyncrun[cloudpickle] also" in error
    else:
        assert middle == ["True 4", "-1"]


PROMPT = """
from asyncrun.futures import ProcessPoolExecutor
if True:
    offset = 3
    executor = ProcessPoolExecutor(2)

def add(number):
    return number + offset

print(list(executor.map(add, range(3))), list(executor.map(lambda n: -n, range(3))))
executor.shutdown()
"""


def test_a_prompt_needs_no_guard_and_sends_what_is_defined_there(
    start: Callable[..., Child], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text("def add(number): return 'the wrong one'\n")
    for script in ([], ["script.py"]):
        child = python(start, "-i", *script, cwd=tmp_path)
        status, output, errors = child.finish(PROMPT)
        assert (status, output) == (0, "[3, 4, 5] [0, -1, -2]\n"), errors
