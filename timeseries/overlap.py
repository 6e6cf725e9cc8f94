"""From windows to moments: where windows begin, and what the windows that cover a moment say about it."""

import numpy as np
import pandas as pd

__all__ = ["SMOOTHED", "by_row", "step", "averaged", "latest", "lowest", "smoothed", "starts", "widened"]

SMOOTHED = 25  # rows
_ACROSS = 12  # windows that cover a row


def step(window: int) -> int:
    """Return the rows from one window to the next."""
    return max(1, window // _ACROSS)


def by_row(errors: np.ndarray, first: np.ndarray, window: int, rows: int, *, judged: int, online: bool) -> np.ndarray:
    """Return one error a row from one a window: that of the latest window where online, otherwise the smoothed mean of all.

    Parameters
    ----------
    errors, first : ndarray, (n,)
        One a window, and the row at which it begins.
    window, rows : int
        Rows of a window, and of the series.
    judged : int
        The last rows of a window that its error is about.
    online : bool
        Whether a row knows what came before it alone.

    Examples
    --------
    >>> by_row(np.array([1.0, 3.0]), np.array([0, 2]), 2, 4, judged=2, online=True)
    array([nan,  1.,  1.,  3.])
    """
    if online:
        return latest(errors, first + window - 1, rows)
    return smoothed(averaged(errors, first + window - judged, judged, rows), SMOOTHED)


def starts(rows: int, window: int, step: int, *, to_end: bool = True) -> np.ndarray:
    """Return the first row of each window of a series; with `to_end` the last one ends with the series.

    Examples
    --------
    >>> starts(10, 4, 3), starts(11, 4, 3)
    (array([0, 3, 6]), array([0, 3, 6, 7]))
    """
    found = np.arange(0, rows - window + 1, step)
    if to_end and len(found) and found[-1] < rows - window:
        found = np.append(found, rows - window)
    return found


def averaged(errors: np.ndarray, first: np.ndarray, length: int, rows: int) -> np.ndarray:
    """Return for each row the mean error of the windows that cover it; NaN where there is none.

    Parameters
    ----------
    errors : ndarray, (n,)
        One a window.
    first : ndarray, (n,)
        The row at which each window begins.
    length, rows : int
        Of the windows, and of the series.

    Examples
    --------
    >>> averaged(np.array([1.0, 3.0]), np.array([0, 1]), 2, 4)
    array([ 1.,  2.,  3., nan])
    """
    total, count = np.zeros(rows + 1), np.zeros(rows + 1)
    np.add.at(total, first, errors)
    np.add.at(total, first + length, -errors)
    np.add.at(count, first, 1.0)
    np.add.at(count, first + length, -1.0)
    total, count = np.cumsum(total)[:rows], np.cumsum(count)[:rows]
    # differences of sums may fall below zero by rounding
    return np.where(count > 0.5, np.maximum(total, 0.0) / np.maximum(count, 1.0), np.nan)


def latest(errors: np.ndarray, last: np.ndarray, rows: int) -> np.ndarray:
    """Return for each row the error of the latest window that ended by then; NaN before the first one ends.

    Examples
    --------
    >>> latest(np.array([1.0, 3.0]), np.array([1, 3]), 5)
    array([nan,  1.,  1.,  3.,  3.])
    """
    place = np.searchsorted(last, np.arange(rows), side="right") - 1
    return np.where(place >= 0, errors[np.maximum(place, 0)], np.nan) if len(errors) else np.full(rows, np.nan)


def lowest(errors: np.ndarray, first: np.ndarray, length: int, rows: int) -> np.ndarray:
    """Return for each row the lowest error of the windows that cover it; NaN where there is none.

    Parameters
    ----------
    errors : ndarray, (n,)
        One a window.
    first : ndarray, (n,)
        The row at which each window begins, rising.
    length, rows : int
        Of the windows, and of the series.

    Examples
    --------
    >>> lowest(np.array([1.0, 3.0]), np.array([0, 1]), 2, 4)
    array([ 1.,  1.,  3., nan])
    """
    low, high = (np.searchsorted(first, np.arange(rows) - before, side="right") for before in (length, 0))
    found = np.full(rows, np.inf)
    for more in range(int((high - low).max(initial=0))):
        covers = low + more < high
        found[covers] = np.minimum(found[covers], errors[(low + more)[covers]])
    return np.where(high > low, found, np.nan)


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Return the mean of `width` values around each one, fewer at the ends; NaN stays and does not count.

    Examples
    --------
    >>> smoothed(np.array([0.0, 0.0, 3.0, 0.0, np.nan]), 3)
    array([0. , 1. , 1. , 1.5, nan])
    """
    rows = len(values)
    if min(width, rows) <= 1:
        return values
    seen = ~np.isnan(values)
    total = np.concatenate([[0.0], np.cumsum(np.where(seen, values, 0.0))])
    count = np.concatenate([[0], np.cumsum(seen)])
    place = np.arange(rows)
    low, high = np.maximum(place - width // 2, 0), np.minimum(place + width - width // 2, rows)
    mean = np.maximum(total[high] - total[low], 0.0) / np.maximum(count[high] - count[low], 1)
    return np.where(seen, mean, np.nan)


def widened(flags: np.ndarray, reach: int) -> np.ndarray:
    """Return flags that are set where one is within so many rows.

    Examples
    --------
    >>> widened(np.array([False, False, False, True, False]), 1)
    array([False, False,  True,  True,  True])
    """
    around = pd.Series(flags.astype(np.float64)).rolling(2 * reach + 1, center=True, min_periods=1)
    return around.max().to_numpy() > 0
