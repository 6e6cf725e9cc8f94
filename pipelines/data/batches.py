"""`Batches`, the only data class, and reading ahead."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

__all__ = ["Batches", "prefetch"]


class Batches:
    """Samples a batch at a time, in numpy: `len(batches)`, and `batches[i] -> (inputs, targets)`.

    Parameters
    ----------
    read : callable
        Takes an array of sample indices and returns their inputs, stacked.
    n : int
        Number of samples.
    batch_size : int
        Samples a batch; the last batch holds what is left.
    targets : ndarray, optional
        One row a sample.
    seed : int, optional
        Shuffle with this seed, anew at every `start_epoch`; None keeps the order.
    workers : int
        How many batches are worth reading at once: 1 for arrays in memory, more where files are decoded.

    Examples
    --------
    >>> batches = Batches(lambda rows: rows * 10, 3, 2)
    >>> batches[1][0].tolist(), len(batches)
    ([20], 2)
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Any],
        n: int,
        batch_size: int,
        *,
        targets: np.ndarray | None = None,
        seed: int | None = None,
        workers: int = 1,
    ) -> None:
        self.read, self.n, self.batch_size = read, n, batch_size
        self.targets, self.seed, self.workers = targets, seed, workers
        self.order = np.arange(n)
        self.start_epoch(0)

    def __len__(self) -> int:
        return -(-self.n // self.batch_size)

    def __getitem__(self, i: int) -> tuple[Any, np.ndarray | None]:
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        rows = self.order[i * self.batch_size : (i + 1) * self.batch_size]
        return self.read(rows), None if self.targets is None else self.targets[rows]

    def start_epoch(self, epoch: int) -> None:
        """Shuffle for `epoch`; the order depends on the seed and the epoch alone, so a resumed run goes on alike."""
        if self.seed is not None:
            self.order = np.random.default_rng([self.seed, epoch]).permutation(self.n)


def prefetch(batches: Batches) -> Iterator[Any]:
    """Yield the inputs of each batch in order, reading up to `batches.workers` ahead in threads.

    Examples
    --------
    >>> [inputs.tolist() for inputs in prefetch(Batches(lambda rows: rows, 3, 2))]
    [[0, 1], [2]]
    """
    if batches.workers < 2 or len(batches) < 2:
        for i in range(len(batches)):
            yield batches[i][0]
        return
    with ThreadPoolExecutor(batches.workers, thread_name_prefix="prefetch") as pool:
        waiting = deque(pool.submit(batches.__getitem__, i) for i in range(min(batches.workers + 1, len(batches))))
        try:
            for i in range(len(batches)):
                inputs = waiting.popleft().result()[0]
                if i + batches.workers + 1 < len(batches):
                    waiting.append(pool.submit(batches.__getitem__, i + batches.workers + 1))
                yield inputs
        finally:
            for future in waiting:
                future.cancel()
