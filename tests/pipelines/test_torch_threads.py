import os
import threading
import time

import pytest

from pipelines.engines import load_framework
from pipelines.engines.torch_threads import side_by_side, threads_kept

torch = load_framework("torch")


def here_and_cores(_):
    return threading.get_ident(), torch.get_num_threads()


def soon(condition):
    """Wait until a condition holds, for half a minute at most."""
    until = time.monotonic() + 30
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    return condition()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_each_thread_keeps_to_one_core_and_the_caller_has_its_own_again(two_threads):
    found = list(side_by_side(here_and_cores, range(8), threads=3))
    assert {cores for _, cores in found} == {1}
    assert len({thread for thread, _ in found}) <= 3
    assert torch.get_num_threads() == 2
    with_new_thread = []
    thread = threading.Thread(target=lambda: with_new_thread.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert with_new_thread == [2]


def test_items_run_at_once_and_results_come_in_their_order(two_threads):
    meeting = threading.Barrier(2, timeout=30)

    def met(number):
        meeting.wait()  # breaks where the other one does not run meanwhile
        return number

    assert list(side_by_side(met, [3, 1, 2, 0], threads=2)) == [3, 1, 2, 0]


def test_the_other_threads_go_on_while_a_result_is_used(two_threads):
    begun = []
    results = side_by_side(lambda number: begun.append(number) or number, range(8), threads=2)
    assert next(results) == 0
    assert soon(lambda: sorted(begun) == list(range(8)))  # two threads begin in any order
    assert list(results) == list(range(1, 8))


def test_where_it_would_wait_the_thread_that_asks_does_what_is_left(two_threads):
    free, by, here = threading.Event(), {}, threading.get_ident()

    def work(number):
        by[number] = threading.get_ident()
        assert by[number] == here or free.wait(30)
        return number

    results = side_by_side(work, range(8), threads=2)
    threading.Thread(target=lambda: soon(lambda: len(by) == 8) and free.set()).start()
    assert list(results) == list(range(8))
    assert list(by.values()).count(here) >= 7


def test_no_more_than_four_a_thread_are_begun_before_they_are_asked_for(two_threads):
    begun = []
    results = side_by_side(lambda number: begun.append(number) or number, range(100), threads=2)
    assert next(results) == 0
    assert soon(lambda: len(begun) == 8)
    time.sleep(0.1)
    assert len(begun) == 8
    results.close()
    assert torch.get_num_threads() == 2


def test_a_process_that_was_forked_has_threads_of_its_own(two_threads):
    list(side_by_side(here_and_cores, range(4), threads=2))
    child = os.fork()
    if not child:
        right = False
        try:
            right = list(side_by_side(abs, range(-4, 0), threads=2)) == [4, 3, 2, 1]
        finally:
            os._exit(0 if right else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(("items", "threads"), [([1, 2], 1), ([1], 4), ([], 4)])
def test_with_nothing_to_share_the_function_runs_here_when_its_result_is_wanted(items, threads):
    called = []
    results = side_by_side(lambda item: called.append(item) or threading.get_ident(), items, threads)
    assert called == []
    assert list(results) == [threading.get_ident()] * len(items)
    assert called == items


def test_an_error_ends_it_and_is_raised_here(two_threads):
    def failing(number):
        if number == 1:
            raise KeyboardInterrupt
        return number

    with pytest.raises(KeyboardInterrupt):
        list(side_by_side(failing, range(4), threads=2))
    assert torch.get_num_threads() == 2


def test_the_number_of_threads_is_kept_through_an_error_too(two_threads):
    @threads_kept()
    def failing():
        torch.set_num_threads(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing()
    assert torch.get_num_threads() == 2
