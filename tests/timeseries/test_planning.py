"""What is chosen by itself can always be used, and is what the documentation says."""

import math

import pytest

from timeseries.planning import (
    LEAST_ROWS,
    STEPS_AN_EPOCH,
    epochs_for,
    lookback_for,
    online_windows_for,
    segment_for,
    segment_of,
    windows_for,
)


@pytest.mark.parametrize("horizon", [1, 4, 24, 336])
@pytest.mark.parametrize("period", [1, 7, 12, 24, 168])
def test_lookback_fits_into_the_series(period, horizon):
    before = -math.inf
    for rows in range(1, 4000, 7):
        lookback = lookback_for(rows, horizon, period)
        assert lookback <= min(720, rows // 3)
        if lookback >= 1:
            assert lookback + horizon <= rows
            assert lookback < period or lookback % period == 0
        assert lookback >= before or period > 1
        before = lookback


def test_lookback_is_a_third_in_whole_periods():
    assert lookback_for(300, 4, 1) == 100
    assert lookback_for(300, 4, 24) == 96
    assert lookback_for(10**6, 96, 24) == 720
    assert lookback_for(30, 4, 24) == 10  # no whole period fits
    assert lookback_for(5, 4, 1) < 1


@pytest.mark.parametrize("period", [1, 7, 12, 24, 90, 1000])
def test_segments_fit_into_the_context(period):
    for lookback in range(1, 721):
        segment = segment_for(lookback, period)
        assert 1 <= segment <= lookback
        assert lookback <= 15 or 3 <= math.ceil(lookback / segment) <= 30


def test_segments_are_whole_periods_or_parts_of_one():
    for period in (12, 24, 168):
        for count in range(1, 40):
            segment = segment_for(count * period, period)
            assert segment % period == 0 or period % segment == 0
    assert [segment_for(n, 1) for n in (1, 2, 15, 30, 720)] == [1, 1, 1, 2, 48]


@pytest.mark.parametrize("batch_size", [1, 8, 64, 1000])
@pytest.mark.parametrize("windows", [1, 50, 500, 5000, 50_000, 10**7])
def test_epochs_make_a_sensible_number_of_steps(windows, batch_size):
    epochs = epochs_for(windows, batch_size)
    an_epoch = min(math.ceil(windows / batch_size), STEPS_AN_EPOCH)
    assert 1 <= epochs <= 100
    assert epochs == 100 or 1000 <= epochs * an_epoch <= 4000 + an_epoch


@pytest.mark.parametrize("window", [2, 5, 13, 24, 100, 125, 300, 10_000])
def test_windows_of_a_detector_fit_into_the_series(window):
    for rows in range(LEAST_ROWS, 2000, 7):
        found, third = windows_for(window, rows), rows // 3
        assert (found["shape"], found["nearest"]) == (min(2 * window, third), min(4 * window, third))
        assert found["forecaster"] == found["autoencoder"]
        assert_in_segments(found["autoencoder"], min(window, third), rows)


@pytest.mark.parametrize("second", [2, 100])
@pytest.mark.parametrize("window", [2, 24, 99, 100, 300, 10_000])
def test_where_online_the_simple_views_have_two_windows_and_the_network_the_longer_one(window, second):
    for rows in range(LEAST_ROWS, 2000, 7):
        found, third = online_windows_for(window, rows, second), rows // 3
        assert found["level"] == found["nearest"] == min(window, third)
        assert found["second level"] == found["second nearest"] == min(second, third)
        assert_in_segments(found["autoencoder"], min(max(window, second), third), rows)
        assert_in_segments(found["forecaster"], min(window, third), rows)


def assert_in_segments(whole, window, rows):
    segment = segment_of(window)
    assert whole % segment == 0
    assert window <= whole < window + segment
    assert whole // segment <= 12
    assert segment_of(whole) == segment  # what is built from the window alone has the same segments
    assert whole + segment <= rows  # room for what is forecast


def test_segments_of_a_detector_are_a_twelfth():
    assert [segment_of(window) for window in (2, 12, 13, 24, 25, 125, 300)] == [1, 1, 2, 2, 3, 11, 25]
