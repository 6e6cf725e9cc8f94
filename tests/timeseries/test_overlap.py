"""Where windows begin, and what they say about a row: beside straightforward loops."""

import numpy as np
import pandas as pd
import pytest

from timeseries.overlap import averaged, latest, lowest, smoothed, starts, widened

RNG = np.random.default_rng(0)
PLACES = [(40, 7, 3), (40, 7, 7), (40, 7, 9), (40, 40, 1), (41, 5, 4), (8, 7, 5), (1, 1, 1)]  # rows, window, step


def windows(rows, window, step, to_end=True):
    first = starts(rows, window, step, to_end=to_end)
    return first, RNG.random(len(first))


@pytest.mark.parametrize(("rows", "window", "step"), PLACES)
def test_windows_begin_every_so_many_rows_and_end_with_the_series(rows, window, step):
    first = starts(rows, window, step)
    assert first[0] == 0
    assert first[-1] == rows - window
    assert (np.diff(first[:-1]) == step).all()
    assert len(np.unique(first)) == len(first)
    online = starts(rows, window, step, to_end=False)
    assert online.tolist() == list(range(0, rows - window + 1, step))


def test_a_series_shorter_than_a_window_has_none():
    for to_end in (True, False):
        assert starts(6, 7, 1, to_end=to_end).tolist() == []
        assert starts(0, 7, 1, to_end=to_end).tolist() == []


@pytest.mark.parametrize("take", [np.mean, np.min], ids=["averaged", "lowest"])
@pytest.mark.parametrize(("rows", "window", "step"), PLACES)
def test_what_the_windows_that_cover_a_row_say(rows, window, step, take):
    for to_end in (True, False):
        first, errors = windows(rows, window, step, to_end)
        expected = []
        for row in range(rows):
            covering = errors[(first <= row) & (row < first + window)]
            expected.append(take(covering) if len(covering) else np.nan)
        found = (averaged if take is np.mean else lowest)(errors, first, window, rows)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_no_window_says_nothing():
    nothing, nowhere = np.zeros(0), np.zeros(0, dtype=int)
    for found in (averaged(nothing, nowhere, 3, 4), lowest(nothing, nowhere, 3, 4), latest(nothing, nowhere, 4)):
        assert np.isnan(found).tolist() == [True] * 4


def test_an_average_of_zeros_is_never_below_zero():
    errors = np.append(RNG.random(500) * 1e6, np.zeros(500))
    found = averaged(errors, np.arange(1000), 7, 1006)
    assert (found >= 0).all()
    assert found[-1] < 1e-6


@pytest.mark.parametrize(("rows", "window", "step"), PLACES)
def test_the_latest_window_that_has_ended(rows, window, step):
    first, errors = windows(rows, window, step, to_end=False)
    found = latest(errors, first + window - 1, rows)
    for row in range(rows):
        ended = np.flatnonzero(first + window - 1 <= row)
        assert np.isnan(found[row]) if not len(ended) else found[row] == errors[ended[-1]]


@pytest.mark.parametrize("width", [1, 2, 5, 6, 100])
@pytest.mark.parametrize("rows", [1, 2, 7, 50])
def test_smoothing_is_a_mean_of_those_around(width, rows):
    values = RNG.random(rows)
    values[RNG.random(rows) < 0.2] = np.nan
    found = smoothed(values, width)
    for row in range(rows):
        around = values[max(0, row - width // 2) : row + width - width // 2]
        expected = np.nanmean(around) if not np.isnan(values[row]) else np.nan
        np.testing.assert_allclose(found[row], expected, atol=1e-12)


def test_smoothing_a_whole_number_of_rows_is_what_pandas_does():
    values = RNG.random(60)
    expected = pd.Series(values).rolling(5, center=True, min_periods=1).mean()
    np.testing.assert_allclose(smoothed(values, 5), expected)


@pytest.mark.parametrize("reach", [0, 1, 4, 100])
def test_flags_reach_as_far_as_they_should(reach):
    flags = RNG.random(60) < 0.05
    flags[[0, 30]] = True
    expected = [flags[max(0, row - reach) : row + reach + 1].any() for row in range(60)]
    assert widened(flags, reach).tolist() == expected
    assert not widened(np.zeros(60, dtype=bool), reach).any()
