"""Which calls are sure to be sent in no time."""

from __future__ import annotations

import pytest

from asyncrun._workers.remote.call import FEW, LIGHT, is_light


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        True,
        None,
        "x" * LIGHT,
        b"x" * LIGHT,
        {"a": 1, 2: b"c"},
        [1] * FEW,
        (1, 2),
    ],
)
def test_what_is_small_and_plain_is_light(value: object) -> None:
    assert is_light(len, (value,))


class Whole(int):
    """Pickled by code of its own, for all that is known."""


@pytest.mark.parametrize(
    "value",
    [
        "x" * (LIGHT + 1),
        b"x" * (LIGHT + 1),
        [1] * (FEW + 1),
        {"a": "x" * (LIGHT + 1)},
        {"x" * (LIGHT + 1): 1},
        dict.fromkeys(range(FEW // 2 + 1)),
        [[[1]]],
        Whole(1),
        {1},
        object(),
    ],
)
def test_what_is_not_is_not(value: object) -> None:
    assert not is_light(len, (value,))


def test_neither_is_what_is_not_pickled_by_its_name() -> None:
    numbers: list[int] = []
    assert not is_light(numbers.append, (1,))
