"""The sockets of a worker process, with nobody at the other end, or somebody odd."""

from __future__ import annotations

import mmap
import os
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from asyncrun._core.errors import WorkerStartError
from asyncrun._workers.process.ipc.channels import ProcessChannels, Ready
from asyncrun._workers.process.ipc.framing import CHUNK, Decoder, Frame, encode
from asyncrun._workers.process.pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def channels() -> Iterator[ProcessChannels]:
    channels = ProcessChannels()
    yield channels
    channels.close()


def test_what_a_wire_has_is_closed_if_there_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    make, made = socket.socketpair, list[Any]()

    def make_two() -> Any:
        if len(made) == 2:
            raise OSError(24, "Too many open files")
        made.append(make())
        return made[-1]

    monkeypatch.setattr(socket, "socketpair", make_two)
    with pytest.raises(WorkerStartError, match=r"for a call: .* Too many open files"):
        ProcessPool(None, None, 1.0).acquire("a call")
    assert [end.fileno() for pair in made for end in pair] == [-1] * 4


def test_who_has_closed_hears_nothing(channels: ProcessChannels) -> None:
    for end in channels.child_ends:
        end.close()
    assert not channels.send_request(Frame(1, 0, b""))
    assert Ready.ACK in channels.select(0)
    assert list(channels.acks()) == []
    assert Ready.ACK not in channels.select(0)  # that is known now
    assert channels.receive_nowait() is None
    assert channels.has_ended
    with pytest.raises(OSError, match="Broken pipe"):
        channels.send(b"1")


def test_a_reset_is_an_end(channels: ProcessChannels, monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(_: memoryview) -> int:
        raise ConnectionResetError

    monkeypatch.setattr(channels, "_responses", SimpleNamespace(recv_into=reset))  # as on Windows
    channels.send(b"unread")
    assert channels.send_request(Frame(1, 0, b"unread"))
    for end in channels.child_ends:
        end.close()
    assert list(channels.acks()) == []
    assert channels.receive_nowait() is None
    assert channels.has_ended


def test_frames_come_and_go(channels: ProcessChannels) -> None:
    _, answers, control, _ = channels.child_ends
    answers.sendall(encode(Frame(1, 1, b"answer"))[0])
    control.sendall(encode(Frame(2, 0, b"reply"))[0])
    assert channels.select(1) & (Ready.RESPONSE | Ready.ACK)
    frame = channels.receive_nowait()
    assert frame is not None
    assert bytes(frame.body) == b"answer"
    assert [bytes(frame.body) for frame in channels.acks()] == [b"reply"]
    assert channels.receive_nowait() is None
    assert channels.send_request(Frame(3, 1, b"question"))
    asked = Decoder()
    asked.buffer_updated(control.recv_into(asked.get_buffer()))
    question = asked.next_frame()
    assert question is not None
    assert question.call_id == 3


def test_a_wake_is_heard_once_however_often_it_came(channels: ProcessChannels) -> None:
    for _ in range(100_000):
        channels.wake()
    heard = [channels.select(0) for _ in range(1000)]
    assert heard[0] == Ready.WAKE
    assert heard[-1] == Ready.NOTHING


def test_leaves_are_given_and_taken_back(channels: ProcessChannels) -> None:
    channels.connect(os.getpid())
    channels.grant_permits(7, 3)
    assert channels.child_ends[3].recv(1) == b"\7"
    assert [channels.revoke_permits(), channels.revoke_permits()] == [2, 0]


def test_room_to_send_is_heard(channels: ProcessChannels) -> None:
    assert channels.select(0) == Ready.NOTHING
    assert channels.select(0, to_send=True) == Ready.WRITABLE
    assert channels.select(0) == Ready.NOTHING


def test_without_a_pidfd_there_is_nothing_to_wait_for(
    channels: ProcessChannels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    channels.connect(os.getpid())
    assert channels.fileno() == -1


# rule 18
def test_what_the_process_writes_into_the_page_is_seen_here(channels: ProcessChannels) -> None:
    with mmap.mmap(channels.shared_flag_fd, 1) as theirs:
        channels.connect(os.getpid())
        assert channels.shared_flag_fd == -1
        assert not channels.is_cooperative()
        theirs[0] = 1
        assert channels.is_cooperative()


def test_where_there_is_no_such_page_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    channels = ProcessChannels()
    assert channels.shared_flag_fd == -1
    assert not channels.is_cooperative()
    channels.close()


def test_all_that_is_sent_ahead_goes_off_at_once(channels: ProcessChannels) -> None:
    assert channels.send(bytes(2 * CHUNK)) == 2 * CHUNK
