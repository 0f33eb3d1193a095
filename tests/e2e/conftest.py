"""Programs in child processes find the modules that they share."""

from __future__ import annotations

import os

import pytest

from tests.conftest import PROGRAMS


@pytest.fixture(autouse=True)
def shared_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS), prepend=os.pathsep)
