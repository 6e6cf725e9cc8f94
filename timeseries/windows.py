"""Windows of a series, cut out when they are asked for: what lies before a moment, and the truth after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Drawn", "Targets", "Windows", "filled"]

# A context that repeats itself or hardly moves must not blow up what follows: its unit is at least this share of its spread and
# of its largest value.
_LEAST_OF_SPREAD, _LEAST_OF_LEVEL = 0.1, 1e-3


@dataclass(frozen=True, eq=False)
class Windows:
    """Every window of `lookback` rows of context and `horizon` rows of truth, of one series or many; nothing is copied.

    Parameters
    ----------
    values : sequence of ndarray, (T, C)
        The series, NaN where a value is missing.
    lookback, horizon : int
        Rows of context, and rows after them. With `horizon` 0 a window is its context alone.
    stride : int
        Rows from one window to the next.
    scale : ndarray, (series, C), optional
        The unit of each series and variable; by default each window has its own, found in its context: the mean absolute error of
        the (seasonal) naive forecast there, so that an error of 1 means the same in every series, as in MASE.
    period : int
        Of that naive forecast.

    Examples
    --------
    >>> windows = Windows([np.arange(6.0)[:, None]], lookback=3, horizon=2)
    >>> len(windows)
    2
    >>> windows.contexts(np.array([1])), windows.truth(np.array([1]))
    (array([[[1., 2., 3.]]]), array([[[4., 5.]]]))
    """

    values: Sequence[np.ndarray]
    lookback: int
    horizon: int
    stride: int = 1
    scale: np.ndarray | None = None
    period: int = 1

    def __post_init__(self) -> None:
        """Count the windows of each series; a series that is too short has none."""
        length = self.lookback + self.horizon
        counts = [max(0, (len(series) - length) // self.stride + 1) for series in self.values]
        object.__setattr__(self, "_ends", np.cumsum(counts))

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0  # type: ignore[attr-defined]

    def places(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the series, and the row in it, at which each window begins."""
        ends = self._ends  # type: ignore[attr-defined]
        series = np.searchsorted(ends, windows, side="right")
        before = np.concatenate([[0], ends[:-1]])[series]
        return series, (windows - before) * self.stride

    def progress(self, windows: np.ndarray) -> np.ndarray:
        """Return how far into the windows of its series each one is, from 0 for the first to 1 for the last."""
        series, rows = self.places(windows)
        counts = np.diff(np.concatenate([[0], self._ends]))[series]  # type: ignore[attr-defined]
        return rows / self.stride / np.maximum(counts - 1, 1)

    def contexts(self, windows: np.ndarray) -> np.ndarray:
        """Return what lies before each moment, (n, C, lookback), with what is missing there filled in from around it."""
        cut = self._cut(windows, 0, self.lookback)
        return filled(cut) if np.isnan(cut).any() else cut

    def truth(self, windows: np.ndarray) -> np.ndarray:
        """Return what came after, (n, C, horizon), NaN where it is missing."""
        return self._cut(windows, self.lookback, self.horizon)

    def units(self, windows: np.ndarray, contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the last value of each context and the unit of what follows, both (n, C, 1): what forecasts are made in."""
        if self.scale is not None:
            return contexts[..., -1:], self.scale[self.places(windows)[0]][..., None]
        period = self.period if self.period < self.lookback else 1
        changes = (
            np.abs(contexts[..., period:] - contexts[..., :-period]).mean(axis=-1, keepdims=True) if self.lookback > 1 else 0.0
        )
        unit = np.maximum(changes, _LEAST_OF_SPREAD * contexts.std(axis=-1, keepdims=True))
        unit = np.maximum(unit, _LEAST_OF_LEVEL * np.abs(contexts).max(axis=-1, keepdims=True))
        return contexts[..., -1:], np.where(unit > 0, unit, 1.0)

    def relative(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return contexts as differences to their last value, in its unit; and that value and unit, as `units` does."""
        contexts = self.contexts(windows)
        last, unit = self.units(windows, contexts)
        return (contexts - last) / unit, last, unit

    def normalised(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return contexts and truth as differences to the context's last value, in its unit, as float32."""
        contexts, last, unit = self.relative(windows)
        return contexts.astype(np.float32), ((self.truth(windows) - last) / unit).astype(np.float32)

    def rows(self, tables: Sequence[np.ndarray], windows: np.ndarray, length: int) -> np.ndarray:
        """Return the first `length` rows of each window in other tables, parallel to the series, (n, length, k)."""
        return np.stack([tables[s][row : row + length] for s, row in zip(*self.places(windows), strict=True)])

    def _cut(self, windows: np.ndarray, offset: int, length: int) -> np.ndarray:
        series, rows = self.places(windows)
        if len(self.values) == 1:
            return np.lib.stride_tricks.sliding_window_view(self.values[0], length, axis=0)[rows + offset]
        starts = zip(series, rows + offset, strict=True)
        return np.stack([self.values[s][row : row + length].T for s, row in starts])


class Targets:
    """What came after every `stride`-th window, in its own unit, made when it is asked for.

    With `linear`, coefficients of a linear map, it is what that map leaves open.

    Examples
    --------
    >>> Targets(Windows([np.arange(9.0)[:, None] ** 2], lookback=3, horizon=1, scale=np.ones((1, 1))), stride=2)[:]
    array([[[ 5.]],
    <BLANKLINE>
           [[ 9.]],
    <BLANKLINE>
           [[13.]]], dtype=float32)
    """

    def __init__(self, windows: Windows, stride: int, linear: np.ndarray | None = None) -> None:
        self.windows, self.stride, self.linear = windows, stride, linear

    def __getitem__(self, rows: Any) -> np.ndarray:
        if isinstance(rows, slice):
            rows = np.arange(-(-len(self.windows) // self.stride))[rows]
        contexts, truth = self.windows.normalised(rows * self.stride)
        return truth if self.linear is None else (truth - contexts @ self.linear).astype(np.float32)


class Drawn:
    """Windows by number, from the first again after the last, so that any number may be drawn of few: values as they are.

    Indexed, it gives what is to be learned: what comes after each window or, with a horizon of 0, the window itself.

    Examples
    --------
    >>> drawn = Drawn(Windows([np.arange(4.0)[:, None]], lookback=2, horizon=1))
    >>> drawn.contexts(np.array([1, 2])).tolist(), drawn[np.array([1, 2])].tolist()
    ([[[1.0, 2.0]], [[0.0, 1.0]]], [[[3.0]], [[2.0]]])
    """

    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def contexts(self, rows: np.ndarray) -> np.ndarray:
        """Return windows (n, C, lookback)."""
        return self.windows.contexts(rows % len(self.windows)).astype(np.float32)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        if not self.windows.horizon:
            return self.contexts(rows)
        return self.windows.truth(rows % len(self.windows)).astype(np.float32)


def filled(contexts: np.ndarray) -> np.ndarray:
    """Fill gaps by straight lines between the values around them, and ends by the nearest value; all zeros where there is none.

    A context lies before the moment of its forecast as a whole, so nothing is learned from the future.

    Examples
    --------
    >>> filled(np.array([[np.nan, 1.0, np.nan, 3.0, np.nan]]))
    array([[1., 1., 2., 3., 3.]])
    """
    length = contexts.shape[-1]
    steps = np.broadcast_to(np.arange(length), contexts.shape)
    seen = ~np.isnan(contexts)
    left = np.maximum.accumulate(np.where(seen, steps, -1), axis=-1)
    right = np.minimum.accumulate(np.where(seen, steps, length)[..., ::-1], axis=-1)[..., ::-1]
    left, right = np.where(left < 0, right, left), np.where(right == length, left, right)
    left, right = np.minimum(left, length - 1), np.clip(right, 0, length - 1)  # no value at all: any place, it is NaN
    start, end = np.take_along_axis(contexts, left, -1), np.take_along_axis(contexts, right, -1)
    share = (steps - left) / np.maximum(right - left, 1)
    return np.nan_to_num(start + share * (end - start))
