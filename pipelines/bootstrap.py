"""Bootstrap intervals for any statistic that can be written as a function of sample weights.

A resample of ``n`` samples with replacement is the same thing as giving each sample the number of times it was drawn as
a weight. A statistic that takes many such weight columns at once is computed for hundreds of resamples by a few matrix
products, where a loop over resampled arrays would call scikit-learn thousands of times.
"""

from collections.abc import Callable, Iterator

import numpy as np

__all__ = ["Statistics", "intervals", "resamples"]

Statistics = Callable[[np.ndarray], dict[str, np.ndarray]]
"""Weights ``(n, b)`` -> name -> values ``(b,)``; ``nan`` where a resample leaves the statistic undefined."""

_BLOCK = 2_000_000  # weights held at once: 16 MB, about what stays in a processor's cache


def intervals(
    statistics: Statistics, n: int, *, n_bootstrap: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap interval of every statistic, resampling samples [1]_.

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

    Returns
    -------
    dict of str to (float, float)
        Low and high end; ``nan`` where no resample defines the statistic.

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
    blocks = [statistics(weights) for weights in resamples(n, n_bootstrap, seed)]
    names = blocks[0] if blocks else {}
    return {name: _percentiles(np.concatenate([block[name] for block in blocks]), level) for name in names}


def resamples(n: int, n_bootstrap: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the resamples as counts ``(n, b)``, a block at a time so that memory does not grow with their number.

    Parameters
    ----------
    n : int
        Number of samples.
    n_bootstrap : int
        Number of resamples in all blocks together.
    seed : int
        Seed of the drawing.

    Yields
    ------
    ndarray of shape (n, b)
        How often each sample was drawn; every column sums to ``n``.

    Examples
    --------
    >>> counts, = resamples(n=4, n_bootstrap=3, seed=0)
    >>> counts.shape, counts.sum(axis=0)
    ((4, 3), array([4., 4., 4.]))
    """
    rng = np.random.default_rng(seed)
    size = max(1, _BLOCK // n)
    for start in range(0, n_bootstrap, size):
        b = min(size, n_bootstrap - start)
        drawn = rng.integers(0, n, size=(b, n)) * b + np.arange(b)[:, None]
        yield np.bincount(drawn.ravel(), minlength=n * b).reshape(n, b).astype(float)


def _percentiles(values: np.ndarray, level: float) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
