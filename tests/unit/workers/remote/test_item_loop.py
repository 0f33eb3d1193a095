"""A loop over items in processes that do what the test says: what would be a rare race."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import Stopped, WorkerDied
from asyncrun._core.batch import DISCARDED, FAILED, SUCCEEDED, Batch
from asyncrun._core.errors import WorkerStartError
from asyncrun._core.events import observing
from asyncrun._workers.process.ipc.framing import CHUNK, Frame
from asyncrun._workers.process.ipc.protocol import Code
from asyncrun._workers.remote.endpoint import WorkerGone
from asyncrun._workers.remote.exchange import MAX_ATTEMPTS
from asyncrun._workers.remote.item_loop import RemoteItemLoop
from asyncrun._workers.remote.serialization import dumps, loads
from asyncrun._workers.slots import SlotQueue
from asyncrun._workers.thread import item_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrun import StopToken
    from asyncrun._core.registry import RunningCall

    Step = Callable[["Scripted"], Frame | None]


def same(value: object) -> object:
    return value


class Scripted:
    """A process that answers as it is told; the items are named by their keys, from 1 on."""

    def __init__(self, *script: Step) -> None:
        self.pid = 1234
        self.location = "process 1234"
        self.last_call_id = 0
        self.revoked = 0
        self.revocations = 0
        self.contents: list[bytes] = []
        self._script = list(script)

    def wake(self) -> None:
        """Do nothing."""

    def set_current_call(self, key: int, token: StopToken) -> None:
        assert key <= self.last_call_id + 1

    def send(self, _function: bytes, arguments: bytes) -> None:
        self.last_call_id += 1
        self.contents.append(arguments)

    def prefetch(self, calls: list[bytes]) -> None:
        self.last_call_id += len(calls)
        self.contents += calls

    def revoke(self) -> None:
        self.revocations += 1

    def take_revoked(self) -> int:
        count, self.revoked = self.revoked, 0
        return count

    def receive(self, _seconds: float | None) -> Frame | None:
        return (self._script.pop(0) if self._script else answer_next)(self)

    def answer(self, key: int) -> Frame:
        (value,) = loads(self.contents[key - 1], "it")
        return Frame(key, Code.RETURNED, dumps(value, "it"), (1).to_bytes(8, "little"))


def answer_next(process: Scripted) -> Frame:
    """Answer the first call that was not answered yet."""
    answered = getattr(process, "answered", 0) + 1
    process.answered = answered  # type: ignore[attr-defined]
    return process.answer(answered)


def take_back(count: int) -> Step:
    """Revoke so many calls, the last ones: they had not begun."""

    def step(process: Scripted) -> None:
        process.revoked = count
        process.last_call_id = 0
        process.contents.clear()
        process.answered = 0  # type: ignore[attr-defined]

    return step


def die(*, idle: bool) -> Step:
    """End, in the first call that was sent, or before it had begun."""

    def step(process: Scripted) -> Frame | None:
        process.revoked = int(idle)
        raise WorkerGone(-9)

    return step


def raise_memory_error(_: Scripted) -> Frame | None:
    raise MemoryError


class ScriptedPool:
    """Lends processes in turn; the last one for ever."""

    def __init__(self, *processes: Any, first: Callable[[], object] = lambda: None) -> None:
        self._processes = list(processes)
        self._first = first

    def acquire(self, _name: str) -> Any:
        self._first()
        return self._processes[0] if len(self._processes) == 1 else self._processes.pop(0)

    def release(self, process: Any) -> None:
        """Take it back."""

    def calls_left(self, _process: Any) -> int:
        return 1000


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Batch[Any]:
    monkeypatch.setattr(item_loop, "IDLE_TIMEOUT", 0)
    batch: Batch[Any] = Batch(
        same,
        owner=None,
        ordered=True,
        captured_errors=(Exception,),
        call_soon_threadsafe=lambda *_: None,
        silent_late_errors=(),
    )
    batch.closed = False
    return batch


def make_loop(batch: Batch[Any], pool: Any) -> RemoteItemLoop:
    return RemoteItemLoop(batch, SlotQueue(), pool)


def put(batch: Batch[Any], *args: object) -> None:
    for index, arg in enumerate(args):
        batch.put(index, arg)


def outcomes(batch: Batch[Any]) -> list[Any]:
    return [item.outcome for item in batch.output]


def test_an_item_whose_turn_had_come_but_that_had_not_begun_goes_elsewhere(
    batch: Batch[Any],
) -> None:
    put(batch, *"abcde")
    # The second one is alone again, for it is then that the pace is known.
    loop = make_loop(batch, ScriptedPool(Scripted(answer_next, take_back(4))))
    loop.run()
    assert outcomes(batch) == [*"abcde"]
    assert (loop.done, batch.running) == (5, {})


def test_one_of_those_that_nobody_waits_for_any_more_is_dropped(batch: Batch[Any]) -> None:
    def abandon(process: Scripted) -> None:
        batch.abandon(batch.output[1])
        batch.output[1].token._stop(None)
        take_back(4)(process)

    put(batch, *"abcde")
    loop = make_loop(batch, ScriptedPool(Scripted(answer_next, abandon)))
    loop.run()
    assert [item.state == SUCCEEDED for item in batch.output] == [True, False, True, True, True]
    assert (loop.done, loop.never_started, batch.abandoned) == (4, 1, {})


def test_who_is_no_more_when_an_item_comes_is_replaced(batch: Batch[Any]) -> None:
    put(batch, "a", "b")
    loop = make_loop(batch, ScriptedPool(Scripted(die(idle=True)), Scripted()))
    loop.run()
    assert outcomes(batch) == ["a", "b"]


def test_observers_hear_that_an_item_begins_once_more(batch: Batch[Any]) -> None:
    heard: list[str] = []

    class Listener:
        def call_started(self, call: RunningCall) -> None:
            heard.append("started")

        def call_ended(self, call: RunningCall, error: BaseException | None) -> None:
            heard.append("ended")

        def call_requeued(self, call: RunningCall) -> None:
            heard.append("requeued")

    put(batch, "a")
    with observing(Listener()):
        make_loop(batch, ScriptedPool(Scripted(die(idle=True)), Scripted())).run()
    assert outcomes(batch) == ["a"]
    assert heard == ["started", "requeued", "started", "ended"]


def test_an_item_for_which_no_process_lives_fails_in_the_end(batch: Batch[Any]) -> None:
    put(batch, "a", "b")
    dead = [Scripted(die(idle=True)) for _ in range(MAX_ATTEMPTS)]
    make_loop(batch, ScriptedPool(*dead, Scripted())).run()
    failed, item = batch.output
    assert failed.state == FAILED
    assert isinstance(failed.outcome, WorkerDied)
    assert item.outcome == "b"


def test_a_death_costs_the_item_that_had_begun(batch: Batch[Any]) -> None:
    put(batch, "a", "b")
    make_loop(batch, ScriptedPool(Scripted(die(idle=False)), Scripted())).run()
    failed, item = batch.output
    assert isinstance(failed.outcome, WorkerDied)
    assert item.outcome == "b"


def test_a_map_that_is_closed_as_an_item_gets_its_process_begins_nothing(
    batch: Batch[Any],
) -> None:
    process = Scripted()
    put(batch, "a")
    make_loop(batch, ScriptedPool(process, first=lambda: batch.close(None))).run()
    assert process.last_call_id == 0
    assert batch.output[0].state == DISCARDED


def test_an_item_for_which_no_process_can_be_made_is_given_back(batch: Batch[Any]) -> None:
    def refuse() -> None:
        raise WorkerStartError("same", "no")

    put(batch, "a")
    with pytest.raises(WorkerStartError):
        make_loop(batch, ScriptedPool(first=refuse)).run()
    item = batch.pop_requeued()
    assert item is batch.output[0]


def test_items_that_are_too_large_together_go_one_by_one(batch: Batch[Any]) -> None:
    large = [bytes([number]) * (CHUNK * 2 // 3) for number in range(6)]
    put(batch, *large)
    process = Scripted()
    make_loop(batch, ScriptedPool(process)).run()
    assert outcomes(batch) == large


def test_what_waits_for_its_turn_is_not_forgotten_when_there_is_no_memory(
    batch: Batch[Any],
) -> None:
    put(batch, *(bytes([number]) * (CHUNK * 2 // 3) for number in range(6)))
    process = Scripted(*[answer_next] * 4, raise_memory_error)
    with pytest.raises(MemoryError):
        make_loop(batch, ScriptedPool(process)).run()
    assert isinstance(batch.output[4].outcome, Stopped)
    assert batch.output[5].state == DISCARDED  # the map has failed
