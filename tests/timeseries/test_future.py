"""What is known in advance of the coming rows: read in kind, and refused where it does not go on."""

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from timeseries.future import read_future
from timeseries.reading import read

from .frames import NEXT, frame, long, plain

COMING = pd.DataFrame({"k": [1.0, 2.0, 3.0, 4.0]}, pd.date_range("2024-01-21", periods=4, freq="D"))


def ahead(future, X=None, horizon=3, **options):
    series, form, _ = read(frame(k=1.0) if X is None else X, known=options.pop("known", ["k"]), **options)
    return [values.ravel().tolist() for values in read_future(future, form, series, horizon)]


@pytest.mark.parametrize(
    "future",
    [
        COMING,
        COMING[:3],
        COMING["k"],
        COMING.to_numpy(),
        COMING["k"].tolist(),
        COMING.assign(a=np.nan),
        COMING.astype({"k": "Int64"}),
    ],
)
def test_the_next_rows_are_read(future):
    assert ahead(future) == [[1.0, 2.0, 3.0]]


def test_the_future_of_several_series_is_in_kind():
    two, later = {"x": frame(k=1.0), "y": frame(k=1.0)}, {"y": COMING + 1, "x": COMING, "z": None}
    assert ahead(later, two) == [[1, 2, 3], [2, 3, 4]]
    assert ahead([COMING, COMING + 1], list(two.values())) == [[1, 2, 3], [2, 3, 4]]
    assert ahead(np.ones((2, 3, 1)), np.zeros((2, 9, 2)), known=[1]) == [[1, 1, 1], [1, 1, 1]]
    assert ahead(np.ones((2, 3)), np.zeros((2, 9, 2)), known=[1]) == [[1, 1, 1], [1, 1, 1]]
    days = pd.date_range("2024-01-11", periods=3, freq="D")
    rows = pd.DataFrame({"store": ["y", "x"] * 3, "day": np.repeat(days, 2), "k": np.arange(6.0)})
    for table in (rows, rows.set_index("day"), rows.assign(day=rows["day"].astype(str)), rows.sort_values("store")):
        assert ahead(table, long(k=1.0), series_id="store") == [[1, 3, 5], [0, 2, 4]]
    single_rows = {name: part.set_index("day")[["k"]] for name, part in rows.groupby("store")}
    assert ahead(single_rows, long(k=1.0), series_id="store") == [[1, 3, 5], [0, 2, 4]]


def test_rows_without_time_pass_where_the_series_has_none():
    X = frame(k=1.0).reset_index(drop=True)
    assert ahead(COMING.reset_index(drop=True), X) == [[1, 2, 3]]
    assert ahead(COMING.set_axis(pd.RangeIndex(20, 24)), X) == [[1, 2, 3]]
    assert ahead(COMING, np.zeros((5, 2)), known=[0]) == [[1, 2, 3]]
    with pytest.raises(DataError, match="has 7 in row 0, but 20 is next"):
        ahead(COMING.set_axis(pd.RangeIndex(7, 11)), X)


def test_periods_continue_in_the_future():
    X = frame(k=1.0).to_period("D")
    assert ahead(COMING.to_period("D"), X) == [[1, 2, 3]]
    with pytest.raises(DataError, match="has periods of 'M', but the series has periods of 'D'"):
        ahead(COMING.set_axis(pd.period_range("2024-01", periods=4, freq="M")), X)


def test_without_known_columns_there_is_no_future():
    series, form, _ = read(frame())
    assert [values.shape for values in read_future(None, form, series, 3)] == [(3, 0)]
    with pytest.raises(DataError, match="takes no `future`"):
        read_future(COMING, form, series, 3)


@pytest.mark.parametrize(
    ("future", "message"),
    [
        (None, "needs them for the next 3 rows: future=a DataFrame with 'k', indexed by time"),
        (COMING[:2], "future has 2 rows, but the horizon is 3"),
        (COMING.shift(1, freq="D"), "has 2024-01-22 00:00:00 in row 0, but 2024-01-21 00:00:00 is next"),
        (COMING.iloc[[0, 2, 3]], "has 2024-01-23 00:00:00 in row 1, but 2024-01-22 00:00:00 is next"),
        (COMING.shift(1, freq="D")[:1], "is next after the series"),
        (COMING.rename(columns={"k": "kk"}), "no column 'k'. Did you mean 'kk'"),
        (COMING.where(COMING > 1), r"future holds nan in row 0 \(2024-01-21.*column 'k'"),
        (COMING.where(COMING > 1).to_numpy(), "future holds nan in row 0, column 'k'"),
        (np.zeros((3, 2)), "future has 2 columns, but known in advance are 'k'"),
        (COMING.reset_index(drop=True), "must be indexed by time, from 2024-01-21 00:00:00 to 2024-01-23"),
        (COMING.to_period("D"), "must be indexed by time"),
        (COMING.tz_localize("UTC"), "in the zone 'UTC', but the series .* without a time zone"),
        ({"a": COMING}, "future is no time series but of type dict"),
        ("soon", "of type str"),
        (pd.DataFrame({"k": ["a", "b", "c"]}, NEXT), "expected real numbers"),
    ],
)
def test_a_future_that_does_not_fit_is_named(future, message):
    with pytest.raises(DataError, match=message):
        ahead(future)


@pytest.mark.parametrize(
    ("future", "message"),
    [
        (None, "future=a dict of the same names: a DataFrame with 'k'"),
        (COMING, "There are 2 series, so future must be a dict of the same names"),
        ({"x": COMING, "yy": COMING}, "no entry for series 'y'. Did you mean 'yy'"),
        ([COMING], "There are 2 series, but future has 1 entry"),
        ({"x": COMING, "y": COMING[:1]}, "The future of series 'y' has 1 row, but the horizon is 3"),
        ({"x": COMING, "y": 3}, "The future of series 'y' is no time series"),
        (3, "There are 2 series"),
    ],
)
def test_a_future_of_several_series_that_does_not_fit_is_named(future, message):
    with pytest.raises(DataError, match=message):
        ahead(future, {"x": frame(k=1.0), "y": frame(k=1.0)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[t["store"] == "x"], "future has no rows of series 'y'"),
        (lambda t: t.drop(columns="store"), "no column 'store' to name its series"),
        (lambda t: t[t.index != 1], "The future of series 'x' has 2024-01-13 .* in row 1, but 2024-01-12"),
        (lambda t: None, "a long DataFrame with 'store', the time and 'k'"),
        (lambda t: t.iloc[:0], "future has no rows"),
    ],
)
def test_a_long_future_that_does_not_fit_is_named(change, message):
    days = pd.date_range("2024-01-11", periods=3, freq="D")
    rows = pd.DataFrame({"store": np.repeat(["x", "y"], 3), "day": plain([*days, *days]), "k": np.arange(6.0)})
    with pytest.raises(DataError, match=message):
        ahead(change(rows), long(k=1.0), series_id="store")
