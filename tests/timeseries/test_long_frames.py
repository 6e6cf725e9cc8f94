"""Long frames come apart whatever their order and wherever their time."""

import json

import pandas as pd
import pytest

from timeseries.reading import read

from .frames import DAYS, fitted, long, plain, refused


@pytest.mark.parametrize("order", [None, "day"])
@pytest.mark.parametrize("time", ["column", "index", "text", "period", "none"])
def test_long_frames_come_apart_whatever_their_order_and_wherever_their_time(order, time):
    X = long(order=order)
    if time == "index":
        X = X.set_index("day")
    elif time == "text":
        X["day"] = X["day"].dt.strftime("%Y-%m-%d")
    elif time == "period":
        X["day"] = X["day"].dt.to_period("D")
    elif time == "none":
        X = X.drop(columns="day")
    series, form, notes = read(X, series_id="store")
    assert [s.name for s in series] == ["x", "y"]
    assert [s.values.ravel().tolist() for s in series] == [list(range(10)), list(range(10, 20))]
    assert (form.freq, form.time) == (None if time == "none" else "D", None if time in ("index", "none") else "day")
    assert notes == (["The time stamps were read from the texts in the column 'day'."] if time == "text" else [])
    if time != "none":
        expected = pd.PeriodIndex(DAYS[:10], freq="D") if time == "period" else plain(DAYS[:10])
        assert all((s.index == expected).all() for s in series)


def test_series_of_a_long_frame_may_differ_in_length_and_be_named_by_numbers():
    X = long().drop(index=[0, 1, 19]).assign(store=lambda table: table["store"].map({"x": 7, "y": 3}))
    series, form, _ = read(X, series_id="store")
    assert [(s.name, len(s.values)) for s in series] == [(7, 8), (3, 9)]
    assert json.loads(json.dumps(form.to_dict()))["series_id"] == "store"
    categories = long().assign(store=lambda table: table["store"].astype("category").cat.add_categories("none"))
    assert [s.name for s in read(categories, series_id="store")[0]] == ["x", "y"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.assign(other=t["day"]), r"several columns with time stamps: 'day', 'other'.*set_index\('day'\)"),
        (lambda t: t.assign(day="31/12/2024"), "'31/12/2024' for one, but is not plainly ISO 8601.*dayfirst"),
        (
            lambda t: t.assign(day=t["day"].astype(str).where(t.index != 3, "soon")),
            "Row 3 has no readable time in the column 'day': 'soon'",
        ),
        (lambda t: t.assign(day=t["day"].astype(str), other="2024-01-01"), "several columns that look like time"),
        (lambda t: t.assign(day=["2024-01-01T00:00+01:00", "2024-01-02T00:00+02:00"] * 10), "utc=True"),
        (lambda t: t.assign(store=t["store"].where(t.index != 4)), "Row 4 names no series: its 'store' is missing"),
        (lambda t: t.assign(store=1.5), "one is named 1.5"),
        (lambda t: t.iloc[:0], "no rows"),
        (lambda t: t[["store"]], "no column to forecast|no columns"),
        (lambda t: t.drop(columns="sales"), "no column to forecast|no columns"),
    ],
)
def test_long_frames_that_cannot_be_read_are_named(change, message):
    refused(change(long()), message, series_id="store")


def test_long_frames_and_single_frames_stand_for_each_other():
    form = fitted(long(), series_id="store")
    assert read(long().set_index("day"), like=form)[1].container == "long"
    one = long().query("store == 'x'").set_index("day")[["sales"]]
    assert read(one, like=form)[1].container == "one"
    assert read({"new": one}, like=form)[0][0].name == "new"
    assert read(long(), series_id="store", like=fitted(one))[1].container == "long"
    refused(long().rename(columns={"sales": "sale"}), "no column 'sales'. Did you mean 'sale'", like=form)
