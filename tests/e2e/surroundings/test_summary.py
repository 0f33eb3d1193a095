"""CONTRIBUTING.md and the table that the tests run say the same."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.surroundings.expected import summary

CONTRIBUTING = Path(__file__).parents[3] / "CONTRIBUTING.md"


def test_contributing_has_the_summary_of_the_table() -> None:
    assert f"|---|---|\n{summary()}\n" in CONTRIBUTING.read_text()
