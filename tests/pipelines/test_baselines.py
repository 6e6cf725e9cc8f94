"""The logistic regression beside every network: scikit-learn's figures as plain arrays, whatever the labels."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from pipelines.baselines import fit_linear, linear_scores


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(60, 3))


@pytest.mark.parametrize("k", [2, 3, 5])
def test_probabilities_are_scikit_learns(features, k):
    y = np.arange(60) % k
    features[np.arange(60), y % 3] += 2.0
    expected = LogisticRegression(max_iter=100).fit(features, y).predict_proba(features)
    scores = linear_scores(features, *fit_linear(features, y, k))
    np.testing.assert_allclose(softmax(scores, axis=1), expected, atol=1e-5)


def test_several_labels_get_a_regression_each(features):
    y = (features[:, :2] > 0).astype(np.float32)
    scores = linear_scores(features, *fit_linear(features, y, 2))
    for j in range(2):
        expected = LogisticRegression(max_iter=100).fit(features, y[:, j]).predict_proba(features)[:, 1]
        np.testing.assert_allclose(expit(scores[:, j]), expected, atol=1e-5)


def test_labels_that_never_vary_are_certain(features):
    y = np.stack([np.ones(60), np.zeros(60), (features[:, 0] > 0)], axis=1).astype(np.float32)
    proba = expit(linear_scores(features, *fit_linear(features, y, 3)))
    assert (proba[:, 0] > 0.999).all()
    assert (proba[:, 1] < 0.001).all()


def test_class_that_does_not_occur_is_never_chosen(features):
    y = np.where(features[:, 0] > 0, 3, 1)
    proba = softmax(linear_scores(features, *fit_linear(features, y, 5)), axis=1)
    assert set(proba.argmax(axis=1)) == {1, 3}
    assert proba[:, [0, 2, 4]].max() < 1e-6


def test_one_class_alone_is_always_chosen(features):
    scores = linear_scores(features, *fit_linear(features, np.full(60, 2), 3))
    assert (scores.argmax(axis=1) == 2).all()


def test_no_warning_when_it_stops_early():
    rng = np.random.default_rng(0)
    fit_linear(rng.normal(size=(50, 200)) * 1e4, np.arange(50) % 2, 2)  # warnings are errors in this suite
