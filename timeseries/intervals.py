"""Quantile forecasts: their loss, their order, and what brings them to what they promise, before use and while in use."""

import warnings
from collections.abc import Sequence

import numpy as np
from scipy.ndimage import uniform_filter1d

__all__ = ["adapted", "ordered", "pinball", "shifts", "widened"]

_SMOOTHED = 8  # the shift of a step is the mean over the steps around it, an eighth of the horizon
_FASTEST = 0.05  # the most a width follows one row
_FARTHEST = 7.0  # a thousand times as wide or narrow: after a year at a standstill intervals must find back


def pinball(outputs: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> float:
    """Return twice the mean quantile loss of outputs (n, C, horizon, levels) over what was observed of (n, C, horizon).

    Examples
    --------
    >>> pinball(np.zeros((1, 1, 2, 1)), np.array([[[3.0, np.nan]]]), [0.5])
    3.0
    """
    error = truth[..., None] - outputs
    q = np.asarray(levels)
    return float(2 * np.nanmean(np.maximum(q * error, (q - 1) * error)))


def ordered(outputs: np.ndarray, median: int) -> np.ndarray:
    """Keep quantiles from crossing: the median stays, and those beside it give way.

    Examples
    --------
    >>> ordered(np.array([2.0, 1.0, 3.0]), median=1)
    array([1., 1., 3.])
    """
    low = np.minimum.accumulate(outputs[..., : median + 1][..., ::-1], axis=-1)[..., ::-1]
    high = np.maximum.accumulate(outputs[..., median:], axis=-1)
    return np.concatenate([low, high[..., 1:]], axis=-1)


def shifts(outputs: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return what to add to each quantile so that the validation part lies below it as often as it says [1]_.

    Parameters
    ----------
    outputs : ndarray, (n, C, horizon, levels)
        Quantile forecasts of the validation part.
    truth : ndarray, (n, C, horizon)
        What came, NaN where it is missing.
    levels : sequence of float
        The quantiles; the median is not shifted.

    Returns
    -------
    ndarray, (C, horizon, levels)

    References
    ----------
    .. [1] Y. Romano, E. Patterson, E. Candès, "Conformalized Quantile Regression", NeurIPS 2019; arXiv:1905.03222.
    """
    found = np.zeros(outputs.shape[1:])
    for k, level in enumerate(levels):
        if level != 0.5:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # nothing was observed of a variable: it is not shifted
                each = np.nan_to_num(np.nanquantile(truth - outputs[..., k], level, axis=0))
            found[..., k] = uniform_filter1d(each, max(1, each.shape[-1] // _SMOOTHED), mode="nearest")
    return found


def adapted(
    forecasts: np.ndarray,
    truth: np.ndarray,
    levels: Sequence[float],
    series: np.ndarray,
    stride: int,
    fresh: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Let each quantile's distance to the median follow how often the truth lay beyond it in forecasts already settled [1]_.

    A forecast counts from the moment its last step has come, never earlier, so an interval knows nothing of its own future.

    Parameters
    ----------
    forecasts : ndarray, (n, horizon, C, levels)
        Quantiles, the median among them. Windows of a series follow each other in time.
    truth : ndarray, (n, horizon, C)
        What came, NaN where it is missing.
    levels : sequence of float
        The quantiles, ascending.
    series : ndarray, (n,)
        The series of each window, counted from 0, all windows of one together.
    stride : int
        Rows from one window to the next.
    fresh : ndarray of bool, (n,), optional
        The windows that count, as their truth was not trained on; all by default.

    Returns
    -------
    forecasts : ndarray
        The quantiles, nearer to the median or further away.
    widths : ndarray, (series, C, levels)
        Logarithm of the factor for the forecast that follows each series.

    References
    ----------
    .. [1] I. Gibbs and E. Candès, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS 2021; A. Angelopoulos,
       E. Candès and R. Tibshirani, "Conformal PID Control for Time Series Prediction", NeurIPS 2023 (the tracker of scores).

    Examples
    --------
    >>> wide = np.tile([0.0, 5.0], (400, 1, 1, 1))
    >>> forecasts, widths = adapted(wide, np.zeros((400, 1, 1)), [0.5, 0.9], np.zeros(400, dtype=int), stride=1)
    >>> bool(forecasts[-1, 0, 0, 1] < 1)
    True
    """
    horizon, variables = truth.shape[1:]
    delay, rate = -(-horizon // stride), min(_FASTEST, 1 / horizon) * min(stride, horizon)
    found, q = np.empty_like(forecasts), np.asarray(levels)
    widths = np.zeros((int(series.max(initial=-1)) + 1, variables, len(q)))
    for s, width in enumerate(widths):
        windows = np.flatnonzero(series == s)
        changes = np.empty((len(windows), variables, len(q)))
        for i, w in enumerate(windows):
            if i >= delay:
                _follow(width, rate * changes[i - delay])
            found[w] = widened(forecasts[w], width, levels)
            changes[i] = _surprise(found[w], truth[w], q) if fresh is None or fresh[w] else 0.0
        for change in changes[max(len(windows) - delay, 0) :]:
            _follow(width, rate * change)
    return found, widths


def _follow(width: np.ndarray, change: np.ndarray) -> None:
    np.clip(width + change, -_FARTHEST, _FARTHEST, out=width)


def widened(forecasts: np.ndarray, width: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Multiply each quantile's distance to the median by `exp(width)`, (..., C, levels); none may cross another.

    Examples
    --------
    >>> widened(np.array([[1.0, 3.0]]), np.log([[1.0, 0.5]]), [0.5, 0.9])
    array([[1., 2.]])
    """
    median = list(levels).index(0.5)
    middle = forecasts[..., median : median + 1]
    return ordered(middle + (forecasts - middle) * np.exp(width), median)


def _surprise(forecast: np.ndarray, truth: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Return how much more often than promised the truth lay beyond each quantile, (C, levels); 0 where nothing was observed."""
    came = truth[..., None]
    beyond = np.where(q < 0.5, came < forecast, came > forecast)
    seen = (~np.isnan(truth)).sum(axis=0)[:, None]
    return np.where((seen > 0) & (q != 0.5), beyond.sum(axis=0) / np.maximum(seen, 1) - np.minimum(q, 1 - q), 0.0)
