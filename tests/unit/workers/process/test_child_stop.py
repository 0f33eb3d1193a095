"""WorkerMain, run in this process: the thread that hears its parent, and how calls stop."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from typing import Any

import pytest

from asyncrun import Stopped, safe_point, stop_token
from asyncrun._core.current import current_token
from asyncrun._workers.process.child import parent_watch
from asyncrun._workers.process.child.parent_watch import watch
from asyncrun._workers.process.ipc.framing import Decoder, Frame, encode
from asyncrun._workers.process.ipc.protocol import Code
from asyncrun._workers.remote.serialization import raise_error
from tests.unit.workers.process.parent_ends import PATIENCE, Worker, add, received, serve, stopping


def listen(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, group: int = 0, pid: int = 1
) -> list[object]:
    """Run the listener until its parent is gone; give whom it kills then."""
    killed: list[object] = []

    def kill(*args: object) -> None:
        killed.append(args)

    monkeypatch.setattr(parent_watch, "_group", lambda: group)
    monkeypatch.setattr(parent_watch, "_kill", kill)
    monkeypatch.setattr(parent_watch, "_leave", killed.append)
    worker.control.shutdown(socket.SHUT_WR)
    watch(worker.heard.recv, [worker.serving.hear], pid)
    return killed


# rule 18
def test_a_call_that_was_asked_to_stop_before_it_began_does_not(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for content in encode(Frame(1, True, "zu spät".encode())):
        worker.control.sendall(content)
    assert listen(worker, monkeypatch) == [1]  # it does not lead this process group
    worker.call(1, add, 1)
    worker.call(2, add, 2)
    serve(worker)
    key, code, content = worker.answer()
    assert (key, code) == (1, Code.RAISED)
    with pytest.raises(Stopped, match="zu spät"):
        raise_error(content, "add()")
    assert worker.answer() == (2, Code.RETURNED, 2)


# rule 19
def test_when_the_parent_is_gone_all_of_the_group_ends(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert listen(worker, monkeypatch, group=7, pid=7) == [(0, signal.SIGKILL), 1]


# rule 19
def test_when_the_way_to_the_parent_breaks_all_ends_as_well(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.heard.settimeout(0)
    ended: list[int] = []
    monkeypatch.setattr(parent_watch, "_group", int)
    monkeypatch.setattr(parent_watch, "_leave", ended.append)
    watch(worker.heard.recv, [], 1)
    assert ended == [1]


# rule 2
def test_what_is_asked_may_come_in_any_pieces(worker: Worker) -> None:
    content = b"".join(encode(Frame(9, True, b"a" * 100_000)))
    for start in range(0, len(content), 65_536):
        worker.serving.hear(content[start : start + 65_536])
    assert received(worker.control, Decoder()).call_id == 9
    assert worker.serving._stopped == {9: "a" * 100_000}


INSIDE = threading.Event()


def wait_heeding() -> tuple[bool, str | None]:
    safe_point()
    INSIDE.set()
    stop_token().wait(PATIENCE)
    return stopping()


def wait_deaf() -> None:
    INSIDE.set()
    token = current_token.get()
    while not token._set:
        threading.Event().wait(0.001)


def fail_twice() -> None:
    INSIDE.set()
    with stop_token().on_stop(sys.exit, 3):
        stop_token().wait(PATIENCE)


# rules 2 and 18
@pytest.mark.parametrize(
    ("job", "is_cooperative"), [(wait_heeding, True), (wait_deaf, False), (fail_twice, True)]
)
def test_a_call_that_runs_is_told_and_it_is_said_whether_it_heeds(
    worker: Worker, job: Any, is_cooperative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parent_watch, "_leave", print)
    INSIDE.clear()
    serving = worker.serving
    worker.call(1, job)
    worker.call(2, add, 2)
    worker.calls.shutdown(socket.SHUT_WR)
    listener = threading.Thread(target=watch, args=(worker.heard.recv, [serving.hear], 1))
    runner = threading.Thread(target=serving.call_loop)
    listener.start()
    runner.start()
    assert INSIDE.wait(PATIENCE)
    assert worker.ask(1, b"enough") is is_cooperative
    key, _, result = worker.answer()
    assert key == 1
    assert job is not wait_heeding or result == (True, "enough")
    assert worker.answer()[0] == 2
    assert worker.ask(1)  # it has ended: its answer is on its way
    assert worker.ask(9)
    assert worker.ask(10)
    runner.join(PATIENCE)
    worker.control.shutdown(socket.SHUT_RDWR)
    listener.join(PATIENCE)


def test_who_is_to_stop_is_remembered_until_its_turn_is_over(worker: Worker) -> None:
    for key in (1, 2, 9):
        worker.serving._stop(Frame(key, 0, b""))
    for key in (1, 2, 3):
        worker.call(key, add, key)
    serve(worker)
    assert [worker.answer()[1] for _ in range(3)] == [Code.RAISED, Code.RAISED, Code.RETURNED]
    worker.serving._stop(Frame(10, 0, b""))
    assert list(worker.serving._stopped) == [9, 10]
