"""From what several views say of windows to one score a row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import overlap
from .views import NearestWindow, View, WindowPCA

__all__ = ["Scorer", "step"]

_COMMON = 0.99  # share of the training part's errors that count as common
_NEWEST = 0.25  # share of a window that is judged by itself where only the past is known
_VALUES_TOGETHER = 2_000_000  # of windows looked at at once, or of their distances to a thousand known ones


@dataclass(frozen=True)
class Part:
    """The rows of a view's windows that give one error a window.

    Parameters
    ----------
    name : str
        Under which its unit is kept.
    rows : int
        How many of the last rows of a window.
    highest : bool
        Whether the error is that of the strangest row, otherwise the mean of them.

    Examples
    --------
    >>> Part("newest", 2, highest=True).of(np.array([[[9.0, 1.0, 2.0], [9.0, 3.0, 6.0]]]))
    array([4.])
    """

    name: str
    rows: int
    highest: bool

    def of(self, errors: np.ndarray) -> np.ndarray:
        """Return one error a window, (n,), from those (n, C, judged) of its values."""
        by_row = errors[:, :, -self.rows :].mean(axis=1)
        return by_row.max(axis=1) if self.highest else by_row.mean(axis=1)


@dataclass(frozen=True, eq=False)
class Looked:
    """What the views found in the windows of a series.

    Parameters
    ----------
    rows : int
        Of the series.
    first : dict of str to ndarray
        The rows at which windows begin, by view.
    errors : dict of str to ndarray
        One a window, by part.
    """

    rows: int
    first: dict[str, np.ndarray]
    errors: dict[str, np.ndarray]


@dataclass(eq=False)
class Scorer:
    """Scores of scaled series: what the views find strange, each in the unit of what is common in training.

    Views of one kind say one thing together: what the one says that finds more.

    Parameters
    ----------
    views : mapping of str to View
        By name.
    online : bool
        Whether a row is judged by what came before it alone; otherwise by all windows that cover it.
    units : dict of str to float
        The error below which 99 % of the training part lie, by part of a view; set by `settle`.

    Examples
    --------
    >>> from .views import Reconstruction
    >>> scorer = Scorer({"zero": Reconstruction(lambda windows: windows * 0, 2)}, online=True)
    >>> [scorer.scores(looked) for looked in scorer.settle([np.ones((5, 1))])]
    [array([nan,  1.,  1.,  1.,  1.])]
    >>> scorer.score(np.array([[1.0], [1.0], [2.0]]))
    array([nan,  1.,  2.])
    """

    views: Mapping[str, View]
    online: bool
    units: dict[str, float] = field(default_factory=dict)

    def settle(self, series: Sequence[np.ndarray]) -> list[Looked]:
        """Find the units from the training part, (T, C) series, and return what the views found in it."""
        looked = [self.look(values, own=i) for i, values in enumerate(series)]
        for name, part in self._every_part:
            found = np.concatenate([self._trace(each, name, part) for each in looked])
            found = found[~np.isnan(found)]
            self.units[part.name] = max(float(np.quantile(found, _COMMON)) if len(found) else 0.0, 1e-6)
        return looked

    def score(self, values: np.ndarray) -> np.ndarray:
        """Return one score a row, (T,): the mean over the kinds of views that can say something; NaN where none can.

        Parameters
        ----------
        values : ndarray, (T, C)
            Scaled and without gaps.
        """
        return self.scores(self.look(values))

    def look(self, values: np.ndarray, own: int | None = None) -> Looked:
        """Let every view look at every window of a series; `own` is its number where it is one of the training part."""
        found = Looked(len(values), {}, {})
        for name, view in self.views.items():
            first = overlap.starts(len(values), view.window, step(view), to_end=not self.online)
            parts = self.parts(name)
            found.first[name], each = first, [[np.zeros(0) for _ in parts]]
            if len(first):
                each += [[part.of(errors) for part in parts] for _, errors in self.errors(view, values, first, own)]
            for part, some in zip(parts, zip(*each, strict=True), strict=True):
                found.errors[part.name] = np.concatenate(some)
        return found

    def scores(self, looked: Looked) -> np.ndarray:
        """Return one score a row, (T,), as `score` does."""
        return self.together({part.name: self._trace(looked, name, part) for name, part in self._every_part})

    def least(self, looked: Looked) -> np.ndarray:
        """Return one number a row, (T,), by the window that finds it least strange: large at the strange rows alone.

        In a score every row within reach of a strange one is high, too.
        """
        found = {}
        for name, part in self._every_part:
            first = looked.first[name] + self.views[name].window - part.rows
            found[part.name] = overlap.lowest(looked.errors[part.name], first, part.rows, looked.rows)
        return self.together(found)

    def together(self, errors: Mapping[str, Any]) -> np.ndarray:
        """Return one score of errors by part: the mean over kinds of views of the highest root of an error in its unit.

        Parameters
        ----------
        errors : mapping of str to float or ndarray
            NaN where a part says nothing.
        """
        kinds: dict[type, list[np.ndarray]] = {}
        for name, part in self._every_part:
            kinds.setdefault(type(self.views[name]), []).append(np.sqrt(errors[part.name] / self.units[part.name]))
        said = np.stack([np.fmax.reduce(each) for each in kinds.values()])
        count = (~np.isnan(said)).sum(axis=0)
        return np.where(count > 0, np.nansum(said, axis=0) / np.maximum(count, 1), np.nan)

    def parts(self, name: str) -> list[Part]:
        """Return what gives the errors of a view: all rows of a window, or where only the past is known, its newest ones.

        Those tell a short fault at once, but little of one that lasts. A view that measures how far a window as a whole is from
        others tells more of that, and there both count. A network's errors are about details: over a whole window their mean
        drowns short faults, and their maximum comes late and stays long.
        """
        view = self.views[name]
        distance = isinstance(view, NearestWindow) or (self.online and isinstance(view, WindowPCA))
        whole = Part(name, view.judged, highest=not distance)
        if not self.online:
            return [whole]
        newest = max(1, round(_NEWEST * view.judged))
        return [whole, Part(f"newest {name}", newest, highest=True)] if distance else [Part(name, newest, highest=True)]

    @property
    def _every_part(self) -> list[tuple[str, Part]]:
        """All parts, each with the name of its view."""
        return [(name, part) for name in self.views for part in self.parts(name)]

    def _trace(self, looked: Looked, name: str, part: Part) -> np.ndarray:
        """Return the error of a part for each row, (T,); NaN where no window tells."""
        view, first = self.views[name], looked.first[name]
        return overlap.by_row(looked.errors[part.name], first, view.window, looked.rows, judged=view.judged, online=self.online)

    def behind(self, view: View, row: int, rows: int) -> np.ndarray:
        """Return the first row of each window that the score of a row of so many comes from."""
        first = overlap.starts(rows, view.window, step(view), to_end=not self.online)
        ends = first + view.window
        if self.online:
            return first[ends <= row + 1][-1:]
        before, after = overlap.SMOOTHED // 2, overlap.SMOOTHED - overlap.SMOOTHED // 2
        return first[(ends > row - before) & (ends - view.judged < row + after)]

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
