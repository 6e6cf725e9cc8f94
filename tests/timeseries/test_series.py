"""Reading series: every kind becomes the right arrays and comes back in kind; every fault is named with its place."""

import decimal
import json

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from timeseries.series import Form, Series, future_index, read, read_future

DAYS = pd.date_range("2024-01-01", periods=20, freq="D")
HOURS = pd.date_range("2024-01-01", periods=20, freq="h")


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


# --- kinds: the same numbers, however they come -----------------------------------------------------------------------

A, B = np.arange(20.0), np.arange(20) + 100.0
ONE = {
    "list": (A.tolist(), "flat"),
    "tuple": (tuple(A), "flat"),
    "array": (A, "flat"),
    "column": (A[:, None], "table"),
    "object array": (A.astype(object), "flat"),
    "integers": (A.astype(np.int32), "flat"),
    "half": (A.astype(np.float16), "flat"),
    "big-endian": (A.astype(">f8"), "flat"),
    "series": (single(), "series"),
    "series of rows": (pd.Series(A), "series"),
    "integer series": (single().astype("int64"), "series"),
    "nullable series": (single().astype("Int64"), "series"),
    "frame": (frame()[["a"]], "frame"),
    "frame of rows": (frame()[["a"]].reset_index(drop=True), "frame"),
    "frame of objects": (frame()[["a"]].astype(object), "frame"),
    "frame of periods": (frame()[["a"]].to_period("D"), "frame"),
}


@pytest.mark.parametrize("kind", ONE)
def test_every_kind_of_one_series_is_the_same_array(kind):
    X, entry = ONE[kind]
    series, form, notes = read(X)
    assert (len(series), form.container, form.entry, notes) == (1, "one", entry, [])
    assert np.array_equal(series[0].values, A[:, None])
    assert series[0].values.dtype in (np.float32, np.float64)
    assert series[0].known is None
    assert (series[0].index is None) == (entry in ("flat", "table"))


MANY = {
    "block": (np.stack([A, B])[:, :, None], "block"),
    "list of lists": ([A.tolist(), B.tolist()], "list"),
    "list of arrays": ([A, B], "list"),
    "tuple of series": ((single(), single() + 100), "list"),
    "array of series": (pd.Series([A, B]).to_numpy(), "list"),
    "list of frames": ([frame()[["a"]], frame()[["a"]] + 100], "list"),
    "dict of arrays": ({"x": A, "y": B}, "dict"),
    "dict of series": ({"x": single(), "y": single() + 100}, "dict"),
    "dict of frames": ({"x": frame()[["a"]], "y": frame()[["a"]] + 100}, "dict"),
}


@pytest.mark.parametrize("kind", MANY)
def test_every_kind_of_several_series_is_the_same_arrays(kind):
    X, container = MANY[kind]
    series, form, notes = read(X)
    assert (form.container, notes) == (container, [])
    assert [s.name for s in series] == (["x", "y"] if container == "dict" else [None, None])
    assert np.array_equal(series[0].values, A[:, None])
    assert np.array_equal(series[1].values, B[:, None])


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


def test_several_series_may_have_any_lengths_and_places_in_time():
    series, _, _ = read({"x": single(DAYS[:8]), "y": single(DAYS[5:]), 3: single(DAYS + pd.Timedelta(days=400))})
    assert [len(s.values) for s in series] == [8, 15, 20]
    assert {s.freq for s in series} == {"D"}
    assert [len(s.values) for s in read([A, A[:3], [1, 2]])[0]] == [20, 3, 2]


def test_missing_values_stay_missing_and_are_counted_by_variable():
    X = frame(c=np.arange(20.0))
    X.iloc[3:5, 0] = np.nan
    X.iloc[7, 2] = np.nan
    series, _, notes = read(X)
    assert np.array_equal(series[0].values, X.to_numpy(), equal_nan=True)
    assert notes == ["3 missing values (NaN) are filled from earlier ones: 'a' 2, 'c' 1."]
    assert read([1.0, None, 3.0])[2] == ["1 missing value (NaN) is filled from earlier ones: 0 1."]
    assert "in 1 of 2 series" in read({"x": X, "y": frame(c=A)})[2][0]
    hidden = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    assert np.isnan(read(hidden)[0][0].values[1, 0])


def test_numbers_of_every_dtype_are_read():
    X = pd.DataFrame(
        {
            "bool": [True, False, True],
            "nullable": pd.array([1, None, 3], dtype="Int64"),
            "maybe": pd.array([True, None, False], dtype="boolean"),
            "object": [1, decimal.Decimal("2.5"), None],
            "mixed": [True, 2, 3.5],
            "sparse": pd.arrays.SparseArray([0.0, 1.0, 0.0]),
            "small": np.arange(3, dtype=np.uint8),
        }
    )
    values = read(X)[0][0].values
    expected = [[1, 0, 1], [1, np.nan, 3], [1, np.nan, 0], [1, 2.5, np.nan], [1, 2, 3.5], [0, 1, 0], [0, 1, 2]]
    assert np.array_equal(values, np.array(expected).T, equal_nan=True)


# --- memory: the user's arrays are used, and never changed ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_is_copied_where_nothing_has_to_be(dtype):
    array = np.zeros((50, 4), dtype)
    X = pd.DataFrame(array, pd.date_range("2024", periods=50, freq="h"), columns=list("abcd"))
    for given in (array, X, X.reset_index(drop=True), X.to_period("h"), [array, array], {"x": X}, np.zeros((3, 50, 4), dtype)):
        values = read(given)[0][0].values
        first = next(iter(given.values())) if isinstance(given, dict) else given[0] if isinstance(given, list) else given
        assert np.shares_memory(values, np.asarray(first))
        assert values.dtype == dtype
    assert np.shares_memory(read(array[:, 0])[0][0].values, array)
    assert np.shares_memory(read(X["b"])[0][0].values, X.to_numpy())
    parts = read(X, variables=["a", "b"], known=["c", "d"])[0][0]
    assert np.shares_memory(parts.values, X.to_numpy())
    assert np.shares_memory(parts.known, X.to_numpy())
    assert np.shares_memory(parts.tail(3).values, X.to_numpy())
    table = long()
    assert np.shares_memory(read(table, series_id="store")[0][1].values, table["sales"].to_numpy())


def test_the_input_is_never_changed():
    X = {"x": frame().drop(DAYS[4]).astype({"b": object}), "y": frame()}
    table, before = long(order="day"), {name: part.copy() for name, part in X.items()}
    read(X, known=["b"])
    read(table, series_id="store")
    assert all(X[name].equals(before[name]) for name in X)
    assert table.equals(long(order="day"))


# --- columns ----------------------------------------------------------------------------------------------------------


def test_variables_and_known_columns_are_chosen_by_name():
    series, form, notes = read(frame(k=1.0, note="text"), variables=["b", "a"], known=["k"])
    assert np.array_equal(series[0].values, frame()[["b", "a"]])
    assert np.array_equal(series[0].known, np.ones((20, 1)))
    assert (form.columns, form.variables, form.known, form.ignored) == (("a", "b", "k"), ("b", "a"), ("k",), ("note",))
    assert notes == ["1 column neither in variables nor in known and left out: 'note'."]
    assert read(frame(k=1.0), known=["k"])[1].variables == ("a", "b")


def test_variables_and_known_columns_of_an_array_are_chosen_by_position():
    array = np.arange(30.0).reshape(10, 3)
    series, form, _ = read(array, variables=[2], known=[0])
    assert np.array_equal(series[0].values, array[:, [2]])
    assert np.array_equal(series[0].known, array[:, [0]])
    assert form.ignored == (1,)
    assert read(array, known=[1])[1].variables == (0, 2)
    assert read([array, array[:4]], known=[np.int64(1)])[0][1].known.shape == (4, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variables": ["aa"]}, "no column 'aa'. Did you mean 'a'"),
        ({"known": ["c"]}, "no column 'c'. Choose one of: 'a', 'b'"),
        ({"variables": ["a"], "known": ["a"]}, "both in variables and in known"),
        ({"variables": "a"}, r"must be a list.*variables=\['a'\]"),
        ({"known": 1}, "must be a list"),
        ({"variables": ["a", "a"]}, "twice"),
        ({"variables": []}, "nothing to forecast"),
        ({"known": ["a", "b"]}, "no column to forecast"),
        ({"series_id": "stor"}, "X has no column 'stor' to name its series"),
    ],
)
def test_columns_that_are_not_there_are_named(options, message):
    refused(frame(), message, **options)


def test_columns_of_other_kinds_of_input_are_checked_too():
    refused(np.zeros((5, 2)), "columns 0 to 1; there is no column 2", known=[2])
    refused(np.zeros((5, 2)), "there is no column 'a'", variables=["a"])
    refused(np.zeros((5, 1)), "no column to forecast", known=[0])
    refused(single(), "no column 'k' known in advance", known=["k"])
    refused(single(), r"named 'load', but variables=\['a'\]", variables=["a"])
    refused({"x": single()}, "names a column of a long DataFrame, but X is a dict", series_id="store")
    assert read(single(), variables=["load"])[1].variables == ("load",)


def test_further_series_must_have_the_columns_of_the_first():
    refused({"x": frame(), "y": frame()[["a"]]}, "Series 'y' has no column 'b'")
    refused([frame(), frame(c=1.0)], "Series 1 has 1 column that the first series has not: 'c'")
    refused([np.zeros((5, 2)), np.zeros((5, 3))], "Series 1 has 3 columns, but series 0 has 2")
    series, _, _ = read({"x": frame(), "y": frame()[["b", "a"]]})
    assert np.array_equal(series[0].values, series[1].values)


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        (["1", "2", "3"], "'1'"),
        (pd.Categorical([1, 2, 1]), "1"),
        ([1j, 2, 3], "1j"),
        (DAYS[:3], "2024"),
        (pd.to_timedelta([1, 2, 3], unit="h"), "Timedelta"),
    ],
)
def test_columns_that_are_not_numeric_are_refused_unless_left_out(column, shown):
    X = pd.DataFrame({"a": [1.0, 2.0, 3.0], "odd": column}, DAYS[:3])
    refused(X, rf"cannot be forecast as numbers: 'odd' \(row 0 of 'odd' holds .*{shown}.*variables=.*series_id='odd'")
    refused(X, "column 'odd'.*expected real numbers", variables=["odd"])
    assert read(X, variables=["a"])[1].ignored == ("odd",)


def test_the_first_value_that_is_no_number_is_named():
    refused(frame(c=[*range(4), "n/a", *range(15)]), "X holds 'n/a' in row 4, column 'c'.*to_numeric")
    refused({"x": frame(), "y": frame().assign(b=[*range(19), "-"])}, "Series 'y' holds '-' in row 19, column 'b'")
    refused([1.0, 2.0, "x"], "X holds 'x' in row 2")
    refused([A, [1, {}]], "Series 1 holds {} in row 1")
    refused(long(order="day", price=[1.0] * 13 + ["?"] + [1.0] * 6), r"Series 'y' holds '\?' in row 7", series_id="store")
    refused([10**400, 1], "no float can hold")
    refused(np.array([1j, 2]), r"holds \(?1j\)? in row 0")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["a", "a"], "the column 'a' twice.*duplicated"),
        ([1.5, "a"], "a column named 1.5"),
        (pd.MultiIndex.from_tuples([("a", 1), ("a", 2)]), "column names of 2 levels. Flatten"),
    ],
)
def test_names_must_be_plain_and_single(columns, message):
    refused(pd.DataFrame(np.zeros((3, 2)), DAYS[:3], columns), message)
    assert read(pd.DataFrame(np.zeros((3, 2)), columns=np.array([0, 1])))[1].columns == (0, 1)


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_values_are_named(dtype):
    X = frame().astype(dtype)
    X.iloc[6, 1] = -np.inf
    refused(X, r"X holds -inf in row 6 \(2024-01-07 00:00:00\), column 'b'")
    refused({"x": frame(), "y": X}, "Series 'y' holds -inf in row 6")
    refused(X.to_numpy(), "X holds -inf in row 6, column 1")
    refused(single().replace(3.0, np.inf), "row 3 .*column 'load'")
    refused(long(order="day").replace(13.0, np.inf), r"Series 'y' holds inf in row 7 \(2024-01-04", series_id="store")
    refused([A, [np.inf, 1.0]], "Series 1 holds")


def test_large_numbers_are_not_taken_for_infinite_ones():
    assert read(np.full((10, 2), 3e38, np.float32))[0][0].values.max() > 1e38
    assert read(np.full(10, 1.7e308))[2] == []


def test_columns_without_any_value_are_named():
    refused(frame(c=np.nan), "X has no value at all in column 'c'")
    refused({"x": frame(), "y": frame().assign(a=np.nan)}, "Series 'y' has no value at all in column 'a'")
    refused([None, None], "no value at all")
    assert read(frame(c=5.0))[2] == []  # a constant is fine


def test_what_is_known_in_advance_must_be_known():
    X = frame(k=1.0)
    X.iloc[5, 2] = np.nan
    refused(X, r"X holds nan in row 5 \(2024-01-06.*column 'k'; every value known in advance", known=["k"])


# --- what is no series ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({}, "empty dict"),
        ([], "X is empty"),
        ((), "X is empty"),
        (np.zeros(0), "X has no rows"),
        (np.zeros((0, 3)), "X has no rows"),
        (np.zeros((3, 0)), "X has no columns"),
        (np.zeros((2, 0, 3)), "no value in it"),
        (pd.DataFrame(), "X has no rows"),
        (pd.DataFrame(index=DAYS), "X has no columns"),
        (pd.Series(dtype=float), "X has no rows"),
        ([A, []], "Series 1 has no rows"),
        ({"x": single()[:0]}, "Series 'x' has no rows"),
        ("data.csv", "of type str, 'data.csv'"),
        (None, "X is no time series but of type NoneType"),
        (5, "of type int, 5"),
        (np.float64(5), "of type float64"),
        (np.array(5), "0 dimensions"),
        (np.zeros((1, 2, 3, 4)), "4 dimensions"),
        ({1, 2}, r"list\(X\)"),
        ((i for i in range(3)), r"list\(X\)"),
        (DAYS, "of type DatetimeIndex"),
        ([[1, [2, 3]], [4]], "Series 0 cannot be read as an array"),
        ({("a", 1): A}, r"one is named \('a', 1\)"),
        ({1.5: A}, "one is named 1.5"),
    ],
)
def test_what_is_no_series_is_refused(X, message):
    refused(X, message)


@pytest.mark.parametrize("entry", ["text", None, 5.0, np.zeros((2, 2, 2)), {}, np.array(["a", "b"]), [], frame()])
def test_the_fifth_entry_of_a_list_is_called_series_5(entry):
    refused([A] * 5 + [entry], "(?i)series 5")


def test_kinds_are_not_mixed():
    refused({"x": single(), "y": A}, "Series 'x' is a pandas Series and series 'y' is a list of numbers or an array")
    refused([single(), single().reset_index(drop=True)], "Series 0 has a DatetimeIndex and series 1 a RangeIndex")
    refused([single(), single().to_period("D")], "Series 0 has a DatetimeIndex and series 1 a PeriodIndex")


def test_frames_of_other_libraries_are_named():
    polars = type("DataFrame", (), {"__module__": "polars.dataframe"})
    refused(polars(), "X is a polars object.*to_pandas")


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", ["h", "D", "B", "W-MON", "MS", "ME", "QE-DEC", "15min"])
def test_missing_stamps_become_empty_rows(freq):
    index = pd.date_range("2024-01-01", periods=40, freq=freq)
    series, form, notes = read(single(plain(index)).drop(index[[5, 6, 30]]))
    assert (form.freq, series[0].freq) == (freq, freq)
    assert (series[0].index == index).all()
    assert np.flatnonzero(np.isnan(series[0].values[:, 0])).tolist() == [5, 6, 30]
    assert np.array_equal(np.delete(series[0].values[:, 0], [5, 6, 30]), np.delete(np.arange(40.0), [5, 6, 30]))
    assert notes == [f"3 missing time stamps were inserted as empty rows: the first is {index[5]}."]


def test_missing_stamps_of_several_series_are_one_note():
    X = {"x": single(), "y": single().drop(DAYS[[3, 8]]), "z": single().drop(DAYS[4])}
    series, _, notes = read(X)
    assert [len(s.values) for s in series] == [20, 20, 20]
    assert notes == [
        "3 missing time stamps were inserted as empty rows in 2 of 3 series: the first is 2024-01-04 00:00:00 in series 'y'."
    ]
    assert "in series 'y'" in read(long().drop(index=14), series_id="store")[2][0]


def test_float32_stays_float32_where_rows_are_inserted():
    assert read(single().astype(np.float32).drop(DAYS[3]))[0][0].values.dtype == np.float32


def test_inserted_rows_repeat_what_was_known_last():
    series, _, notes = read(frame(k=np.arange(20.0)).drop(DAYS[[4, 5]]), known=["k"])
    assert series[0].known[:7].ravel().tolist() == [0, 1, 2, 3, 3, 3, 6]
    assert notes[0].endswith("columns known in advance repeat their last value there.")


def test_rows_counted_by_numbers_may_have_gaps_too():
    series, form, notes = read(pd.Series([1.0, 2.0, 3.0, 4.0], [1990, 1991, 1993, 1994]))
    assert series[0].index.equals(pd.RangeIndex(1990, 1995))
    assert (form.index, form.freq) == ("row", None)
    assert notes == ["1 missing time stamp was inserted as an empty row: 1992."]
    series, _, _ = read(pd.Series(np.arange(10.0))[::2])
    assert (series[0].index.step, len(series[0].values)) == (2, 5)


def test_periods_may_have_gaps_too():
    months = pd.period_range("2024-01", periods=12, freq="M")
    series, form, notes = read(single(months.delete(4)))
    assert (form.freq, form.index) == ("M", "period")
    assert series[0].index.equals(months)
    assert "inserted as an empty row: 2024-05" in notes[0]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("freq", ["h", "D"])
def test_local_time_is_regular_across_daylight_saving_and_goes_out_local(zone, freq):
    index = pd.date_range("2024-03-01", periods=800, freq=freq, tz=zone)
    series, form, notes = read(single(plain(index)))
    assert (notes, form.freq, form.tz) == ([], freq, zone)
    out = form.wrap([np.zeros((400, 1))], series)
    assert out.index.equals(pd.date_range(index[-1], periods=401, freq=freq)[1:])
    assert str(out.index.tz) == zone


def test_unsorted_stamps_are_named():
    refused(
        single().iloc[[0, 2, 1, *range(3, 20)]], r"X is not sorted by time: 2024-01-02 00:00:00 in row 2 comes after.*sort_index"
    )
    refused(single()[::-1], "not sorted by time.*row 1")
    refused(pd.Series(A)[::-1], "not sorted by time: 18 in row 1 comes after 19")
    refused(single().to_period("D")[::-1], "not sorted by time: 2024-01-19 in row 1")
    refused({"x": single(), "y": single()[::-1]}, "Series 'y' is not sorted")
    refused(long()[::-1], r"Series 'y' is not sorted by time: 2024-01-09.* in row 1 .*sort_values\('day'\)", series_id="store")


def test_doubled_stamps_are_named():
    twice = single().iloc[[0, 1, 1, *range(2, 20)]]
    refused(twice, r"X has the time stamp 2024-01-02 00:00:00 twice, the second time in row 2.*duplicated\(\).*series_id=")
    refused({"x": single(), "y": twice}, r"Series 'y' has the time stamp 2024-01-02 00:00:00 twice")
    refused([twice.to_period("D")], "Series 0 has the time stamp 2024-01-02 twice")
    table = pd.concat([long(), long().iloc[[13]]]).sort_values(["store", "day"], kind="stable", ignore_index=True)
    refused(
        table, r"Series 'y' has the time stamp 2024-01-04.* twice, the second time in row 14.*drop_duplicates", series_id="store"
    )
    refused(long().set_index("day")[["sales"]].sort_index(), "twice.*belong to several series.*series_id=")


@pytest.mark.parametrize(("freq", "message"), [("h", "twice"), ("30min", "not sorted")])
def test_an_hour_that_comes_twice_gets_the_hint_to_name_the_zone(freq, message):
    index = pd.date_range("2024-10-26 12:00", periods=60, freq=freq, tz="Europe/Berlin").tz_localize(None)
    refused(single(index), rf"{message}.*clocks went back.*tz_localize\('Europe/…', ambiguous='infer'\)")


def test_missing_times_are_named():
    refused(single(pd.DatetimeIndex([*DAYS[:3], None, *DAYS[4:]])), r"no time stamp \(NaT\) in row 3.*notna")
    refused(single(pd.PeriodIndex(["2024-01", None, "2024-03"], freq="M")), r"\(NaT\) in row 1")
    refused(
        long().assign(day=lambda t: t["day"].where(t.index != 12)),
        r"Series 'y' has no time stamp \(NaT\) in row 12",
        series_id="store",
    )


def test_irregular_stamps_are_named():
    shifted = HOURS + pd.to_timedelta([0] * 7 + [5] + [0] * 12, unit="s")
    refused(
        single(shifted),
        r"irregular.*2024-01-01 07:00:05 in row 7 comes 01:00:05 after.*while 01:00:00 is usual.*resample\('1h'\)",
    )
    refused(
        single(DAYS[[0, 1, 2, 9, 19]]), r"15 of 20 are missing at steps of 1 day, the first after 2024-01-03.*resample\('1D'\)"
    )
    refused({"x": single(), "y": single(DAYS[[0, 1, 2, 9, 19]])}, "Series 'y' has irregular")
    refused(single(pd.to_datetime([f"2024-0{m}-15" for m in range(1, 7)])), r"one value a month.*to_period\('M'\)")
    refused(pd.Series([1.0, 2.0, 3.0], [1, 2, 30]), "27 of 30 are missing.*reset_index")
    refused(
        single(pd.PeriodIndex(["2024-01", "2024-02", "2024-12"], freq="M")), "9 of 12 are missing at steps of 1 period of 'M'"
    )
    random = pd.DatetimeIndex(np.sort(np.random.default_rng(0).integers(0, 10**6, 50)).astype("M8[s]"))
    refused(single(random), "irregular time stamps")


def test_a_third_may_be_missing_and_no_more():
    index = pd.date_range("2024-01-01", periods=30, freq="h")
    kept = [i for i in range(30) if i % 3 != 1]
    assert len(read(single(index[kept]))[0][0].values) == 30
    refused(single(index[[i for i in kept if i not in (12, 15)]]), "irregular")


def test_frequencies_are_not_mixed():
    refused(
        {"x": single(), "y": single(HOURS)}, r"Series 'y' is hourly \('h'\), but series 'x' is daily \('D'\)|Series 'x' is daily"
    )
    refused([single(DAYS), single(HOURS)], "eries 1")
    refused({"x": single(DAYS.tz_localize("UTC")), "y": single()}, r"in the zone 'UTC' and series 'y' .*without a time zone")
    refused({"x": single(DAYS.tz_localize("UTC")), "y": single(DAYS.tz_localize("Asia/Tokyo"))}, r"tz_convert\('UTC'\)")
    week = single(plain(pd.bdate_range("2024-01-01", periods=5)))  # may be daily, but the others are not
    series, form, _ = read({"short": week, "x": single(pd.bdate_range("2024-01-01", periods=30))})
    assert (form.freq, [s.freq for s in series]) == ("B", ["B", "B"])
    mondays, fridays = (pd.date_range("2024-01-01", periods=9, freq=freq) for freq in ("W-MON", "W-FRI"))
    assert [s.freq for s in read([single(mondays), single(fridays)])[0]] == ["W-MON", "W-FRI"]


def test_few_stamps_take_the_frequency_of_the_others():
    series, _, _ = read({"x": single(DAYS), "y": single(DAYS[:1]), "z": single(plain(DAYS[:2]))})
    assert [s.freq for s in series] == ["D", "D", "D"]
    refused(single(plain(DAYS[:2])), "2 time stamps, too few to tell how often values come.*asfreq")
    refused({"x": single(), "y": single(plain(HOURS[:2]))}, "Series 'y' has 2 time stamps from .* not daily")
    assert read(single(DAYS[:2]))[1].freq == "D"  # pandas remembers


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            pd.DataFrame({"day": DAYS, "a": A}),
            r"its time in the column 'day'.*df.index = pd.to_datetime\(df.pop\('day'\)\).*data.series",
        ),
        (pd.DataFrame({"day": DAYS.astype(str), "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"day": ["31/12/2024"] * 20, "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"day": pd.period_range("2024-01", periods=20, freq="M"), "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"day": DAYS.date.astype(object), "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"a": [1.0, 2.0]}, ["2024-01-01", "2024-01-02"]), r"index of str values.*to_datetime\(df.index\)"),
        (pd.DataFrame({"a": [1.0, 2.0]}, [0.5, 1.0]), "dtype float64.*reset_index"),
        (pd.DataFrame({"a": [1.0, 2.0]}, pd.to_timedelta([1, 2], unit="h")), "dtype timedelta64"),
        (pd.DataFrame({"a": [1.0]}, pd.MultiIndex.from_tuples([("x", 1)], names=["store", "t"])), "2 levels.*series_id='store'"),
    ],
)
def test_time_that_is_not_in_the_index_is_pointed_out(X, message):
    refused(X, message)


def test_numbers_written_as_texts_are_not_taken_for_dates():
    refused(pd.DataFrame({"a": ["3.5", "4.5"]}), "cannot be forecast as numbers")


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


# --- later data must be like the fitted -------------------------------------------------------------------------------


def fitted(X, **options):
    return read(X, **options)[1]


def test_columns_are_matched_by_name_not_by_place():
    form = fitted(frame(k=1.0, z=0.0), variables=["b", "a"], known=["k"])
    mixed = frame(k=1.0)[["k", "b", "a"]]
    series, own, notes = read(mixed, like=form)
    assert np.array_equal(series[0].values, frame()[["b", "a"]])
    assert np.array_equal(series[0].known, np.ones((20, 1)))
    assert notes == []
    assert list(own.wrap([np.zeros((2, 2))], series).columns) == ["b", "a"]
    assert read(frame(k=1.0, z=5.0), like=form)[2] == ["1 column not used by the fitted model and left out: 'z'."]


def test_columns_that_are_missing_or_new_are_named():
    form = fitted(frame(k=1.0), known=["k"])
    refused(frame(), "X has no column 'k'", like=form)
    refused(frame(kk=1.0), "no column 'k'. Did you mean 'kk'", like=form)
    refused(frame(k=1.0, z=1.0), "1 column the model was not fitted on: 'z'.*'a', 'b', 'k'", like=form)
    refused(single(), "one pandas Series, but the model was fitted on 3 columns", like=form)
    refused({"x": frame(k=1.0), "y": frame()}, "Series 'y' has no column 'k'", like=form)


def test_arrays_and_frames_stand_for_each_other_where_the_columns_are_as_many():
    named = fitted(frame(k=1.0), variables=["b", "a"], known=["k"])
    series, own, _ = read(frame(k=1.0).to_numpy(), like=named)
    assert np.array_equal(series[0].values, frame()[["b", "a"]])
    assert (own.variables, own.known) == ((1, 0), (2,))
    refused(
        frame().to_numpy(), r"X has 2 columns, but the model was fitted on 3 columns \('a', 'b', 'k', in this order\)", like=named
    )
    refused([A, A], "Series 0 has 1 column, but", like=named)
    placed = fitted(np.zeros((5, 3)), variables=[1], known=[0])
    series, own, _ = read(frame(k=1.0), like=placed)
    assert (own.variables, own.known, own.ignored) == (("b",), ("a",), ("k",))
    assert np.array_equal(series[0].known.ravel(), A)
    refused(frame(), "X has 2 columns, but the model was fitted on 3 columns", like=placed)
    refused(single(), "fitted on 2 columns", like=placed)


def test_one_variable_may_come_as_series_array_or_column():
    for form in (fitted(single()), fitted(A), fitted({"x": single()}), fitted(frame()[["a"]])):
        name = "a" if form.columns == ("a",) else "load"
        for X in (
            single(name=name),
            single(name=None),
            A,
            A[:, None],
            [A],
            single(name=name).to_frame(),
            {"z": single(name=name)},
        ):
            assert np.array_equal(read(X, like=form)[0][0].values.ravel(), A)
    refused(single(), "named 'load', but the model was fitted on 'a'. Rename", like=fitted(frame()[["a"]]))
    refused(frame()[["a"]], "no column 'load'", like=fitted(single()))
    refused(frame(), "2 columns, but the model was fitted on 1 column", like=fitted(A))
    assert fitted({"x": single(), "y": single(name="other")}).variables == ("value",)


def test_long_frames_and_single_frames_stand_for_each_other():
    form = fitted(long(), series_id="store")
    assert read(long().set_index("day"), like=form)[1].container == "long"
    one = long().query("store == 'x'").set_index("day")[["sales"]]
    assert read(one, like=form)[1].container == "one"
    assert read({"new": one}, like=form)[0][0].name == "new"
    assert read(long(), series_id="store", like=fitted(one))[1].container == "long"
    refused(long().rename(columns={"sales": "sale"}), "no column 'sales'. Did you mean 'sale'", like=form)


def test_the_frequency_must_be_the_fitted_one():
    form = fitted(single())
    refused(single(HOURS), r"X is hourly \('h'\), but the model was fitted on data that is daily \('D'\)", like=form)
    refused(single(plain(HOURS[:2])), "2 time stamps from .* not daily", like=form)
    refused(single(pd.period_range("2024-01", periods=9, freq="M")), "monthly", like=form)
    refused(single(pd.bdate_range("2024-01-01", periods=30)), "business-daily", like=form)
    assert read(single(DAYS.to_period("D")), like=form)[1].freq == "D"
    assert read(single().reset_index(drop=True), like=form)[1].freq is None
    assert read(
        single(pd.date_range("2024", periods=9, freq="ME")), like=fitted(single(pd.date_range("2024", periods=9, freq="MS")))
    )


@pytest.mark.parametrize(
    ("freq", "kept"),
    [("D", [0]), ("D", [0, 1]), ("D", [0, 2, 3]), ("B", [0, 1, 2]), ("B", [3, 4, 6, 7]), ("QE-DEC", [1]), ("h", [5, 6])],
)
def test_a_short_history_takes_the_fitted_frequency(freq, kept):
    index = pd.date_range("2024-01-01", periods=40, freq=freq)
    series, form, _ = read(single(plain(index[kept])), like=fitted(single(index)))
    assert form.freq == freq
    assert series[0].index[-1] == index[kept[-1]]
    assert future_index(series[0], 3).equals(index[kept[-1] + 1 : kept[-1] + 4])


def test_the_time_zone_must_be_the_fitted_one():
    local = single(DAYS.tz_localize("Europe/Berlin"))
    refused(
        local, r"in the zone 'Europe/Berlin', but .* without a time zone. Drop it: df.tz_localize\(None\)", like=fitted(single())
    )
    refused(single(), r"Give it one: df.tz_localize\('Europe/Berlin'\)", like=fitted(local))
    refused(local.tz_convert("UTC"), r"Convert it: df.tz_convert\('Europe/Berlin'\)", like=fitted(local))
    assert read(local, like=fitted(local))[1].tz == "Europe/Berlin"


# --- results go out in kind -------------------------------------------------------------------------------------------

NEXT = pd.date_range("2024-01-21", periods=3, freq="D")
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


# --- the future -------------------------------------------------------------------------------------------------------

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
