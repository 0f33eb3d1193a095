"""The gate of a token, where others come in between."""

from __future__ import annotations

from typing import Any

import pytest

from asyncrun import StopSource
from tests.unit.conftest import wait_lock_is_right


# rule 1
def test_a_gate_that_somebody_else_opens_first_is_no_error() -> None:
    class Gate:
        def locked(self) -> bool:
            return True

        def release(self) -> None:
            raise RuntimeError("release unlocked lock")

    source = StopSource()
    source.token._wait_lock[None] = Gate()  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    source.stop()
    assert source.token.is_set()


# rule 1
@pytest.mark.parametrize("is_there", [True, False])
def test_a_stop_just_as_somebody_comes_to_the_gate_lets_them_through(is_there: bool) -> None:
    class Gates(dict[None, Any]):
        """A stop comes when the gate is looked up."""

        def get(self, *_: Any) -> Any:
            gate = super().get(None)
            self.get = super().get  # type: ignore[method-assign]
            source.stop()
            return gate

    source = StopSource()
    if is_there:
        source.token.wait(0)
    source.token._wait_lock = Gates(source.token._wait_lock)
    assert source.token.wait()
    assert wait_lock_is_right(source.token)
