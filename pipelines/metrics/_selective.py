"""What becomes of the mistakes when the least sure answers are withheld, for many sample weightings at once."""

from collections.abc import Hashable, Mapping

import numpy as np
import pandas as pd

from pipelines.metrics._answers import Answers

__all__ = ["MEASURES", "Selection", "Withheld", "sureness"]

MEASURES = ("answered", "wrong")
_POINTS = 200  # of the curve


def sureness(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each decision, and whether it was wrong, both ``(n,)``; not for multi-label."""
    chosen = answers.decided.argmax(axis=1)
    rows = np.arange(answers.n)
    return answers.proba[rows, chosen].astype(float), ~answers.truth[rows, chosen]


class Selection:
    """Risk and coverage [1]_: the share of wrong answers among the surest ones, against how many those are.

    Parameters
    ----------
    answers : Answers
        Of one label a sample; what does not depend on the weights is computed here, once.

    References
    ----------
    .. [1] Y. Geifman, G. Uziel, R. El-Yaniv, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers", ICLR 2019,
       arXiv:1805.08206

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> selection = Selection(check_answers([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], None, None))
    >>> selection.area(np.ones((4, 1)))  # the least sure of four answers is wrong: (0 + 0 + 0 + 1/4) / 4
    array([0.0625])
    """

    def __init__(self, answers: Answers) -> None:
        sure, wrong = sureness(answers)
        self._order = np.argsort(-sure, kind="stable")
        self._sure, self._wrong = sure[self._order], wrong[self._order].astype(float)
        self._ends = np.flatnonzero(np.append(np.diff(self._sure) != 0, True))  # equally sure answers come together

    def area(self, weights: np.ndarray) -> np.ndarray:
        """Mean share of wrong answers ``(b,)`` over all coverages, for weights ``(n, b)``; smaller is better."""
        taken, risk = self._accumulated(weights)
        mass = np.diff(taken, axis=0, prepend=0)
        return (risk * mass).sum(axis=0) / taken[-1]

    def curve(self) -> pd.DataFrame:
        """Share answered and share wrong, from the surest answer to all of them."""
        taken, risk = self._accumulated(np.ones((len(self._sure), 1)))
        keep = np.unique(np.linspace(0, len(taken) - 1, min(len(taken), _POINTS)).round().astype(int))
        limits = self._sure[self._ends]
        return pd.DataFrame({"answered": taken[keep, 0] / taken[-1, 0], "wrong": risk[keep, 0], "threshold": limits[keep]})

    def _accumulated(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ordered = weights[self._order]
        taken = np.cumsum(ordered, axis=0)[self._ends]
        wrong = np.cumsum(ordered * self._wrong[:, None], axis=0)[self._ends]
        return taken, np.divide(wrong, taken, out=np.zeros_like(wrong), where=taken > 0)


class Withheld:
    """How many are answered, and how many of these wrongly, above some limits of confidence, see `OperatingPoints`.

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> found = Withheld(check_answers([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], None, None), {"sure": 0.7})(np.ones((4, 1)))
    >>> {measure: float(value[0]) for (_, measure), value in found.items()}
    {'answered': 0.75, 'wrong': 0.0}
    """

    def __init__(self, answers: Answers, limits: Mapping[str, float]) -> None:
        self.n = answers.n
        sure, self._wrong = sureness(answers)
        self._given = {name: sure > limit for name, limit in limits.items()}
        self.rows = [(name, limit, measure) for name, limit in limits.items() for measure in MEASURES]

    def __call__(self, weights: np.ndarray) -> dict[Hashable, np.ndarray]:
        """Values ``(b,)`` by name and measure for weights ``(n, b)``; ``nan`` where nothing is answered."""
        found: dict[Hashable, np.ndarray] = {}
        for name, given in self._given.items():
            answered, wrong = (each.astype(float) @ weights for each in (given, given & self._wrong))
            found[name, "answered"] = answered / weights.sum(axis=0)
            found[name, "wrong"] = np.divide(wrong, answered, out=np.full(len(answered), np.nan), where=answered > 0)
        return found
