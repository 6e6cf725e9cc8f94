import threading

import pytest

from pipelines.engines import load_framework
from pipelines.engines.torch_threads import side_by_side, threads_kept

torch = load_framework("torch")


def here_and_cores(_):
    return threading.get_ident(), torch.get_num_threads()


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_each_thread_keeps_to_one_core_and_the_caller_has_its_own_again(two_threads):
    found = list(side_by_side(here_and_cores, range(8), threads=3))
    assert {cores for _, cores in found} == {1}
    assert threading.get_ident() not in {thread for thread, _ in found}
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
