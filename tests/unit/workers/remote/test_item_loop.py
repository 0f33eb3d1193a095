"""A loop over items in processes that do what the test says: what would be a rare race."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asyncrun import Stopped, WorkerDied
from asyncrun._core.batch import DROPPED, FAILED, SUCCEEDED, Batch
from asyncrun._core.errors import WorkerStartError
from asyncrun._workers.process.child.main import Code
from asyncrun._workers.process.handle import GoneError
from asyncrun._workers.process.ipc.framing import SIZE, Frame
from asyncrun._workers.remote.call import TRIES
from asyncrun._workers.remote.item_loop import RemoteLoop
from asyncrun._workers.remote.serialization import pack, unpack
from asyncrun._workers.thread import item_loop
from asyncrun._workers.thread.item_loop import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrun import StopToken

    Step = Callable[["Scripted"], Frame | None]


def same(value: object) -> object:
    return value


class Scripted:
    """A process that answers as it is told; the items are named by their keys, from 1 on."""

    def __init__(self, *script: Step) -> None:
        self.pid = 1234
        self.calls = 0
        self.back = 0
        self.recalls = 0
        self.contents: list[bytes] = []
        self._script = list(script)

    def wake(self) -> None:
        """Do nothing."""

    def watch(self, key: int, token: StopToken) -> None:
        assert key <= self.calls + 1

    def send(self, _function: bytes, arguments: bytes) -> None:
        self.calls += 1
        self.contents.append(arguments)

    def send_ahead(self, calls: list[bytes]) -> None:
        self.calls += len(calls)
        self.contents += calls

    def recall(self) -> None:
        self.recalls += 1

    def collect(self) -> int:
        count, self.back = self.back, 0
        return count

    def receive_within(self, _seconds: float | None) -> Frame | None:
        return (self._script.pop(0) if self._script else answer_next)(self)

    def answer(self, key: int) -> Frame:
        (value,) = unpack(self.contents[key - 1], "it")
        return Frame(key, Code.RETURNED, pack(value, "it"), (1).to_bytes(8, "little"))


def answer_next(process: Scripted) -> Frame:
    """Answer the first call that was not answered yet."""
    answered = getattr(process, "answered", 0) + 1
    process.answered = answered  # type: ignore[attr-defined]
    return process.answer(answered)


def take_back(count: int) -> Step:
    """Say that so many calls, the last ones, had not begun."""

    def step(process: Scripted) -> None:
        process.back = count
        process.calls = 0
        process.contents.clear()
        process.answered = 0  # type: ignore[attr-defined]

    return step


def die(*, idle: bool) -> Step:
    """End, in the first call that was sent, or before it had begun."""

    def step(process: Scripted) -> Frame | None:
        process.back = int(idle)
        raise GoneError(-9)

    return step


def raise_memory_error(_: Scripted) -> Frame | None:
    raise MemoryError


class Fleet:
    """Lends processes in turn; the last one for ever."""

    def __init__(self, *processes: Any, first: Callable[[], object] = lambda: None) -> None:
        self._processes = list(processes)
        self._first = first

    def take(self, _name: str) -> Any:
        self._first()
        return self._processes[0] if len(self._processes) == 1 else self._processes.pop(0)

    def give(self, process: Any) -> None:
        """Take it back."""

    def left(self, _process: Any) -> int:
        return 1000


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> Batch[Any]:
    monkeypatch.setattr(item_loop, "LINGER", 0)
    batch: Batch[Any] = Batch(
        same,
        owner=None,
        ordered=True,
        kept=(Exception,),
        post=lambda *_: None,
        staff=lambda: None,
        expected=(),
    )
    batch.closed = False
    return batch


def make_loop(batch: Batch[Any], fleet: Any) -> RemoteLoop:
    return RemoteLoop(batch, Queue(), fleet)


def put(batch: Batch[Any], *args: object) -> None:
    for index, arg in enumerate(args):
        batch.put(index, arg)


def outcomes(batch: Batch[Any]) -> list[Any]:
    return [item.outcome for item in batch.queue]


def test_an_item_whose_turn_had_come_but_that_had_not_begun_goes_elsewhere(
    batch: Batch[Any],
) -> None:
    put(batch, *"abcde")
    # The second one is alone again, for it is then that the pace is known.
    loop = make_loop(batch, Fleet(Scripted(answer_next, take_back(4))))
    loop.run()
    assert outcomes(batch) == [*"abcde"]
    assert (loop.done, batch.busy) == (5, {})


def test_one_of_those_that_nobody_waits_for_any_more_is_dropped(batch: Batch[Any]) -> None:
    def abandon(process: Scripted) -> None:
        batch.abandon(batch.queue[1])
        batch.queue[1].token._stop(None)
        take_back(4)(process)

    put(batch, *"abcde")
    loop = make_loop(batch, Fleet(Scripted(answer_next, abandon)))
    loop.run()
    assert [item.state == SUCCEEDED for item in batch.queue] == [True, False, True, True, True]
    assert (loop.done, loop.unbegun, batch.stuck) == (4, 1, {})


def test_who_is_no_more_when_an_item_comes_is_replaced(batch: Batch[Any]) -> None:
    put(batch, "a", "b")
    loop = make_loop(batch, Fleet(Scripted(die(idle=True)), Scripted()))
    loop.run()
    assert outcomes(batch) == ["a", "b"]


def test_an_item_for_which_no_process_lives_fails_in_the_end(batch: Batch[Any]) -> None:
    put(batch, "a", "b")
    dead = [Scripted(die(idle=True)) for _ in range(TRIES)]
    make_loop(batch, Fleet(*dead, Scripted())).run()
    failed, item = batch.queue
    assert failed.state == FAILED
    assert isinstance(failed.outcome, WorkerDied)
    assert item.outcome == "b"


def test_a_death_costs_the_item_that_had_begun(batch: Batch[Any]) -> None:
    put(batch, "a", "b")
    make_loop(batch, Fleet(Scripted(die(idle=False)), Scripted())).run()
    failed, item = batch.queue
    assert isinstance(failed.outcome, WorkerDied)
    assert item.outcome == "b"


def test_a_map_that_is_closed_as_an_item_gets_its_process_begins_nothing(
    batch: Batch[Any],
) -> None:
    process = Scripted()
    put(batch, "a")
    make_loop(batch, Fleet(process, first=lambda: batch.close(None))).run()
    assert process.calls == 0
    assert batch.queue[0].state == DROPPED


def test_an_item_for_which_no_process_can_be_made_is_given_back(batch: Batch[Any]) -> None:
    def refuse() -> None:
        raise WorkerStartError("same", "no")

    put(batch, "a")
    with pytest.raises(WorkerStartError):
        make_loop(batch, Fleet(first=refuse)).run()
    item = batch.take_back()
    assert item is batch.queue[0]


def test_items_that_are_too_large_together_go_one_by_one(batch: Batch[Any]) -> None:
    large = [bytes([number]) * (SIZE * 2 // 3) for number in range(6)]
    put(batch, *large)
    process = Scripted()
    make_loop(batch, Fleet(process)).run()
    assert outcomes(batch) == large


def test_what_waits_for_its_turn_is_not_forgotten_when_there_is_no_memory(
    batch: Batch[Any],
) -> None:
    put(batch, *(bytes([number]) * (SIZE * 2 // 3) for number in range(6)))
    process = Scripted(*[answer_next] * 4, raise_memory_error)
    with pytest.raises(MemoryError):
        make_loop(batch, Fleet(process)).run()
    assert isinstance(batch.queue[4].outcome, Stopped)
    assert batch.queue[5].state == DROPPED  # the map has failed
