"""One scale for all channels, which no absurd value moves, and gaps filled from the past alone where asked."""

import numpy as np
import pandas as pd
import pytest

from timeseries.scaling import gaps_filled, robust_center

RNG = np.random.default_rng(0)
NOISE = RNG.normal(5, 2, (1000, 1))


def test_center_and_scale_are_mean_and_standard_deviation():
    values = RNG.normal([1, -20, 1e9], [1, 5, 1e7], (500, 3))
    center, scale = robust_center(values)
    np.testing.assert_allclose(center, values.mean(axis=0))
    np.testing.assert_allclose(scale, values.std(axis=0))
    gone = values.copy()
    gone[::3, 1] = np.nan
    center, scale = robust_center(gone)
    assert center[1] == pytest.approx(np.nanmean(gone[:, 1]))
    assert scale[1] == pytest.approx(np.nanstd(gone[:, 1]))


@pytest.mark.parametrize("absurd", [1e9, -1e9, 1e30])
def test_an_absurd_value_moves_nothing(absurd):
    values = np.concatenate([NOISE, [[absurd]]])
    for one, other in zip(robust_center(values), robust_center(NOISE), strict=True):
        np.testing.assert_allclose(one, other)


def test_an_absurd_value_moves_nothing_where_most_values_are_the_same():
    values = np.where(np.arange(1000) % 20 == 0, 1.0, 0.0)[:, None]
    with_one = np.concatenate([values, [[1e9]]])
    for one, other in zip(robust_center(with_one), robust_center(values), strict=True):
        np.testing.assert_allclose(one, other)
    assert robust_center(values)[1][0] == pytest.approx(values.std())


def test_heavy_tails_count():
    values = RNG.standard_t(3, (1000, 1))
    np.testing.assert_allclose(robust_center(values)[1], values.std(axis=0))


@pytest.mark.parametrize("value", [0.0, 0.1, 0.3, 1 / 3, -7.0, 1e12, 1e9 / 7, 1e-12])
@pytest.mark.parametrize("rows", [1, 2, 400, 1000, 1001])
def test_a_constant_has_the_unit_1(rows, value):
    center, scale = robust_center(np.full((rows, 1), value))
    assert center[0] == pytest.approx(value)
    assert scale.tolist() == [1]


@pytest.mark.parametrize("size", [1e-12, 1e-9, 1e12])
def test_sizes_do_not_matter(size):
    center, scale = robust_center(size * NOISE)
    expected = robust_center(NOISE)
    np.testing.assert_allclose((center, scale), (size * expected[0], size * expected[1]))


def test_a_channel_without_a_value_is_left_as_it_is():
    assert [part.tolist() for part in robust_center(np.full((5, 1), np.nan))] == [[0], [1]]


def holey():
    values = RNG.normal(size=(60, 3))
    values[RNG.random(values.shape) < 0.3] = np.nan
    values[:4, 0] = values[-5:, 1] = values[:, 2] = np.nan
    return values


def test_gaps_are_filled_as_pandas_does():
    values = holey()
    before = values.copy()
    np.testing.assert_allclose(gaps_filled(values, past=True), pd.DataFrame(values).ffill().fillna(0))
    lines = pd.DataFrame(values).interpolate(limit_direction="both").fillna(0)
    np.testing.assert_allclose(gaps_filled(values, past=False), lines, atol=1e-12)
    np.testing.assert_array_equal(values, before)


def test_what_fills_a_gap_from_the_past_does_not_know_the_future():
    values = holey()
    whole = gaps_filled(values, past=True)
    for row in (1, 10, 37):
        np.testing.assert_array_equal(gaps_filled(values[:row], past=True), whole[:row])


def test_without_gaps_nothing_is_copied():
    assert gaps_filled(NOISE, past=True) is NOISE
    assert gaps_filled(NOISE, past=False) is NOISE
