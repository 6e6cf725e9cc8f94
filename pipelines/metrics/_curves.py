"""ROC, precision-recall and reliability curves as tables, thinned so that a saved report stays small."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from pipelines.metrics._answers import Answers

__all__ = ["BINS", "MACRO", "bin_numbers", "confidences", "curves", "pr_curve", "reliability"]

BINS = 15  # equal-width bins of confidence, as in Guo et al. 2017
MACRO = "macro average"
_POINTS = 500  # of one curve
_ALL_POINTS = 10_000  # of the curves of all classes together


def curves(answers: Answers) -> dict[str, pd.DataFrame]:
    """Compute the three curves of a classifier; classes for which a curve is undefined have none.

    Parameters
    ----------
    answers : Answers
        Truth and probabilities.

    Returns
    -------
    dict of str to DataFrame
        ``"roc"`` (class, fpr, tpr, threshold), ``"pr"`` (class, recall, precision, threshold) and ``"reliability"``
        (class, confidence, frequency, count). With more than two classes the first two also hold the macro average.

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> found = curves(check_answers(["no", "yes", "yes"], [0.1, 0.9, 0.4], None, None))
    >>> found["roc"]["tpr"].tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    positives = answers.truth.sum(axis=0)
    columns = [1] if answers.binary else list(range(len(answers.classes)))
    ranked = [j for j in columns if 0 < positives[j] < answers.n]
    return {
        "roc": _curve(answers, ranked, _roc, ["fpr", "tpr"]),
        "pr": _curve(answers, [j for j in columns if positives[j]], _pr, ["recall", "precision"]),
        "reliability": reliability(answers),
    }


def reliability(answers: Answers) -> pd.DataFrame:
    """Stated confidence against observed frequency, in 15 equal-width bins; empty bins have no row.

    Single-label answers have one curve, ``"all"``, of the most probable class's confidence and how often it was
    right [1]_; multi-label answers have one curve a label.

    References
    ----------
    .. [1] C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, https://arxiv.org/abs/1706.04599
    """
    confidence, right = confidences(answers)
    names = list(answers.classes) if answers.multilabel else ["all"]
    parts = []
    for j, name in enumerate(names):
        frame = pd.DataFrame({"class": name, "confidence": confidence[:, j], "frequency": right[:, j].astype(float)})
        grouped = frame.groupby(bin_numbers(confidence[:, j]))
        parts.append(grouped.agg({"class": "first", "confidence": "mean", "frequency": "mean"}))
        parts[-1]["count"] = grouped.size()
    return pd.concat(parts, ignore_index=True)


def pr_curve(lines: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """Compute precision-recall curves of scores, one after the other.

    Parameters
    ----------
    lines : mapping of str to (ndarray of bool, ndarray)
        Name to truth and scores; each truth has a positive sample.

    Returns
    -------
    DataFrame
        Columns class (the name), recall, precision and threshold.

    Examples
    --------
    >>> pr_curve({"a": (np.array([False, True]), np.array([0.2, 0.9]))})["precision"].tolist()
    [0.5, 1.0, 1.0]
    """
    rows = [(name, *_thinned(_pr(truth, score), _POINTS)) for name, (truth, score) in lines.items()]
    return _frame(rows, ["recall", "precision"])


def confidences(answers: Answers) -> tuple[np.ndarray, np.ndarray]:
    """Return the stated probabilities and whether they came true, which calibration compares, each ``(n, curves)``."""
    if answers.multilabel:
        return answers.proba.astype(float), answers.truth
    top = answers.proba.argmax(axis=1)[:, None]
    return np.take_along_axis(answers.proba, top, 1).astype(float), np.take_along_axis(answers.truth, top, 1)


def bin_numbers(confidence: np.ndarray) -> np.ndarray:
    """Return the number of the bin of each confidence; a bin includes its upper edge."""
    return np.digitize(confidence, np.linspace(0, 1, BINS + 1)[1:-1], right=True)


def _roc(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, ...]:
    return roc_curve(truth, score)


def _pr(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, ...]:
    precision, recall, threshold = precision_recall_curve(truth, score, drop_intermediate=True)
    return recall, precision, np.append(threshold, np.inf)  # the last point (0, 1) is reached by no threshold


def _curve(answers: Answers, columns: list[int], compute: Callable, names: list[str]) -> pd.DataFrame:
    full = {answers.classes[j]: compute(answers.truth[:, j], answers.proba[:, j]) for j in columns}
    limit = min(_POINTS, max(20, _ALL_POINTS // max(1, len(full))))
    rows = [(name, *_thinned(points, limit)) for name, points in full.items()]
    if len(full) > 1:
        rows.append((MACRO, *_average(list(full.values()))))
    return _frame(rows, names)


def _frame(rows: list[tuple], names: list[str]) -> pd.DataFrame:
    frames = [pd.DataFrame({"class": row[0], names[0]: row[1], names[1]: row[2], "threshold": row[3]}) for row in rows]
    if not frames:
        return pd.DataFrame({name: pd.Series(dtype=float) for name in ["class", *names, "threshold"]})
    return pd.concat(frames, ignore_index=True)


def _thinned(points: tuple[np.ndarray, ...], limit: int) -> list[np.ndarray]:
    count = len(points[0])
    keep = np.unique(np.linspace(0, count - 1, min(count, limit)).round().astype(int))
    return [values[keep] for values in points]


def _average(curves: list[tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    grid = np.linspace(0, 1, 101)
    heights = []
    for x, y, _ in curves:
        best = pd.Series(y).groupby(x).max()  # a vertical piece of a curve counts with its upper end
        heights.append(np.interp(grid, best.index, best))
    return grid, np.mean(heights, axis=0), np.full(len(grid), np.nan)
