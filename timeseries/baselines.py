"""The simple forecasts every report puts beside the network's, and the period they need."""

import functools
from collections.abc import Sequence

import numpy as np

from .windows import Windows, filled

__all__ = ["all_of", "drift", "find_period", "fit_linear_map", "last_value", "naive_error", "seasonal_naive", "spread"]

_LONGEST_PERIOD = 1000
_MOST_VALUES = 50_000  # of each series looked at for its period
_MOST_SERIES = 100
_MOST_SEQUENCES = 30_000  # contexts the linear map is fitted on
_PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 1e3, 1e6)  # the last one leaves next to nothing of the map: the last value


def last_value(contexts: np.ndarray, horizon: int) -> np.ndarray:
    """Forecast the last value for every step.

    Examples
    --------
    >>> last_value(np.array([[[1.0, 4.0]]]), 2)
    array([[[4., 4.]]])
    """
    return np.repeat(contexts[..., -1:], horizon, axis=-1)


def seasonal_naive(contexts: np.ndarray, horizon: int, period: int) -> np.ndarray:
    """Forecast what was one period before, as often as the horizon asks for.

    Examples
    --------
    >>> seasonal_naive(np.array([[[9.0, 1.0, 2.0]]]), 3, period=2)
    array([[[1., 2., 1.]]])
    """
    return contexts[..., contexts.shape[-1] - period + np.arange(horizon) % period]


def drift(contexts: np.ndarray, horizon: int) -> np.ndarray:
    """Continue the straight line from the first value of the context to its last.

    Examples
    --------
    >>> drift(np.array([[[1.0, 7.0, 5.0]]]), 2)
    array([[[7., 9.]]])
    """
    last = contexts[..., -1:]
    slope = (last - contexts[..., :1]) / max(contexts.shape[-1] - 1, 1)
    return last + slope * np.arange(1, horizon + 1)


def fit_linear_map(windows: Windows, seed: int, penalty: float | None = None) -> tuple[np.ndarray, float]:
    """Fit one linear map from contexts to what came after, shared by all variables, by ridge regression in closed form.

    Contexts and truth are taken as differences to the context's last value, in the unit of the variable or window. Networks of
    attention were shown to lose to such a map [1]_.

    Parameters
    ----------
    windows : Windows
        Training windows; at most 30,000 sequences of them are drawn.
    seed : int
        Of the drawing.
    penalty : float, optional
        Ridge penalty, as a multiple of the mean squared input; by default the one that does best on the last fifth of the
        windows when the rest is fitted.

    Returns
    -------
    coef : ndarray, (lookback, horizon)
        Zeros, which is the last value, where no window is fully observed.
    penalty : float
        The one used.

    References
    ----------
    .. [1] A. Zeng et al., "Are Transformers Effective for Time Series Forecasting?", AAAI 2023; arXiv:2205.13504.

    Examples
    --------
    >>> line = Windows([np.arange(50.0)[:, None]], lookback=3, horizon=1)
    >>> fit_linear_map(line, seed=0)[0].shape
    (3, 1)
    """
    variables = windows.values[0].shape[1]
    drawn = np.random.default_rng(seed).permutation(len(windows))[: max(1, _MOST_SEQUENCES // variables)]
    late = np.concatenate([[False], windows.progress(drawn)[1:] >= 0.8])
    fitted, judged = _Moments.of(windows, drawn[~late]), _Moments.of(windows, drawn[late])
    if penalty is None:
        penalty = min(_PENALTIES, key=lambda one: judged.error(fitted.solve(one)))
    return (fitted + judged).solve(penalty), penalty


class _Moments:
    """What a ridge regression needs to know of its data: the products of inputs with each other, and with targets."""

    def __init__(self, gram: np.ndarray, cross: np.ndarray) -> None:
        self.gram, self.cross = gram, cross

    @classmethod
    def of(cls, windows: Windows, rows: np.ndarray) -> "_Moments":
        gram, cross = np.zeros((windows.lookback, windows.lookback)), np.zeros((windows.lookback, windows.horizon))
        for part in np.array_split(np.sort(rows), max(1, len(rows) // 256)):
            x, y = windows.normalised(part)
            x, y = x.reshape(-1, windows.lookback).astype(np.float64), y.reshape(-1, windows.horizon).astype(np.float64)
            whole = ~np.isnan(y).any(axis=1)
            gram += x[whole].T @ x[whole]
            cross += x[whole].T @ y[whole]
        return cls(gram, cross)

    def __add__(self, other: "_Moments") -> "_Moments":
        return _Moments(self.gram + other.gram, self.cross + other.cross)

    @functools.cached_property
    def spectrum(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        values, vectors = np.linalg.eigh(self.gram)
        return np.maximum(values, 0.0), vectors, vectors.T @ self.cross

    def solve(self, penalty: float) -> np.ndarray:
        """Return the coefficients at a penalty."""
        values, vectors, turned = self.spectrum
        ridge = penalty * values.sum() / len(values)
        return vectors @ (turned / (values + ridge)[:, None]) if ridge > 0 else np.zeros_like(self.cross)

    def error(self, coef: np.ndarray) -> float:
        """Return the squared error of coefficients on this data, up to a constant."""
        return float(np.sum(coef * (self.gram @ coef)) - 2 * np.sum(coef * self.cross))


def find_period(values: Sequence[np.ndarray], usual: Sequence[int] = ()) -> int:
    """Find the season: the lag at which the changes from step to step resemble themselves most.

    Parameters
    ----------
    values : sequence of ndarray, (T, C)
        The series.
    usual : sequence of int
        Periods that the calendar suggests; one of them is taken before all others where its peak is nearly the highest.

    Returns
    -------
    int
        The lag of the highest peak of the autocorrelation of the changes, averaged over variables and series, or a usual lag, or
        one that it is a multiple of, where that comes within a fifth of it; 1 where no peak stands out from chance.

    Examples
    --------
    >>> months = np.tile([1.0, 2.0, 4.0, 3.0, 0.0, 1.0, 5.0], 20)
    >>> find_period([months[:, None]])
    7
    """
    chosen = [values[i] for i in np.linspace(0, len(values) - 1, min(len(values), _MOST_SERIES), dtype=int)]
    rows = max(len(series) for series in chosen)
    lags = min(_LONGEST_PERIOD, rows // 3)
    if lags < 3:
        return 1
    found = np.array([row for series in chosen for row in _autocorrelation(series[-_MOST_VALUES:], lags)])
    count = (~np.isnan(found)).sum(axis=0)
    mean = np.where(np.isnan(found), 0.0, found).sum(axis=0) / np.maximum(count, 1)
    peaks = 2 + np.flatnonzero((mean[2:-1] >= mean[1:-2]) & (mean[2:-1] >= mean[3:]))
    chance = np.sqrt(1.5 / rows)  # standard deviation, at every lag but the first, where there are only differences of noise
    highest = mean[peaks].max(initial=0.0)
    for lag in usual:
        near = peaks[np.abs(peaks - lag) <= max(1, lag // 50)]
        if mean[near].max(initial=0.0) >= max(0.1, 3 * chance, 0.8 * highest):
            return lag
    if highest < max(0.1, (1 + np.sqrt(2 * np.log(lags))) * chance):  # the highest of so many would come by chance, too
        return 1
    best = peaks[np.argmax(mean[peaks])]
    high = peaks[mean[peaks] >= 0.8 * highest]
    return int(min(lag for lag in high if abs(best - lag * round(best / lag)) <= best // 50))


def _autocorrelation(series: np.ndarray, lags: int) -> list[np.ndarray]:
    """Return the autocorrelation of each variable's changes at lags 0 to `lags`; NaN where a series is too short or constant."""
    from scipy.signal import correlate

    found = []
    for column in filled(series.T.astype(np.float64)):
        changes = np.diff(column)
        changes -= changes.sum() / max(len(changes), 1)  # a single row has none
        power = changes @ changes
        reach = min(lags, len(changes) - 1, len(series) // 3)
        row = np.full(lags + 1, np.nan)
        if power > 0:
            whole = correlate(changes, changes, method="fft")[len(changes) - 1 :]
            row[: reach + 1] = whole[: reach + 1] / power
        found.append(row)
    return found


def spread(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each column, (C,), gaps left out; 1 where there is none.

    Examples
    --------
    >>> spread(np.array([[1.0, 5.0], [3.0, 5.0]]))
    array([1., 1.])
    """
    columns = (column[~np.isnan(column)].astype(np.float64) for column in values.T)
    found = np.array([column.std() if len(column) else 0.0 for column in columns])
    return np.where(found > 0, found, 1.0)


def naive_error(series: np.ndarray, period: int) -> np.ndarray:
    """Return the mean absolute error of the (seasonal) naive forecast within the series, (C,): the unit of MASE [1]_.

    References
    ----------
    .. [1] R. J. Hyndman and A. B. Koehler, "Another look at measures of forecast accuracy", Int. J. Forecasting 22, 2006.

    Examples
    --------
    >>> naive_error(np.array([[1.0], [3.0], [4.0]]), period=1)
    array([1.5])
    """
    found = np.full(series.shape[1], np.nan)
    for k, column in enumerate(series.T):  # one at a time: a copy of a column is small
        error = np.abs(column[period:] - column[:-period])
        seen = ~np.isnan(error)
        if seen.any():
            found[k] = error[seen].mean()
    return found


def all_of(contexts: np.ndarray, horizon: int, period: int, linear: np.ndarray) -> dict[str, np.ndarray]:
    """Return every baseline's forecasts (n, C, horizon) from contexts (n, C, lookback), differences to their last value."""
    found = {"last value": last_value(contexts, horizon), "drift": drift(contexts, horizon)}
    if 1 < period <= contexts.shape[-1]:
        found[f"seasonal naive ({period})"] = seasonal_naive(contexts, horizon, period)
    found["linear map"] = contexts @ linear
    return found
