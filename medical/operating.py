"""Operating points: thresholds for a wanted specificity, and the best sum of sensitivity and specificity, from validation data.

References
----------
.. [1] Youden (1950), "Index for rating diagnostic tests", Cancer 3(1).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["choose"]

_SPECIFICITIES = (0.80, 0.90, 0.95)
_FEW = 20  # negatives: with fewer, one of them decides whether a specificity of 0.95 is kept


def choose(proba: np.ndarray, y: np.ndarray, classes: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Choose the thresholds.

    Parameters
    ----------
    proba : ndarray, (n, k)
        Probabilities of the validation part.
    y : ndarray, (n,) or (n, k)
        Class codes 0 and 1, of which 1 is the positive one; or a 0/1 indicator.
    classes : sequence
        The names.

    Returns
    -------
    points : dict
        Name to threshold, or to a list of one a label; from which a probability counts as positive.
    notes : list of str
        Where samples were few, or of one kind only (then the thresholds of a label are 0.5, and two classes have none).

    Examples
    --------
    >>> proba = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])
    >>> points, notes = choose(np.stack([1 - proba, proba], axis=1), np.array([0] * 4 + [1] * 4), ["no", "yes"])
    >>> {name: round(threshold, 2) for name, threshold in points.items()}
    {'specificity 0.80': 0.65, 'specificity 0.90': 0.65, 'specificity 0.95': 0.65, 'Youden': 0.35}
    """
    if y.ndim == 1:
        found, note = _of_one(proba[:, 1], y == 1, f"{classes[1]}")
        return found, note
    each = [_of_one(proba[:, k], y[:, k] == 1, f"{name}") for k, name in enumerate(classes)]
    names = [*(f"specificity {wanted:.2f}" for wanted in _SPECIFICITIES), "Youden"]
    return {name: [found.get(name, 0.5) for found, _ in each] for name in names}, [note for _, notes in each for note in notes]


def _of_one(score: np.ndarray, truth: np.ndarray, name: str) -> tuple[dict[str, float], list[str]]:
    positive, negative = int(truth.sum()), int((~truth).sum())
    if not positive or not negative:
        return {}, [f"The validation part has no sample {'with' if not positive else 'without'} {name}: no operating points."]
    cuts = np.unique(score)
    cuts = np.concatenate([[0.0], (cuts[:-1] + cuts[1:]) / 2, [1.0]])  # midway between two scores, not on one
    sensitivity = 1 - np.searchsorted(np.sort(score[truth]), cuts) / positive
    specificity = np.searchsorted(np.sort(score[~truth]), cuts) / negative
    points: dict[str, float] = {}
    for wanted in _SPECIFICITIES:
        enough = specificity >= wanted
        points[f"specificity {wanted:.2f}"] = float(cuts[np.argmax(enough)]) if enough.any() else 1.0
    points["Youden"] = float(cuts[np.argmax(sensitivity + specificity)])
    few = [f"The operating points of {name} were chosen on {negative} validation samples without it: they are rough."]
    return points, few if negative < _FEW else []
