"""The simple detectors beside scikit-learn's classes, and straightforward loops."""

import numpy as np
import pandas as pd
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import StandardScaler

from timeseries import simple_detectors
from timeseries.overlap import averaged, latest, smoothed, starts
from timeseries.simple_detectors import all_of

RNG = np.random.default_rng(0)
NAMES = ["PCA, two windows", "Sub-PCA", "isolation forest", "k-means", "moving z-score", "random score"]
WINDOW = 24


def wave(rows=400, columns=2):
    return np.sin(np.arange(rows)[:, None] / np.array([3, 5])[:columns]) + RNG.normal(0, 0.1, (rows, columns))


TRAIN, ASKED = wave(), wave(300)
ASKED[200:220] += 4


def cut(series, window):
    return np.lib.stride_tricks.sliding_window_view(series, window, axis=0).reshape(len(series) - window + 1, -1)


def spread_out(errors, window, rows, online):
    """Return a number a row from one a window, as every detector gets it."""
    first = starts(rows, window, max(1, window // 12), to_end=not online)
    if online:
        return latest(errors[first], first + window - 1, rows)
    return smoothed(averaged(errors[first], first, window, rows), 25)


def sub_pca(train, asked):
    scaler = StandardScaler().fit(train)
    peer = PCA(svd_solver="full").fit(scaler.transform(train))
    distance = np.linalg.norm(scaler.transform(asked)[:, None] - peer.components_[None], axis=2)
    return (distance / peer.explained_variance_ratio_).sum(axis=1)


def residual(train, asked):
    scaler = StandardScaler().fit(train)
    peer = PCA(0.9, svd_solver="full").fit(scaler.transform(train))
    asked = scaler.transform(asked)
    return ((asked - peer.inverse_transform(peer.transform(asked))) ** 2).mean(axis=1)


def k_means(train, asked):
    return KMeans(20, n_init=1, random_state=3).fit(train).transform(asked).min(axis=1)


def forest(train, asked):
    return -IsolationForest(n_estimators=100, random_state=3).fit(train).score_samples(asked)


PEERS = {"Sub-PCA": sub_pca, "k-means": k_means, "isolation forest": forest}


@pytest.fixture(scope="module", params=[False, True], ids=["offline", "online"])
def both(request):
    return request.param, *all_of([TRAIN], [ASKED, ASKED[:150]], WINDOW, online=request.param, seed=3)


@pytest.mark.parametrize("name", PEERS)
def test_detectors_of_one_window_are_those_of_scikit_learn(both, name):
    online, scores, _ = both
    train, asked = cut(TRAIN, WINDOW), cut(ASKED, WINDOW)
    expected, unit = (
        spread_out(PEERS[name](train, each), WINDOW, len(rows), online) for each, rows in ((asked, ASKED), (train, TRAIN))
    )
    np.testing.assert_allclose(scores[name][0], expected / np.nanquantile(unit, 0.99), rtol=1e-3)


def test_pca_of_two_windows_is_the_mean_of_two(both):
    online, scores, _ = both
    parts = []
    for window in (WINDOW, 100):
        train, asked = cut(TRAIN, window), cut(ASKED, window)
        unit = np.nanquantile(spread_out(residual(train, train), window, len(TRAIN), online), 0.99)
        parts.append(spread_out(residual(train, asked), window, len(ASKED), online) / unit)
    np.testing.assert_allclose(scores["PCA, two windows"][0], np.mean(parts, axis=0), rtol=1e-6)


def test_the_moving_z_score_is_that_of_a_loop(both):
    online, scores, _ = both
    expected = np.zeros(len(ASKED))
    for row in range(5, len(ASKED)):
        before = ASKED[max(0, row - 100) : row]
        expected[row] = (np.abs(ASKED[row] - before.mean(axis=0)) / np.maximum(before.std(axis=0, ddof=1), 1e-3)).mean()
    np.testing.assert_allclose(scores["moving z-score"][0], expected if online else smoothed(expected, 25), rtol=1e-6)


def test_every_detector_scores_every_series_and_has_the_highest_training_score_as_its_threshold(both):
    online, scores, thresholds = both
    assert sorted(scores) == sorted(thresholds) == NAMES
    for each in scores.values():
        assert [len(one) for one in each] == [300, 150]
    again, _ = all_of([TRAIN], [TRAIN], WINDOW, online=online, seed=3)
    for name in NAMES:
        highest = np.inf if name == "random score" else np.nanmax(again[name][0])
        assert thresholds[name] == pytest.approx(highest), name


def test_a_fault_is_found_by_all_but_chance(both):
    _, scores, thresholds = both
    for name, each in scores.items():
        assert (np.nanmax(each[0][200:240]) > thresholds[name]) == (name != "random score"), name


def test_where_online_the_future_moves_nothing():
    whole, _ = all_of([TRAIN], [ASKED], WINDOW, online=True, seed=0)
    start, _ = all_of([TRAIN], [ASKED[:190]], WINDOW, online=True, seed=0)
    for name in NAMES:
        np.testing.assert_allclose(start[name][0], whole[name][0][:190], rtol=1e-9, err_msg=name)


def test_one_seed_gives_one_result():
    one, again, other = (all_of([TRAIN], [ASKED], WINDOW, online=False, seed=seed)[0] for seed in (0, 0, 1))
    for name in NAMES:
        assert np.array_equal(one[name][0], again[name][0])
        alike = np.array_equal(one[name][0], other[name][0])
        assert alike == (name in ("moving z-score", "Sub-PCA", "PCA, two windows")), name


@pytest.mark.parametrize(
    ("training", "asked"),
    [
        ([np.zeros((60, 1))], [np.zeros((40, 1)), np.ones((5, 1))]),
        ([np.tile([[0.0], [1.0]], (40, 1))], [np.zeros((40, 1))]),
        ([wave(6, 1), wave(80, 1)], [wave(1, 1), wave(7, 1)]),
    ],
    ids=["constant", "two values", "short"],
)
@pytest.mark.parametrize("online", [False, True])
def test_series_at_rest_and_short_ones_are_scored(training, asked, online):
    scores, thresholds = all_of(training, asked, WINDOW, online=online, seed=0)
    for name in NAMES:
        assert [len(one) for one in scores[name]] == [len(one) for one in asked]
        assert not any(np.isinf(one).any() for one in scores[name])
        assert not np.isnan(thresholds[name])


def test_windows_of_many_values_are_fewer():
    few = simple_detectors._drawn([np.zeros((20_000, 1))], 100)
    many = simple_detectors._drawn([np.zeros((20_000, 60))], 100)
    assert 2500 < len(few) <= 5000
    assert 500 < len(many) <= 1000


def test_windows_are_taken_all_along():
    series = [np.arange(8000.0)[:, None], np.arange(3.0)[:, None], 1e5 + np.arange(3000.0)[:, None]]
    found = pd.Series(simple_detectors._drawn(series, 10)[:, 0])
    assert found.diff().iloc[1:].value_counts().index[0] == 3
    assert found.min() == 0
    assert found.max() > 1e5 + 2900
