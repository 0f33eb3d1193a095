"""WorkerMain, run in this process: its two threads at the other ends of its sockets."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from itertools import count
from multiprocessing import process
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import Stopped, safe_point, stop_token
from asyncrun._core.current import current_token, token_by_thread
from asyncrun._workers.process import spawn
from asyncrun._workers.process.child import main as main_module
from asyncrun._workers.process.child import parent_watch
from asyncrun._workers.process.child.main import WorkerBootstrap, WorkerMain, _open_socket, can_spin
from asyncrun._workers.process.child.parent_watch import watch
from asyncrun._workers.process.ipc.framing import Decoder, Frame, encode
from asyncrun._workers.process.ipc.protocol import NO_PERMIT, Code
from asyncrun._workers.remote.serialization import dumps, loads, raise_error

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable, Iterator

PATIENCE = 30.0


class Worker:
    """The ends that a parent has."""

    def __init__(self) -> None:
        pairs = [socket.socketpair() for _ in range(4)]
        self.ends = [end for pair in pairs for end in pair]
        (self.calls, calls), (self.answers, answers) = pairs[:2]
        (self.control, control), (self.credit, credit) = pairs[2:]
        self.answers.settimeout(PATIENCE)
        self.byte = bytearray(1)
        self.heard = control
        self.control.settimeout(PATIENCE)
        self.serving = WorkerMain(calls, answers, control, credit, self.byte)
        self._decoder = Decoder()
        self._replies = Decoder()

    def send(self, frame: Frame) -> None:
        for content in encode(frame):
            self.calls.sendall(content)

    def call(self, key: int, func: object, *args: object, leave: int = NO_PERMIT) -> None:
        self.send(Frame(key, leave, b"" if func is None else dumps(func, "f"), dumps(args, "args")))

    def ask(self, key: int, reason: bytes | None = None) -> bool:
        """Ask a call to stop; tell whether it is said to be likely to end."""
        for content in encode(Frame(key, reason is not None, reason or b"")):
            self.control.sendall(content)
        reply = received(self.control, self._replies)
        assert reply.call_id == key
        return bool(reply.code)

    def answer(self) -> tuple[int, int, Any]:
        frame = received(self.answers, self._decoder)
        if frame.code != Code.RETURNED:
            return frame.call_id, frame.code, bytes(frame.body)
        return frame.call_id, frame.code, loads(frame.body, "it")


def received(end: socket.socket, decoder: Decoder) -> Frame:
    while (frame := decoder.next_frame()) is None:
        decoder.buffer_updated(end.recv_into(decoder.get_buffer()))
    return frame


@pytest.fixture
def new_worker() -> Iterator[Callable[[], Worker]]:
    before = token_by_thread.get(threading.get_ident())
    workers: list[Worker] = []

    def make() -> Worker:
        workers.append(Worker())
        return workers[-1]

    yield make
    for worker in workers:
        for end in worker.ends:
            end.close()
    token_by_thread.pop(threading.get_ident(), None)
    assert before is None


@pytest.fixture
def worker(new_worker: Callable[[], Worker]) -> Worker:
    return new_worker()


def serve(worker: Worker) -> None:
    """Run all calls that were sent."""
    worker.calls.shutdown(socket.SHUT_WR)
    worker.serving.call_loop()


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


def add(*numbers: int) -> int:
    return sum(numbers)


def fail() -> None:
    raise LookupError("no")


def stopping() -> tuple[bool, str | None]:
    return stop_token().is_set(), stop_token().reason


def test_calls_are_answered_in_turn(worker: Worker) -> None:
    worker.call(1, add, 1, 2)
    worker.call(2, None, 3, 4)
    serve(worker)
    assert [worker.answer(), worker.answer()] == [(1, Code.RETURNED, 3), (2, Code.RETURNED, 7)]


def test_an_error_is_an_answer(worker: Worker) -> None:
    worker.call(1, fail)
    serve(worker)
    key, code, content = worker.answer()
    assert (key, code) == (1, Code.RAISED)
    with pytest.raises(LookupError, match="no"):
        raise_error(content, "fail()")


def test_a_function_that_cannot_be_loaded_fails_each_call(worker: Worker) -> None:
    for key in (1, 2):
        worker.send(Frame(key, NO_PERMIT, b"nonsense" if key == 1 else b"", dumps((), "args")))
    serve(worker)
    for key in (1, 2):
        answered, code, content = worker.answer()
        assert (answered, code) == (key, Code.RAISED)
        with pytest.raises(TypeError, match="the function cannot be unpickled"):
            raise_error(content, "it")


# rule 20
def test_only_who_has_a_leave_of_its_generation_begins(worker: Worker) -> None:
    worker.credit.send(b"\x01\x02")
    worker.call(1, add, 1, leave=1)
    worker.call(2, add, 2, leave=1)  # taken back: the next leave is for a later one
    worker.call(3, add, 3, leave=2)
    worker.call(4, add, 4, leave=2)  # taken back: there is none
    serve(worker)
    assert [worker.answer()[0], worker.answer()[0]] == [1, 3]
    worker.answers.settimeout(0)
    with pytest.raises(BlockingIOError):
        worker.answer()


def test_a_parent_without_leaves_lets_nothing_begin(worker: Worker) -> None:
    worker.credit.close()
    worker.call(1, add, 1, leave=1)
    serve(worker)
    worker.answers.settimeout(0)
    with pytest.raises(BlockingIOError):
        worker.answer()


def count_looks(monkeypatch: pytest.MonkeyPatch, at_first: Callable[[], object]) -> list[None]:
    """Advance a clock of its own by 0.0001 s at each look at it, on a machine with two cores."""
    clock, looks = count(), list[None]()
    monkeypatch.setattr(
        main_module,
        "time",
        SimpleNamespace(
            monotonic=lambda: next(clock) / 10_000, perf_counter_ns=time.perf_counter_ns
        ),
    )
    monkeypatch.setattr(main_module, "usable_cores", lambda: 2)

    def look() -> None:
        looks.append(None)
        if len(looks) == 1:
            at_first()

    monkeypatch.setattr(os, "sched_yield", look)
    return looks


def test_who_got_a_call_at_once_looks_for_the_next_one_before_it_sleeps(
    monkeypatch: pytest.MonkeyPatch, new_worker: Callable[[], Worker]
) -> None:
    def send() -> None:
        hurried.call(2, None, 2)
        hurried.calls.shutdown(socket.SHUT_WR)

    monkeypatch.setattr(main_module, "SPIN_TIME", PATIENCE)
    looks = count_looks(monkeypatch, send)
    hurried = new_worker()
    hurried.call(1, add, 1)
    hurried.serving.call_loop()
    assert [hurried.answer()[0], hurried.answer()[0]] == [1, 2]
    assert len(looks) == 1


def test_it_does_not_look_for_long(
    monkeypatch: pytest.MonkeyPatch, new_worker: Callable[[], Worker]
) -> None:
    timer = threading.Timer(0.05, lambda: hurried.calls.shutdown(socket.SHUT_WR))
    looks = count_looks(monkeypatch, timer.start)
    hurried = new_worker()
    hurried.call(1, add, 1)
    hurried.serving.call_loop()
    timer.join()
    assert len(looks) == 1


@pytest.mark.parametrize(("cores", "expected"), [(1, False), (2, True)])
def test_where_there_is_one_core_it_sleeps(
    monkeypatch: pytest.MonkeyPatch, cores: int, *, expected: bool
) -> None:
    monkeypatch.setattr(main_module, "usable_cores", lambda: cores)
    assert can_spin() == expected
    monkeypatch.delattr(os, "sched_yield")
    assert not can_spin()


def hook() -> None:
    with stop_token().on_stop(stopping):
        pass


# rule 18
@pytest.mark.parametrize(
    ("func", "told"), [(safe_point, 1), (stopping, 1), (hook, 1), (stop_token, 0), (add, 0)]
)
def test_the_first_look_is_told_at_once_and_for_that_call_alone(
    worker: Worker, func: Callable[..., object], told: int
) -> None:
    worker.byte[0] = 1  # of the call before
    worker.call(1, func)
    serve(worker)
    assert worker.byte[0] == told


def test_a_forked_child_that_returns_from_the_call_ends(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(worker.serving, "_pid", 1)  # as if this were a child of it
    worker.call(1, add, 1)
    with pytest.raises(SystemExit) as caught:
        serve(worker)
    assert caught.value.code == 0
    worker.answers.settimeout(0)
    with pytest.raises(BlockingIOError):
        worker.answer()


def test_who_is_to_stop_is_remembered_until_its_turn_is_over(worker: Worker) -> None:
    for key in (1, 2, 9):
        worker.serving._stop(Frame(key, 0, b""))
    for key in (1, 2, 3):
        worker.call(key, add, key)
    serve(worker)
    assert [worker.answer()[1] for _ in range(3)] == [Code.RAISED, Code.RAISED, Code.RETURNED]
    worker.serving._stop(Frame(10, 0, b""))
    assert list(worker.serving._stopped) == [9, 10]


def test_a_socket_is_shared_as_the_system_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "fromshare", {b"shared": theirs}.get, raising=False)
    assert _open_socket(b"shared") is theirs
    for end in (ours, theirs):
        end.close()


def test_output_is_flushed_after_each_call_if_there_is_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    worker.call(1, add, 1)
    serve(worker)
    assert worker.answer() == (1, Code.RETURNED, 1)


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
