"""Programs in child processes find the modules that they share; which of them coverage measures."""

from __future__ import annotations

import os
from typing import Final

import pytest

from tests.conftest import PROGRAMS

UNMEASURED: Final = frozenset({"test_any_moment", "test_cpython_tests", "test_pipes"})
"""Modules whose programs run no line that those of other modules do not run: to be measured costs
each process 0.2 s."""


@pytest.fixture(autouse=True)
def shared_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS), prepend=os.pathsep)


@pytest.fixture(autouse=True)
def unmeasured(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.path.stem in UNMEASURED:
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
