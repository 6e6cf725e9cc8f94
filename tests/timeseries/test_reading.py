"""Every kind of input becomes the same arrays, without a copy; what is no series is refused with its place."""

import numpy as np
import pandas as pd
import pytest

from timeseries.reading import read

from .frames import DAYS, A, B, fitted, frame, long, refused, single

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


def test_several_series_may_have_any_lengths_and_places_in_time():
    series, _, _ = read({"x": single(DAYS[:8]), "y": single(DAYS[5:]), 3: single(DAYS + pd.Timedelta(days=400))})
    assert [len(s.values) for s in series] == [8, 15, 20]
    assert {s.freq for s in series} == {"D"}
    assert [len(s.values) for s in read([A, A[:3], [1, 2]])[0]] == [20, 3, 2]


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
