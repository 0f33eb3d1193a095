"""A worker process in this process: the ends that a parent has of it, and calls for it."""

from __future__ import annotations

import socket
from typing import Any

from asyncrun import stop_token
from asyncrun._workers.process.child.main import WorkerMain
from asyncrun._workers.process.ipc.framing import Decoder, Frame, encode
from asyncrun._workers.process.ipc.protocol import NO_PERMIT, Code
from asyncrun._workers.remote.serialization import dumps, loads

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


def serve(worker: Worker) -> None:
    """Run all calls that were sent."""
    worker.calls.shutdown(socket.SHUT_WR)
    worker.serving.call_loop()


def add(*numbers: int) -> int:
    return sum(numbers)


def fail() -> None:
    raise LookupError("no")


def stopping() -> tuple[bool, str | None]:
    return stop_token().is_set(), stop_token().reason
