import time
from contextlib import closing

import pytest

from crashing_work import double, leave_a_mark
from sgear.workers import LostWorker, run_jobs


def test_one_worker_works_in_this_process_and_in_order():
    told = []
    results = list(run_jobs(double, [3, 1], num_workers=1, progress=lambda *args: told.append(args)))
    assert results == [(0, 6), (1, 2)]
    assert told == [(0, 3.0), (1, 1.0)]


def test_worker_that_dies_loses_its_job_only():
    results = dict(run_jobs(double, [1, -1, 2, -2, 3], num_workers=2))
    assert results == {0: 2, 1: LostWorker(7), 2: 4, 3: LostWorker(-9), 4: 6}
    assert "ended with code 7" in str(results[1])
    assert "SIGKILL" in str(results[3])


@pytest.mark.parametrize("num_workers", [1, 2])
def test_exception_of_the_work_is_raised_here(num_workers):
    with pytest.raises(ValueError, match="wrong job"):
        list(run_jobs(double, [1, -3], num_workers=num_workers))


def test_workers_tidy_up_when_the_results_are_given_up(tmp_path):
    marks = [tmp_path / "a", tmp_path / "b"]

    def stop(idx, value):
        while not all(mark.exists() for mark in marks):
            time.sleep(0.01)
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        closing(run_jobs(leave_a_mark, marks, num_workers=2, progress=stop)) as results,
    ):
        next(results)
    assert list(tmp_path.iterdir()) == []


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="at least 1"):
        next(run_jobs(double, [1], num_workers=0))


@pytest.mark.parametrize(
    ("job", "message"), [(-4, "TwoPartError: here: two parts"), (-5, "ValueError: \\('holds a lock'")]
)
def test_exception_that_cannot_be_sent_arrives_with_its_traceback(job, message):
    with pytest.raises(RuntimeError, match=message) as error:
        list(run_jobs(double, [1, job], num_workers=2))
    assert "crashing_work.py" in str(error.value)


def test_result_that_cannot_be_sent_says_so():
    with pytest.raises((TypeError, RuntimeError), match="cannot pickle"):
        list(run_jobs(double, [1, -6], num_workers=2))


def test_worker_killed_by_a_signal_without_a_name_is_described():
    assert "was killed by signal 40" in str(LostWorker(-40))
