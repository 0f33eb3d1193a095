"""How many cores there are to use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from asyncrun._system import cpu as cpu_module
from asyncrun._system.cpu import usable_cores

if TYPE_CHECKING:
    from pathlib import Path


def eight(_: int) -> set[int]:
    return set(range(8))


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "process_cpu_count", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", eight, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(cpu_module, "CGROUPS", tmp_path)
    monkeypatch.setattr(cpu_module, "OWN_CGROUP", tmp_path / "own")


def quota(folder: Path, content: str) -> None:
    (folder / "own").write_text("1:name=systemd:/other\n0::/box/inner\n")
    (folder / "box" / "inner").mkdir(parents=True)
    (folder / "box" / "inner" / "cpu.max").write_text(content)


def test_the_affinity_counts() -> None:
    assert usable_cores() == 8


@pytest.mark.parametrize(("answer", "cores"), [(3, 3), (None, 1)])
def test_from_python_3_13_on_python_is_asked(
    monkeypatch: pytest.MonkeyPatch, answer: int | None, cores: int
) -> None:
    monkeypatch.setattr(os, "process_cpu_count", lambda: answer, raising=False)
    assert usable_cores() == cores


@pytest.mark.parametrize(("answer", "cores"), [(16, 16), (None, 1)])
def test_without_an_affinity_all_cores_count(
    monkeypatch: pytest.MonkeyPatch, answer: int | None, cores: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: answer)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("9000000 100000\n", 8),
        ("max 100000\n", 8),
    ],
)
def test_the_quota_of_a_container_counts(tmp_path: Path, content: str, cores: int) -> None:
    quota(tmp_path, content)
    assert usable_cores() == cores
