"""The entry point and signals: DESIGN.md's rules 13 to 17, in real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

HEAD = """
import atexit, os, signal, sys, threading, time
import anyio, asyncrun
from anyio import CancelScope, get_cancelled_exc_class, sleep_forever

def say(*words):
    print(*words, flush=True)

run_options = {
    "asyncio": {},
    "uvloop": {"backend_options": {"use_uvloop": True}},
    "trio": {"backend": "trio"},
}[sys.argv[1] if len(sys.argv) > 1 else "asyncio"]
"""
BOTH = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
LAST_LINE = "asyncrun: interrupted by SIGINT\n"


# rule 13
@BOTH
def test_main_is_cancelled_and_run_raises_interrupted_when_it_has_unwound(
    start: Callable[..., Child], backend: str, signum: signal.Signals
) -> None:
    child = start(
        HEAD
        + """
async def main():
    try:
        say("ready")
        await sleep_forever()
    except get_cancelled_exc_class():
        with CancelScope(shield=True):
            await anyio.sleep(0)
        say("unwound")
        raise
try:
    asyncrun.run(main, **run_options)
except asyncrun.Interrupted as exc:
    say(repr(exc.signum), exc, exc.__cause__, isinstance(exc, KeyboardInterrupt))
sys.exit(7)
""",
        backend,
    )
    child.expect()
    child.send(signum)
    status, output, errors = child.finish()
    said = f"unwound\n{signum!r} interrupted by {signum.name} None True\n"
    assert (status, output, errors) == (7, said, "")


# rule 13
def test_interrupted_comes_even_if_main_returns(start: Callable[..., Child], backend: str) -> None:
    child = start(
        HEAD
        + """
async def main():
    with CancelScope() as scope:
        say("ready")
        try:
            await sleep_forever()
        except get_cancelled_exc_class():
            pass
    return "done"
asyncrun.run(main, **run_options)
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", LAST_LINE)


# rule 13
def test_an_error_that_main_raises_while_unwinding_is_the_cause(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
async def main():
    try:
        say("ready")
        await sleep_forever()
    finally:
        raise ValueError("disk full")
try:
    asyncrun.run(main, **run_options)
except asyncrun.Interrupted as exc:
    say(repr(exc.__cause__))
    raise
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGINT)
    line = "asyncrun: interrupted by SIGINT; as it ended, ValueError: disk full\n"
    assert child.finish() == (-signal.SIGINT, "ValueError('disk full')\n", line)


# rule 13
def test_a_signal_before_main_begins_is_not_lost(start: Callable[..., Child], backend: str) -> None:
    child = start(
        HEAD
        + """
import asyncrun._entry
supervise = asyncrun._entry._Signals.supervise
async def late(self, main, args):
    os.kill(os.getpid(), signal.SIGINT)
    return await supervise(self, main, args)
asyncrun._entry._Signals.supervise = late
async def main():
    await anyio.sleep(0)
    say("not reached")
asyncrun.run(main, **run_options)
""",
        backend,
    )
    assert child.finish() == (-signal.SIGINT, "", LAST_LINE)


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
    assert (status, output) == (0, "still here True\n")
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


# rule 15
@BOTH
def test_a_second_signal_ends_the_process_at_once_even_if_the_loop_is_blocked(
    start: Callable[..., Child], backend: str, signum: signal.Signals
) -> None:
    child = start(
        HEAD
        + """
atexit.register(say, "not reached")
async def main():
    say("ready")
    try:
        await sleep_forever()
    finally:
        say("unwinding")
        time.sleep(60)
asyncrun.run(main, **run_options)
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGINT)
    child.expect("unwinding")
    child.send(signum)
    assert child.finish() == (-signum, "", "")


# rule 15
def test_a_second_signal_during_the_grace_ends_the_process_at_once(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
def look_once():
    asyncrun.safe_point()
    say("ready")
    asyncrun.stop_token().wait()
    say("asked")
    time.sleep(60)
async def main():
    async with asyncrun.Runner(grace=60) as runner:
        await runner.run_sync(look_once)
asyncrun.run(main, **run_options)
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGINT)
    child.expect("asked")
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", "")


# rule 15
def test_a_second_signal_ends_an_exit_handler_that_hangs(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
@atexit.register
def hang():
    say("hanging")
    time.sleep(60)
async def main():
    say("ready")
    await sleep_forever()
asyncrun.run(main)
"""
    )
    child.expect()
    child.send(signal.SIGINT)
    child.expect("hanging")
    child.send(signal.SIGINT)
    assert child.finish() == (-signal.SIGINT, "", LAST_LINE)


# rule 16
def test_an_ignored_signal_stays_ignored_and_the_other_one_works(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
""",
        "-c",
        HEAD
        + """
async def main():
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    os.kill(os.getpid(), signal.SIGINT)
    say("ready")
    await sleep_forever()
asyncrun.run(main, **run_options)
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGTERM)
    assert child.finish() == (-signal.SIGTERM, "", "asyncrun: interrupted by SIGTERM\n")


# rule 16
def test_the_programs_own_handlers_are_respected_and_ours_are_taken_back(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
def mine(signum, frame):
    say("mine")
signal.signal(signal.SIGTERM, mine)
async def main(end):
    assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    os.kill(os.getpid(), signal.SIGTERM)
    if end:
        os.kill(os.getpid(), signal.SIGINT)
        await sleep_forever()
def check():
    assert signal.getsignal(signal.SIGTERM) is mine
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
asyncrun.run(main, False, **run_options)
check()
try:
    asyncrun.run(main, True, **run_options)
except asyncrun.Interrupted:
    check()
    say("interrupted")
""",
        backend,
    )
    assert child.finish() == (0, "mine\nmine\ninterrupted\n", "")


# rule 16
def test_a_handler_that_main_sets_is_left_in_place(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
async def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
asyncrun.run(main)
assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""
    )
    assert child.finish() == (0, "", "")


# rule 16
def test_outside_the_main_thread_and_in_an_embedded_runner_no_handler_is_touched(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
def check():
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == before
async def main():
    async with asyncrun.Runner() as runner:
        await runner.run_sync(check)
    return "done"
def elsewhere():
    say(asyncrun.run(main, exit_timeout=1, **run_options))
thread = threading.Thread(target=elsewhere)
thread.start()
thread.join()
""",
        backend,
    )
    assert child.finish() == (0, "done\n", "")


def test_a_forked_child_gets_what_the_program_would_have_had(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
async def main():
    pid = os.fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    _, status = os.waitpid(pid, 0)
    say(os.waitstatus_to_exitcode(status))
    await anyio.sleep(0)
    return "not cancelled"
say(asyncrun.run(main))
"""
    )
    assert child.finish() == (0, f"{-signal.SIGTERM}\nnot cancelled\n", "")


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


def test_run_passes_arguments_and_gives_the_result(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD + "async def main(*args): return args\nsay(asyncrun.run(main, 1, 2, **run_options))",
        backend,
    )
    assert child.finish() == (0, "(1, 2)\n", "")


# rule 12
def test_a_second_ctrl_c_in_an_on_stop_callback_leaves_the_group_in_order(
    start: Callable[..., Child], backend: str
) -> None:
    child = start(
        HEAD
        + """
def hang():
    say("halting")
    time.sleep(60)
def call():
    with asyncrun.stop_token().on_stop(hang):
        say("ready")
        time.sleep(60)
async def main():
    async with asyncrun.Runner(grace=0) as runner:
        await runner.run_sync(call)
anyio.run(main, **run_options)
""",
        backend,
    )
    child.expect()
    child.send(signal.SIGINT)
    child.expect("halting")
    child.send(signal.SIGINT)
    status, _, errors = child.finish()
    assert status == -signal.SIGINT, errors
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
