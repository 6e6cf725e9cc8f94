"""Sensitivity, specificity and predictive values at chosen thresholds, for many sample weightings at once."""

from collections.abc import Hashable, Mapping

import numpy as np

from pipelines.metrics._answers import Answers

__all__ = ["MEASURES", "OperatingPoints"]

MEASURES = ("sensitivity", "specificity", "ppv", "npv")


class OperatingPoints:
    """What deciding by each of some thresholds comes to, as a function of sample weights, see `WeightedScores`.

    Parameters
    ----------
    answers : Answers
        Of two classes, the second of which is the positive one, or multi-label.
    thresholds : mapping of str to ndarray
        One a label, or a single one for two classes.

    Attributes
    ----------
    rows : list of (str, float, str)
        Name, threshold and measure; with several labels a name begins with that of its label.

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> points = OperatingPoints(check_answers([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.6], None, None), {"half": np.array([0.5])})
    >>> {measure: float(value[0]) for (name, measure), value in points(np.ones((4, 1))).items()}
    {'sensitivity': 0.5, 'specificity': 0.5, 'ppv': 0.5, 'npv': 0.5}
    """

    def __init__(self, answers: Answers, thresholds: Mapping[str, np.ndarray]) -> None:
        columns = range(len(answers.classes)) if answers.multilabel else [1]
        self.n = answers.n
        self._decided: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self.rows: list[tuple[str, float, str]] = []
        for at, j in enumerate(columns):
            for point, limits in thresholds.items():
                name = f"{answers.classes[j]}: {point}" if answers.multilabel else point
                self._decided[name] = (answers.truth[:, j], answers.proba[:, j] >= limits[at])
                self.rows += [(name, float(limits[at]), measure) for measure in MEASURES]

    def __call__(self, weights: np.ndarray) -> dict[Hashable, np.ndarray]:
        """Values ``(b,)`` by name and measure for weights ``(n, b)``; ``nan`` where there is nothing to divide by."""
        weights = np.asarray(weights, dtype=float)
        found: dict[Hashable, np.ndarray] = {}
        for name, (truth, said) in self._decided.items():
            hits, rejected = _sum(truth & said, weights), _sum(~truth & ~said, weights)
            wholes = (_sum(truth, weights), _sum(~truth, weights), _sum(said, weights), _sum(~said, weights))
            for measure, part, whole in zip(MEASURES, (hits, rejected, hits, rejected), wholes, strict=True):
                found[name, measure] = np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
        return found


def _sum(chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return chosen.astype(float) @ weights
