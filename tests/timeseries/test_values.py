"""Numbers of every dtype become floats, and the first value that is no number is named."""

import decimal

import numpy as np
import pandas as pd

from timeseries.reading import read

from .frames import A, frame, long, refused


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


def test_the_first_value_that_is_no_number_is_named():
    refused(frame(c=[*range(4), "n/a", *range(15)]), "X holds 'n/a' in row 4, column 'c'.*to_numeric")
    refused({"x": frame(), "y": frame().assign(b=[*range(19), "-"])}, "Series 'y' holds '-' in row 19, column 'b'")
    refused([1.0, 2.0, "x"], "X holds 'x' in row 2")
    refused([A, [1, {}]], "Series 1 holds {} in row 1")
    refused(long(order="day", price=[1.0] * 13 + ["?"] + [1.0] * 6), r"Series 'y' holds '\?' in row 7", series_id="store")
    refused([10**400, 1], "no float can hold")
    refused(np.array([1j, 2]), r"holds \(?1j\)? in row 0")


def test_large_numbers_are_not_taken_for_infinite_ones():
    assert read(np.full((10, 2), 3e38, np.float32))[0][0].values.max() > 1e38
    assert read(np.full(10, 1.7e308))[2] == []
