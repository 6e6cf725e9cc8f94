"""Small series of every kind, and what the tests of reading share."""

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from timeseries.reading import read

DAYS = pd.date_range("2024-01-01", periods=20, freq="D")
NEXT = pd.date_range("2024-01-21", periods=3, freq="D")
HOURS = pd.date_range("2024-01-01", periods=20, freq="h")
A, B = np.arange(20.0), np.arange(20) + 100.0


def frame(index=DAYS, **more):
    n = len(index)
    return pd.DataFrame({"a": np.arange(float(n)), "b": np.arange(n) + 100.0} | more, index)


def single(index=DAYS, name="load"):
    return pd.Series(np.arange(float(len(index))), index, name=name)


def long(rows=10, order=None, **more):
    table = pd.DataFrame(
        {"store": np.repeat(["x", "y"], rows), "day": np.tile(DAYS[:rows], 2), "sales": np.arange(2.0 * rows)} | more
    )
    return table if order is None else table.sort_values(order, kind="stable", ignore_index=True)


def plain(index):
    return pd.DatetimeIndex(list(index))


def refused(X, message, **options):
    with pytest.raises(DataError, match=message):
        read(X, **options)


def fitted(X, **options):
    return read(X, **options)[1]
