"""From what several views say of windows to one score a row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import overlap
from .views import NearestWindow, View, WindowPCA

__all__ = ["Scorer", "step"]

_COMMON = 0.99  # share of the training part's errors that count as common
_NEWEST = 0.25  # share of a network's window that is judged where only the past is known
_VALUES_TOGETHER = 2_000_000  # of windows looked at at once, or of their distances to a thousand known ones


@dataclass(eq=False)
class Scorer:
    """Scores of scaled series: what the views find strange, each in the unit of what is common in training.

    Parameters
    ----------
    views : mapping of str to View
        By name.
    online : bool
        Whether a row is judged by what came before it alone; otherwise by all windows that cover it.
    units : dict of str to float
        The error below which 99 % of the training part lie, by view; set by `settle`.

    Examples
    --------
    >>> from .views import Reconstruction
    >>> scorer = Scorer({"zero": Reconstruction(lambda windows: windows * 0, 2)}, online=True)
    >>> scorer.settle([np.ones((5, 1))])
    [array([nan,  1.,  1.,  1.,  1.])]
    >>> scorer.score(np.array([[1.0], [1.0], [2.0]]))
    array([nan,  1.,  2.])
    """

    views: Mapping[str, View]
    online: bool
    units: dict[str, float] = field(default_factory=dict)

    def settle(self, series: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Find the units from the training part, (T, C) series, and return its scores."""
        traces = [{name: self.trace(name, values, own=i) for name in self.views} for i, values in enumerate(series)]
        for name in self.views:
            found = np.concatenate([trace[name] for trace in traces])
            found = found[~np.isnan(found)]
            self.units[name] = max(float(np.quantile(found, _COMMON)) if len(found) else 0.0, 1e-6)
        return [self._mean(trace) for trace in traces]

    def score(self, values: np.ndarray) -> np.ndarray:
        """Return one score a row, (T,): the mean over the views that can say something; NaN where none can.

        Parameters
        ----------
        values : ndarray, (T, C)
            Scaled and without gaps.
        """
        return self._mean({name: self.trace(name, values) for name in self.units})

    def least(self, values: np.ndarray, own: int | None = None) -> np.ndarray:
        """Return one number a row, (T,), by the window that finds it least strange: large at the strange rows alone.

        In a score every row within reach of a strange one is high, too.
        """
        found = {}
        for name, view in self.views.items():
            first, errors = self._by_window(view, values, own, to_end=True)
            length = self._counted(view)
            found[name] = overlap.lowest(errors, first + view.window - length, length, len(values))
        return self._mean(found)

    def trace(self, name: str, values: np.ndarray, own: int | None = None) -> np.ndarray:
        """Return a view's error for each row, (T,); NaN where no window tells.

        `own` is the number of the series where it is one of the training part.
        """
        view = self.views[name]
        first, found = self._by_window(view, values, own, to_end=not self.online)
        return overlap.by_row(found, first, view.window, len(values), judged=view.judged, online=self.online)

    def _mean(self, traces: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the mean over the views that can say something about a row, of the roots of errors in their units."""
        parts = np.stack([np.sqrt(trace / self.units[name]) for name, trace in traces.items()])
        count = (~np.isnan(parts)).sum(axis=0)
        return np.where(count > 0, np.nansum(parts, axis=0) / np.maximum(count, 1), np.nan)

    def _by_window(self, view: View, values: np.ndarray, own: int | None, *, to_end: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the first rows of a series' windows, and one error each."""
        first = overlap.starts(len(values), view.window, step(view), to_end=to_end)
        if not len(first):
            return first, np.zeros(0)
        return first, np.concatenate([self.whole(view, errors) for _, errors in self.errors(view, values, first, own)])

    def behind(self, view: View, row: int, rows: int) -> np.ndarray:
        """Return the first row of each window that the score of a row of so many comes from."""
        first = overlap.starts(rows, view.window, step(view), to_end=not self.online)
        ends = first + view.window
        if self.online:
            return first[ends <= row + 1][-1:]
        before, after = overlap.SMOOTHED // 2, overlap.SMOOTHED - overlap.SMOOTHED // 2
        return first[(ends > row - before) & (ends - view.judged < row + after)]

    def whole(self, view: View, errors: np.ndarray) -> np.ndarray:
        """Return one error a window, (n,), from those (n, C, judged) of its values."""
        by_row = errors.mean(axis=1)
        return by_row.mean(axis=1) if self._together(view) else by_row[:, -self._counted(view) :].max(axis=1)

    def _counted(self, view: View) -> int:
        """Return the last rows of a window that its one error is about."""
        if self._together(view) or not self.online:
            return view.judged
        return max(1, round(_NEWEST * view.judged))

    def _together(self, view: View) -> bool:
        """Whether a view's error is one of all values together: a distance to other windows, or to their main shapes."""
        return isinstance(view, NearestWindow) or (self.online and isinstance(view, WindowPCA))

    def errors(
        self, view: View, values: np.ndarray, first: np.ndarray, own: int | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the first rows of some windows and their errors (n, C, judged), as many at once as fit into memory."""
        every = np.lib.stride_tricks.sliding_window_view(values, view.window, axis=0)
        most = max(1, _VALUES_TOGETHER // max(view.window * values.shape[1], 1000))
        for part in np.split(first, range(most, len(first), most)):
            more: dict[str, Any] = {}
            if own is not None and isinstance(view, NearestWindow):
                more["barred"] = view.overlapping(own, part)
            yield part, view.errors(every[part], **more)


def step(view: View) -> int:
    """Return the rows from one window of a view to the next."""
    return min(overlap.step(view.window), view.judged)
