"""Scores of a series whose rows come one by one."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

from .scoring import Scorer, step

__all__ = ["Stream", "read_rows"]


class Stream:
    """The latest rows of a series, and what the views last said of them.

    Parameters
    ----------
    scorer : Scorer
        Of a detector that looks at the past alone.

    Examples
    --------
    >>> from .views import Reconstruction
    >>> stream = Stream(Scorer({"zero": Reconstruction(lambda windows: windows * 0, 2)}, online=True, units={"zero": 1.0}))
    >>> [stream.update(np.array([value])) for value in (1.0, 1.0, 2.0)]
    [nan, 1.0, 2.0]
    """

    def __init__(self, scorer: Scorer) -> None:
        self.scorer, self.rows = scorer, 0
        self.latest: deque[np.ndarray] = deque(maxlen=max(view.window for view in scorer.views.values()))
        self.errors = {part.name: float("nan") for name in scorer.views for part in scorer.parts(name)}

    def update(self, row: np.ndarray) -> float:
        """Take the next row, (C,), scaled, NaN where it is missing, and return its score."""
        before = self.latest[-1] if self.latest else np.zeros_like(row)
        self.latest.append(np.where(np.isnan(row), before, row))
        self.rows += 1
        for name, view in self.scorer.views.items():
            if self.rows >= view.window and (self.rows - view.window) % step(view) == 0:
                window = np.stack(list(self.latest)[-view.window :])
                ((_, errors),) = self.scorer.errors(view, window, np.zeros(1, dtype=int))
                self.errors |= {part.name: float(part.of(errors)[0]) for part in self.scorer.parts(name)}
        return float("nan") if np.isnan(row).all() else float(self.scorer.together(self.errors))


def read_rows(x: Any, names: Sequence[Any]) -> np.ndarray:
    """Return the rows a user gave, (k, C), in the order of the variables.

    Examples
    --------
    >>> read_rows({"load": 2.0, "heat": 1.0}, ["heat", "load"])
    array([[1., 2.]])
    """
    if isinstance(x, (Mapping, pd.Series, pd.DataFrame)):
        missing = [name for name in names if name not in x]
        if missing:
            raise DataError(f"The row has no {missing[0]!r}; the model needs {list(names)}.")
        x = x[list(names)] if isinstance(x, pd.DataFrame) else [x[name] for name in names]
    try:
        rows = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"A row must hold numbers, but received {x!r}.") from error
    rows = rows.reshape(1, -1) if rows.ndim < 2 else rows
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise DataError(f"A row must hold {len(names)} values, for {list(names)}, but received the shape {np.shape(x)}.")
    if np.isinf(rows).any():
        raise DataError(f"The row {x!r} holds an infinite value; pass NaN where a value is missing.")
    return rows
