"""Columns are chosen by name or place, those of later data like the fitted ones; values that cannot be used are named."""

import numpy as np
import pandas as pd
import pytest

from timeseries.reading import read

from .frames import DAYS, A, fitted, frame, long, refused, single


def test_missing_values_stay_missing_and_are_counted_by_variable():
    X = frame(c=np.arange(20.0))
    X.iloc[3:5, 0] = np.nan
    X.iloc[7, 2] = np.nan
    series, _, notes = read(X)
    assert np.array_equal(series[0].values, X.to_numpy(), equal_nan=True)
    assert notes == ["3 missing values (NaN) are filled in: 'a' 2, 'c' 1."]
    assert read([1.0, None, 3.0])[2] == ["1 missing value (NaN) is filled in: 0 1."]
    assert "in 1 of 2 series" in read({"x": X, "y": frame(c=A)})[2][0]
    hidden = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
    assert np.isnan(read(hidden)[0][0].values[1, 0])


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


def test_columns_without_any_value_are_named():
    refused(frame(c=np.nan), "X has no value at all in column 'c'")
    refused({"x": frame(), "y": frame().assign(a=np.nan)}, "Series 'y' has no value at all in column 'a'")
    refused([None, None], "no value at all")
    assert read(frame(c=5.0))[2] == []  # a constant is fine


def test_what_is_known_in_advance_must_be_known():
    X = frame(k=1.0)
    X.iloc[5, 2] = np.nan
    refused(X, r"X holds nan in row 5 \(2024-01-06.*column 'k'; every value known in advance", known=["k"])


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
