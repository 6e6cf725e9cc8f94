"""What is chosen by itself can always be used, and is what the documentation says."""

import math

import pytest

from timeseries.planning import STEPS_AN_EPOCH, epochs_for, lookback_for, segment_for


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
