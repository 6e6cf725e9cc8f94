"""Losses that several pipelines share."""

import numpy as np
import pytest

from pipelines.engines import load_framework
from pipelines.engines.losses import ClassWeightedLoss

torch = load_framework("torch")

WEIGHTS = np.array([1.0, 2.0, 0.5])
SCORES, CODES = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])


def test_a_sample_counts_by_the_weight_of_its_class():
    expected = torch.nn.functional.cross_entropy(SCORES, CODES, torch.tensor(WEIGHTS, dtype=torch.float32), reduction="none")
    loss = ClassWeightedLoss(WEIGHTS, multilabel=False)
    assert loss.each(SCORES, CODES).numpy() == pytest.approx(expected.numpy(), rel=1e-5)
    assert float(loss(SCORES, CODES)) == pytest.approx(float(expected.mean()), rel=1e-5)


def test_weights_with_a_mean_of_one_leave_the_scale_as_it_is():
    each = torch.nn.functional.cross_entropy(SCORES, CODES, reduction="none")
    expected = (each * torch.tensor(WEIGHTS)[CODES]).mean() / WEIGHTS.mean()
    found = ClassWeightedLoss(WEIGHTS / WEIGHTS.mean(), multilabel=False)(SCORES, CODES)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_a_label_counts_by_its_weight_where_it_is_present():
    there = torch.nn.functional.one_hot(CODES, 3).float()
    weight = torch.where(there > 0, torch.tensor(WEIGHTS, dtype=torch.float32), torch.ones(3))
    expected = torch.nn.functional.binary_cross_entropy_with_logits(SCORES, there, weight=weight)
    assert float(ClassWeightedLoss(WEIGHTS, multilabel=True)(SCORES, there)) == pytest.approx(float(expected), rel=1e-5)
