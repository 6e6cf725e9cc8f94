"""The simple forecasts beside loops and scikit-learn, the season that is found, and what is learned of one that is not there."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge

from timeseries import baselines
from timeseries.baselines import all_of, find_period, fit_linear_map, naive_error, spread
from timeseries.windows import Windows

RNG = np.random.default_rng(0)
NOISE = RNG.normal(size=(400, 1))


def season(period, rows=400, noise=0.1, seed=0):
    shape = np.random.default_rng(seed).normal(size=period)
    return np.tile(shape, rows // period + 1)[:rows, None] + noise * np.random.default_rng(seed + 1).normal(size=(rows, 1))


# --- simple forecasts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 3, 5, 14])
@pytest.mark.parametrize("period", [2, 5, 10])
def test_baselines_are_those_of_a_loop(horizon, period):
    contexts = RNG.normal(size=(4, 3, 10))
    linear = RNG.normal(size=(10, horizon))
    found = all_of(contexts, horizon, period, linear)
    assert set(found) == {"last value", "drift", f"seasonal naive ({period})", "linear map"}
    for i in range(4):
        for c in range(3):
            context = contexts[i, c]
            for step in range(horizon):
                slope = (context[-1] - context[0]) / 9
                assert found["last value"][i, c, step] == context[-1]
                assert found["drift"][i, c, step] == pytest.approx(context[-1] + slope * (step + 1))
                assert found[f"seasonal naive ({period})"][i, c, step] == context[10 - period + step % period]
                assert found["linear map"][i, c, step] == pytest.approx(context @ linear[:, step])


@pytest.mark.parametrize("period", [1, 11])
def test_a_season_that_is_none_or_longer_than_the_context_has_no_forecast(period):
    found = all_of(np.zeros((1, 1, 10)), 2, period, np.zeros((10, 2)))
    assert list(found) == ["last value", "drift", "linear map"]


def test_drift_of_a_single_row_stands_still():
    assert baselines.drift(np.array([[[3.0]]]), 2).tolist() == [[[3, 3]]]


# --- the linear map ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [1e-3, 0.1, 10.0])
def test_linear_map_is_scikit_learns_ridge(penalty):
    X = np.concatenate([season(7), NOISE.cumsum(axis=0)], axis=1)
    windows = Windows([X], 12, 3, scale=np.array([[2.0, 5.0]]))
    x, y = windows.normalised(np.arange(len(windows)))
    x, y = x.reshape(-1, 12).astype(float), y.reshape(-1, 3).astype(float)
    alpha = penalty * np.square(x).sum() / 12
    expected = Ridge(alpha, fit_intercept=False).fit(x, y).coef_.T
    coef, used = fit_linear_map(windows, seed=0, penalty=penalty)
    assert used == penalty
    np.testing.assert_allclose(coef, expected, rtol=1e-5, atol=1e-8)


def test_penalty_is_small_where_there_is_a_law_and_large_where_there_is_none():
    law, _ = fit_linear_map(Windows([season(7, noise=0.0)], 14, 3), 0)
    assert fit_linear_map(Windows([season(7, noise=0.01)], 14, 3), 0)[1] <= 1e-3
    walk = Windows([np.random.default_rng(3).normal(size=(60, 1)).cumsum(axis=0)], 20, 1)
    coef, penalty = fit_linear_map(walk, 0)
    assert penalty >= 10
    assert np.abs(coef).max() < 0.05  # next to the last value
    context = season(7, noise=0.0)[:14].T[None]
    said = (context - context[..., -1:]) @ law + context[..., -1:]
    np.testing.assert_allclose(said[0, 0], season(7, noise=0.0)[14:17, 0], atol=0.02)


def test_linear_map_leaves_out_windows_with_gaps_in_their_truth():
    X = season(7)
    holey = X.copy()
    holey[390:] = np.nan
    whole, _ = fit_linear_map(Windows([X[:390]], 14, 3), 0, penalty=0.1)
    cut, _ = fit_linear_map(Windows([holey], 14, 3), 0, penalty=0.1)
    np.testing.assert_allclose(cut, whole, atol=1e-10)


@pytest.mark.parametrize("X", [np.zeros((50, 1)), np.full((50, 2), 7.0), np.full((50, 1), np.nan), np.zeros((6, 1))])
def test_linear_map_of_nothing_is_the_last_value(X):
    coef, _ = fit_linear_map(Windows([X], 4, 2), 0)
    assert coef.shape == (4, 2)
    assert not coef.any()


def test_linear_map_of_a_single_row_of_context_is_the_last_value():
    assert fit_linear_map(Windows([NOISE], 1, 2), 0)[0].tolist() == [[0, 0]]


def test_linear_map_draws_from_many_windows_by_the_seed(monkeypatch):
    monkeypatch.setattr(baselines, "_MOST_SEQUENCES", 100)
    windows = Windows([season(7)], 14, 3)
    one, again, other = (fit_linear_map(windows, seed, 0.1)[0] for seed in (0, 0, 1))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one, other, atol=0.2)


def test_series_of_every_size_count_alike():
    X = season(7)
    alone, _ = fit_linear_map(Windows([X], 14, 3, period=7), 0, penalty=0.1)
    several, _ = fit_linear_map(Windows([X, 1e9 * X, X * 1e-9 + 5e-9], 14, 3, period=7), 0, penalty=0.1)
    np.testing.assert_allclose(several, alone, atol=1e-4)


# --- the season ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trend", [0.0, 0.05, -3.0])
@pytest.mark.parametrize("period", [2, 5, 7, 12, 24, 52])
def test_season_is_found_in_noise_and_beside_a_trend(period, trend):
    X = season(period, noise=0.2) + trend * np.arange(400)[:, None]
    assert find_period([X]) == period
    assert find_period([1e9 * X, X[:250]]) == period


def test_few_walks_seem_to_have_a_season():
    walks = np.random.default_rng(0).normal(size=(60, 400)).cumsum(axis=1)
    assert np.mean([find_period([walk[:, None]]) > 1 for walk in walks]) < 0.3


@pytest.mark.parametrize(
    "values",
    [
        [np.zeros((100, 1))],
        [np.full((100, 2), 0.1)],
        [np.arange(100.0)[:, None]],
        [np.full((100, 1), np.nan)],
        [np.zeros((1, 1))],
        [np.zeros((0, 1))],
        [np.zeros((5, 1))],
        [np.zeros((8, 1)), np.zeros((1, 1)), np.zeros((0, 1))],
        [np.array([[1.0, 2.0, 1.0, 2.0, 1.0]]).T],
    ],
    ids=lambda values: str([one.shape for one in values]),
)
def test_what_does_not_come_again_has_no_season(values):
    assert find_period(values) == 1


def test_season_of_one_variable_or_some_series_is_enough():
    assert find_period([np.concatenate([season(7), np.zeros((400, 1))], axis=1)]) == 7
    assert find_period([season(7), np.zeros((1, 1)), season(7, seed=4)]) == 7


def test_season_is_found_with_gaps():
    X = season(7)
    X[RNG.random(400) < 0.2] = np.nan
    X[:30] = np.nan
    assert find_period([X]) == 7


def test_usual_periods_come_first_where_they_are_as_good():
    X = season(12, noise=0.05)
    assert find_period([X], usual=[24]) == 24
    assert find_period([X], usual=[7]) == 12


def test_looking_for_the_season_takes_a_part_of_very_many_series():
    looked = [season(7, rows=100) for _ in range(300)]
    assert find_period(looked) == 7


# --- spreads and errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_spread_is_pandas_standard_deviation(dtype):
    X = (RNG.normal(size=(300, 3)) * [1, 1e9, 1e-9] + [1e3, 0, 0]).astype(dtype)
    X[::3, 1] = np.nan
    expected = pd.DataFrame(X.astype(float)).std(ddof=0)
    np.testing.assert_allclose(spread(X), expected, rtol=1e-6)
    assert spread(np.full((5, 2), [np.nan, 4.0])).tolist() == [1, 1]


def test_spread_of_large_float32_numbers_is_exact():
    X = (1e7 + RNG.normal(size=(1000, 1))).astype(np.float32)
    assert spread(X)[0] == pytest.approx(X.astype(float).std(), rel=1e-6)
    assert np.isfinite(spread((RNG.normal(size=(1000, 1)) * 1e25).astype(np.float32))).all()


@pytest.mark.parametrize("period", [1, 3, 19])
def test_naive_error_is_numpys(period):
    X = RNG.normal(size=(20, 2))
    X[4, 1] = np.nan
    expected = np.nanmean(np.abs(X[period:] - X[:-period]), axis=0)
    np.testing.assert_allclose(naive_error(X, period), expected)


def test_naive_error_of_too_few_values_is_not_a_number():
    assert np.isnan(naive_error(NOISE[:5], 5)).all()
    assert np.isnan(naive_error(np.full((9, 1), np.nan), 1)).all()
    assert np.isnan(naive_error(np.array([[1.0], [np.nan], [2.0], [np.nan]]), 1)).all()
    assert naive_error(np.zeros((9, 1)), 1).tolist() == [0]
