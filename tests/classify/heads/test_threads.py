import pytest

from headstart.classify.heads import threads
from headstart.classify.heads.threads import in_parallel


@pytest.mark.parametrize("cores", [1, 3])
def test_results_come_in_the_order_of_the_jobs(monkeypatch, cores):
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    jobs = [lambda number=number: number**2 for number in range(20)]
    assert list(in_parallel(jobs)) == [number**2 for number in range(20)]
    assert list(in_parallel([])) == []


@pytest.mark.parametrize("cores", [1, 3])
def test_the_error_of_a_job_reaches_the_caller(monkeypatch, cores):
    monkeypatch.setattr(threads, "_cores", lambda: cores)
    with pytest.raises(ZeroDivisionError):
        list(in_parallel([lambda: 1, lambda: 1 // 0]))


def test_jobs_may_have_jobs_of_their_own(monkeypatch):
    monkeypatch.setattr(threads, "_cores", lambda: 2)
    squares = lambda: sum(in_parallel([lambda number=number: number**2 for number in range(4)]))  # noqa: E731
    assert list(in_parallel([squares] * 8)) == [14] * 8
