"""Which calls are sure to be sent in no time."""

from __future__ import annotations

import pytest

from asyncrun._workers.remote.call import MAX_INLINE_BYTES, MAX_INLINE_ITEMS, can_send_inline


@pytest.mark.parametrize(
    "value",
    [
        1,
        1.5,
        True,
        None,
        "x" * MAX_INLINE_BYTES,
        b"x" * MAX_INLINE_BYTES,
        {"a": 1, 2: b"c"},
        [1] * MAX_INLINE_ITEMS,
        (1, 2),
    ],
)
def test_what_is_small_and_plain_is_light(value: object) -> None:
    assert can_send_inline(len, (value,))


class Whole(int):
    """Pickled by code of its own, for all that is known."""


@pytest.mark.parametrize(
    "value",
    [
        "x" * (MAX_INLINE_BYTES + 1),
        b"x" * (MAX_INLINE_BYTES + 1),
        [1] * (MAX_INLINE_ITEMS + 1),
        {"a": "x" * (MAX_INLINE_BYTES + 1)},
        {"x" * (MAX_INLINE_BYTES + 1): 1},
        dict.fromkeys(range(MAX_INLINE_ITEMS // 2 + 1)),
        [[[1]]],
        Whole(1),
        {1},
        object(),
    ],
)
def test_what_is_not_is_not(value: object) -> None:
    assert not can_send_inline(len, (value,))


def test_neither_is_what_is_not_pickled_by_its_name() -> None:
    numbers: list[int] = []
    assert not can_send_inline(numbers.append, (1,))
