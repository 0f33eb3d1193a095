"""`examples/grid_search.py`: scikit-learn on processes of asyncrun, which Ctrl-C ends."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.worker_programs import all_gone, marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Child

pytestmark = pytest.mark.exhaustive

EXAMPLE = Path(__file__).parents[2] / "examples" / "grid_search.py"


def test_it_finds_the_best_setting(start: Callable[..., Child]) -> None:
    status, output, errors = start(EXAMPLE, "2").finish()
    assert (status, errors) == (0, "")
    first, best = output.splitlines()
    assert first == "Fitting 5 folds for each of 4 candidates, totalling 20 fits"
    assert best == "{'C': 1.0, 'gamma': 0.001}: 0.972"


def test_ctrl_c_ends_it_and_its_processes(
    start: Callable[..., Child], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MARK", str(tmp_path))
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    child = start(EXAMPLE, "40")
    while len(pids := marked(str(tmp_path))) < 4:  # itself, the tracker of joblib, two workers
        assert child.process.poll() is None
    child.send(signal.SIGINT)
    status, output, errors = child.finish()
    assert status == -signal.SIGINT
    assert output == "Fitting 5 folds for each of 1600 candidates, totalling 8000 fits\n"
    assert errors.endswith("KeyboardInterrupt\n")
    assert errors.count("Traceback") == 1
    assert all_gone(pids)
    assert not list(tmp_path.iterdir())
