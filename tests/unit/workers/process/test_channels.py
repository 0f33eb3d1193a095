"""The sockets of a worker process, with nobody at the other end, or somebody odd."""

from __future__ import annotations

import mmap
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun._core.errors import WorkerStartError
from asyncrun._workers.process.ipc.channels import Heard, Wire
from asyncrun._workers.process.ipc.framing import SIZE, Decoder, Frame, encode
from asyncrun._workers.process.pool import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def test_what_a_wire_has_is_closed_if_there_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    make, made = socket.socketpair, list[Any]()

    def make_two() -> Any:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(make())
        return made[-1]

    monkeypatch.setattr(socket, "socketpair", make_two)
    with pytest.raises(WorkerStartError, match=r"for a call: .* Too many open files"):
        Fleet(None, None, 1.0).take("a call")
    assert [end.fileno() for pair in made for end in pair] == [-1] * 4


def test_who_has_closed_hears_nothing(wire: Wire) -> None:
    for end in wire.theirs:
        end.close()
    assert not wire.ask(Frame(1, 0, b""))
    assert Heard.REPLY in wire.select(0)
    assert list(wire.replies()) == []
    assert Heard.REPLY not in wire.select(0)  # that is known now
    assert wire.answer() is None
    assert wire.has_ended
    with pytest.raises(OSError, match="Broken pipe"):
        wire.send(b"1")


def test_a_reset_is_an_end(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(_: memoryview) -> int:
        raise ConnectionResetError

    monkeypatch.setattr(wire, "_answers", SimpleNamespace(recv_into=reset))  # as on Windows
    wire.send(b"unread")
    assert wire.ask(Frame(1, 0, b"unread"))
    for end in wire.theirs:
        end.close()
    assert list(wire.replies()) == []
    assert wire.answer() is None
    assert wire.has_ended


def test_frames_come_and_go(wire: Wire) -> None:
    _, answers, control, _ = wire.theirs
    answers.sendall(encode(Frame(1, 1, b"answer"))[0])
    control.sendall(encode(Frame(2, 0, b"reply"))[0])
    assert wire.select(1) & (Heard.ANSWER | Heard.REPLY)
    frame = wire.answer()
    assert frame is not None
    assert bytes(frame.first) == b"answer"
    assert [bytes(frame.first) for frame in wire.replies()] == [b"reply"]
    assert wire.answer() is None
    assert wire.ask(Frame(3, 1, b"question"))
    asked = Decoder()
    asked.received(control.recv_into(asked.room()))
    question = asked.frame()
    assert question is not None
    assert question.id == 3


def test_a_wake_is_heard_once_however_often_it_came(wire: Wire) -> None:
    for _ in range(100_000):
        wire.wake()
    heard = [wire.select(0) for _ in range(1000)]
    assert heard[0] == Heard.WAKE
    assert heard[-1] == Heard.NOTHING


def test_leaves_are_given_and_taken_back(wire: Wire) -> None:
    wire.connect(os.getpid())
    wire.give_leaves(7, 3)
    assert wire.theirs[3].recv(1) == b"\7"
    assert [wire.take_leaves(), wire.take_leaves()] == [2, 0]


def test_room_to_send_is_heard(wire: Wire) -> None:
    assert wire.select(0) == Heard.NOTHING
    assert wire.select(0, to_send=True) == Heard.ROOM
    assert wire.select(0) == Heard.NOTHING


def test_without_a_pidfd_there_is_nothing_to_wait_for(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    wire.connect(os.getpid())
    assert wire.fileno() == -1


# rule 18
def test_what_the_process_writes_into_the_page_is_seen_here(wire: Wire) -> None:
    with mmap.mmap(wire.page, 1) as theirs:
        wire.connect(os.getpid())
        assert wire.page == -1
        assert not wire.heeds()
        theirs[0] = 1
        assert wire.heeds()


def test_where_there_is_no_such_page_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    wire = Wire()
    assert wire.page == -1
    assert not wire.heeds()
    wire.close()


def test_all_that_is_sent_ahead_goes_off_at_once(wire: Wire) -> None:
    assert wire.send(bytes(2 * SIZE)) == 2 * SIZE
