"""Point values of the classification metrics; scikit-learn does the computing."""

import warnings

import numpy as np
import sklearn.metrics as sk

from pipelines.metrics._answers import Answers
from pipelines.metrics._curves import reliability
from pipelines.metrics._selective import Selection

__all__ = ["defined_mean", "per_class", "scores"]


def scores(answers: Answers) -> dict[str, float]:
    """Every metric of one set of answers, under its flat name.

    Parameters
    ----------
    answers : Answers
        Truth, probabilities and decisions.

    Returns
    -------
    dict of str to float
        Natural sign; ``nan`` where undefined.

    Examples
    --------
    >>> from pipelines.metrics._answers import check_answers
    >>> found = scores(check_answers([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], None, None))
    >>> found["accuracy"], found["recall"], found["roc_auc"]
    (0.75, 0.5, 1.0)
    """
    with warnings.catch_warnings():
        # What scikit-learn warns about here (absent classes, float32 rows that sum to 1.0000001) is said in the notes.
        warnings.simplefilter("ignore")
        found = _decision_scores(answers) | _ranking_scores(answers) | _probability_scores(answers)
    return {name: float(value) for name, value in found.items()}


def per_class(answers: Answers) -> dict[str, np.ndarray]:
    """Precision, recall, F1, ROC-AUC, PR-AUC and support of each class against the rest."""
    columns = range(len(answers.classes))
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        answers.y_true, answers.y_pred, labels=list(columns), average=None, zero_division=0
    )
    pairs = [(answers.truth[:, j], answers.proba[:, j]) for j in columns]
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "roc_auc": np.array([_roc_auc(*pair) for pair in pairs]),
        "pr_auc": np.array([_pr_auc(*pair) for pair in pairs]),
        "support": answers.truth.sum(axis=0),
    }


def defined_mean(values: np.ndarray) -> float:
    """Mean of the defined values, ``nan`` without a warning where there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _decision_scores(answers: Answers) -> dict[str, float]:
    y_true, y_pred = answers.y_true, answers.y_pred
    found = {"accuracy": sk.accuracy_score(y_true, y_pred)}
    if not answers.multilabel:
        found["balanced_accuracy"] = sk.balanced_accuracy_score(y_true, y_pred)
    for average in ("macro", "weighted"):
        three = sk.precision_recall_fscore_support(y_true, y_pred, average=average, zero_division=0)[:3]
        found |= dict(zip((f"precision_{average}", f"recall_{average}", f"f1_{average}"), three, strict=True))
    if answers.binary:
        three = sk.precision_recall_fscore_support(y_true, y_pred, average="binary", pos_label=1, zero_division=0)[:3]
        found |= dict(zip(("precision", "recall", "f1"), three, strict=True))
    if answers.multilabel:
        found["f1_micro"] = sk.f1_score(y_true, y_pred, average="micro", zero_division=0)
        found["hamming_loss"] = sk.hamming_loss(y_true, y_pred)
    else:
        found["mcc"] = sk.matthews_corrcoef(y_true, y_pred)
    return found


def _ranking_scores(answers: Answers) -> dict[str, float]:
    columns = [1] if answers.binary else range(len(answers.classes))
    pairs = [(answers.truth[:, j], answers.proba[:, j]) for j in columns]
    return {
        "roc_auc": defined_mean(np.array([_roc_auc(*pair) for pair in pairs])),
        "pr_auc": defined_mean(np.array([_pr_auc(*pair) for pair in pairs])),
    }


def _probability_scores(answers: Answers) -> dict[str, float]:
    truth, proba, k = answers.truth, answers.proba, len(answers.classes)
    if answers.multilabel:
        log_loss = np.mean([sk.log_loss(truth[:, j], proba[:, j], labels=[False, True]) for j in range(k)])
        brier = np.mean([sk.brier_score_loss(truth[:, j], proba[:, j], pos_label=True) for j in range(k)])
    else:
        log_loss = sk.log_loss(answers.y_true, proba, labels=range(k))
        brier = sk.brier_score_loss(answers.y_true, proba, labels=range(k))
    bins = reliability(answers)
    gaps = (bins["confidence"] - bins["frequency"]).abs() * bins["count"]
    found = {"log_loss": log_loss, "brier": brier, "ece": gaps.sum() / bins["count"].sum()}
    return found if answers.multilabel else found | {"aurc": Selection(answers).area(np.ones((answers.n, 1)))[0]}


def _roc_auc(truth: np.ndarray, score: np.ndarray) -> float:
    return sk.roc_auc_score(truth, score) if 0 < truth.sum() < len(truth) else float("nan")


def _pr_auc(truth: np.ndarray, score: np.ndarray) -> float:
    return sk.average_precision_score(truth, score) if truth.any() else float("nan")
