"""Every kind of input becomes the same arrays, without a copy; what is no series is refused with its place."""

import json

import numpy as np
import pandas as pd
import pytest

from timeseries.reading import read
from timeseries.series import Form, Series, future_index

from .frames import A, DAYS, HOURS, NEXT, frame, long, plain, single

LEVELS = {0.9: 1.0, 0.1: -1.0}


def wrapped(X, quantiles=False, **options):
    """Forecast 0, 1, 2 for every variable of every series; the quantiles are one off."""
    series, form, _ = read(X, **options)
    form = Form.from_dict(json.loads(json.dumps(form.to_dict())))
    forecasts = [np.tile(np.arange(3.0)[:, None], s.values.shape[1]).astype(np.float32) for s in series]
    levels = {level: [f + off for f in forecasts] for level, off in LEVELS.items()} if quantiles else None
    return form.wrap(forecasts, series, levels)


def test_a_series_returns_a_series():
    out = wrapped(single(DAYS.rename("day")))
    pd.testing.assert_series_equal(out, pd.Series([0.0, 1.0, 2.0], NEXT.rename("day"), name="load"))
    out = wrapped(single(), quantiles=True)
    assert list(out.columns) == ["load", "load_q0.1", "load_q0.9"]
    assert out.iloc[0].tolist() == [0, -1, 1]
    assert wrapped(single(name=None)).name is None
    assert list(wrapped(single(name=None), quantiles=True).columns) == ["value", "value_q0.1", "value_q0.9"]


def test_a_frame_returns_a_frame_of_its_variables():
    out = wrapped(frame(k=1.0), known=["k"])
    pd.testing.assert_frame_equal(out, pd.DataFrame({"a": [0.0, 1, 2], "b": [0.0, 1, 2]}, NEXT))
    out = wrapped(frame(), quantiles=True)
    assert list(out.columns) == ["a", "a_q0.1", "a_q0.9", "b", "b_q0.1", "b_q0.9"]
    assert out.iloc[1].tolist() == [1, 0, 2, 1, 0, 2]
    numbered = pd.DataFrame(np.zeros((5, 2)))
    assert list(wrapped(numbered).columns) == [0, 1]
    assert wrapped(numbered).index.equals(pd.RangeIndex(5, 8))


def test_columns_go_out_in_the_order_of_the_input():
    series, form, _ = read(frame(), variables=["b", "a"])
    out = form.wrap([np.array([[1.0, 2.0]])], series, {0.5: [np.array([[3.0, 4.0]])]})
    assert out.iloc[0].to_dict() == {"a": 2.0, "a_q0.5": 4.0, "b": 1.0, "b_q0.5": 3.0}


@pytest.mark.parametrize(
    ("X", "shape"),
    [(A, ()), (A.tolist(), ()), (np.zeros((9, 1)), (1,)), (np.zeros((9, 4)), (4,)), (np.zeros((9, 4)).tolist(), (4,))],
)
def test_an_array_returns_an_array(X, shape):
    if isinstance(X, list) and isinstance(X[0], list):
        X = [X]  # a list of lists is several series; a table in it is one of them
        assert wrapped(X)[0].shape == (3, *shape)
        return
    assert wrapped(X).shape == (3, *shape)
    out = wrapped(X, quantiles=True)
    assert out.shape == (3, *shape, 3)
    assert np.array_equal(out[0].reshape(-1, 3)[0], [0, -1, 1])
    assert out.dtype == np.float64


def test_several_series_return_as_many():
    assert wrapped(np.zeros((4, 9, 2))).shape == (4, 3, 2)
    assert wrapped(np.zeros((4, 9, 2)), quantiles=True).shape == (4, 3, 2, 3)
    assert [type(out) for out in wrapped([single(), single()])] == [pd.Series, pd.Series]
    assert [out.shape for out in wrapped((A, A[:4], A))] == [(3,)] * 3
    out = wrapped({"x": single(name="p"), 5: single(name="q")})
    assert list(out) == ["x", 5]
    assert [one.name for one in out.values()] == ["p", "q"]
    assert wrapped({"x": frame()}, quantiles=True)["x"].shape == (3, 6)


@pytest.mark.parametrize("order", [None, "day"])
def test_a_long_frame_returns_a_long_frame(order):
    out = wrapped(long(order=order), series_id="store")
    days = pd.date_range("2024-01-11", periods=3, freq="D")
    expected = pd.DataFrame({"store": ["x"] * 3 + ["y"] * 3, "day": plain([*days, *days]), "sales": [0.0, 1, 2] * 2})
    pd.testing.assert_frame_equal(out, expected, check_dtype=False)
    assert out["store"].dtype == long()["store"].dtype
    indexed = wrapped(long(order=order).set_index("day"), series_id="store", quantiles=True)
    assert list(indexed.columns) == ["store", "sales", "sales_q0.1", "sales_q0.9"]
    assert (indexed.index == plain([*days, *days])).all()
    assert indexed.index.name == "day"
    assert list(wrapped(long().drop(columns="day"), series_id="store").columns) == ["store", "sales"]
    periods = wrapped(long().assign(day=lambda t: t["day"].dt.to_period("D")), series_id="store")
    assert str(periods["day"].dtype) == "period[D]"


@pytest.mark.parametrize("freq", ["h", "15min", "D", "B", "W-SUN", "MS", "ME", "BME", "QS-OCT", "QE-DEC", "YE-DEC", "2MS"])
@pytest.mark.parametrize("known", [True, False])
def test_the_index_continues_at_its_frequency(freq, known):
    index = pd.date_range("2024-01-01", periods=30, freq=freq)
    out = wrapped(single(index[:20] if known else plain(index[:20])))
    assert out.index.equals(index[20:23])
    assert out.index.freq is not None
    assert not known or out.index.freq == index.freq


@pytest.mark.parametrize(
    "index", [pd.RangeIndex(5, 45, 2), pd.period_range("2024-01", periods=20, freq="Q"), pd.Index(range(3, 23))]
)
def test_rows_and_periods_continue(index):
    out = wrapped(single(index[:17]))
    assert out.index.tolist() == index[17:].tolist()
    assert isinstance(out.index, pd.PeriodIndex if isinstance(index, pd.PeriodIndex) else pd.RangeIndex)


def test_a_daily_series_goes_on_where_midnight_does_not_exist():
    days = pd.date_range("2017-10-01", periods=30, freq="D").tz_localize("America/Sao_Paulo", nonexistent="shift_forward")
    out = wrapped(single(days[:13]))
    assert (out.index == days[13:16]).all()


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_the_resolution_of_the_stamps_is_kept(unit):
    assert wrapped(single(DAYS.as_unit(unit))).index.unit == unit


@pytest.mark.parametrize(
    "X",
    [
        *(
            single(),
            frame(k=1.0),
            A,
            np.zeros((5, 2)),
            [A, A],
            {"x": single(HOURS.tz_localize("Europe/Berlin")), 2: single(HOURS.tz_localize("Europe/Berlin"))},
        ),
        *(single(pd.period_range("2024-01", periods=9, freq="M")), single(pd.period_range("2024-01", periods=9, freq="M")[::3])),
        *(single(pd.RangeIndex(4, 20, 2)), single(plain(pd.date_range("2024", periods=9, freq="BME"))).rename_axis("when")),
        single(HOURS.as_unit("ns") + pd.Timedelta(7, "ns")),
    ],
)
def test_series_and_form_survive_json(X):
    series, form, _ = read(X)
    assert Form.from_dict(json.loads(json.dumps(form.to_dict()))) == form
    for one in series:
        back = Series.from_facts(json.loads(json.dumps(one.facts())), one.values[-3:])
        assert (back.name, back.freq) == (one.name, one.freq)
        if one.index is None:
            assert back.index is None
        else:
            assert back.index.equals(one.index[-3:])
            assert (back.index.dtype, back.index.name) == (one.index.dtype, one.index.name)
            assert future_index(back, 4).equals(future_index(one, 4))


def test_the_end_of_a_series_is_a_series():
    one = read(frame(k=1.0), known=["k"])[0][0]
    assert one.tail(4).index.equals(DAYS[-4:])
    assert (one.tail(4).values.shape, one.tail(4).known.shape, one.tail(99).values.shape) == ((4, 2), (4, 1), (20, 2))
    assert future_index(one.tail(4), 3).equals(NEXT)
    assert read(A)[0][0].tail(2).index is None


def numbered(X, **options):
    """Number the rows of each series, those that were inserted among them, and return those of the user in kind."""
    series, form, _ = read(X, **options)
    form = Form.from_dict(json.loads(json.dumps(form.to_dict())))
    results = [one.given(100.0 * i + np.arange(len(one.values))) for i, one in enumerate(series)]
    return form.per_row(results, series, getattr(X, "index", None), "score")


def test_results_by_row_come_in_kind():
    rows = np.arange(20.0)
    for X in (A, A.tolist(), np.zeros((20, 3))):
        assert np.array_equal(numbered(X), rows)
    assert np.array_equal(numbered(np.zeros((2, 20, 3))), [rows, rows + 100])
    for X in (single(), frame(), frame(k=1.0), single(pd.RangeIndex(5, 25)), single(DAYS.to_period("D"))):
        pd.testing.assert_series_equal(
            numbered(X), pd.Series(rows, X.index, name="score"), check_freq=False, check_index_type=False
        )
    several = numbered([A, A[:4]])
    assert [part.tolist() for part in several] == [rows.tolist(), [100, 101, 102, 103]]
    named = numbered({"x": frame(), 5: frame()[:3]})
    assert list(named) == ["x", 5]
    assert named[5].tolist() == [100, 101, 102]
    assert named[5].index.equals(DAYS[:3])


@pytest.mark.parametrize("gone", [[7], [1, 2, 18], [4, 5, 6, 7]], ids=str)
def test_results_of_rows_that_were_inserted_do_not_appear(gone):
    X = single().drop(DAYS[gone])
    found = numbered(X)
    assert found.index.equals(X.index)
    assert found.tolist() == np.delete(np.arange(20.0), gone).tolist()
    both = numbered({"x": single(), "y": X})
    assert (len(both["x"]), both["y"].tolist()) == (20, (100 + found).tolist())


@pytest.mark.parametrize("order", [None, "day", "shuffled ids"])
@pytest.mark.parametrize("indexed", [False, True])
def test_results_of_a_long_frame_stand_where_its_rows_do(order, indexed):
    table = long(order="day" if order else None)
    if order == "shuffled ids":
        table = table.sample(frac=1, random_state=0).sort_values("day", kind="stable")
    table = table.drop(table.index[(table["store"] == "x") & (table["day"] == DAYS[4])])
    table["expected"] = table["day"].dt.day - 1.0 + 100 * (table["store"] != table["store"].iloc[0])
    expected = table.pop("expected")
    if indexed:
        table, expected = table.set_index("day"), expected.to_numpy()
    found = numbered(table, series_id="store")
    assert found.index.equals(table.index)
    assert found.name == "score"
    assert found.to_numpy().tolist() == list(expected)
