"""The entry point and signals: rules 13, 15 and 16, in real processes."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from tests.conftest import PROGRAMS
from tests.e2e.snippets import HEAD, LAST_LINE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.measured

ALL = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])


# rule 13
@ALL
def test_main_is_cancelled_and_run_raises_interrupted_when_it_has_unwound(
    start: Callable[..., Child], backend: str, signum: signal.Signals
) -> None:
    child = start(PROGRAMS / "unwinds_and_exits.py", backend)
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
    child = start(PROGRAMS / "fails_as_it_unwinds.py", backend)
    child.expect()
    child.send(signal.SIGINT)
    line = "asyncrun: interrupted by SIGINT; as it ended, ValueError: disk full\n"
    assert child.finish() == (-signal.SIGINT, "ValueError('disk full')\n", line)


# rule 13
def test_a_signal_before_main_begins_is_not_lost(start: Callable[..., Child], backend: str) -> None:
    child = start(PROGRAMS / "signal_before_main.py", backend)
    assert child.finish() == (-signal.SIGINT, "", LAST_LINE)


# rule 15
@ALL
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
    child = start(PROGRAMS / "own_handlers.py", backend)
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
    child = start(PROGRAMS / "run_in_a_thread.py", backend)
    assert child.finish() == (0, "done\n", "")


def test_a_forked_child_gets_what_the_program_would_have_had(start: Callable[..., Child]) -> None:
    child = start(
        HEAD
        + """
before = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
async def main():
    if (pid := os.fork()) == 0:
        after = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
        os._exit(after == before and not signal.pthread_sigmask(signal.SIG_BLOCK, []))
    say(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    say(signal.pthread_sigmask(signal.SIG_BLOCK, []))
    os.kill(os.getpid(), signal.SIGINT)
    await anyio.sleep(60)
asyncrun.run(main)
"""
    )
    line = "asyncrun: interrupted by SIGINT\n"
    assert child.finish() == (-signal.SIGINT, "1\nset()\n", line)


@pytest.mark.parametrize("where", ["main", "call"], ids=["one()", "await runner.run_sync(one)"])
def test_a_forked_child_ends_by_a_signal_of_its_first_moment(
    start: Callable[..., Child], where: str
) -> None:
    child = start(PROGRAMS / "forks_ended_at_birth.py", "asyncio", where)
    assert child.finish() == (0, f"{{{-signal.SIGTERM}}}\nnot cancelled\n", "")


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
    child = start(PROGRAMS / "callback_that_hangs.py", backend)
    child.expect()
    child.rest()
    child.send(signal.SIGINT)
    child.expect("halting")
    child.send(signal.SIGINT)
    status, _, errors = child.finish()
    assert status == -signal.SIGINT, errors
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
