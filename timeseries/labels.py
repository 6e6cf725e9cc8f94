"""True anomalies as a user marks them: one 0 or 1 a row of the series, in the kind of the series."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

from .panel import Panel

__all__ = ["read_labels"]


def read_labels(y: Any, panel: Panel) -> list[np.ndarray]:
    """Read one label a row: 1 in an anomaly, 0 elsewhere.

    Parameters
    ----------
    y : array-like, list or dict
        For one series (or a long DataFrame) one label a row; for several a list, an array `(n, T)` or a dict of such, as the
        series came.
    panel : Panel
        The series.

    Returns
    -------
    list of ndarray of bool
        (T,) for each series, for the rows the user gave.

    Raises
    ------
    DataError
        If labels are missing, are others than 0 and 1, or do not fit the series; the message names the first that does not.

    Examples
    --------
    >>> from timeseries.reading import read
    >>> read_labels([0, 0, 1], Panel(*read([1.0, 2.0, 9.0])))
    [array([False, False,  True])]
    """
    if y is None:
        raise DataError("y is missing: to judge the scores, pass one label a row, 1 in an anomaly and 0 elsewhere.")
    if panel.form.container == "long":
        rows = [one.rows for one in panel.series if one.rows is not None]
        labels = _bools(y, "X", sum(map(len, rows)), None)
        return [labels[part] for part in rows]
    named = [panel.named(i) for i in range(len(panel))] if len(panel) > 1 or panel.series[0].name is not None else ["X"]
    return [
        _bools(part, who, len(one.given(one.values)), one.given(one.index))
        for part, who, one in zip(_parts(y, panel), named, panel.series, strict=True)
    ]


def _parts(y: Any, panel: Panel) -> list[Any]:
    """Return the labels of each series."""
    container, count = panel.form.container, len(panel)
    if container == "one":
        return [y]
    if container == "dict":
        names = [one.name for one in panel.series]
        if not isinstance(y, Mapping):
            raise DataError(f"X is a dict of series, so y must be a dict with the same keys, but it is a {type(y).__name__}.")
        missing = [name for name in names if name not in y]
        if missing or len(y) > count:
            odd = missing[0] if missing else next(name for name in y if name not in names)
            raise DataError(f"y and X name different series: {odd!r} is only in {'X' if missing else 'y'}.")
        return [y[name] for name in names]
    if not isinstance(y, (list, tuple, np.ndarray)) or len(y) != count:
        size = f"has {len(y)}" if hasattr(y, "__len__") else f"is a {type(y).__name__}"
        raise DataError(f"X has {count} series, so y must have labels for each of them, but y {size}.")
    return list(y)


def _bools(y: Any, who: str, rows: int, index: pd.Index | None) -> np.ndarray:
    """Check the labels of one series."""
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (rows,):
        raise DataError(f"{who} has {rows} rows, but its labels have the shape {labels.shape}. Pass one label a row.")
    stamps = getattr(y, "index", None)
    if isinstance(stamps, pd.DatetimeIndex) and isinstance(index, pd.DatetimeIndex) and not stamps.equals(index):
        row = int(np.flatnonzero(stamps != index)[0]) if (stamps.tz is None) == (index.tz is None) else 0
        raise DataError(f"Row {row} of y is of {stamps[row]}, but that of {who} is of {index[row]}. Align them first.")
    good = pd.Series(labels).isin((0, 1)).to_numpy()
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise DataError(
            f"Label {row} of {who} is {labels[row : row + 1].tolist()[0]!r}; expected 1 in an anomaly and 0 elsewhere."
        )
    return labels.astype(bool)
