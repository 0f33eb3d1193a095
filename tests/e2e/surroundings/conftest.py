"""Shared by the tests of surroundings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.surroundings.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture
def stage(
    nothing_is_left: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Generator[Stage]:
    monkeypatch.setenv("PARALLEL_HOME", str(tmp_path))
    stage = Stage(tmp_path)
    yield stage
    stage.close()
