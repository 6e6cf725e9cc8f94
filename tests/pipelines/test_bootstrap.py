"""Bootstrap: single samples, and blocks of neighbours for samples that depend on each other."""

import math

import numpy as np
import pytest

from pipelines import bootstrap
from pipelines.bootstrap import affordable, block_length, intervals, resamples
from pipelines.errors import DataError, ParameterError


def drawn(n, count, seed=0, **options):
    return np.concatenate(list(resamples(n, count, seed, **options)), axis=1)


def autoregressive(n, rho, seed):
    rng = np.random.default_rng(seed)
    values = np.empty(n)
    values[0] = rng.normal() / math.sqrt(1 - rho**2)
    for i in range(1, n):
        values[i] = rho * values[i - 1] + rng.normal()
    return values


# --- blocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "block"), [(10, 1), (10, 5), (11, 4), (100, 7), (3, 2), (1, 1), (5, 9)])
def test_every_resample_has_n_samples(n, block):
    counts = drawn(n, 50, block=block)
    assert counts.shape == (n, 50)
    assert (counts.sum(axis=0) == n).all()
    assert (counts >= 0).all()


def test_blocks_are_neighbours_on_the_circle():
    counts = drawn(100, 200, block=20)
    for column in counts.T:
        # Five blocks of twenty: a start is where the count rises, and there are at most five.
        rises = np.maximum(column - np.roll(column, 1), 0).sum()
        assert rises <= 5
    assert any(column[0] and column[-1] for column in counts.T)  # some block goes on at the start


def test_first_and_last_samples_are_drawn_as_often_as_the_others():
    counts = drawn(30, 20_000, block=7)
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.04)


def test_the_variance_of_the_mean_of_a_dependent_series_is_right_with_blocks_only():
    n, rho = 2000, 0.8
    exact = 1 / (1 - rho) ** 2 / n  # of the mean of an AR(1) process with noise of variance one, for large n
    series = np.stack([autoregressive(n, rho, seed) for seed in range(20)])
    with_blocks = (series @ drawn(n, 400, block=60) / n).var(axis=1).mean()
    alone = (series @ drawn(n, 400) / n).var(axis=1).mean()
    assert 0.75 < with_blocks / exact < 1.15
    assert alone / exact < 0.2


def test_intervals_with_blocks_hold_the_true_mean_about_as_often_as_they_say():
    held = {1: 0, 50: 0}
    for seed in range(60):
        series = autoregressive(1000, 0.8, seed)
        for block in held:
            low, high = intervals(
                lambda w, x=series: {"mean": x @ w / w.sum(axis=0)}, 1000, n_bootstrap=200, seed=seed, block=block
            )["mean"]
            held[block] += low <= 0 <= high
    assert held[50] >= 51  # 85 %; the nominal 95 % needs longer series
    assert held[1] <= 36  # 60 %


def test_the_seed_decides_and_memory_does_not(monkeypatch):
    whole = drawn(50, 40, seed=3, block=6, groups=[i // 20 for i in range(50)])
    assert not np.array_equal(whole, drawn(50, 40, seed=4, block=6, groups=[i // 20 for i in range(50)]))
    monkeypatch.setattr(bootstrap, "_BLOCK", 350)
    np.testing.assert_array_equal(drawn(50, 40, seed=3, block=6, groups=[i // 20 for i in range(50)]), whole)


# --- groups -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shuffled", [False, True])
def test_no_block_crosses_from_one_group_to_the_next(shuffled):
    groups = np.repeat(np.arange(10), 12)
    if shuffled:
        groups = np.random.default_rng(0).permutation(groups)
    counts = drawn(120, 300, block=12, groups=groups)
    for group in range(10):
        # A block is as long as the group, so all of a group was drawn equally often, but for the cut of the last block.
        inside = counts[groups == group]
        np.testing.assert_array_equal(inside.min(axis=0), inside.max(axis=0))


def test_blocks_shorter_than_their_group_stay_inside():
    groups = np.repeat([0, 1, 2], [30, 30, 40])
    for column in drawn(100, 200, block=10, groups=groups).T:
        for group in range(3):
            part = column[groups == group]
            assert part.sum() % 10 == 0  # whole blocks only: none lost a piece to a neighbour
            assert np.maximum(part - np.roll(part, 1), 0).sum() <= part.sum() / 10


def test_samples_of_short_and_long_groups_are_drawn_equally_often():
    groups = np.repeat(np.arange(12), [2] * 5 + [5] * 5 + [40] * 2)
    counts = drawn(len(groups), 20_000, block=8, groups=groups)
    assert counts.sum(axis=0).mean() == pytest.approx(len(groups), rel=0.05)
    np.testing.assert_allclose(counts.mean(axis=1) / counts.mean(), 1, atol=0.06)


def test_groups_of_one_sample_are_the_bootstrap_of_single_samples():
    np.testing.assert_array_equal(drawn(40, 30, block=10, groups=np.arange(40)), drawn(40, 30))


def test_series_that_differ_give_a_wider_interval_than_windows_alone():
    level = np.repeat(np.random.default_rng(0).normal(size=20), 10)
    groups = np.repeat(np.arange(20), 10)
    by_series = (level @ drawn(200, 1000, block=10, groups=groups) / 200).std()
    by_window = (level @ drawn(200, 1000) / 200).std()
    assert by_series / by_window == pytest.approx(math.sqrt(10), rel=0.1)


# --- clusters ---------------------------------------------------------------------------------------------------------


def test_samples_of_a_cluster_are_drawn_together():
    clusters = np.random.default_rng(0).permutation(np.repeat([3, 5, 8, 20], [1, 2, 3, 4]))
    counts = drawn(10, 400, clusters=clusters)
    assert counts.shape == (10, 400)
    drawings = []
    for cluster in (3, 5, 8, 20):
        inside = counts[clusters == cluster]
        np.testing.assert_array_equal(inside.min(axis=0), inside.max(axis=0))
        drawings.append(inside[0])
    np.testing.assert_array_equal(np.sum(drawings, axis=0), 4)  # as many clusters as there are
    np.testing.assert_allclose(counts.mean(axis=1), 1, atol=0.15)


def test_clusters_of_one_sample_are_the_bootstrap_of_single_samples():
    np.testing.assert_array_equal(drawn(40, 30, clusters=np.arange(40)), drawn(40, 30))


def test_memory_does_not_change_what_is_drawn_from_clusters(monkeypatch):
    clusters = [i // 3 for i in range(50)]
    whole = drawn(50, 40, seed=3, clusters=clusters)
    monkeypatch.setattr(bootstrap, "_BLOCK", 350)
    np.testing.assert_array_equal(drawn(50, 40, seed=3, clusters=clusters), whole)


def test_intervals_over_patients_hold_the_true_mean_about_as_often_as_they_say():
    held = {True: 0, False: 0}
    clusters = np.repeat(np.arange(40), 5)
    for seed in range(100):
        rng = np.random.default_rng(1000 + seed)  # not the stream that the resamples come from
        values = rng.normal(size=40).repeat(5) + rng.normal(size=200) / 2  # scans of one patient resemble each other
        for clustered in held:
            low, high = intervals(
                lambda w, x=values: {"mean": x @ w / w.sum(axis=0)},
                200,
                n_bootstrap=200,
                seed=seed,
                clusters=clusters if clustered else None,
            )["mean"]
            held[clustered] += low <= 0 <= high
    assert held[True] >= 87
    assert held[False] <= 75


def test_one_cluster_alone_says_nothing_about_the_spread():
    found = intervals(lambda w: {"mean": np.arange(4) @ w / w.sum(axis=0)}, 4, n_bootstrap=20, clusters=[5, 5, 5, 5])
    assert np.isnan(found["mean"]).all()


def test_clusters_are_refused_where_they_make_no_sense():
    with pytest.raises(DataError, match="clusters has 3 entries, but there are 4 samples"):
        drawn(4, 2, clusters=[0, 1, 1])
    with pytest.raises(ParameterError, match="cannot be combined with block or groups"):
        drawn(4, 2, clusters=[0, 0, 1, 1], block=2)
    with pytest.raises(ParameterError, match="cannot be combined with block or groups"):
        drawn(4, 2, clusters=[0, 0, 1, 1], groups=[0, 0, 1, 1])


# --- lengths and numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "dependence", "expected"), [(2785, 96, 96), (1000, 1, 10), (100, 96, 50), (3, 24, 1), (1, 24, 1), (2161, 720, 720)]
)
def test_block_length(n, dependence, expected):
    assert block_length(n, dependence) == expected


def test_affordable_lowers_and_says_so():
    assert affordable(1000, 10, 100_000) == (1000, [])
    found, said = affordable(1000, 10, 2000)
    assert found == 200
    assert "200 resamples, not 1000" in said[0]
    assert affordable(1000, 10_000, 2000)[0] == 100
    assert affordable(7, 10_000, 2000) == (7, [])


@pytest.mark.parametrize("bad", [-1, 1.5, True, "many", None])
def test_affordable_refuses_what_is_no_number_of_resamples(bad):
    with pytest.raises(DataError, match="whole number of resamples, 0 or more"):
        affordable(bad, 10, 2000)


def test_intervals_of_nothing():
    assert intervals(lambda w: {"a": w.sum(axis=0)}, 5, n_bootstrap=0, block=2) == {}
    low, high = intervals(lambda w: {"a": np.full(w.shape[1], np.nan)}, 5, n_bootstrap=9, block=2)["a"]
    assert math.isnan(low)
    assert math.isnan(high)
