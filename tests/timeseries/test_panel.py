"""Panels: splitting off the end keeps the context before it, and copies nothing."""

import numpy as np
import pandas as pd
import pytest

from timeseries.panel import Panel
from timeseries.reading import read

from .frames import DAYS, frame, single


def panel(X, **options):
    return Panel(*read(X, **options))


@pytest.fixture
def two():
    return panel({"x": frame(), 3: frame(DAYS[:12])}, known=["b"])


def test_splitting_keeps_every_row_once_and_the_context_before_the_end(two):
    head, end = two.without_end([5, 3]), two.end([5, 3], context=4)
    assert (head.lengths, end.lengths) == ([15, 9], [9, 7])
    for whole, one, rest in zip(two.series, head.series, end.series, strict=True):
        cut = len(one.values)
        assert np.array_equal(whole.values[:cut], one.values)
        assert np.array_equal(whole.values[cut - 4 :], rest.values)
        assert whole.index[:cut].equals(one.index)
        assert whole.index[cut - 4 :].equals(rest.index)
        assert np.array_equal(whole.known[:cut], one.known)
        assert np.array_equal(whole.known[cut - 4 :], rest.known)
        assert one.name == rest.name == whole.name
        assert one.freq == whole.freq


def test_the_end_knows_the_whole_it_was_split_off(two):
    assert two.whole is None
    assert two.without_end([5, 3]).whole is None
    assert two.tail(3).whole is None
    assert two.end([5, 3], 4).whole is two


def test_nothing_is_copied():
    X = np.zeros((50, 2))
    one = panel(X)
    for part in (one, one.tail(9), one.without_end([5]), one.end([5], 9)):
        assert np.shares_memory(part.values[0], X)


def test_holding_out_nothing_keeps_all(two):
    assert two.without_end([0, 0]).lengths == [20, 12]


def test_a_tail_longer_than_the_series_is_the_series(two):
    assert two.tail(15).lengths == [15, 12]
    assert two.end([5, 3], context=100).lengths == [20, 12]


@pytest.mark.parametrize(
    ("X", "names"),
    [
        (single(), ["The series"]),
        ([single()], ["The series"]),
        ([single(), single()], ["Series 0", "Series 1"]),
        ({"x": single(), 7: single()}, ["Series 'x'", "Series 7"]),
    ],
)
def test_series_are_named_as_their_user_would(X, names):
    found = panel(X)
    assert [found.named(i) for i in range(len(found))] == names


def test_index_is_that_of_the_longest_series():
    later = DAYS + pd.Timedelta(days=400)
    assert panel([single(DAYS[:5]), single(later)]).index.equals(later)
    assert panel(np.zeros(9)).index is None
