"""Quantiles: their loss, their order, the conformal shift, and widths that follow settled forecasts only."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss

from timeseries.intervals import adapted, ordered, pinball, shifts, widened

RNG = np.random.default_rng(0)
LEVELS = [0.1, 0.5, 0.9]


def said(n, horizon=1, variables=1, width=1.0):
    """Return forecasts (n, horizon, variables, 3): the median 0, and an interval around it."""
    return np.tile([-width, 0.0, width], (n, horizon, variables, 1))


def one_series(n):
    return np.zeros(n, dtype=int)


# --- loss and order -----------------------------------------------------------------------------------------------------


def test_loss_is_twice_the_mean_of_scikit_learns():
    truth, outputs = RNG.normal(size=(5, 2, 4)), RNG.normal(size=(5, 2, 4, 3))
    expected = 2 * np.mean([mean_pinball_loss(truth.ravel(), outputs[..., k].ravel(), alpha=q) for k, q in enumerate(LEVELS)])
    assert pinball(outputs, truth, LEVELS) == pytest.approx(expected)


@pytest.mark.parametrize("median", range(5))
def test_order_is_kept_and_the_median_stays(median):
    outputs = RNG.normal(size=(50, 5))
    found = ordered(outputs, median)
    assert (np.diff(found) >= 0).all()
    assert np.array_equal(found[:, median], outputs[:, median])
    assert np.array_equal(ordered(found, median), found)
    risen = np.sort(outputs)
    assert np.array_equal(ordered(risen, median), risen)


# --- the shift ----------------------------------------------------------------------------------------------------------


def test_shifted_quantiles_cover_the_validation_part():
    truth = 2 + 3 * RNG.normal(size=(1000, 2, 1))
    outputs = np.zeros((1000, 2, 1, 3))
    found = shifts(outputs, truth, LEVELS)
    assert found.shape == (2, 1, 3)
    assert not found[..., 1].any()
    for k in (0, 2):
        share = (truth < outputs[..., k] + found[..., k]).mean(axis=0)
        np.testing.assert_allclose(share, LEVELS[k], atol=0.002)


def test_shift_leaves_out_what_was_not_observed():
    truth = RNG.normal(size=(300, 2, 4))
    truth[200:, 0] = np.nan
    truth[:, 1] = np.nan
    found = shifts(np.zeros((300, 2, 4, 3)), truth, LEVELS)
    np.testing.assert_allclose(found[0], shifts(np.zeros((200, 2, 4, 3)), truth[:200], LEVELS)[0])
    assert not found[1].any()


def test_shift_is_smoothed_over_long_horizons():
    truth = RNG.normal(size=(60, 1, 48))
    found = shifts(np.zeros((60, 1, 48, 3)), truth, LEVELS)[0]
    raw = np.nanquantile(truth[:, 0], 0.9, axis=0)
    assert np.abs(np.diff(found[:, 2])).mean() < np.abs(np.diff(raw)).mean() / 2
    assert found[:, 2].mean() == pytest.approx(raw.mean(), abs=0.05)


# --- widths in use ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, 5, 100])
@pytest.mark.parametrize("horizon", [1, 3, 8])
def test_a_width_knows_only_forecasts_that_have_settled(horizon, stride):
    n = 60
    forecasts, truth = said(n, horizon), RNG.normal(size=(n, horizon, 1))
    for w in (0, 7, 30):
        truth[w] = 0.0
        before, _ = adapted(forecasts, truth, LEVELS, one_series(n), stride)
        changed = truth.copy()
        changed[w] = 50.0
        after, _ = adapted(forecasts, changed, LEVELS, one_series(n), stride)
        first = w + -(-horizon // stride)  # the first window that begins when the last step of window w has come
        assert np.array_equal(after[:first], before[:first])
        assert (after[first, ..., 2] > before[first, ..., 2]).all()


def test_the_first_forecasts_are_left_as_they_are():
    forecasts = RNG.normal(size=(30, 5, 2, 3)).cumsum(axis=-1)
    found, _ = adapted(forecasts, RNG.normal(size=(30, 5, 2)), LEVELS, one_series(30), stride=1)
    np.testing.assert_allclose(found[:5], ordered(forecasts[:5], 1))
    np.testing.assert_allclose(found[..., 1], forecasts[..., 1])  # the median is never moved
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("horizon", [1, 4])
def test_widths_at_the_end_are_those_of_the_next_forecast(horizon, stride):
    n = 50
    forecasts, truth = said(n + 1, horizon, 2), RNG.normal(size=(n + 1, horizon, 2))
    delay = -(-horizon // stride)
    whole, _ = adapted(forecasts, truth, LEVELS, one_series(n + 1), stride)
    settled = n + 1 - delay  # what has come when the last forecast is made
    _, widths = adapted(forecasts[:settled], truth[:settled], LEVELS, one_series(settled), stride)
    np.testing.assert_allclose(widened(forecasts[n], widths[0], LEVELS), whole[n])


@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
@pytest.mark.parametrize("horizon", [1, 6])
def test_intervals_of_any_size_come_to_cover_what_they_say(size, horizon):
    n = 4000
    truth = RNG.normal(size=(n, horizon, 1))
    found, _ = adapted(said(n, horizon, width=size), truth, LEVELS, one_series(n), stride=1)
    late = slice(n // 2, None)
    inside = (found[late, ..., 0] <= truth[late]) & (truth[late] <= found[late, ..., 2])
    assert abs(inside.mean() - 0.8) < 0.03
    assert np.median(found[late, ..., 2]) == pytest.approx(norm.ppf(0.9), rel=0.15)


@pytest.mark.parametrize("stride", [1, 7, 168, 2000])
def test_widths_are_steady_at_any_stride(stride):
    truth = RNG.normal(size=(500, 4, 1))
    found, widths = adapted(said(500, 4, width=1.28), truth, LEVELS, one_series(500), stride)
    assert found[..., 2].max() < 6
    assert np.abs(widths).max() < 1.5


def test_each_side_and_each_variable_has_its_own_width():
    truth = np.zeros((300, 1, 2))
    truth[:, 0, 1] = 5.0  # always above
    _, widths = adapted(said(300, 1, 2), truth, LEVELS, one_series(300), stride=1)
    assert (widths[0, 0, [0, 2]] < 0).all()
    assert widths[0, 1, 0] < 0 < widths[0, 1, 2]
    assert not widths[0, :, 1].any()


def test_series_do_not_touch_each_other():
    series = np.repeat([0, 2], [40, 30])
    truth = RNG.normal(size=(70, 2, 1))
    together, widths = adapted(said(70, 2), truth, LEVELS, series, stride=1)
    for number, part in ((0, slice(0, 40)), (2, slice(40, 70))):
        alone, own = adapted(said(70, 2)[part], truth[part], LEVELS, one_series(part.stop - part.start), stride=1)
        np.testing.assert_allclose(together[part], alone)
        np.testing.assert_allclose(widths[number], own[0])
    assert widths.shape == (3, 1, 3)
    assert not widths[1].any()  # had no window


def test_truth_that_was_not_observed_moves_nothing():
    truth = np.full((50, 3, 1), np.nan)
    found, widths = adapted(said(50, 3), truth, LEVELS, one_series(50), stride=1)
    assert np.array_equal(found, said(50, 3))
    assert not widths.any()


def test_nothing_is_nothing():
    found, widths = adapted(said(0), np.zeros((0, 1, 1)), LEVELS, one_series(0), stride=1)
    assert len(found) == 0
    assert not widths.any()


@pytest.mark.parametrize("value", [0.0, 1e9])
def test_standstill_and_flight_leave_widths_that_can_return(value):
    forecasts = said(40_000, width=0.0 if value else 1.0)  # intervals without any width cannot grow
    found, widths = adapted(forecasts, np.full((40_000, 1, 1), value), LEVELS, one_series(40_000), stride=1)
    assert np.isfinite(found).all()
    assert np.abs(widths).max() < 10
    rng = np.random.default_rng(0)
    truth = np.concatenate([np.zeros((5000, 1, 1)), rng.normal(size=(1000, 1, 1))])
    found, _ = adapted(said(6000), truth, LEVELS, one_series(6000), stride=1)
    assert found[4999, ..., 2] < 0.01
    assert found[5500:, ..., 2].min() > 0.5


def test_medians_alone_have_no_width():
    forecasts = RNG.normal(size=(9, 2, 1, 1))
    found, widths = adapted(forecasts, np.zeros((9, 2, 1)), [0.5], one_series(9), stride=1)
    assert np.array_equal(found, forecasts)
    assert not widths.any()


def test_widened_keeps_quantiles_in_order():
    found = widened(np.array([[-1.0, -0.5, 0.0, 0.5, 1.0]]), np.array([[0.0, 2.0, 9.0, -1.0, -3.0]]), [0.1, 0.3, 0.5, 0.7, 0.9])
    assert (np.diff(found) >= 0).all()
    assert found[0, 2] == 0
