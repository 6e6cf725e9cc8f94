"""Labels come in the kind of the series; what does not fit is named."""

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from timeseries.labels import read_labels
from timeseries.panel import Panel
from timeseries.reading import read

from .frames import DAYS, A, frame, long, single

ONE = np.arange(20) % 7 == 0


def labelled(X, y, **options):
    return read_labels(y, Panel(*read(X, **options)))


def refused(X, y, message, **options):
    with pytest.raises(DataError, match=message):
        labelled(X, y, **options)


@pytest.mark.parametrize(
    "y",
    [
        ONE, ONE.astype(int), ONE.astype(float), ONE.tolist(), tuple(ONE), ONE[:, None], ONE.astype(object),
        pd.Series(ONE), pd.Series(ONE, DAYS), pd.DataFrame({"y": ONE}, DAYS), pd.array(ONE, dtype="boolean"),
    ],
    ids=lambda y: f"{type(y).__name__} {getattr(y, 'dtype', '')} {getattr(y, 'shape', '')}",
)  # fmt: skip
def test_one_series_takes_labels_of_any_kind(y):
    for X in (A, single(), frame(), np.zeros((20, 3)), A.tolist()):
        (found,) = labelled(X, y)
        assert found.dtype == bool
        assert np.array_equal(found, ONE)


def test_several_series_take_as_many():
    two = [ONE, ONE[:9]]
    for y in (two, tuple(two), [part.tolist() for part in two]):
        for found, expected in zip(labelled([A, A[:9]], y), two, strict=True):
            assert np.array_equal(found, expected)
    block = np.stack([ONE, ~ONE])
    assert np.array_equal(labelled(np.zeros((2, 20, 1)), block), block)
    assert np.array_equal(labelled([A, A], block), block)
    found = labelled({"x": A, 3: A[:9]}, {3: ONE[:9], "x": ONE})
    assert [part.tolist() for part in found] == [ONE.tolist(), ONE[:9].tolist()]


@pytest.mark.parametrize("order", [None, "day"])
def test_a_long_frame_takes_one_label_a_row_in_its_order(order):
    table = long(order=order)
    marked = (table["store"] == "y") & (table["sales"] > 15)
    x, y = labelled(table, marked, series_id="store")
    assert not x.any()
    assert y.tolist() == [False] * 6 + [True] * 4


def test_missing_stamps_have_no_label():
    gone = single().drop(DAYS[5])
    (found,) = labelled(gone, ONE[:19])
    assert found.tolist() == ONE[:19].tolist()
    both = labelled({"x": gone, "y": single()}, {"x": ONE[:19], "y": ONE})
    assert [len(part) for part in both] == [19, 20]


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (A, None, "y is missing"),
        (A, ONE[:19], r"X has 20 rows, but its labels have the shape \(19,\)"),
        (A, np.zeros((20, 2)), r"have the shape \(20, 2\)"),
        (A, 1, r"have the shape \(\)"),
        (A, {"a": 1}, r"have the shape \(\)"),
        (A, np.where(ONE, 2, 0), "Label 0 of X is 2; expected 1 in an anomaly and 0 elsewhere"),
        (A, np.where(ONE, -1.0, 0), "Label 0 of X is -1.0"),
        (A, np.where(ONE, np.nan, 0), "Label 0 of X is nan"),
        (A, ["no"] * 20, "Label 0 of X is 'no'"),
        (A, [0, None, *[1] * 18], "Label 1 of X is None"),
        (A, pd.array([False, None] * 10, dtype="boolean"), "Label 1 of X is <NA>"),
        (single(), pd.Series(ONE, DAYS + pd.Timedelta(days=1)), "Row 0 of y is of 2024-01-02 .* of X is of 2024-01-01"),
        (single(), pd.Series(ONE, DAYS.tz_localize("UTC")), "Align them first"),
        ([A, A], ONE, "X has 2 series, so y must have labels for each of them, but y has 20"),
        ([A, A], None, "y is missing"),
        ([A, A], [ONE], "but y has 1"),
        ([A, A], 5, "but y is a int"),
        ([A, A], [ONE, ONE[:3]], r"Series 1 has 20 rows, but its labels have the shape \(3,\)"),
        ({"x": A, "y": A}, [ONE, ONE], "y must be a dict with the same keys, but it is a list"),
        ({"x": A, "y": A}, {"x": ONE, "z": ONE}, "'y' is only in X"),
        ({"x": A}, {"x": ONE, "z": ONE}, "'z' is only in y"),
        ({"x": A, "y": A}, {"x": ONE, "y": np.full(20, 3)}, "Label 0 of Series 'y' is 3"),
    ],
    ids=str,
)  # fmt: skip
def test_labels_that_do_not_fit_are_named(X, y, message):
    refused(X, y, message)


def test_labels_of_a_long_frame_that_do_not_fit_are_named():
    refused(long(), [0] * 19, r"X has 20 rows, but its labels have the shape \(19,\)", series_id="store")
    refused(long(), [0] * 12 + [4] + [0] * 7, "Label 12 of X is 4", series_id="store")
