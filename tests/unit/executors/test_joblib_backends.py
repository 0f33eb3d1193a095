# pyright: basic
"""The backends of joblib: what runs in worker processes."""

from __future__ import annotations

import os
import pickle
import sys

import pytest
from joblib.externals.loky.backend import resource_tracker

from asyncrun._executors.joblib_backends import Pickled, TrackerFd, begin, run_tasks

numpy = pytest.importorskip("numpy")


def test_results_are_pickled_with_joblibs_reducers_where_there_may_be_arrays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    results = run_tasks(lambda: [1, numpy.arange(3)])
    assert isinstance(results, Pickled)
    again = pickle.loads(pickle.dumps(results))
    assert pickle.loads(again.content)[1].tolist() == [0, 1, 2]
    monkeypatch.delitem(sys.modules, "numpy")
    assert run_tasks(lambda: [1, 2]) == [1, 2]


class Inherited:
    """A descriptor as a worker process gets it."""

    def detach(self) -> int:
        return os.dup(0)


def test_a_worker_uses_the_tracker_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker = resource_tracker._resource_tracker
    monkeypatch.setattr(tracker, "_fd", None)
    called: list[int] = []
    begin(TrackerFd(Inherited()), called.append, (1,))
    assert called == [1]
    assert tracker._fd is not None
    assert not os.get_inheritable(tracker._fd)
    os.close(tracker._fd)
    monkeypatch.setattr(tracker, "_fd", None)
    begin(None, None, ())  # on Windows
    assert tracker._fd is None
