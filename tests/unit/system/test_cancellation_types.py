"""The errors of an abandoned call: AnyIO's, and that of futures where any are used."""

from __future__ import annotations

import concurrent.futures
import sys

import pytest

from asyncrun._system.eventloop import cancellation_types

pytestmark = pytest.mark.anyio


async def test_futures_count_only_where_they_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert concurrent.futures.CancelledError in cancellation_types()
    monkeypatch.delitem(sys.modules, "concurrent.futures")
    assert len(cancellation_types()) == 1
