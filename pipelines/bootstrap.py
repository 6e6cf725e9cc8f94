"""Bootstrap intervals for any statistic that can be written as a function of sample weights.

A resample of ``n`` samples with replacement is the same thing as giving each sample the number of times it was drawn as
a weight. A statistic that takes many such weight columns at once is computed for hundreds of resamples by a few matrix
products, where a loop over resampled arrays would call scikit-learn thousands of times.

Where neighbours depend on each other (overlapping windows of a series), blocks of neighbours are drawn instead of
single samples; one by one they would count as far more evidence than they are. Where some samples belong together (the
scans of a patient), all of them are drawn or none.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from pipelines.errors import DataError, ParameterError

__all__ = ["Statistics", "affordable", "block_length", "intervals", "resamples"]

Statistics = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Weights ``(n, b)`` -> name -> values ``(b,)``; ``nan`` where a resample leaves the statistic undefined."""

_BLOCK = 2_000_000  # weights held at once: 16 MB, about what stays in a processor's cache
_FEWEST_RESAMPLES = 100


def intervals(
    statistics: Statistics,
    n: int,
    *,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    block: int = 1,
    groups: Sequence[int] | np.ndarray | None = None,
    clusters: Sequence[int] | np.ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap interval of every statistic, resampling samples [1]_, or blocks or clusters of them.

    Parameters
    ----------
    statistics : callable
        Takes weights of shape ``(n, b)``, one column a resample, and returns ``b`` values for each name.
    n : int
        Number of samples.
    n_bootstrap : int
        Number of resamples; 0 gives no intervals at all.
    seed : int
        The same seed gives the same intervals.
    level : float
        Share of the resamples inside the interval.
    block : int
        Number of neighbours drawn together, see `resamples`.
    groups : sequence of int, shape (n,), optional
        Series each sample belongs to; blocks stay within one.
    clusters : sequence of int, shape (n,), optional
        Cluster of each sample, see `resamples`.

    Returns
    -------
    dict of str to (float, float)
        Low and high end; ``nan`` where no resample defines the statistic, and with a single cluster, whose resamples are
        all the same.

    Raises
    ------
    DataError
        If there is not one cluster per sample.
    ParameterError
        If clusters are combined with blocks or groups.

    References
    ----------
    .. [1] B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Examples
    --------
    >>> heights = np.array([1.62, 1.75, 1.81, 1.68, 1.77])
    >>> low, high = intervals(lambda w: {"mean": heights @ w / w.sum(axis=0)}, 5)["mean"]
    >>> bool(low < heights.mean() < high)
    True
    """
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    drawn = resamples(n, n_bootstrap, seed, block=block, groups=groups, clusters=clusters)
    with threadpool_limits(1, "blas"):  # on a busy machine its threads wait for each other, here a hundred times as long
        parts = [statistics(weights) for weights in drawn]
    names = parts[0] if parts else {}
    if clusters is not None and len(np.unique(clusters)) == 1:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    return {name: _percentiles(np.concatenate([part[name] for part in parts]), level) for name in names}


def resamples(
    n: int,
    n_bootstrap: int,
    seed: int,
    *,
    block: int = 1,
    groups: Sequence[int] | np.ndarray | None = None,
    clusters: Sequence[int] | np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yield the resamples as counts ``(n, b)``, some columns at a time so that memory does not grow with their number.

    With ``block`` above 1 this is the circular block bootstrap [2]_, a form of the moving blocks of [1]_ that draws the
    first and last samples as often as the others: blocks begin anywhere, and go on at the start when they reach the end.
    With ``groups`` they do so within their group; a group shorter than a block is drawn whole.

    With ``clusters`` this is the cluster bootstrap [3]_: as many clusters are drawn as there are, each with all its samples.

    Parameters
    ----------
    n : int
        Number of samples, in their order in time (within each group).
    n_bootstrap : int
        Number of resamples in all.
    seed : int
        Seed of the drawing.
    block : int
        Number of neighbours drawn together.
    groups : sequence of int, shape (n,), optional
        Series each sample belongs to; those of one series need not stand together.
    clusters : sequence of int, shape (n,), optional
        Cluster each sample belongs to, say the patient of a scan; not together with ``block`` or ``groups``.

    Yields
    ------
    ndarray of shape (n, b)
        How often each sample was drawn; every column sums to ``n``, or about ``n`` where some groups are shorter than
        a block or clusters differ in size. Each sample is expected equally often.

    Raises
    ------
    DataError
        If there is not one cluster per sample.
    ParameterError
        If clusters are combined with blocks or groups.

    References
    ----------
    .. [1] H. R. Künsch, "The jackknife and the bootstrap for general stationary observations", Annals of Statistics
           17(3), 1989, https://doi.org/10.1214/aos/1176347265
    .. [2] D. N. Politis and J. P. Romano, "A circular block-resampling procedure for stationary data", in "Exploring
           the Limits of Bootstrap", 1992, pages 263-270.
    .. [3] C. A. Field and A. H. Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69(3),
           2007, https://doi.org/10.1111/j.1467-9868.2007.00593.x

    Examples
    --------
    >>> counts, = resamples(n=4, n_bootstrap=3, seed=0)
    >>> counts.shape, counts.sum(axis=0)
    ((4, 3), array([4., 4., 4.]))
    >>> counts, = resamples(n=6, n_bootstrap=1, seed=0, block=3)
    >>> counts.ravel()
    array([1., 1., 0., 1., 1., 2.])
    >>> counts, = resamples(n=5, n_bootstrap=1, seed=0, clusters=[7, 7, 8, 9, 9])
    >>> counts.ravel()
    array([0., 0., 2., 1., 1.])
    """
    rng = np.random.default_rng(seed)
    members = None if clusters is None else _members(clusters, n, block, groups)
    blocks = _Blocks(n, block, groups) if members is None else _Blocks(int(members.max()) + 1, 1, None)
    size = max(1, _BLOCK // n)
    for start in range(0, n_bootstrap, size):
        counts = blocks.draw(rng, min(size, n_bootstrap - start))
        yield counts if members is None else counts[members]


def block_length(n: int, dependence: int) -> int:
    """Length of the blocks for ``n`` samples in order.

    Parameters
    ----------
    n : int
        Number of samples.
    dependence : int
        Distance up to which samples are known to share data, such as the horizon of overlapping windows.

    Returns
    -------
    int
        That distance, or where it is more the cube root of ``n`` (the rate at which the best length grows [1]_); at
        most half of ``n``, so that there are two blocks.

    References
    ----------
    .. [1] P. Hall, J. L. Horowitz and B.-Y. Jing, "On blocking rules for the bootstrap with dependent data", Biometrika
           82(3), 1995, https://doi.org/10.1093/biomet/82.3.561

    Examples
    --------
    >>> block_length(2785, 96), block_length(2785, 1), block_length(100, 96)
    (96, 14, 50)
    """
    return max(1, min(max(dependence, round(n ** (1 / 3))), n // 2))


def affordable(n_bootstrap: int, size: int, budget: int) -> tuple[int, list[str]]:
    """Check the number of resamples asked for, and lower it where the time would be long.

    Parameters
    ----------
    n_bootstrap : int
        What was asked for.
    size : int
        Work of one resample, such as samples times classes.
    budget : int
        Work of all resamples together that is still quick.

    Returns
    -------
    n_bootstrap : int
        What to draw, at least 100 where that many were asked for.
    notes : list of str
        A sentence about it where that is fewer.

    Raises
    ------
    DataError
        If ``n_bootstrap`` is not a whole number of 0 or more.

    Examples
    --------
    >>> affordable(1000, size=10, budget=5000)
    (500, ['The intervals come from 500 resamples, not 1000, to keep the time short.'])
    """
    if isinstance(n_bootstrap, bool) or not isinstance(n_bootstrap, int | np.integer) or n_bootstrap < 0:
        raise DataError(f"n_bootstrap must be a whole number of resamples, 0 or more; not {n_bootstrap!r}.")
    most = max(_FEWEST_RESAMPLES, budget // size)
    if n_bootstrap <= most:
        return int(n_bootstrap), []
    return most, [f"The intervals come from {most} resamples, not {n_bootstrap}, to keep the time short."]


def _members(clusters: Sequence[int] | np.ndarray, n: int, block: int, groups: object) -> np.ndarray:
    """Return the number of the cluster of each sample, from 0 without a gap."""
    if block > 1 or groups is not None:
        raise ParameterError("clusters cannot be combined with block or groups: a cluster is drawn whole.")
    if len(clusters) != n:
        raise DataError(f"clusters has {len(clusters)} entries, but there are {n} samples; give one cluster per sample.")
    return np.unique(np.asarray(clusters), return_inverse=True)[1]


class _Blocks:
    """Circular blocks within groups, over the samples sorted by group."""

    def __init__(self, n: int, block: int, groups: Sequence[int] | np.ndarray | None) -> None:
        numbers = np.zeros(n, dtype=int) if groups is None else np.asarray(groups)
        in_order = bool((numbers[1:] >= numbers[:-1]).all())
        self._n, self._order = n, None if in_order else np.argsort(numbers, kind="stable")
        numbers = np.sort(numbers)
        self._first = np.searchsorted(numbers, numbers, side="left")
        self._end = np.searchsorted(numbers, numbers, side="right")
        self._length = np.minimum(block, self._end - self._first)
        self._singles = self._length.max() == 1
        # A sample is covered by as many starts as its block is long, so starts in short groups are drawn more often.
        chance = np.cumsum(1 / self._length)
        self._blocks = math.ceil(chance[-1] - 1e-9)
        self._chance = None if self._length.min() == self._length.max() else chance / chance[-1]

    def draw(self, rng: np.random.Generator, b: int) -> np.ndarray:
        """Return the counts ``(n, b)`` of `b` resamples."""
        n, starts = self._n, self._starts(rng, b)
        length = self._length[starts]
        length = np.clip(n - (length.cumsum(axis=1) - length), 0, length)  # the last block ends at n samples
        if self._singles:
            return _tallied(starts, n).T.astype(float)
        stop, first, end = starts + length, self._first[starts], self._end[starts]
        # +1 where a piece begins and -1 where it has ended: a running sum turns both into counts. The second piece is
        # what goes on at the start of the group, mostly empty.
        begun, ended = (starts, first), (np.minimum(stop, end), first + np.maximum(stop - end, 0))
        steps = _tallied(np.concatenate(begun, axis=1), n + 1) - _tallied(np.concatenate(ended, axis=1), n + 1)
        counts = np.cumsum(steps[:, :n], axis=1, dtype=float)
        if self._order is None:
            return counts.T
        found = np.empty_like(counts)
        found[:, self._order] = counts
        return found.T

    def _starts(self, rng: np.random.Generator, b: int) -> np.ndarray:
        if self._chance is None:
            return rng.integers(0, self._n, size=(b, self._blocks))
        return np.minimum(np.searchsorted(self._chance, rng.random((b, self._blocks)), side="right"), self._n - 1)


def _tallied(positions: np.ndarray, n: int) -> np.ndarray:
    """How often each of ``n`` positions occurs in each row of ``(b, k)``."""
    rows = np.arange(len(positions))[:, None] * n
    return np.bincount((positions + rows).ravel(), minlength=len(positions) * n).reshape(-1, n)


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
