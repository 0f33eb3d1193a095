"""How a process dies: rules 14 and 17, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.snippets import HEAD, LAST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.measured

BOTH = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])


# rule 14
def test_a_file_buffered_around_run_is_whole(
    start: Callable[..., Child], backend: str, tmp_path: Path
) -> None:
    path = tmp_path / "log"
    child = start(
        HEAD
        + f"""
async def main():
    log.write("text")
    say("ready")
    await sleep_forever()
with open({str(path)!r}, "w") as log:
    asyncrun.run(main, **run_options)
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGTERM)
    assert child.finish()[0] == -signal.SIGTERM
    assert path.read_text() == "text"


# rule 14
def test_a_program_that_is_pid_1_exits_with_128_and_the_signal(start: Callable[..., Child]) -> None:
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine permits no new PID namespace")
    code = """
async def main():
    assert os.getpid() == 1
    say("ready")
    await sleep_forever()
asyncrun.run(main)
"""
    exec_unshare = (
        f"import os; os.execvp('unshare', {[*unshare, sys.executable, '-c', HEAD + code]!r})"
    )
    child = start(exec_unshare)
    child.expect()
    pid = child.process.pid
    (inner,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    os.kill(int(inner), signal.SIGINT)
    assert child.finish() == (128 + signal.SIGINT, "", LAST_LINE)


# rule 14
def test_the_calling_shell_loop_stops_too(start: Callable[..., Child]) -> None:
    code = "async def main():\n    say('ready')\n    await sleep_forever()\nasyncrun.run(main)"
    loop = f'for i in 1 2 3; do "{sys.executable}" -c "$PROGRAM"; done; echo not reached'
    child = start(
        f"import os; os.execvp('bash', ['bash', '-c', {loop!r}])",
        env=os.environ | {"PROGRAM": HEAD + code},
    )
    child.expect()
    os.killpg(child.process.pid, signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", LAST_LINE)


# rule 14
def test_an_interactive_interpreter_goes_on(start: Callable[..., Child]) -> None:
    child = start("import os, sys; os.execv(sys.executable, [sys.executable, '-i', '-q', '-'])")
    assert child.process.stdin is not None
    child.process.stdin.write(
        "import asyncrun, anyio, os, signal\n"
        "async def main(): print('ready', flush=True); await anyio.sleep_forever()\n\n"
        "asyncrun.run(main)\n"
        "print('still here', signal.getsignal(2) is signal.default_int_handler)\n"
        "exit()\n"
    )
    child.process.stdin.flush()
    child.expect()
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    # Python 3.14 ends by SIGINT after `exit()` if there has been any uncaught KeyboardInterrupt.
    plain = start("import os, sys; os.execv(sys.executable, [sys.executable, '-i', '-q', '-'])")
    assert plain.process.stdin is not None
    plain.process.stdin.write("raise KeyboardInterrupt\nexit()\n")
    plain.process.stdin.flush()
    assert (status, output) == (plain.finish()[0], "still here True\n")
    assert errors.replace(">>> ", "").replace("... ", "") == LAST_LINE


# rule 14
def test_the_programs_own_excepthook_gets_all_other_exceptions(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
sys.excepthook = lambda kind, exc, traceback: say("hook got", exc)
async def main():
    os.kill(os.getpid(), signal.SIGINT)
    await sleep_forever()
for _ in range(2):
    try:
        asyncrun.run(main)
    except asyncrun.Interrupted:
        pass
raise ValueError("mine")
"""
    )
    assert child.finish() == (1, "hook got mine\n", "")


# rule 14
@pytest.mark.parametrize("close", ["os.close(2)", "sys.stderr.close()", "sys.stderr = None"])
def test_a_closed_standard_error_is_no_second_failure(
    start: Callable[..., Child], close: str
) -> None:
    child = start(
        HEAD
        + f"""
async def main():
    {close}
    say("ready")
    await sleep_forever()
asyncrun.run(main)
"""
    )
    child.expect()
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", "")


HANGS = {
    "in main": """
async def main():
    say("ready")
    with CancelScope(shield=True):
        await sleep_forever()
asyncrun.run(main, exit_timeout=0.1, **run_options)
""",
    "in an exit handler": """
atexit.register(lambda: time.sleep(60))
async def main():
    say("ready")
    await sleep_forever()
asyncrun.run(main, exit_timeout=0.1, **run_options)
""",
    "after it was caught": """
async def main():
    say("ready")
    await sleep_forever()
try:
    asyncrun.run(main, exit_timeout=0.1, **run_options)
except asyncrun.Interrupted:
    time.sleep(60)
""",
}


# rule 17
@BOTH
@pytest.mark.parametrize("hang", list(HANGS))
def test_exit_timeout_dumps_the_stacks_and_ends_the_process_by_the_signal(
    start: Callable[..., Child], backend: str, hang: str, signum: signal.Signals
) -> None:
    child = start(HEAD + HANGS[hang], backend)
    child.expect()
    child.send(signum)
    status, _, errors = child.finish()
    assert status == -signum
    assert f"asyncrun: still here 0.1 s after {signum.name}; the stacks of all threads:" in errors
    assert "most recent call first" in errors
    assert 'File "<string>"' in errors


# rule 17
def test_exit_timeout_dumps_the_stacks_where_there_are_no_files_in_memory(
    start: Callable[..., Child],
) -> None:
    child = start(HEAD + "if hasattr(os, 'memfd_create'): del os.memfd_create\n" + HANGS["in main"])
    child.expect()
    child.send(signal.SIGINT)
    status, _, errors = child.finish()
    assert status == -signal.SIGINT
    assert "most recent call first" in errors


# rule 17
def test_exit_timeout_does_nothing_without_a_signal(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
async def main():
    return "done"
say(asyncrun.run(main, exit_timeout=0.001))
assert not [thread for thread in threading.enumerate() if "exit_timeout" in thread.name]
"""
    )
    status, output, errors = child.finish()
    assert (status, output) == (0, "done\n"), errors
