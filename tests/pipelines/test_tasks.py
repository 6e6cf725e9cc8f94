"""What the classifier mixin makes of scores: temperature, thresholds, decisions."""

import numpy as np
import pytest
from scipy.special import softmax

from pipelines.tasks.classification import best_temperature


def drawn(n, k, scale, seed=0):
    """Scores, and labels drawn from the probabilities the scores stand for at temperature `scale`."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, k)) * 3
    proba = softmax(scores / scale, axis=1)
    return scores, np.array([rng.choice(k, p=row) for row in proba])


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_temperature_is_found_from_many_samples(scale):
    scores, y = drawn(5000, 4, scale)
    loss, temperature = best_temperature(scores, y, np.ones(4))
    assert temperature == pytest.approx(scale, rel=0.1)
    assert loss == pytest.approx(-np.log(softmax(scores / temperature, axis=1)[np.arange(5000), y]).mean())


def test_a_few_right_answers_do_not_make_certainty():
    scores, y = np.eye(3)[np.arange(30) % 3] * 4.0, np.arange(30) % 3
    _, temperature = best_temperature(scores, y, np.ones(3))
    assert 0.4 < temperature < 1


def test_temperature_of_several_labels():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(4000, 2)) * 4
    y = (rng.random((4000, 2)) < 1 / (1 + np.exp(-scores / 2))).astype(np.float32)
    assert best_temperature(scores, y, np.ones(2))[1] == pytest.approx(2, rel=0.1)


def test_class_weights_count():
    scores, y = drawn(500, 2, 1.0)
    even, heavy = (best_temperature(scores, y, np.array(weights))[0] for weights in ([1.0, 1.0], [1.0, 9.0]))
    assert even != pytest.approx(heavy, rel=1e-3)
