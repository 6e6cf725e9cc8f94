"""Several series read together: how they looked, how their end is held out, and how a message names one of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .series import Form, Series

__all__ = ["Panel"]


@dataclass(frozen=True, eq=False)
class Panel:
    """Series that were read, how they looked, what was noticed, and what whole they were split off.

    Examples
    --------
    >>> from timeseries.reading import read
    >>> panel = Panel(*read([1.0, 2.0, 3.0, 4.0]))
    >>> panel.lengths, panel.named(0)
    ([4], 'The series')
    """

    series: Sequence[Series]
    form: Form
    notes: Sequence[str] = ()
    whole: "Panel | None" = None

    def __len__(self) -> int:
        return len(self.series)

    @property
    def values(self) -> list[np.ndarray]:
        """The values of each series, (T, C)."""
        return [one.values for one in self.series]

    @property
    def lengths(self) -> list[int]:
        """The rows of each series."""
        return [len(one.values) for one in self.series]

    @property
    def index(self) -> pd.Index | None:
        """The stamps of the longest series."""
        return self.series[int(np.argmax(self.lengths))].index

    def named(self, place: int) -> str:
        """Name a series as its user would."""
        if self.series[place].name is not None:
            return f"Series {self.series[place].name!r}"
        return f"Series {place}" if len(self) > 1 else "The series"

    def tail(self, rows: int) -> "Panel":
        """Return the last rows of each series, as views."""
        return Panel([one.tail(rows) for one in self.series], self.form)

    def without_end(self, held: Sequence[int]) -> "Panel":
        """Return the series without so many rows at the end of each, as views."""
        return Panel([_head(one, len(one.values) - rows) for one, rows in zip(self.series, held, strict=True)], self.form)

    def end(self, held: Sequence[int], context: int) -> "Panel":
        """Return those rows, with `context` rows before them."""
        tails = [one.tail(rows + context) for one, rows in zip(self.series, held, strict=True)]
        return Panel(tails, self.form, whole=self)


def _head(series: Series, rows: int) -> Series:
    index = None if series.index is None else series.index[:rows]
    known = None if series.known is None else series.known[:rows]
    return replace(series, values=series.values[:rows], index=index, known=known, places=None, rows=None)
