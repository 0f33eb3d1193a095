# pyright: basic
"""The backends of joblib: what loky and threading do, and tasks that can be stopped."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import joblib
import pytest
from joblib import _memmapping_reducer as memmapping
from joblib.externals.loky import reusable_executor
from joblib.externals.loky.backend import resource_tracker

import asyncrun.joblib
from asyncrun import SerializationError
from asyncrun._executors import joblib_backends
from tests.contract import joblib_tasks, jobs
from tests.contract.conftest import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contract.jobs import HeldProcessCall

numpy: Any = pytest.importorskip("numpy")

OURS = ["asyncrun", "asyncrun-threads"]
PROCESSES = ["asyncrun", pytest.param("loky", marks=pytest.mark.exhaustive)]


@pytest.fixture(scope="module", autouse=True)
def tracker() -> None:
    """Start what joblib starts once."""
    resource_tracker.ensure_running()
    asyncrun.joblib.register()


@pytest.fixture(autouse=True)
def ended(nothing_is_left: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End what is kept for the next `joblib.Parallel`."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # which takes each of them long
    yield
    end_idle()
    if reusable_executor._executor is not None:
        reusable_executor._executor.shutdown(kill_workers=True)


def end_idle() -> None:
    """End the processes that are kept."""
    while joblib_backends._idle:
        workers = joblib_backends._idle.pop()
        workers.expiry.cancel()
        workers.expiry.join(PATIENCE)
        workers.shutdown()


def parallel(backend: str, func: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Run a function of each argument, in two jobs."""
    with joblib.parallel_config(backend=backend, **{"n_jobs": 2, **options.pop("config", {})}):
        return joblib.Parallel(**options)(joblib.delayed(func)(arg) for arg in args)


@pytest.mark.parametrize("backend", OURS)
@pytest.mark.parametrize("n_jobs", [1, -1])
def test_results_come_in_their_order(backend: str, n_jobs: int) -> None:
    results = parallel(backend, jobs.square, *range(200), n_jobs=n_jobs)
    assert results == [n * n for n in range(200)]


@pytest.mark.parametrize("backend", OURS)
def test_results_may_be_generated(backend: str) -> None:
    for how, order in (("generator", list), ("generator_unordered", sorted)):
        results = parallel(backend, jobs.square, *range(50), return_as=how)
        assert order(results) == [n * n for n in range(50)]


def test_lambdas_are_sent_and_what_cannot_be_sent_is_an_error() -> None:
    factor = 3
    assert parallel("asyncrun", lambda n: n * factor, 1, 2) == [3, 6]
    with pytest.raises(SerializationError, match="cannot be pickled"):
        parallel("asyncrun", str, 1, threading.Lock())
    assert parallel("asyncrun", lambda n: n * factor, 1, 2) == [3, 6]


def test_processes_are_kept_for_the_next_with_as_many_jobs() -> None:
    first = set(parallel("asyncrun", joblib_tasks.pid_of, *range(20)))
    assert set(parallel("asyncrun", joblib_tasks.pid_of, *range(20))) == first
    assert not set(parallel("asyncrun", joblib_tasks.pid_of, *range(20), n_jobs=3)) & first
    with joblib.Parallel(n_jobs=3, backend="asyncrun") as several:
        pids = [
            set(several(joblib.delayed(joblib_tasks.pid_of)(n) for n in range(20)))
            for _ in range(2)
        ]
    assert len(pids[0] | pids[1]) <= 3


def test_two_at_once_have_processes_of_their_own() -> None:
    found: list[Any] = []
    both = threading.Barrier(2)

    def run() -> None:
        with joblib.Parallel(
            n_jobs=2, backend=joblib_backends.ProcessBackend(nesting_level=0)
        ) as p:
            both.wait(PATIENCE)
            found.append(set(p(joblib.delayed(joblib_tasks.pid_of)(n) for n in range(20))))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not found[0] & found[1]
    assert len(joblib_backends._idle) == 2


def test_processes_that_nobody_uses_end_after_a_while() -> None:
    with joblib.parallel_config(backend="asyncrun", n_jobs=2, idle_worker_timeout=0.01):
        pids = joblib.Parallel()(joblib.delayed(joblib_tasks.pid_of)(n) for n in range(4))
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not joblib_backends._idle


def test_processes_that_are_used_again_in_the_moment_of_their_end_stay() -> None:
    joblib_backends._expire(joblib_backends.Workers(2, {}, (None, ())))


@pytest.mark.parametrize("backend", PROCESSES)
def test_inner_threads_are_limited(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "ENABLE_IPC"]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    share = str(max(joblib.cpu_count() // 2, 1))
    assert parallel(backend, joblib_tasks.threads_of, *names) == [share, share, "1"]
    limited = {"inner_max_num_threads": 3}
    assert parallel(backend, joblib_tasks.threads_of, *names, config=limited) == ["3", "3", "1"]
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert parallel(backend, joblib_tasks.threads_of, *names) == ["7", share, "1"]


@pytest.mark.parametrize("backend", PROCESSES)
def test_large_arrays_are_mapped_and_their_files_removed(backend: str, tmp_path: Path) -> None:
    large, small = numpy.arange(300_000.0), numpy.arange(30.0)
    options = {"temp_folder": str(tmp_path)}
    kinds = parallel(backend, joblib_tasks.kind_of, large, small, large, **options)
    mapped = ("memmap", False, 299_999.0)
    assert kinds == [mapped, ("ndarray", True, 29.0), mapped]
    wait_until(lambda: not list(tmp_path.rglob("*.pkl")))
    kinds = parallel(backend, joblib_tasks.kind_of, large, small, max_nbytes=None, **options)
    assert [kind for kind, *_ in kinds] == ["ndarray", "ndarray"]


def test_tasks_that_are_sent_at_once_find_a_whole_file(monkeypatch: pytest.MonkeyPatch) -> None:
    dump = memmapping.dump

    def dump_slowly(array: Any, filename: str) -> Any:
        Path(filename).touch()
        time.sleep(0.2)
        return dump(array, filename)

    parallel("asyncrun", joblib_tasks.pid_of, *range(20))
    monkeypatch.setattr(memmapping, "dump", dump_slowly)
    array = numpy.ones(300_000)
    assert (
        parallel("asyncrun", joblib_tasks.kind_of, *[array] * 4, batch_size=1)
        == [("memmap", False, 1.0)] * 4
    )


def test_what_comes_back_is_an_array_of_its_own() -> None:
    large = numpy.arange(300_000.0)
    for result in parallel("asyncrun", joblib_tasks.same, large, large[10:]):
        assert type(result) is numpy.ndarray
        assert result[-1] == 299_999.0


@pytest.mark.parametrize(
    ("backend", "names"),
    [
        ("asyncrun", ["ThreadingBackend", "SequentialBackend", "SequentialBackend"]),
        ("loky", ["ThreadingBackend", "SequentialBackend", "SequentialBackend"]),
        ("asyncrun-threads", ["ThreadBackend", "SequentialBackend", "SequentialBackend"]),
        ("threading", ["ThreadingBackend", "SequentialBackend", "SequentialBackend"]),
    ],
)
def test_nested_ones_use_threads_and_then_none(backend: str, names: list[str]) -> None:
    assert parallel(backend, joblib_tasks.nested, 2, 2) == [names, names]


@pytest.mark.parametrize("backend", OURS)
@pytest.mark.parametrize("call", ["cooperative", "stuck"])
def test_an_error_of_a_task_stops_the_others(
    backend: str, call: str, held_process_call: Callable[[], HeldProcessCall]
) -> None:
    one = held_process_call()
    tasks = (call, one.path), ("fail", one.path), ("stuck", one.path)
    begin = time.monotonic()
    with pytest.raises(LookupError, match="too bad"):
        parallel(backend, joblib_tasks.one_of, *tasks, batch_size=1)
    assert time.monotonic() - begin < PATIENCE / 2
    if call == "cooperative":
        wait_until(lambda: one.has("left"))
        assert "aborted" in one.read("left")
    elif backend == "asyncrun":
        assert not Path(f"/proc/{one.read('inside')}").exists()
    assert parallel(backend, jobs.square, 1, 2) == [1, 4]


def test_a_parallel_that_is_kept_open_goes_on_after_an_error(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    one = held_process_call()
    for backend in OURS:
        with joblib.Parallel(n_jobs=2, backend=backend) as several:
            one.tell("inside")
            with pytest.raises(LookupError):
                several([joblib.delayed(joblib_tasks.one_of)(("fail", one.path))])
            assert several(joblib.delayed(jobs.square)(n) for n in range(3)) == [0, 1, 4]


def test_a_time_limit_ends_a_task_that_is_stuck(
    held_process_call: Callable[[], HeldProcessCall],
) -> None:
    one = held_process_call()
    with pytest.raises(multiprocessing.TimeoutError):  # so joblib has it
        parallel("asyncrun", jobs.stuck, one.path, one.path, timeout=1)
    assert not one.has("left")
    if one.has("inside"):
        assert not Path(f"/proc/{one.read('inside')}").exists()


@pytest.mark.parametrize("backend", PROCESSES)
def test_an_initializer_is_called_in_each_process_and_others_get_other_processes(
    backend: str,
) -> None:
    for arguments in [("a", 1), ("a", 1), ("b", 2)]:
        config = {"initializer": jobs.remember, "initargs": arguments}
        found = parallel(backend, joblib_tasks.recalled, *range(4), config=config)
        assert found == [[arguments]] * 4


@pytest.mark.parametrize("is_aborting", [False, True])
def test_a_batch_that_comes_as_all_are_aborted_is_cancelled(is_aborting: bool) -> None:
    backend, seen = joblib_backends.ProcessBackend(nesting_level=0), list[Any]()
    backend.configure(2, SimpleNamespace(_id="an id"))
    backend.abort_everything(ensure_ready=False)
    backend.parallel = SimpleNamespace(_aborting=is_aborting)
    if is_aborting:
        assert backend.submit(int, seen.append).cancelled()
        assert len(seen) == 1
    else:
        with pytest.raises(AttributeError):
            backend.submit(int, seen.append)


def test_a_backend_that_was_never_used_ends_without_more_ado() -> None:
    for backend in (joblib_backends.ProcessBackend(), joblib_backends.ThreadBackend()):
        backend.abort_everything(ensure_ready=False)
        backend.terminate()
