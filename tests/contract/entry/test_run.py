"""`run` where no signal comes: results, errors and bad input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

import asyncrun

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run(anyio_backend: tuple[str, dict[str, Any]]) -> Callable[..., Any]:
    name, options = anyio_backend

    def run(*args: Any, **more: Any) -> Any:
        return asyncrun.run(*args, backend=name, backend_options=options, **more)

    return run


def test_an_error_of_main_comes_out_as_itself(run: Callable[..., Any]) -> None:
    error = LookupError()

    async def main() -> None:
        raise error

    with pytest.raises(LookupError) as caught:
        run(main)
    assert caught.value is error


def test_a_keyboard_interrupt_of_main_comes_out_as_itself(run: Callable[..., Any]) -> None:
    async def main() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        run(main)
    assert type(caught.value) is KeyboardInterrupt


def test_what_is_no_async_function_is_refused(run: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"run\(\) wants an async function, got <coroutine .*with"):
        run(anyio.lowlevel.checkpoint())
    with pytest.raises(TypeError, match=r"run\(\) wants an async function, got None"):
        run(None)
    with pytest.raises(TypeError, match=r"run\(\) wants an async function.*it returned 3, not"):
        run(lambda: 3)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_an_exit_timeout_out_of_range_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="exit_timeout must be > 0 seconds or None, was"):
        asyncrun.run(anyio.sleep, 0, exit_timeout=seconds)


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(LookupError, match="No such backend: moon"):
        asyncrun.run(anyio.sleep, 0, backend="moon")


def test_run_inside_a_running_loop_is_refused(run: Callable[..., Any]) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="Already running"):
            run(anyio.sleep, 0)

    run(main)
