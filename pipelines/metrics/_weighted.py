"""The classification metrics for many sample weightings at once.

Bootstrap resamples and groups are both sample weights (how often a sample was drawn; whether it belongs to the group),
so one vectorised form of each metric serves both. With all weights one, every value equals scikit-learn's; with whole
numbers as weights it equals scikit-learn's on the samples repeated that often. Both are tested.
"""

import numpy as np
from scipy.sparse import csr_array

from pipelines.metrics._answers import Answers
from pipelines.metrics._curves import BINS, bin_numbers, confidences
from pipelines.metrics._selective import Selection

__all__ = ["Ranking", "WeightedScores"]


class WeightedScores:
    """The metrics of one set of answers as a function of sample weights.

    Parameters
    ----------
    answers : Answers
        Truth, probabilities and decisions; what does not depend on the weights is computed here, once.

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> weighted = WeightedScores(check_answers([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], None, None))
    >>> weighted(np.array([[1, 1], [1, 1], [1, 0], [1, 1]]))["accuracy"]
    array([0.75, 1.  ])
    """

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._losses = _losses(answers)
        self._gaps = _gaps(answers)
        columns = [1] if answers.binary else range(len(answers.classes))
        self._selection = None if answers.multilabel else Selection(answers)
        self._rankings = [Ranking(answers.truth[:, j], answers.proba[:, j]) for j in columns]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Values ``(b,)`` of every metric for weights ``(n, b)``, one column a weighting."""
        weights = np.ascontiguousarray(weights, dtype=float)
        total = weights.sum(axis=0)
        found = {name: loss @ weights / total for name, loss in self._losses.items()}
        found |= self._counted(weights, total)
        found["ece"] = np.abs(self._gaps @ weights).sum(axis=0) / total
        if self._selection:
            found["aurc"] = self._selection.area(weights)
        areas = [ranking.areas(weights) for ranking in self._rankings]
        found["roc_auc"], found["pr_auc"] = (_defined_mean(np.array(column)) for column in zip(*areas, strict=True))
        return found

    def _counted(self, weights: np.ndarray, total: np.ndarray) -> dict[str, np.ndarray]:
        answers = self._answers
        true, said = answers.truth.T.astype(float) @ weights, answers.decided.T.astype(float) @ weights
        hits = (answers.truth & answers.decided).T.astype(float) @ weights
        three = {"precision": _ratio(hits, said), "recall": _ratio(hits, true), "f1": _ratio(2 * hits, true + said)}
        # scikit-learn's macro average: every label of an indicator, but only the classes that occur otherwise.
        occurs = np.ones_like(true) if answers.multilabel else (true + said > 0).astype(float)
        found = {f"{name}_macro": _ratio((values * occurs).sum(0), occurs.sum(0)) for name, values in three.items()}
        found |= {f"{name}_weighted": _ratio((values * true).sum(0), true.sum(0)) for name, values in three.items()}
        if answers.binary:
            found |= {name: values[1] for name, values in three.items()}
        if answers.multilabel:
            return found | {"f1_micro": _ratio(2 * hits.sum(0), (true + said).sum(0))}
        found["balanced_accuracy"] = _ratio(three["recall"].sum(0), (true > 0).sum(0))
        return found | {"mcc": _matthews(hits, true, said, total)}


class Ranking:
    """One class against the rest, sorted once by falling score, with tied scores as one step.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Whether each sample is of the class.
    score : ndarray, shape (n,)
        Larger speaks for the class.

    Examples
    --------
    >>> ranking = Ranking(np.array([False, True, True]), np.array([0.2, 0.9, 0.1]))
    >>> [value.tolist() for value in ranking.areas(np.ones((3, 1)))]
    [[0.5], [0.8333333333333333]]
    """

    def __init__(self, truth: np.ndarray, score: np.ndarray) -> None:
        self._order = np.argsort(-score, kind="stable")
        self._truth = truth[self._order]
        starts = np.flatnonzero(np.append(True, np.diff(score[self._order]) != 0))
        step = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(score))))
        # Only steps with a positive sample change the areas, so the rest is never touched again.
        kept, self._first = np.unique(step[self._truth], return_index=True)
        self._start, self._end = starts[kept], np.append(starts, len(score))[kept + 1]

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ROC-AUC and average precision ``(b,)``; ``nan`` where a weighting leaves a side empty."""
        if not len(self._first):
            return np.full(weights.shape[1], np.nan), np.full(weights.shape[1], np.nan)
        sorted_weights = weights[self._order]
        hits = np.add.reduceat(sorted_weights[self._truth], self._first, axis=0)
        taken = np.zeros((len(sorted_weights) + 1, weights.shape[1]))
        np.cumsum(sorted_weights, axis=0, out=taken[1:])
        hits_after = np.cumsum(hits, axis=0)
        positive = hits_after[-1]
        negative = taken[-1] - positive
        false_after, false_before = taken[self._end] - hits_after, taken[self._start] - hits_after + hits
        above = (hits * (negative - (false_after + false_before) / 2)).sum(axis=0)
        precision = (hits * _ratio(hits_after, taken[self._end])).sum(axis=0)
        return _ratio(above, positive * negative, np.nan), _ratio(precision, positive, np.nan)


def _losses(answers: Answers) -> dict[str, np.ndarray]:
    truth, proba = answers.truth, answers.proba.astype(float)
    eps = np.finfo(answers.proba.dtype).eps  # the clipping of scikit-learn's log_loss
    log = np.log(np.clip(np.where(truth, proba, 1 - proba), eps, 1 - eps))
    squared = (truth - proba) ** 2
    right = (truth == answers.decided).all(axis=1).astype(float)
    if answers.multilabel:
        wrong = (truth != answers.decided).mean(axis=1)
        return {"accuracy": right, "hamming_loss": wrong, "log_loss": -log.mean(1), "brier": squared.mean(1)}
    halved = 0.5 if answers.binary else 1.0  # as in scikit-learn, the Brier score of two classes counts one of them
    return {"accuracy": right, "log_loss": -log[truth], "brier": squared.sum(axis=1) * halved}


def _gaps(answers: Answers) -> csr_array:
    """Matrix ``(bins, n)`` whose product with weights is each bin's gap between frequency and confidence."""
    confidence, right = confidences(answers)
    n, curves = confidence.shape
    bins = np.column_stack([bin_numbers(confidence[:, j]) + j * BINS for j in range(curves)])
    samples = np.repeat(np.arange(n), curves)
    gaps = ((right - confidence) / curves).ravel()
    return csr_array((gaps, (bins.ravel(), samples)), shape=(BINS * curves, n))


def _matthews(hits: np.ndarray, true: np.ndarray, said: np.ndarray, total: np.ndarray) -> np.ndarray:
    joint = hits.sum(axis=0) * total - (true * said).sum(axis=0)
    spread = (total**2 - (true**2).sum(axis=0)) * (total**2 - (said**2).sum(axis=0))
    return _ratio(joint, np.sqrt(np.maximum(spread, 0)))


def _ratio(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise, dtype=float), where=whole > 0)


def _defined_mean(values: np.ndarray) -> np.ndarray:
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0).sum(axis=0), defined.sum(axis=0), np.nan)
