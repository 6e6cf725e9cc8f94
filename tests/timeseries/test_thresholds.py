"""The threshold comes from scores of normal data, and fewer alarms never need a lower one."""

import numpy as np
import pytest

from timeseries.thresholds import summary, threshold

RNG = np.random.default_rng(0)
OWN, HELD = np.sort(RNG.gamma(3, size=800)), np.sort(RNG.gamma(4, size=300))


def test_few_scores_are_kept_as_they_are_and_many_as_quantiles():
    assert summary(np.array([2.0, np.nan, -1.0, 5.0])).tolist() == [-1, 2, 5]
    assert summary(np.full(3, np.nan)).tolist() == []
    many = RNG.normal(size=50_000)
    kept = summary(many)
    assert len(kept) == 2000
    assert (kept[0], kept[-1]) == (many.min(), many.max())
    for share in (0.5, 0.9, 0.99, 0.999):
        assert np.quantile(kept, share) == pytest.approx(np.quantile(many, share), abs=0.02)


def test_more_alarms_need_a_lower_threshold():
    shares = [None, 1e-9, 1e-3, 0.01, 0.1, 0.5]
    found = [threshold(OWN, HELD, share) for share in shares]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_a_share_of_normal_rows_lies_above(share):
    assert (threshold(OWN, OWN, share) < OWN).mean() == pytest.approx(share, abs=2 / len(OWN))


def test_the_default_is_a_tenth_above_all_scores():
    assert threshold(OWN, OWN, None) == pytest.approx(1.1 * OWN[-1])
    assert threshold(OWN, HELD, None) == pytest.approx(1.1 * np.sqrt(OWN[-1] * HELD[-1]))


def test_it_lies_between_what_was_learned_from_and_what_was_held_out():
    for share in (1e-9, 0.05, 0.3):
        one, other = (np.quantile(scores, 1 - share) for scores in (OWN, HELD))
        assert min(one, other) < threshold(OWN, HELD, share) < max(one, other)


def test_without_a_held_out_part_the_training_part_stands_for_both():
    assert threshold(OWN, np.zeros(0), 0.1) == threshold(OWN, OWN, 0.1)
    assert threshold(np.zeros(5), np.zeros(0), None) == 0
