"""Volume under the surface: equal to TSB-AD's package, and right for weights."""

import time

import numpy as np
import pytest

from pipelines.metrics._vus import Volume


def labelled(n, events):
    truth = np.zeros(n, dtype=bool)
    for start, stop in events:
        truth[start:stop] = True
    return truth


def scattered(n):
    """Scores that look random and are the same everywhere."""
    return (np.arange(n) * 7919 % 1013) / 1013


SEVERAL = labelled(600, [(50, 70), (200, 203), (210, 240), (500, 560)])
START, END = labelled(400, [(0, 15), (300, 310)]), labelled(400, [(120, 121), (380, 400)])
DENSE = np.arange(300) % 9 < 2
SERIES = {
    "several": (SEVERAL, scattered(600) + 0.4 * SEVERAL),
    "random": (SEVERAL, scattered(600)),
    "late": (SEVERAL, scattered(600) + 0.8 * np.roll(SEVERAL, 12)),
    "start": (START, scattered(400) + 0.4 * START),
    "end": (END, scattered(400) + 0.4 * END),
    "ties": (SEVERAL, np.round(scattered(600) + 0.4 * SEVERAL, 1)),
    "constant": (SEVERAL, np.zeros(600)),
    "dense": (DENSE, scattered(300) + 0.2 * DENSE),
    "short": (labelled(40, [(10, 13)]), scattered(40)),
}
# VUS-ROC and VUS-PR by TSB_AD 1.5 from PyPI, for each series and window:
#   generate_curve(truth.astype(int), score, window, version="opt", thre=250)[-2:]   of TSB_AD.evaluation.basic_metrics
EXPECTED = {
    ("several", 1): (0.798325, 0.574547),
    ("several", 2): (0.804079, 0.582229),
    ("several", 37): (0.863295, 0.681035),
    ("several", 100): (0.910195, 0.764542),
    ("random", 1): (0.455128, 0.182640),
    ("random", 100): (0.754621, 0.412519),
    ("late", 1): (0.691147, 0.458669),
    ("late", 100): (0.950132, 0.863313),
    ("start", 1): (0.824000, 0.538850),
    ("start", 100): (0.928377, 0.656708),
    ("end", 1): (0.631738, 0.263087),
    ("end", 100): (0.922564, 0.594248),
    ("ties", 1): (0.802034, 0.545172),
    ("ties", 100): (0.910492, 0.732764),
    ("constant", 1): (0.500000, 0.188333),
    ("constant", 100): (0.585213, 0.413094),
    ("dense", 1): (0.589997, 0.374780),
    ("dense", 100): (0.984321, 0.968853),
    ("short", 1): (0.666667, 0.437710),
    ("short", 20): (0.866511, 0.569401),
}


@pytest.mark.parametrize(("name", "window"), EXPECTED)
def test_equal_to_the_package_of_tsb_ad(name, window):
    truth, score = SERIES[name]
    found = np.concatenate(Volume(truth, score, window)(np.ones((len(truth), 1))))
    assert found == pytest.approx(EXPECTED[name, window], abs=1e-6)


def test_a_perfect_score_is_one_and_a_reversed_one_is_far_from_it():
    for score, low, high in ((SEVERAL.astype(float), 0.99, 1), (-SEVERAL.astype(float), 0, 0.3)):
        roc, pr = Volume(SEVERAL, score, 1)(np.ones((600, 1)))
        assert low <= roc[0] <= high
        assert low <= pr[0] <= high


def test_only_the_ratios_of_weights_matter():
    truth, score = SERIES["several"]
    weights = np.random.default_rng(0).integers(0, 3, (600, 4)).astype(float)
    volume = Volume(truth, score, 37)
    assert np.stack(volume(2 * weights)) == pytest.approx(np.stack(volume(weights)))


def test_a_point_without_weight_is_not_there():
    truth, score = SERIES["ties"]  # so few different scores that the thresholds are all of them, with either length
    alone = np.concatenate(Volume(truth, score, 20)(np.ones((600, 1))))
    twice = Volume(np.tile(truth, 2), np.concatenate([score, score[::-1]]), 20)
    weights = np.repeat([[1.0, 1.0], [0.0, 1.0]], 600, axis=0)
    roc, pr = twice(weights)
    assert (roc[0], pr[0]) == pytest.approx(tuple(alone))
    assert abs(pr[1] - pr[0]) > 0.01


def test_weightings_are_computed_one_by_one_or_together():
    truth, score = SERIES["several"]
    weights = np.random.default_rng(0).integers(0, 3, (600, 300)).astype(float)
    volume = Volume(truth, score, 37)
    together = np.stack(volume(weights))
    single = np.concatenate([volume(weights[:, i : i + 1]) for i in range(300)], axis=1)
    assert together == pytest.approx(single)


def test_a_weighting_with_points_of_one_kind_alone_is_undefined():
    truth, score = SERIES["several"]
    roc, pr = Volume(truth, score, 10)(np.column_stack([truth, ~truth]))
    assert np.isnan([roc, pr]).all()


@pytest.mark.slow
def test_a_long_series_takes_about_a_second():
    truth = labelled(100_000, [(start, start + 150) for start in range(500, 100_000, 1000)])
    started = time.perf_counter()
    Volume(truth, np.random.default_rng(0).random(100_000), 100)(np.ones((100_000, 1)))
    assert time.perf_counter() - started < 5
