"""The duties of `Endpoint` and `EndpointPool`, for each implementation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from asyncrun._core.stop import StopFlag, StopToken
from asyncrun._workers.process.pool import ProcessPool
from asyncrun._workers.remote.exchange import load_response
from asyncrun._workers.remote.serialization import dumps
from tests.contract import jobs
from tests.contract.conftest import PATIENCE, wait_until
from tests.contract.inline_endpoints import InlinePool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asyncrun._workers.remote.endpoint import Endpoint, EndpointPool, Response
    from tests.contract.jobs import HeldProcessCall


@pytest.fixture(params=["process", "inline"])
def pool(request: pytest.FixtureRequest, nothing_is_left: None) -> Iterator[EndpointPool[Any]]:
    """Return each kind of pool."""
    pool = ProcessPool(None, None, PATIENCE) if request.param == "process" else InlinePool()
    yield pool
    pool.close()


@pytest.fixture
def endpoint(pool: EndpointPool[Any]) -> Iterator[Endpoint]:
    """Return one that is started."""
    endpoint = pool.acquire("test")
    assert (endpoint.location, endpoint.is_usable()) == (None, False)
    endpoint.start("test")
    assert endpoint.location
    yield endpoint
    pool.release(endpoint)


def send(endpoint: Endpoint, func: Callable[..., Any], *args: Any) -> StopToken:
    token = StopFlag()
    endpoint.set_current_call(endpoint.last_call_id + 1, token)
    endpoint.send(dumps(func, "it"), dumps(args, "them"))
    return token


def receive(endpoint: Endpoint) -> Response:
    response = endpoint.receive(PATIENCE)
    assert response is not None
    return response


def result_of(response: Response) -> Any:
    return load_response(response, "test")


def test_a_call_is_answered_with_its_result(endpoint: Endpoint) -> None:
    for number in range(1, 4):
        send(endpoint, jobs.square, number)
        assert endpoint.last_call_id == number
        assert not endpoint.is_usable()
        response = receive(endpoint)
        assert (response.call_id, response.is_error) == (number, False)
        assert result_of(response) == number * number
        assert int.from_bytes(response.extra, "little") > 0
        assert endpoint.is_usable()


def test_a_call_is_answered_with_its_error(endpoint: Endpoint) -> None:
    send(endpoint, jobs.fail, "no luck")
    response = receive(endpoint)
    assert response.is_error
    with pytest.raises(LookupError, match="no luck"):
        result_of(response)
    send(endpoint, jobs.square, 3)
    assert result_of(receive(endpoint)) == 9


def test_calls_that_were_prefetched_are_answered_in_their_order(endpoint: Endpoint) -> None:
    send(endpoint, jobs.square, 0)
    endpoint.prefetch([dumps((number,), "it") for number in range(1, 20)])
    assert endpoint.last_call_id == 20
    for number in range(20):
        response = receive(endpoint)
        assert (response.call_id, result_of(response)) == (number + 1, number * number)
        endpoint.set_current_call(response.call_id + 1, StopFlag())
    assert endpoint.take_revoked() == 0


# rule 24
def test_what_was_revoked_never_starts(
    endpoint: Endpoint, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    first, others = held_process_call(), [held_process_call() for _ in range(3)]
    send(endpoint, jobs.stuck, first.path)
    endpoint.prefetch([dumps((other.path,), "it") for other in others])
    wait_until(partial(first.has, "inside"))
    assert endpoint.receive(0.01) is None
    endpoint.revoke()
    assert endpoint.take_revoked() == 3
    assert endpoint.take_revoked() == 0
    first.release()
    assert result_of(receive(endpoint)) == "late"
    assert endpoint.is_usable()
    send(endpoint, jobs.square, 3)
    response = receive(endpoint)
    assert (response.call_id, result_of(response)) == (5, 9)
    assert not any(other.has("inside") for other in others)


# rule 18
def test_a_cooperative_call_ends_soon_after_it_was_asked_to_stop(
    endpoint: Endpoint, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    held = held_process_call()
    token = send(endpoint, jobs.cooperative, held.path)
    wait_until(partial(held.has, "inside"))
    token._stop("enough")
    endpoint.wake()
    response = receive(endpoint)
    assert response.is_error
    with pytest.raises(BaseException, match="asked to stop: enough"):
        result_of(response)
    assert held.has("left")
    assert endpoint.is_usable()


def test_a_response_can_be_put_back(endpoint: Endpoint) -> None:
    send(endpoint, jobs.square, 5)
    response = receive(endpoint)
    endpoint.unread(response)
    assert not endpoint.is_usable()
    assert receive(endpoint) is response
    assert endpoint.is_usable()


@pytest.mark.anyio
async def test_a_response_can_be_awaited(endpoint: Endpoint) -> None:
    send(endpoint, jobs.square, 6)
    with anyio.fail_after(PATIENCE):
        response = await endpoint.receive_async()
    assert response is not None
    assert result_of(response) == 36
    await anyio.to_thread.run_sync(send, endpoint, jobs.square, 7)
    assert result_of(await anyio.to_thread.run_sync(receive, endpoint)) == 49


def test_one_that_is_released_is_given_again(pool: EndpointPool[Any]) -> None:
    attached: list[Endpoint] = []
    assert not pool.acquire_idle_nowait(attached.append)
    first = pool.acquire("test")
    first.start("test")
    pool.release(first)
    assert pool.acquire_idle_nowait(attached.append)
    assert attached == [first]
    assert not pool.acquire_idle_nowait(attached.append)
    second = pool.acquire("test")
    assert second is not first
    pool.release(first)
    assert pool.acquire("test") is first
    pool.release(first)
    pool.release(second)
    assert pool.calls_left(first) >= 1


def test_one_that_owes_an_answer_is_not_given_again(
    pool: EndpointPool[Any], held_process_call: Callable[[], HeldProcessCall]
) -> None:
    held, attached = held_process_call(), list[object]()
    endpoint = pool.acquire("test")
    endpoint.start("test")
    send(endpoint, jobs.stuck, held.path)
    wait_until(partial(held.has, "inside"))
    pool.release(endpoint)
    held.release()
    assert not pool.acquire_idle_nowait(attached.append)


def test_a_function_is_pickled_to_the_same_bytes_again(pool: EndpointPool[Any]) -> None:
    pickled = pool.pickle_function(jobs.square, "square")
    assert pool.pickle_function(jobs.square, "square") == pickled
