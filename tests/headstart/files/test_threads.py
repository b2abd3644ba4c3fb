"""Threads take their turns."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from headstart.files.threads import Places, in_order, in_order_on


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_the_order_of_the_arguments(workers):
    def late(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number

    assert list(in_order(late, range(30), workers, ahead=5)) == list(range(30))


def test_threads_that_others_use_go_on():
    with ThreadPoolExecutor(2) as pool:
        results = in_order_on(pool, lambda number: 1 / number, [1, 0, 2], ahead=1)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            list(results)
        assert list(in_order_on(pool, abs, [-3], ahead=1)) == [3]


@pytest.mark.parametrize("count", [1, 3])
def test_no_more_threads_than_places_are_inside(count):
    places, inside, most, lock = Places(count), 0, 0, threading.Lock()

    def work(_: int) -> None:
        nonlocal inside, most
        with places:
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.001)
            with lock:
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(50)))
    assert most == count


def test_who_comes_back_waits_behind_the_others():
    places, entered = Places(1), []
    places.__enter__()
    threads = [threading.Thread(target=lambda n=n: (places.__enter__(), entered.append(n))) for n in range(5)]
    for number, thread in enumerate(threads):
        thread.start()
        while len(places._waiting) <= number:
            time.sleep(0.001)
    places.__exit__()  # handed to the first, so this thread finds no free place
    assert places._free == 0
    for _ in threads:
        while not entered or (places._waiting and len(entered) + len(places._waiting) < 5):
            time.sleep(0.001)
        places.__exit__()
    for thread in threads:
        thread.join()
    assert entered == list(range(5))


@pytest.mark.parametrize("is_handed_over", [False, True])
def test_an_interrupt_leaves_no_place_taken(is_handed_over, monkeypatch):
    places = Places(1)
    places.__enter__()

    class Interrupted:
        """A lock whose second acquisition is interrupted, before or after the place was handed over."""

        def __init__(self) -> None:
            self.times = 0

        def acquire(self) -> None:
            self.times += 1
            if self.times == 2:
                if is_handed_over:
                    places.__exit__()
                raise KeyboardInterrupt

        def release(self) -> None:
            pass

    monkeypatch.setattr("headstart.files.threads.threading.Lock", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        places.__enter__()
    if not is_handed_over:
        places.__exit__()
    assert (places._free, len(places._waiting)) == (1, 0)
