"""Views of a window beside those of the training part: what a view cannot explain of a window is strange."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from .windows import Windows

__all__ = ["Forecast", "NearestWindow", "Reconstruction", "View", "WindowPCA"]

_MOST_WINDOWS, _MOST_VALUES = 1000, 10_000_000  # of the training part that a view looks at
_VARIANCE = 0.9  # what the main shapes explain together
_LEAST_SPREAD = 0.01  # of a window whose shape is looked at, in units of the variable: below is the noise of a standstill


class View(Protocol):
    """What says of windows (n, C, window) how far each value in their last rows is from what was to be expected."""

    @property
    def window(self) -> int:
        """Rows of a window."""

    @property
    def judged(self) -> int:
        """The last rows of a window that it says something about."""

    def errors(self, windows: np.ndarray) -> np.ndarray:
        """Return the squared errors (n, C, judged)."""


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An autoencoder: what it does not write as it read it is strange.

    Parameters
    ----------
    infer : callable
        From windows (n, C, window) to what the network makes of them.
    window : int
        Rows of a window.

    Examples
    --------
    >>> Reconstruction(lambda windows: windows * 0, 2).errors(np.array([[[1.0, 2.0]]]))
    array([[[1., 4.]]])
    """

    infer: Callable[[np.ndarray], np.ndarray]
    window: int

    @property
    def judged(self) -> int:
        """All rows of a window."""
        return self.window

    def errors(self, windows: np.ndarray) -> np.ndarray:
        """Return the squared errors (n, C, window)."""
        return np.square(windows - self.infer(windows))


@dataclass(frozen=True, eq=False)
class Forecast:
    """A forecaster: what came otherwise than forecast is strange.

    Parameters
    ----------
    infer : callable
        From contexts (n, C, lookback) to forecasts (n, C, judged).
    lookback, judged : int
        Rows of context, and rows forecast.

    Examples
    --------
    >>> Forecast(lambda contexts: contexts[..., -1:], 2, 1).errors(np.array([[[1.0, 2.0, 5.0]]]))
    array([[[9.]]])
    """

    infer: Callable[[np.ndarray], np.ndarray]
    lookback: int
    judged: int

    @property
    def window(self) -> int:
        """Rows of a window."""
        return self.lookback + self.judged

    def errors(self, windows: np.ndarray) -> np.ndarray:
        """Return the squared errors (n, C, judged)."""
        return np.square(windows[..., self.lookback :] - self.infer(windows[..., : self.lookback]))


@dataclass(frozen=True, eq=False)
class WindowPCA:
    """The main shapes of windows; what they leave of a window is strange [1]_.

    Parameters
    ----------
    mean : ndarray, (C, W)
        Of the training windows.
    axes : ndarray, (C * W, k)
        The main shapes, orthonormal, that explain nine tenths of their variance.
    shape : bool
        Whether each window is first brought to mean 0 and standard deviation 1, so that its level and size do not count.

    References
    ----------
    .. [1] M.-L. Shyu et al., "A Novel Anomaly Detection Scheme Based on Principal Component Classifier", ICDM Workshops 2003; on
       windows as "Sub-PCA" of TSB-AD, NeurIPS 2024.

    Examples
    --------
    >>> wave = np.sin(np.arange(400.0) / 5)[:, None]
    >>> view = WindowPCA.fit([wave], 30, shape=False)
    >>> bool(view.errors(wave[None, :30, 0][None] * 0.5).max() < 1e-9)
    True
    """

    mean: np.ndarray
    axes: np.ndarray
    shape: bool

    @classmethod
    def fit(cls, series: Sequence[np.ndarray], window: int, *, shape: bool) -> Self:
        """Find the main shapes of the windows of (T, C) series."""
        windows = _drawn(series, window)
        seen = _flat(windows.contexts(np.arange(len(windows))), shape)
        mean = seen.mean(axis=0)
        rest = seen - mean
        if rest.shape[1] > len(rest):  # fewer windows than values: the smaller of the two products has the same eigenvalues
            power, sides = np.linalg.eigh(rest @ rest.T)
            axes = rest.T @ sides / np.sqrt(np.maximum(power, 1e-12))
        else:
            power, axes = np.linalg.eigh(rest.T @ rest)
        power, axes = np.maximum(power[::-1], 0.0), axes[:, ::-1]
        kept = int(np.searchsorted(np.cumsum(power), _VARIANCE * power.sum())) + 1 if power[0] > 1e-9 else 0
        return cls(mean.reshape(series[0].shape[1], window), axes[:, :kept].copy(), shape)

    @property
    def window(self) -> int:
        """Rows of a window."""
        return self.mean.shape[1]

    @property
    def judged(self) -> int:
        """All rows of a window."""
        return self.window

    def errors(self, windows: np.ndarray) -> np.ndarray:
        """Return the squared errors (n, C, W) of windows made of the main shapes alone."""
        rest = _flat(windows, self.shape) - self.mean.ravel()
        rest -= (rest @ self.axes) @ self.axes.T
        return np.square(rest, out=rest).reshape(windows.shape)


@dataclass(frozen=True, eq=False)
class NearestWindow:
    """Windows of the training part; one far from all of them is strange [1]_.

    Parameters
    ----------
    known : ndarray, (m, C, W)
        Windows of the training part.
    places : ndarray of int, (m, 2)
        The number of the series each is from, and the row at which it begins.

    References
    ----------
    .. [1] S. Ramaswamy et al., "Efficient Algorithms for Mining Outliers from Large Data Sets", SIGMOD 2000.

    Examples
    --------
    >>> view = NearestWindow(np.array([[[0.0, 0.0]], [[5.0, 5.0]]]), np.array([[0, 0], [0, 7]]))
    >>> view.errors(np.array([[[5.0, 6.0]]]))
    array([[[0., 1.]]])
    >>> view.errors(np.array([[[5.0, 6.0]]]), barred=view.overlapping(0, np.array([8])))
    array([[[25., 36.]]])
    """

    known: np.ndarray
    places: np.ndarray

    @classmethod
    def fit(cls, series: Sequence[np.ndarray], window: int) -> Self:
        """Keep windows of (T, C) series."""
        windows = _drawn(series, window)
        rows = np.arange(len(windows))
        return cls(windows.contexts(rows), np.stack(windows.places(rows), axis=1))

    @property
    def window(self) -> int:
        """Rows of a window."""
        return self.known.shape[2]

    @property
    def judged(self) -> int:
        """All rows of a window."""
        return self.window

    def overlapping(self, series: int, first: np.ndarray) -> np.ndarray:
        """Return which known windows overlap windows of a series of the training part that begin at rows `first`, (n, m)."""
        overlap = (self.places[:, 0] == series) & (np.abs(first[:, None] - self.places[:, 1]) < self.window)
        return overlap & ~overlap.all(axis=1, keepdims=True)

    def errors(self, windows: np.ndarray, barred: np.ndarray | None = None) -> np.ndarray:
        """Return the squared differences (n, C, W) to the nearest known window; those `barred`, (n, m), do not count."""
        flat, known = windows.reshape(len(windows), -1), self.known.reshape(len(self.known), -1)
        distance = (known**2).sum(axis=1) - 2 * flat @ known.T  # less the square of the window itself, alike for all
        if barred is not None:
            distance[barred] = np.inf
        return np.square(windows - self.known[distance.argmin(axis=1)])


def _drawn(series: Sequence[np.ndarray], window: int) -> Windows:
    """Return windows of (T, C) series at even distances, at most 1,000 or 10 million values."""
    every = Windows(series, window, 0)
    most = max(2, min(_MOST_WINDOWS, _MOST_VALUES // (window * series[0].shape[1])))
    return Windows(series, window, 0, stride=-(-len(every) // most))


def _flat(windows: np.ndarray, shape: bool) -> np.ndarray:
    """Return windows as rows (n, C * W), each variable of each window at mean 0 and standard deviation 1 where `shape`."""
    if shape:
        spread = np.maximum(windows.std(axis=2, keepdims=True), _LEAST_SPREAD)
        windows = (windows - windows.mean(axis=2, keepdims=True)) / spread
    return windows.reshape(len(windows), -1)
