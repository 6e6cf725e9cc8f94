"""Bringing series to one scale, and filling their gaps, for a detector."""

import numpy as np
import pandas as pd

from .windows import filled

__all__ = ["gaps_filled", "robust_center"]

_FAR = 20.0  # robust spreads; what is further away does not count
_ROUNDING = 1e-12  # of the mean; a smaller spread is none


def robust_center(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column, both (C,), as if no value were absurd; 0 and 1 where there is none.

    Examples
    --------
    >>> center, scale = robust_center(np.array([[1.0], [2.0], [3.0], [2.0], [1e9]]))
    >>> center, scale.round(2)
    (array([2.]), array([0.71]))
    """
    center, scale = np.zeros(values.shape[1]), np.ones(values.shape[1])
    for k, column in enumerate(values.T):
        seen = column[~np.isnan(column)].astype(np.float64)
        if not len(seen):
            continue
        least, low, middle, high, most = np.quantile(seen, [0.01, 0.25, 0.5, 0.75, 0.99])
        spread = high - low or most - least  # half of the values may be the same
        if spread > 0:  # what lies far from all others is a mistake of the sensor
            seen = seen[np.abs(seen - middle) <= _FAR * spread]
        center[k], scale[k] = seen.mean(), seen.std()
    return center, np.where(scale > _ROUNDING * np.abs(center), scale, 1.0)


def gaps_filled(values: np.ndarray, *, past: bool) -> np.ndarray:
    """Fill gaps of scaled (T, C) values: by the value before each, 0 at the start, or, where not `past`, by straight lines.

    Examples
    --------
    >>> gaps_filled(np.array([[np.nan], [1.0], [np.nan], [3.0]]), past=True).ravel()
    array([0., 1., 1., 3.])
    >>> gaps_filled(np.array([[np.nan], [1.0], [np.nan], [3.0]]), past=False).ravel()
    array([1., 1., 2., 3.])
    """
    if not np.isnan(values).any():
        return values
    if past:
        return pd.DataFrame(values).ffill().fillna(0.0).to_numpy()
    return filled(values.T).T
