"""Shares of a mixture: none below zero, one in all, and as good as a search finds them."""

import itertools

import numpy as np
import pytest

from timeseries import blending
from timeseries.blending import blended, weights

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(size=(200, 2, 3))
LUCK = {"network": 1.0, "last value": 0.5, "drift": 1.0, "linear map": 1.0}


def error(forecasts, shares, truth=TRUTH):
    return np.nanmean(np.abs(blended(forecasts, shares) - truth))


def noisy(*sizes):
    return {f"m{i}": TRUTH + size * RNG.normal(size=TRUTH.shape) for i, size in enumerate(sizes)}


@pytest.mark.parametrize("sizes", [(1.0, 1.0), (0.5, 1.0), (1.0, 2.0, 4.0), (1.0, 1.0, 1.0)])
def test_no_other_shares_are_better(sizes):
    forecasts = noisy(*sizes)
    found = weights(forecasts, TRUTH, seed=0, independent=1e6)
    assert sum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= 0.01
    steps = np.linspace(0, 1, 21)
    grid = (one for one in itertools.product(steps, repeat=len(sizes)) if abs(sum(one) - 1) < 1e-9)
    best = min(error(forecasts, dict(zip(forecasts, shares, strict=True))) for shares in grid)
    assert error(forecasts, found) <= best + 0.002
    assert error(forecasts, found) <= min(error(forecasts, {name: 1.0}) for name in forecasts) + 1e-9


def test_what_is_exact_is_taken_alone():
    assert weights({"bad": TRUTH + 5, "exact": TRUTH, "worse": TRUTH * 9}, TRUTH, seed=0, independent=1e6) == {
        "exact": pytest.approx(1)
    }


def test_few_forecasts_hardly_move_the_shares_before():
    """One season in which a naive method happened to be best does not make the forecast."""
    noise = RNG.normal(size=TRUTH.shape)
    forecasts = {name: TRUTH + size * noise for name, size in LUCK.items()}
    few, many = (weights(forecasts, TRUTH, seed=0, independent=seen) for seen in (1, 1e6))
    assert many["last value"] > 0.8
    assert few["network"] + few["linear map"] > 0.8
    assert few["network"] == pytest.approx(few["linear map"], abs=0.1)


def test_methods_that_agree_keep_their_places():
    found = weights({"a": TRUTH, "b": TRUTH}, TRUTH, seed=0, independent=1e6)
    assert sum(found.values()) == pytest.approx(1)
    assert weights({"only": TRUTH + 1}, TRUTH, seed=0, independent=1e6) == {"only": 1.0}


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_shares_do_not_depend_on_the_unit(size):
    forecasts = noisy(0.5, 1.0, 9.0)
    one = weights(forecasts, TRUTH, seed=0, independent=1e6)
    other = weights({name: size * said for name, said in forecasts.items()}, size * TRUTH, seed=0, independent=1e6)
    assert error(forecasts, other) == pytest.approx(error(forecasts, one), rel=0.02)


def test_what_was_not_observed_does_not_count():
    forecasts = noisy(0.5, 1.0)
    holey = TRUTH.copy()
    holey[150:] = np.nan
    wild = {name: np.where(np.isnan(holey), 1e9 * RNG.normal(size=TRUTH.shape), said) for name, said in forecasts.items()}
    assert weights(wild, holey, seed=0, independent=1e6) == weights(forecasts, holey, seed=0, independent=1e6)


def test_shares_of_very_many_values_are_drawn_by_the_seed(monkeypatch):
    monkeypatch.setattr(blending, "_MOST_VALUES", 300)
    forecasts = noisy(0.9, 1.0)
    one, again, other = (weights(forecasts, TRUTH, seed, 1e6) for seed in (0, 0, 1))
    assert one == again != other


def test_mixture_is_the_weighted_sum():
    forecasts = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 6.0]), "c": np.array([np.nan, 0.0])}
    assert blended(forecasts, {"a": 0.25, "b": 0.75}).tolist() == [2.5, 5.0]
