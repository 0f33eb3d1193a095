"""WorkerMain, run in this process: how it begins, and why it does not."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from multiprocessing import process
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun._core.current import token_by_thread
from asyncrun._workers.process import spawn
from asyncrun._workers.process.child import main as main_module
from asyncrun._workers.process.child.main import WorkerBootstrap, WorkerMain, _open_socket
from asyncrun._workers.process.child.parent_watch import watch
from asyncrun._workers.process.ipc.framing import Decoder, Frame, encode
from asyncrun._workers.process.ipc.protocol import Code
from asyncrun._workers.remote.serialization import dumps
from tests.unit.workers.process.parent_ends import Worker, fail, received

if TYPE_CHECKING:
    import mmap


def test_a_socket_is_shared_as_the_system_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "fromshare", {b"shared": theirs}.get, raising=False)
    assert _open_socket(b"shared") is theirs
    for end in (ours, theirs):
        end.close()


@pytest.mark.parametrize("initializer", [None, (os.getpid, ())])
def test_it_says_that_it_is_ready(worker: Worker, initializer: object) -> None:
    content = b"" if initializer is None else dumps(initializer, "it")
    worker.send(Frame(0, 0, content))
    assert worker.serving.initialize({})
    assert worker.answer() == (0, Code.READY, b"")


def test_it_says_why_it_is_not(worker: Worker) -> None:
    worker.send(Frame(0, 0, dumps((fail, ()), "it")))
    assert not worker.serving.initialize({})
    frame = received(worker.answers, Decoder())
    assert (frame.code, bytes(frame.extra)) == (Code.RAISED, b"the initializer fail()")


# Python 3.15 misses a spec in what `runpy` runs, as in each child of multiprocessing.
@pytest.mark.filterwarnings("ignore:Module globals is missing a __spec__:DeprecationWarning")
def test_a_main_module_that_fails_is_why_and_may_start_no_process(
    worker: Worker, tmp_path: Any
) -> None:
    main = tmp_path / "main.py"
    main.write_text("raise OSError")
    worker.send(Frame(0, 0, b""))
    here: Any = process.current_process()
    try:
        assert not worker.serving.initialize({"init_main_from_path": str(main)})
        assert here._inheriting
    finally:
        del here._inheriting
    frame = received(worker.answers, Decoder())
    assert (frame.code, bytes(frame.extra)) == (Code.RAISED, b"the main module")


def test_a_parent_that_wants_nothing_gets_nothing(worker: Worker) -> None:
    worker.calls.shutdown(socket.SHUT_WR)
    assert not worker.serving.initialize({})


@pytest.mark.parametrize("has_page", [False, True])
@pytest.mark.parametrize("is_wanted", [False, True])
@pytest.mark.parametrize("interrupt", [signal.default_int_handler, signal.SIG_IGN])
def test_it_begins_as_its_parent_says(
    monkeypatch: pytest.MonkeyPatch, interrupt: Any, is_wanted: bool, has_page: bool
) -> None:
    page = -1
    if has_page:
        page = os.memfd_create("page")
        os.truncate(page, 1)
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", open(os.devnull, "w"))  # noqa: PTH123, SIM115
    started: list[Any] = []

    def start(*args: object) -> None:
        started.append(args)

    monkeypatch.setattr(main_module, "start_watch", start)
    pairs = [socket.socketpair() for _ in range(4)]
    served: list[socket.SocketType] = []

    def keep(
        calls: socket.socket,
        answers: socket.socket,
        control: socket.SocketType,
        credit: socket.socket,
        byte: mmap.mmap | bytearray,
    ) -> WorkerMain:
        served.extend((calls, answers, control, credit))
        return WorkerMain(calls, answers, control, credit, byte)

    monkeypatch.setattr(main_module, "WorkerMain", keep)
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        calls, answers = pairs[0][0], pairs[1][0]
        if is_wanted:
            calls.sendall(encode(Frame(0, 0, b""))[0])
        calls.shutdown(socket.SHUT_WR)
        calls_fd, answers_fd, control_fd, credit_fd = (theirs.detach() for _, theirs in pairs)
        boot = WorkerBootstrap(calls_fd, answers_fd, control_fd, credit_fd, {}, page)
        boot()
        ((func, (recv, hearers, pid)),) = started
        assert (func, recv.__self__, pid) == (watch, served[2], os.getpid())
        assert not hearers  # nothing leads to the last call any more
        assert threading.get_ident() not in token_by_thread
        after = signal.getsignal(signal.SIGINT)
        assert (after is interrupt) == (interrupt == signal.SIG_IGN)
        if after is not interrupt:
            signal.raise_signal(signal.SIGINT)  # nothing comes of it
        main_module._after_fork()
        expected = interrupt if interrupt == signal.SIG_IGN else signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is expected
        if is_wanted:
            assert received(answers, Decoder()).code == Code.READY
    finally:
        signal.signal(signal.SIGINT, before)
        sys.stdout.close()
        for ours, _ in pairs:
            ours.close()
        for theirs in served:
            theirs.close()


# rule 21
def test_a_main_module_without_a_spec_can_be_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    main = sys.modules["__main__"]
    monkeypatch.delattr(main, "__spec__", raising=False)
    assert "sys_argv" in spawn._preparation()
    assert main.__spec__ is None
