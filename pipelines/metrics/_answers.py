"""The arguments of `metrics.classification`, checked and brought into one layout for every kind of problem."""

import difflib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

__all__ = ["Answers", "check_answers", "check_clusters", "check_groups", "check_limits", "check_operating", "group_columns"]

_SUM_TOLERANCE = 1e-3  # rows of a half-precision softmax add up to 1 within this
_RANGE_TOLERANCE = 1e-6  # and single precision gives 1.0000001 now and then


@dataclass(frozen=True, eq=False)
class Answers:
    """What was true, what was said and what was decided: ``n`` samples by ``k`` classes.

    Parameters
    ----------
    classes : tuple
        The ``k`` class names, in the order of the columns.
    truth : ndarray of bool, shape (n, k)
        One true entry a row, except in multi-label.
    proba : ndarray of float, shape (n, k)
        Probabilities; float32 stays float32, because scikit-learn clips its log loss by the dtype.
    decided : ndarray of bool, shape (n, k)
        The decisions; one a row, except in multi-label.
    threshold : "argmax", float or list of float
        The rule that turned ``proba`` into ``decided``.
    multilabel : bool
        Whether the columns are independent of each other.
    """

    classes: tuple[Hashable, ...]
    truth: np.ndarray
    proba: np.ndarray
    decided: np.ndarray
    threshold: str | float | list[float]
    multilabel: bool

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.truth)

    @property
    def binary(self) -> bool:
        """Whether there are two classes that exclude each other; ``classes[1]`` is the positive one."""
        return not self.multilabel and len(self.classes) == 2

    @property
    def y_true(self) -> np.ndarray:
        """The truth as scikit-learn takes it: class numbers ``(n,)``, or an indicator ``(n, k)``."""
        return self.truth.astype(int) if self.multilabel else self.truth.argmax(axis=1)

    @property
    def y_pred(self) -> np.ndarray:
        """The decisions as scikit-learn takes them."""
        return self.decided.astype(int) if self.multilabel else self.decided.argmax(axis=1)

    def of(self, proba: Any, name: str) -> "Answers":
        """Another model's probabilities on the same samples, decided by the default rule."""
        scores = _check_proba(proba, self.n, self.multilabel, name)
        if scores.shape != self.truth.shape:
            raise DataError(f"{name} has shape {scores.shape}, but proba has shape {self.truth.shape}.")
        decided, rule = _decide(scores, None, self.multilabel)
        return Answers(self.classes, self.truth, scores, decided, rule, self.multilabel)


def check_answers(y_true: Any, proba: Any, classes: Any, threshold: Any) -> Answers:
    """Check the arguments of `metrics.classification` and put them into one layout.

    Parameters
    ----------
    y_true : array-like of shape (n,) or (n, k)
        Labels, or a 0/1 indicator for multi-label.
    proba : array-like of shape (n, k), (n, 1) or (n,)
        Probabilities.
    classes : sequence or None
        Class names; None takes them from ``y_true``.
    threshold : None, float or sequence of float
        The decision rule.

    Returns
    -------
    Answers
        The same, checked.

    Raises
    ------
    DataError
        Naming the first sample that cannot be used.

    Examples
    --------
    >>> answers = check_answers(["cat", "dog"], [0.2, 0.9], None, None)
    >>> answers.classes, answers.y_true, answers.y_pred
    (('cat', 'dog'), array([0, 1]), array([0, 1]))
    """
    multilabel = _ndim(y_true) == 2
    labels: Any = np.asarray(y_true) if multilabel else _labels(y_true)
    if not len(labels):
        raise DataError("y_true is empty: there is nothing to evaluate.")
    scores = _check_proba(proba, len(labels), multilabel, "proba")
    names = _check_classes(classes, labels, scores.shape[1], multilabel)
    truth = _indicator(labels, scores.shape) if multilabel else _one_hot(labels, names)
    decided, rule = _decide(scores, threshold, multilabel)
    return Answers(names, truth, scores, decided, rule, multilabel)


def check_groups(groups: Any, n: int, name: str = "groups") -> tuple[list[Hashable], np.ndarray]:
    """Return the distinct groups, sorted where they can be, and the group number of each sample."""
    values = _listed(groups, name)
    if len(values) != n:
        raise DataError(f"{name} has {len(values)} entries, but there are {n} samples; give one group per sample.")
    _refuse_missing(values, name)
    try:
        distinct = sorted(set(values))
    except TypeError:  # numbers beside strings keep their order of appearance
        distinct = list(dict.fromkeys(values))
    numbers = {value: number for number, value in enumerate(distinct)}
    return list(numbers), np.array([numbers[value] for value in values])


def group_columns(groups: Any, n: int) -> list[tuple[list[Hashable], np.ndarray]]:
    """Return the names of the groups, and the group number of each sample, for one column of groups or for several.

    Parameters
    ----------
    groups : sequence, DataFrame or mapping
        One group a sample; or several columns of them, by name.
    n : int
        Number of samples.

    Returns
    -------
    list of (list, ndarray)
        A pair a column; with several columns, or a named one, each name begins with that of its column.

    Raises
    ------
    DataError
        If a column is of another length, or a group is missing.

    Examples
    --------
    >>> group_columns({"site": ["B", "A", "A"], "sex": ["f", "f", "m"]}, 3)
    [(['site: A', 'site: B'], array([1, 0, 0])), (['sex: f', 'sex: m'], array([0, 0, 1]))]
    """
    if not isinstance(groups, Mapping | pd.DataFrame):
        return [check_groups(groups, n)]
    if not len(groups.keys()):
        raise DataError("groups has no columns; give at least one, or leave groups out.")
    found: list[tuple[list[Hashable], np.ndarray]] = []
    for column in groups.keys():  # noqa: SIM118  # a DataFrame iterates over its columns only so
        names, numbers = check_groups(groups[column], n, f"groups[{column!r}]")
        found.append(([f"{column}: {name}" for name in names], numbers))
    return found


def check_clusters(clusters: Any, n: int) -> np.ndarray:
    """Return the number of the cluster of each sample, whatever the clusters are called.

    Examples
    --------
    >>> check_clusters(["anna", "bert", "anna"], 3)
    array([0, 1, 0])
    """
    return check_groups(clusters, n, "clusters")[1]


def check_operating(operating: Mapping[str, Any], answers: Answers) -> dict[str, np.ndarray]:
    """Return the thresholds of each operating point, one a label, or a single one for two classes.

    Examples
    --------
    >>> answers = check_answers(["cat", "dog"], [0.2, 0.9], None, None)
    >>> check_operating({"sharp": 0.8}, answers)
    {'sharp': array([0.8])}
    """
    if not isinstance(operating, Mapping):
        raise DataError(f"operating must be a mapping from names to thresholds, but received a {type(operating).__name__}.")
    if not answers.multilabel and not answers.binary:
        raise DataError(f"operating has no meaning with {len(answers.classes)} classes that exclude each other; leave it out.")
    k = len(answers.classes) if answers.multilabel else 1
    return {str(name): _check_threshold(value, k) for name, value in operating.items()}


def check_limits(limits: Mapping[str, Any], answers: Answers) -> dict[str, float]:
    """Return the named limits of confidence as numbers from 0 to 1.

    Examples
    --------
    >>> check_limits({"sure": 0.9}, check_answers(["cat", "dog"], [0.2, 0.9], None, None))
    {'sure': 0.9}
    """
    if not isinstance(limits, Mapping):
        raise DataError(f"limits must be a mapping from names to confidences, but received a {type(limits).__name__}.")
    if answers.multilabel:
        raise DataError("limits has no meaning where samples have several labels; leave it out.")
    return {str(name): float(_check_threshold(value, 1)[0]) for name, value in limits.items()}


def _ndim(y_true: Any) -> int:
    try:
        ndim = np.ndim(y_true)
    except ValueError as error:  # numpy on ragged lists
        raise DataError(
            "y_true has rows of different lengths; for multi-label give an indicator of shape (n, k) of 0 and 1."
        ) from error
    if ndim == 2 and np.shape(y_true)[1] < 2:
        raise DataError(
            f"y_true has shape {np.shape(y_true)}; give labels of shape (n,), "
            "or for multi-label an indicator with two or more columns."
        )
    if ndim not in (1, 2):
        raise DataError(f"y_true has {ndim} dimensions; expected labels (n,) or a multi-label indicator (n, k).")
    return ndim


def _labels(y_true: Any) -> list:
    labels = _listed(y_true, "y_true")
    _refuse_missing(labels, "y_true")
    for i, label in enumerate(labels):
        if isinstance(label, list | set | dict | np.ndarray):
            raise DataError(
                f"y_true[{i}] is {label!r}, a collection; where labels occur together give an indicator (n, k) of 0 and 1."
            )
    return labels


def _listed(values: Any, name: str) -> list:
    # numpy would turn a mixed list into strings, so only arrays go through their own tolist.
    listed = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(listed, str) or not isinstance(listed, Iterable):
        raise DataError(f"{name} must be a sequence, not {values!r}.")
    return list(listed)


def _refuse_missing(values: list, name: str) -> None:
    missing = np.flatnonzero(pd.isna(pd.Series(values, dtype=object)))
    if len(missing):
        i = missing[0]
        raise DataError(f"{name}[{i}] is {values[i]!r} ({len(missing)} missing in all); leave such samples out or fill them.")


def _check_proba(proba: Any, n: int, multilabel: bool, name: str) -> np.ndarray:
    scores = _as_float(proba, name)
    if scores.ndim not in (1, 2):
        raise DataError(f"{name} has {scores.ndim} dimensions; expected shape (n, k), or (n,) for two classes.")
    if len(scores) != n:
        raise DataError(f"y_true has {n} samples, but {name} has {len(scores)}; they must describe the same samples.")
    bad = ~((scores >= -_RANGE_TOLERANCE) & (scores <= 1 + _RANGE_TOLERANCE))  # also true for nan
    if bad.any():
        where = np.argwhere(bad)[0].tolist()
        raise DataError(
            f"{name}{where} is {scores[tuple(where)]}; expected a probability between 0 and 1. "
            "Pass scores through a softmax or a sigmoid first."
        )
    scores = scores.clip(0, 1)
    if multilabel:
        if scores.ndim == 1:
            raise DataError(f"{name} has one dimension; a multi-label y_true needs one column of it per label.")
        return scores
    return _check_rows(scores, name)


def _as_float(proba: Any, name: str) -> np.ndarray:
    try:
        scores = np.asarray(proba)
        if scores.dtype.kind not in "fiubO":
            raise TypeError(f"dtype {scores.dtype}")
        return scores if scores.dtype == np.float32 else scores.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} cannot be read as an array of probabilities ({error}).") from error


def _check_rows(scores: np.ndarray, name: str) -> np.ndarray:
    if scores.ndim == 1 or scores.shape[1] == 1:
        positive = scores.reshape(-1)
        return np.column_stack([1 - positive, positive])
    sums = scores.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > _SUM_TOLERANCE)
    if len(wrong):
        raise DataError(
            f"{name}[{wrong[0]}] sums to {sums[wrong[0]]:.4f}, not 1 ({len(wrong)} of {len(scores)} rows do not). "
            "Pass scores through a softmax; for labels that may occur together give y_true as an indicator (n, k)."
        )
    return scores


def _check_classes(classes: Any, labels: Any, k: int, multilabel: bool) -> tuple[Hashable, ...]:
    if classes is not None:
        names = _listed(classes, "classes")
    elif multilabel:
        names = list(range(k))
    else:
        names = _distinct(labels)
    if len(names) != k:
        source = "classes has" if classes is not None else "y_true has"
        raise DataError(
            f"{source} {len(names)} distinct names, but proba has {k} columns; "
            "pass classes= with one name per column, in the order of the columns."
        )
    if len(set(names)) != k:
        raise DataError(f"classes names {next(c for c in names if names.count(c) > 1)!r} more than once.")
    return tuple(names)


def _distinct(labels: list) -> list:
    try:
        return sorted(set(labels))
    except TypeError as error:
        raise DataError("The labels in y_true cannot be sorted; pass classes= in the order of the columns.") from error


def _one_hot(labels: list, classes: tuple[Hashable, ...]) -> np.ndarray:
    column = {name: j for j, name in enumerate(classes)}
    numbers = [column.get(label, -1) for label in labels]
    if -1 in numbers:
        i = numbers.index(-1)
        raise DataError(_unknown_label(i, labels[i], classes))
    return np.arange(len(classes)) == np.array(numbers)[:, None]


def _unknown_label(i: int, label: Any, classes: Sequence[Hashable]) -> str:
    shown = ", ".join(map(repr, classes[:10])) + (", …" if len(classes) > 10 else "")
    close = difflib.get_close_matches(str(label), [str(name) for name in classes], n=1)
    hint = f" Did you mean {close[0]!r}?" if close and isinstance(label, str) else ""
    return f"y_true[{i}] is {label!r}, which is not one of the {len(classes)} classes ({shown}).{hint}"


def _indicator(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if labels.shape != shape:
        raise DataError(f"y_true is an indicator of shape {labels.shape}, but proba has shape {shape}; they must be equal.")
    wrong = np.argwhere((labels != 0) & (labels != 1))
    if len(wrong):
        i, j = wrong[0].tolist()
        raise DataError(f"y_true[{i}, {j}] is {labels[i, j]!r}; a multi-label indicator holds only 0 and 1.")
    return labels == 1


def _decide(scores: np.ndarray, threshold: Any, multilabel: bool) -> tuple[np.ndarray, str | float | list[float]]:
    k = scores.shape[1]
    if threshold is None and not multilabel:
        return np.arange(k) == scores.argmax(axis=1)[:, None], "argmax"
    if not multilabel and k > 2:
        raise DataError(f"threshold has no meaning with {k} classes that exclude each other; leave it None.")
    limits = _check_threshold(0.5 if threshold is None else threshold, k if multilabel else 1)
    rule = limits.tolist() if multilabel else float(limits[0])
    if multilabel:
        return scores >= limits, rule
    positive = scores[:, 1] >= limits[0]
    return np.column_stack([~positive, positive]), rule


def _check_threshold(threshold: Any, k: int) -> np.ndarray:
    try:
        limits = np.asarray(threshold, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"threshold must be a number between 0 and 1, not {threshold!r}.") from error
    if limits.ndim > 1 or (limits.ndim == 1 and len(limits) != k):
        raise DataError(f"threshold has shape {limits.shape}; expected one number" + (f" or {k}." if k > 1 else "."))
    if not np.all((limits >= 0) & (limits <= 1)):
        raise DataError(f"threshold must lie between 0 and 1, not {threshold!r}.")
    return np.broadcast_to(limits, (k,))
