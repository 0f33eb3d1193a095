"""A program under the launcher is what it is under plain Python."""

from __future__ import annotations

import os
import py_compile
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import PATIENCE, PROGRAMS

pytestmark = pytest.mark.measured

TARGETS: Final = {
    "script": ["program.py"],
    "script in a folder": ["./package/program.py"],
    "compiled": ["compiled.pyc"],
    "module": ["-m", "program"],
    "module in a package": ["-m", "package.program"],
    "package": ["-m", "package"],
    "directory": ["package"],
    "zip file": ["archive.zip"],
    "standard input": ["-"],
}
ENDINGS: Final = (
    "return",
    "status 0",
    "status 3",
    "text",
    "error",
    "os._exit",
    "SIGTERM",
    "interrupt",
    "caught",
)
FLAGS: Final = ("-P", "-I", "-W error", "-X dev", "-B -u", "-O")


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Return a folder with the same program in each form."""
    source = PROGRAMS / "seen_by_a_program.py"
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for name in ("program.py", "package/__main__.py", "package/program.py"):
        shutil.copy(source, tmp_path / name)
    py_compile.compile(str(source), str(tmp_path / "compiled.pyc"), "program.py")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        archive.write(source, "__main__.py")
    return tmp_path


def run(
    folder: Path, *command: str, script: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run an interpreter in a folder, with a script as its standard input."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        input="" if script is None else script.read_text(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )


def both(
    folder: Path, flags: list[str], target: list[str], *args: str
) -> list[subprocess.CompletedProcess[str]]:
    script = folder / "program.py" if target == ["-"] else None
    return [
        run(folder, *flags, *launcher, *target, *args, script=script)
        for launcher in ([], ["-m", "asyncrun"])
    ]


@pytest.mark.parametrize(
    ("target", "ending"),
    [
        pytest.param(
            target,
            ending,
            marks=()
            if target == "script" or ending in ("error", "interrupt")
            else pytest.mark.exhaustive,
        )
        for target in TARGETS
        for ending in ENDINGS
    ],
)
def test_a_program_sees_and_does_the_same(programs: Path, target: str, ending: str) -> None:
    plain, ours = both(programs, [], TARGETS[target], ending, "-x", "--only")
    assert ours.returncode == plain.returncode
    assert ours.stdout == plain.stdout
    if ending == "interrupt":
        assert plain.returncode == -signal.SIGINT
        assert ours.stderr == "on standard error\nasyncrun: interrupted by SIGINT\n"
    else:
        assert ours.stderr == plain.stderr


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(each, marks=() if each in {"-P", "-I"} else pytest.mark.exhaustive)
        for each in FLAGS
    ],
)
def test_flags_of_the_interpreter_mean_what_they_mean(
    programs: Path, flags: str, target: str
) -> None:
    plain, ours = both(programs, flags.split(), TARGETS[target], "error")
    assert ours.returncode == plain.returncode
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr


BAD: Final = {
    "no such file": ["missing.py"],
    "no such folder": ["missing/program.py"],
    "a folder without __main__": ["empty"],
    "no such module": ["-m", "missing"],
    "no such submodule": ["-m", "package.missing"],
    "a package without __main__": ["-m", "without_main"],
    "not a module": ["-m", "plain.py"],
    "a syntax error": ["wrong.py"],
    "a syntax error in a module": ["-m", "wrong"],
    "null bytes": ["null.py"],
    "no encoding": ["latin.py"],
    "a wrong encoding": ["encoding.py"],
    "no such encoding": ["unknown.py"],
    "a wrong escape": ["escape.py"],
    "not bytecode": ["text.pyc"],
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_program_is_refused_as_python_refuses_it(programs: Path, case: str) -> None:
    (programs / "empty").mkdir()
    (programs / "without_main").mkdir()
    (programs / "without_main" / "__init__.py").touch()
    (programs / "wrong.py").write_text("a = 1\nprint(a\n")
    (programs / "null.py").write_bytes(b"a = 1\nb = 2\0\n")
    (programs / "latin.py").write_bytes(b"# a\nb = '\xe4'\n")
    (programs / "encoding.py").write_bytes(b"# coding: ascii\nb = '\xe4'\n")
    (programs / "unknown.py").write_bytes(b"# coding: nonesuch\nb = 1\n")
    (programs / "escape.py").write_text('a = "\\N{no such name}"\n')
    (programs / "plain.py").touch()
    (programs / "text.pyc").write_text("a = 1\n")
    plain, ours = both(programs, [], BAD[case])
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    assert ours.stderr == plain.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--foo", "program.py"], "unknown option --foo"),
        (["-m"], "Argument expected for the -m option"),
        ([], "a script, a directory, a zip file, -m with a module, or - is required"),
        (["--grace", "-1", "program.py"], "seconds must be 0 or more, was -1"),
        (["--exit-timeout", "nan", "program.py"], "seconds must be 0 or more, was nan"),
        (["--grace", "long", "program.py"], "invalid seconds value: 'long'"),
        (["--only", "fibers", "program.py"], "invalid choice: 'fibers'"),
    ],
)
def test_a_wrong_command_line_is_refused_and_nothing_started(
    programs: Path, arguments: list[str], message: str
) -> None:
    ended = run(programs, "-m", "asyncrun", *arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert message in ended.stderr.splitlines()[0]
    assert "usage: asyncrun [option ...]" in ended.stderr


@pytest.mark.parametrize("flags", [[], ["-P"]])
def test_the_console_script_is_the_same(programs: Path, flags: list[str]) -> None:
    script = str(Path(sys.executable).with_name("asyncrun"))
    plain = run(programs, *flags, "package", "error")
    ours = run(programs, *flags, script, "package", "error")
    assert (ours.returncode, ours.stdout, ours.stderr) == (1, plain.stdout, plain.stderr)


def test_a_hook_that_fails_is_reported_with_what_it_was_called_for(programs: Path) -> None:
    (programs / "hooked.py").write_text("""
import sys
def hook(*args):
    raise KeyError("in the hook")
sys.excepthook = hook
1 / 0
""")
    plain, ours = both(programs, [], ["hooked.py"])
    assert (ours.returncode, ours.stdout, ours.stderr) == (
        plain.returncode,
        plain.stdout,
        plain.stderr,
    )


def test_a_hook_may_exit(programs: Path) -> None:
    (programs / "hooked.py").write_text("""
import sys
sys.excepthook = lambda *args: sys.exit(5)
1 / 0
""")
    plain, ours = both(programs, [], ["hooked.py"])
    assert (ours.returncode, ours.stderr) == (plain.returncode, plain.stderr)


def test_a_reader_that_is_gone_gives_the_same_status(programs: Path) -> None:
    codes: list[int] = []
    for launcher in ([], ["-m", "asyncrun"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, *launcher, "program.py", "return"]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        with subprocess.Popen(
            command, cwd=programs, env=environment, stdout=writer, stderr=subprocess.PIPE
        ) as child:
            os.close(writer)
            _, errors = child.communicate(timeout=PATIENCE)
        codes.append(child.returncode)
        assert b"BrokenPipeError" in errors
    assert codes[0] == codes[1] == 120


def test_an_absolute_path_needs_no_current_directory(programs: Path) -> None:
    script = """
import os, sys
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
    (programs / "leaves.py").write_text(script)
    target = [str(programs / "program.py"), "status 3"]
    plain = run(programs, "leaves.py", *target)
    ours = run(programs, "leaves.py", str(Path(sys.executable).with_name("asyncrun")), *target)
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    assert ours.returncode == 3
