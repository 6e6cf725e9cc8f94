"""Losses that several pipelines on PyTorch share."""

from typing import Any

import numpy as np

from . import load_framework

torch: Any = load_framework("torch")

__all__ = ["ClassWeightedLoss"]


class ClassWeightedLoss:
    """Cross-entropy of scores (logits), each class (multi-label: each present label) counting by its weight.

    Parameters
    ----------
    weights : ndarray, (k,)
        One a class.
    multilabel : bool
        Each label is a question of its own.

    Examples
    --------
    >>> loss = ClassWeightedLoss(np.array([1.0, 3.0]), multilabel=False)
    >>> round(float(loss(torch.zeros(2, 2), torch.tensor([0, 1]))), 4)  # 0.6931 and three times as much, on average
    1.3863
    """

    def __init__(self, weights: np.ndarray, multilabel: bool) -> None:
        self.weights = torch.tensor(np.asarray(weights), dtype=torch.float32, device="cpu")
        self.multilabel = multilabel

    def __call__(self, scores: Any, y: Any) -> Any:
        """Return the mean over the samples."""
        return self.each(scores, y).mean()

    def each(self, scores: Any, y: Any) -> Any:
        """Return each sample's loss, from scores (n, k) and codes (n,), or whether each label is present (n, k)."""
        scores, weights = scores.float(), self.weights.to(scores.device)
        if self.multilabel:
            losses = torch.nn.functional.binary_cross_entropy_with_logits(scores, y, reduction="none")
            return (losses * (1 + y * (weights - 1))).mean(1)
        return torch.nn.functional.cross_entropy(scores, y, reduction="none") * weights[y]
