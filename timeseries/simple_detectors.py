"""The simple detectors every report puts beside the model's: what a network has to beat to be worth its while."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from . import overlap, planning

__all__ = ["all_of"]

_BEFORE = 100  # rows of a moving mean
_TREES, _MEANS = 100, 20
_MOST_WINDOWS, _FEWEST_WINDOWS, _MOST_VALUES = 5000, 1000, 5_000_000  # of the training part

Detector = Callable[[np.ndarray], np.ndarray]
"""From windows as rows (n, values) to one number each, larger where it is stranger."""


def all_of(
    training: Sequence[np.ndarray], series: Sequence[np.ndarray], window: int, *, online: bool, seed: int
) -> tuple[dict[str, list[np.ndarray]], dict[str, float]]:
    """Score series by every simple detector, and find what each would have to exceed for an alarm.

    Parameters
    ----------
    training, series : sequences of ndarray, (T, C)
        The training part and what is to be judged, scaled and without gaps.
    window : int
        Rows of a window: the period.
    online : bool
        Whether a row is judged by what came before it alone.
    seed : int
        Of the random ones.

    Returns
    -------
    scores : dict of str to list of ndarray
        One score a row, (T,), for each series; NaN where nothing can be said.
    thresholds : dict of str to float
        The highest scores of the training part; infinite for random scores.

    Notes
    -----
    "moving z-score": distance to the mean of the 100 rows before, in their standard deviations. "isolation forest" [1]_ and
    "k-means" [2]_: of windows, with 100 trees and 20 centres. "Sub-PCA" [3]_: distances to the principal axes of windows, whose
    values are standardised, each weighed by its inverse variance. "PCA, two windows": what the axes that explain nine tenths of
    the variance leave of such windows, of one period and of 100 rows.

    References
    ----------
    .. [1] F. T. Liu, K. M. Ting, Z.-H. Zhou, "Isolation Forest", ICDM 2008.
    .. [2] T. Yairi et al., "Fault Detection by Mining Association Rules from House-keeping Data", i-SAIRAS 2001; "KMeansAD" of
       TSB-AD.
    .. [3] Q. Liu and J. Paparrizos, "The Elephant in the Room: Towards A Reliable Time-Series Anomaly Detection Benchmark",
       NeurIPS 2024.

    Examples
    --------
    >>> wave = np.sin(np.arange(300.0) / 5)[:, None]
    >>> scores, thresholds = all_of([wave], [wave], 30, online=False, seed=0)
    >>> sorted(scores)
    ['PCA, two windows', 'Sub-PCA', 'isolation forest', 'k-means', 'moving z-score', 'random score']
    """
    shortest = min(len(one) for one in training) // 3
    one, two = (max(2, min(rows, shortest)) for rows in (window, planning.SECOND_WINDOW))
    fitted: dict[str, list[tuple[int, Detector]]] = {
        "isolation forest": [(one, _isolation_forest(_drawn(training, one), seed))],
        "k-means": [(one, _k_means(_drawn(training, one), seed))],
        "Sub-PCA": [(one, _sub_pca(_drawn(training, one)))],
        "PCA, two windows": [(rows, _residual(_drawn(training, rows))) for rows in (one, two)],
    }
    rng = np.random.default_rng(seed)
    scores = {"random score": [rng.random(len(values)) for values in series]}
    thresholds = {"random score": np.inf}
    scores["moving z-score"] = [_moving_z(values, online) for values in series]
    thresholds["moving z-score"] = max(float(np.nanmax(_moving_z(values, online))) for values in training)
    for name, parts in fitted.items():
        own = [[_trace(values, rows, detect, online) for values in training] for rows, detect in parts]
        units = [max(float(np.nanquantile(np.concatenate(each), 0.99)), 1e-9) for each in own]
        asked = [[_trace(values, rows, detect, online) for values in series] for rows, detect in parts]
        scores[name] = _mixed(asked, units)
        thresholds[name] = max(float(np.nanmax(one)) for one in _mixed(own, units))
    return scores, thresholds


def _mixed(parts: Sequence[Sequence[np.ndarray]], units: Sequence[float]) -> list[np.ndarray]:
    """Return the mean over the parts, each in its unit, for every series."""
    return [np.mean([one / unit for one, unit in zip(each, units, strict=True)], axis=0) for each in zip(*parts, strict=True)]


def _trace(values: np.ndarray, window: int, detect: Detector, online: bool) -> np.ndarray:
    """Return one number a row, from windows as the model sees them: averaged over those that cover it, or the latest one."""
    rows = len(values)
    first = overlap.starts(rows, window, overlap.step(window), to_end=not online)
    if not len(first):
        return np.full(rows, np.nan)
    every = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)
    parts = np.array_split(first, max(1, len(first) * window * values.shape[1] // 4_000_000))
    found = np.concatenate([detect(every[part].reshape(len(part), -1)) for part in parts])
    return overlap.by_row(found, first, window, rows, judged=window, online=online)


def _drawn(series: Sequence[np.ndarray], window: int) -> np.ndarray:
    """Return windows of the series as rows, every so many, at most 5,000, and where they hold many values, 1,000."""
    every = [np.lib.stride_tricks.sliding_window_view(one, window, axis=0) for one in series if len(one) >= window]
    most = min(_MOST_WINDOWS, max(_FEWEST_WINDOWS, _MOST_VALUES // (window * series[0].shape[1])))
    stride = -(-sum(map(len, every)) // most)
    return np.concatenate([one[::stride].reshape(len(one[::stride]), -1) for one in every])


def _moving_z(values: np.ndarray, online: bool) -> np.ndarray:
    table = pd.DataFrame(values)
    before = table.rolling(_BEFORE, min_periods=5)
    z = (table - before.mean().shift(1)).abs() / before.std().shift(1).clip(lower=1e-3)
    found = np.nan_to_num(z.mean(axis=1).to_numpy())
    return found if online else overlap.smoothed(found, overlap.SMOOTHED)


def _isolation_forest(windows: np.ndarray, seed: int) -> Detector:
    from sklearn.ensemble import IsolationForest

    forest = IsolationForest(n_estimators=_TREES, random_state=seed).fit(windows)
    return lambda asked: -forest.score_samples(asked)


def _k_means(windows: np.ndarray, seed: int) -> Detector:
    from sklearn.cluster import KMeans

    means = KMeans(min(_MEANS, len(np.unique(windows, axis=0))), n_init=1, random_state=seed).fit(windows)
    return lambda asked: means.transform(asked).min(axis=1)


def _axes(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and spread of each place of the windows, and axes and shares of variance of what is standardised by them."""
    mean, spread = windows.mean(axis=0), windows.std(axis=0)
    spread = np.where(spread > 1e-8, spread, 1.0)
    _, sizes, axes = np.linalg.svd((windows - mean) / spread, full_matrices=False)
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))  # as scikit-learn's PCA has them
    power = sizes**2
    return mean, spread, axes, power / max(power.sum(), 1e-12)


def _sub_pca(windows: np.ndarray) -> Detector:
    mean, spread, axes, shares = _axes(windows)

    def detect(asked: np.ndarray) -> np.ndarray:
        asked = (asked - mean) / spread
        squares = (asked**2).sum(axis=1)[:, None] - 2 * asked @ axes.T + 1  # the axes have length 1
        return (np.sqrt(np.maximum(squares, 0)) / np.maximum(shares, 1e-12)).sum(axis=1)

    return detect


def _residual(windows: np.ndarray) -> Detector:
    mean, spread, axes, shares = _axes(windows)
    kept = axes[: int(np.searchsorted(np.cumsum(shares), 0.9)) + 1]

    def detect(asked: np.ndarray) -> np.ndarray:
        asked = (asked - mean) / spread
        return ((asked - asked @ kept.T @ kept) ** 2).mean(axis=1)

    return detect
