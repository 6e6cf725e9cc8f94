"""PyTorch's threads: work side by side on the CPU, each piece on a core of its own, and the number of threads kept.

Small networks gain little where cores share each layer.
"""

import contextlib
import functools
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from . import load_framework

__all__ = ["side_by_side", "threads_kept"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 4  # results a thread that may be there before they are asked for; they take memory


def side_by_side(function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int) -> Generator[_Result, None, None]:
    """Call a function with each item, in several threads in which PyTorch keeps to one core.

    One of them is the thread that asks for the results: what it does between them, it does while the others go on, and where the
    next result is not there yet it takes an item itself.

    Parameters
    ----------
    function : callable
        What it does for one item must not depend on the others.
    items : iterable
        The dearest first, or one thread is left with it at the end.
    threads : int
        How many; where it is 1, or there is one item only, the function is called when its result is asked for, with PyTorch as
        it is.

    Yields
    ------
    result
        In the order of `items`; at most four a thread are there before they are asked for.

    Examples
    --------
    >>> list(side_by_side(lambda size: load_framework("torch").ones(size).sum().item(), [3, 2, 1], threads=2))
    [3.0, 2.0, 1.0]
    """
    items = iter(items)
    two = list(itertools.islice(items, 2))
    items = itertools.chain(two, items)
    if min(threads, len(two)) < 2:
        yield from map(function, items)
        return
    begun: deque[_Task[_Result]] = deque()
    with threads_kept():
        _one_core()
        pool = _pool(threads - 1, os.getpid())
        tasks = (_Task(pool, functools.partial(function, item)) for item in items)
        try:
            begun.extend(itertools.islice(tasks, _AHEAD * threads))
            while begun:
                yield _first(begun)
                begun.popleft()
                begun.extend(itertools.islice(tasks, 1))
        finally:
            for task in begun:
                task.future.cancel()


class _Task(Generic[_Result]):
    """A call that is left to other threads, until it is taken back."""

    def __init__(self, pool: ThreadPoolExecutor, call: Callable[[], _Result]) -> None:
        self.call, self.future = call, pool.submit(call)

    def taken(self) -> bool:
        """Do it here unless another thread has begun it."""
        if self.future.done() or not self.future.cancel():
            return False
        self.future = Future()
        self.future.set_result(self.call())
        return True


def _first(tasks: Sequence[_Task[_Result]]) -> _Result:
    """Return the first task's result; while another thread is at it, do others here."""
    while not tasks[0].future.done() and any(task.taken() for task in tasks):
        pass
    return tasks[0].future.result()


def _one_core() -> None:
    """Keep PyTorch to one core in this thread, and in all that begin later."""
    load_framework("torch").set_num_threads(1)


@functools.lru_cache(maxsize=1)  # threads that have worked before are quicker; a fork leaves none of them
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="side-by-side", initializer=_one_core)


@contextlib.contextmanager
def threads_kept() -> Iterator[None]:
    """Give PyTorch the number of threads it had back when the block ends.

    Examples
    --------
    >>> with threads_kept():
    ...     load_framework("torch").set_num_threads(1)
    """
    torch: Any = load_framework("torch")
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
