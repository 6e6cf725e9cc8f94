"""PyTorch's threads: batches side by side on the CPU, each on a core of its own, and the number of threads kept.

Small networks gain little where cores share each layer.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from . import load_framework

__all__ = ["side_by_side", "threads_kept"]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def side_by_side(function: Callable[[_Item], _Result], items: Sequence[_Item], threads: int) -> Iterator[_Result]:
    """Call a function with each item, in several threads in which PyTorch keeps to one core.

    Parameters
    ----------
    function : callable
        What it does for one item must not depend on the others.
    items : sequence
        The dearest first, or one thread is left with it at the end.
    threads : int
        Items at once; 1 calls the function here, with PyTorch as it is, whenever the next result is asked for.

    Yields
    ------
    result
        In the order of `items`.

    Examples
    --------
    >>> list(side_by_side(lambda size: load_framework("torch").ones(size).sum().item(), [3, 2, 1], threads=2))
    [3.0, 2.0, 1.0]
    """
    if min(threads, len(items)) < 2:
        yield from map(function, items)
        return
    torch: Any = load_framework("torch")
    one_core = functools.partial(torch.set_num_threads, 1)  # holds for the thread itself, and for all that begin later
    with threads_kept(), ThreadPoolExecutor(threads, thread_name_prefix="side-by-side", initializer=one_core) as pool:
        yield from pool.map(function, items)


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
