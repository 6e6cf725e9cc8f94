"""Faults to put into a series of one's own, with labels, to see what a detector notices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipelines import checks
from pipelines.errors import DataError

__all__ = ["FAULTS", "inject"]


def inject(series: Any, kind: str, start: int, length: int, *, size: float = 3.0, seed: int = 0) -> tuple[Any, Any]:
    """Put a fault into a copy of a series, and mark its rows.

    Parameters
    ----------
    series : Series or array (T,)
        The values of one variable.
    kind : str
        "spike" (up to `size` and back), "level-shift" (all of `size` at once), "drift" (up to `size`, bit by bit), "flat-line"
        (the first value stays; `size` means nothing), "noise" (normal, with a standard deviation of `size`) or
        "changed-period" (as if time went faster).
    start, length : int
        The first row and how many there are.
    size : float
        In standard deviations of the series, down where it is below 0; of a changed period, how many times as fast.
    seed : int
        Of the noise.

    Returns
    -------
    series, labels : tuple
        In the kind of the input; 1 for each row of the fault and 0 elsewhere. Faults are put in one after the other, and their
        labels together by `|`.

    Raises
    ------
    DataError
        If the fault does not lie within the series.

    Examples
    --------
    >>> broken, labels = inject(np.array([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]), "flat-line", 2, 3)
    >>> broken.tolist(), labels.tolist()
    ([0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [0, 0, 1, 1, 1, 0])
    """
    checks.choice("kind", kind, FAULTS)
    checks.number("start", start, 0, integer=True)
    checks.number("length", length, 1, integer=True)
    checks.number("size", size, 0 if kind in ("noise", "changed-period") else -1e9, 1e9)
    values = np.array(series, dtype=np.float64)
    if values.ndim != 1:
        raise DataError(f"A fault goes into one variable, but the series has the shape {values.shape}. Pass one column.")
    needed = start + length if kind != "changed-period" else start + max(length, int(np.ceil(size * (length - 1))) + 1)
    if needed > len(values):
        raise DataError(f"A {kind} of {length} rows from row {start} on needs {needed} rows, but the series has {len(values)}.")
    rows = slice(start, start + length)
    unit = 1.0 if kind == "changed-period" else float(np.nanstd(values))
    values[rows] = FAULTS[kind](values[start:], length, size * unit, np.random.default_rng(seed))
    labels = np.zeros(len(values), dtype=np.int64)
    labels[rows] = 1
    if isinstance(series, pd.Series):
        return pd.Series(values, series.index, name=series.name), pd.Series(labels, series.index, name="label")
    return values, labels


# ---------------------------------------------------------------- from the rows from the fault on to those of the fault
def _spike(rest: np.ndarray, length: int, height: float, rng: np.random.Generator) -> np.ndarray:
    return rest[:length] + height * np.hanning(length + 2)[1:-1]


def _level_shift(rest: np.ndarray, length: int, height: float, rng: np.random.Generator) -> np.ndarray:
    return rest[:length] + height


def _drift(rest: np.ndarray, length: int, height: float, rng: np.random.Generator) -> np.ndarray:
    return rest[:length] + height * np.arange(1, length + 1) / length


def _flat_line(rest: np.ndarray, length: int, height: float, rng: np.random.Generator) -> np.ndarray:
    return np.full(length, rest[0])


def _noise(rest: np.ndarray, length: int, height: float, rng: np.random.Generator) -> np.ndarray:
    return rest[:length] + rng.normal(0, height, length)


def _changed_period(rest: np.ndarray, length: int, times: float, rng: np.random.Generator) -> np.ndarray:
    return np.interp(times * np.arange(length), np.arange(len(rest)), rest)


FAULTS: dict[str, Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]] = {
    "spike": _spike,
    "level-shift": _level_shift,
    "drift": _drift,
    "flat-line": _flat_line,
    "noise": _noise,
    "changed-period": _changed_period,
}
