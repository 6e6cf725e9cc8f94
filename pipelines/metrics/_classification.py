"""The classification report: metrics with intervals, baselines, classes, groups and curves from plain arrays."""

import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix

from pipelines.bootstrap import affordable, intervals
from pipelines.metrics._answers import Answers, check_answers, check_clusters, check_limits, check_operating, group_columns
from pipelines.metrics._curves import curves
from pipelines.metrics._mistakes import mistakes
from pipelines.metrics._operating import OperatingPoints
from pipelines.metrics._scores import per_class, scores
from pipelines.metrics._selective import Selection, Withheld, sureness
from pipelines.metrics._weighted import WeightedScores
from pipelines.report import BELOW_BASELINE, Example, Report

__all__ = ["classification"]

_COMPARED = ["accuracy", "balanced_accuracy", "f1_macro", "roc_auc", "log_loss"]
_CONSTANT = "constant (test prevalence)"
_BOOTSTRAP_BUDGET = 400_000_000  # resamples x samples x classes; about ten seconds on one core
_UNKNOWN = (float("nan"), float("nan"))
_SURE = 0.9  # a confidence from which answers are taken as certain, rightly or not
_GROUP_BLOCK = 2_000_000  # memberships held at once


def classification(
    y_true: Any,
    proba: Any,
    classes: Sequence[Hashable] | None = None,
    *,
    threshold: float | Sequence[float] | None = None,
    groups: Sequence[Hashable] | Mapping[str, Sequence[Hashable]] | pd.DataFrame | None = None,
    clusters: Sequence[Hashable] | None = None,
    operating: Mapping[str, float | Sequence[float]] | None = None,
    limits: Mapping[str, float] | None = None,
    baselines: Mapping[str, Any] | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
    context: Mapping[str, Any] | None = None,
    examples: Iterable[Example] = (),
) -> Report:
    """Report how good predicted probabilities are, from anybody's arrays.

    The point values are scikit-learn's. Every metric has a 95 % bootstrap interval over samples; where some of them belong
    together (several scans of a patient), the true uncertainty is larger, and ``clusters`` makes the intervals say so.

    Parameters
    ----------
    y_true : array-like of shape (n,) or (n, k)
        Labels; or, for labels that may occur together, a 0/1 indicator with two or more columns.
    proba : array-like of shape (n, k), (n,) or (n, 1)
        Probabilities, one column a class. One column alone is the probability of ``classes[1]`` of two classes.
        Rows sum to 1 except for an indicator ``y_true``, whose labels are independent.
    classes : sequence of str, int or bool, optional
        Names in the order of the columns. Default: the sorted labels in ``y_true``, which must then number ``k``.
    threshold : float or sequence of float, optional
        Two classes: ``classes[1]`` is decided where its probability is at least this; by default the more probable
        class is (on an exact tie the first, as `numpy.argmax` has it). Multi-label: one number, or one a label
        (default 0.5). Choose it on validation data; it is never chosen here.
    groups : sequence of shape (n,), DataFrame or mapping of sequences, optional
        A group for each sample, say its hospital; the report then has a row per group. Several columns (hospital, sex, age
        group) give the rows of one after those of the other, named "hospital: A".
    clusters : sequence of shape (n,), optional
        What each sample belongs to, say its patient: the bootstrap draws whole clusters.
    operating : mapping of str to float or sequence of float, optional
        Two classes, or multi-label: named thresholds (one number, or one a label), chosen on validation data. The report then
        has a table with the sensitivity, specificity and predictive values of deciding by each of them; for two classes those
        of ``classes[1]``.
    limits : mapping of str to float, optional
        One label a sample: named limits of confidence, chosen on validation data. The report then has a table with the share of
        the samples that are answered with more confidence than each of them, and the share of these answers that are wrong.
    baselines : mapping of str to array-like, optional
        What simple models say about the same samples, each shaped like ``proba`` and decided by the default rule.
        Default: a constant prediction of the shares of the classes in ``y_true``.
    seed : int
        Seed of the bootstrap.
    n_bootstrap : int
        Number of resamples; fewer are drawn where samples times classes are very many, and a note says so.
    context : mapping, optional
        Facts to keep with the numbers (parameters, device, versions); ``threshold``, ``n_bootstrap`` and ``seed``
        are added.
    examples : iterable of Example, optional
        Samples worth looking at, kept in the report.

    Returns
    -------
    Report
        Headline ``accuracy`` (multi-label: ``f1_macro``, and accuracy is that of the whole row); tables ``headline``,
        ``baselines``, ``classes``, ``confusion``, ``groups``, ``operating points``, ``abstention`` and ``errors``; curves
        ``roc``, ``pr``, ``reliability`` and, with one label a sample, ``risk_coverage``: how many of the surest answers are
        wrong. Its area is the metric ``aurc``; ``ece`` is the expected calibration error, over 15 bins.
        Macro ROC-AUC and PR-AUC are one-vs-rest over the classes for which they are defined.

    Raises
    ------
    DataError
        If an argument cannot be used; the message names the first offending sample.

    Examples
    --------
    >>> report = classification(["cat", "dog", "dog", "cat"], [0.2, 0.9, 0.4, 0.1], classes=["cat", "dog"])
    >>> report.metrics["accuracy"], report.metrics["recall"]
    (0.75, 0.5)
    >>> report.tables["confusion"].loc["dog", "cat"]
    np.int64(1)
    """
    answers = check_answers(y_true, proba, classes, threshold)
    n_bootstrap, notes = affordable(n_bootstrap, answers.truth.size, _BOOTSTRAP_BUDGET)
    others = {name: answers.of(said, f"baselines[{name!r}]") for name, said in (baselines or {}).items()}
    found, weighted = scores(answers), WeightedScores(answers)
    drawn = None if clusters is None else check_clusters(clusters, answers.n)
    resampled = functools.partial(intervals, n=answers.n, n_bootstrap=n_bootstrap, seed=seed, clusters=drawn)
    spread = resampled(weighted)
    tables = {
        "headline": _headline_table(found, spread),
        "baselines": _baseline_table(found, others or {_CONSTANT: _constant(answers)}),
        "classes": _class_table(answers),
    }
    if not answers.multilabel:
        tables["confusion"] = _confusion_table(answers)
    if groups is not None:
        tables["groups"] = _group_table(answers, weighted, groups)
    if operating:
        tables["operating points"] = _operating_table(OperatingPoints(answers, check_operating(operating, answers)), resampled)
    if limits:
        tables["abstention"] = _operating_table(Withheld(answers, check_limits(limits, answers)), resampled)
    tables["errors"] = mistakes(answers)
    headline = "f1_macro" if answers.multilabel else "accuracy"
    return Report(
        task="classification",
        headline=headline,
        metrics=found,
        tables=tables,
        curves=curves(answers) | ({} if answers.multilabel else {"risk_coverage": Selection(answers).curve()}),
        n=answers.n,
        notes=(*_baseline_notes(tables["baselines"], headline), *_notes(answers, tables, drawn), *notes),
        context={**(context or {}), "threshold": answers.threshold, "n_bootstrap": n_bootstrap, "seed": seed},
        examples=tuple(examples),
    )


def _constant(answers: Answers) -> Answers:
    shares = np.broadcast_to(answers.truth.mean(axis=0), answers.truth.shape)
    return answers.of(shares, "the constant baseline")


def _headline_table(found: dict[str, float], spread: dict[str, tuple[float, float]]) -> pd.DataFrame:
    # Where the metric itself is undefined, an interval over the few resamples that define it would mislead.
    ends = [spread.get(name, _UNKNOWN) if value == value else _UNKNOWN for name, value in found.items()]
    low, high = zip(*ends, strict=True)
    index = pd.Index(list(found), name="metric")
    return pd.DataFrame({"value": list(found.values()), "low": low, "high": high}, index=index)


def _baseline_table(found: dict[str, float], others: dict[str, Answers]) -> pd.DataFrame:
    rows = {"this model": found} | {name: scores(other) for name, other in others.items()}
    frame = pd.DataFrame([[row[name] for name in _compared(found)] for row in rows.values()], columns=_compared(found))
    return frame.set_index(pd.Index(list(rows), name="model"))


def _compared(found: Mapping[str, Any]) -> list[str]:
    return [name for name in _COMPARED if name in found]


def _class_table(answers: Answers) -> pd.DataFrame:
    frame = pd.DataFrame(per_class(answers), index=pd.Index(answers.classes, name="class"))
    if answers.multilabel:
        frame["threshold"] = answers.threshold
    return frame


def _confusion_table(answers: Answers) -> pd.DataFrame:
    counts = confusion_matrix(answers.y_true, answers.y_pred, labels=range(len(answers.classes)))
    rows, columns = (pd.Index(answers.classes, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(counts, index=rows, columns=columns)


def _group_table(answers: Answers, weighted: WeightedScores, groups: Any) -> pd.DataFrame:
    size = max(1, _GROUP_BLOCK // answers.n)
    parts, index = [], []
    for names, numbers in group_columns(groups, answers.n):
        index += names
        for start in range(0, len(names), size):
            member = numbers[:, None] == np.arange(start, min(start + size, len(names)))
            found = weighted(member)
            parts.append(pd.DataFrame({"n": member.sum(axis=0)} | {name: found[name] for name in _compared(found)}))
    frame = pd.concat(parts, ignore_index=True)
    return frame.set_index(pd.Index(index, name="group"))


def _operating_table(
    points: OperatingPoints | Withheld, resampled: Callable[..., dict[str, tuple[float, float]]]
) -> pd.DataFrame:
    """Make a row for each measure of each operating point; an interval only where the value itself is defined."""
    found, spread = points(np.ones((points.n, 1))), resampled(points)
    rows = []
    for name, threshold, measure in points.rows:
        value = float(found[name, measure][0])
        low, high = spread.get((name, measure), _UNKNOWN) if value == value else _UNKNOWN  # type: ignore[call-overload]
        rows.append({"threshold": threshold, "measure": measure, "value": value, "low": low, "high": high})
    return pd.DataFrame(rows, index=pd.Index([name for name, *_ in points.rows], name="point"))


def _baseline_notes(table: pd.DataFrame, headline: str) -> list[str]:
    notes = []
    for metric in (headline, "roc_auc"):
        ours = table[metric].iloc[0]
        for name, theirs in table[metric].iloc[1:].items():
            if ours <= theirs:
                relation = "is lower than" if ours < theirs else "is no better than"
                notes.append(f"{BELOW_BASELINE}: {metric} {ours:.4f} {relation} the {theirs:.4f} of {str(name)!r}.")
    return notes


def _notes(answers: Answers, tables: dict[str, pd.DataFrame], clusters: np.ndarray | None) -> list[str]:
    notes = _class_notes(answers)
    headline = tables["headline"].dropna()
    outside = headline[(headline["value"] < headline["low"]) | (headline["value"] > headline["high"])]
    for row in outside.itertuples():
        notes.append(
            f"{row.Index} {row.value:.4f} lies outside its bootstrap interval: resampling shifts this metric, "
            "so read the interval as its width."
        )
    if (answers.truth == answers.decided).all():
        independent = answers.n if clusters is None else len(np.unique(clusters))
        bound = 0.05 ** (1 / independent)
        notes.append(
            f"No mistake in {answers.n} samples, so resampling shows no spread; "
            f"an accuracy below {bound:.4f} would do so less than once in twenty times."
        )
    if _CONSTANT in tables["baselines"].index:
        notes.append(f"No baseline was given; {_CONSTANT!r} knows the class shares of these very labels.")
    return notes + _sure_notes(answers) + _cluster_notes(answers.n, clusters) + _group_notes(tables.get("groups"))


def _sure_notes(answers: Answers) -> list[str]:
    if answers.multilabel:
        return []
    sure, wrong = sureness(answers)
    given = sure >= _SURE
    if not given.any():
        return []
    share = f"{100 * (1 - wrong[given].mean()):.1f} %"
    return [f"Of the {given.sum():,} answers given with {100 * _SURE:.0f} % confidence or more, {share} were right."]


def _cluster_notes(n: int, clusters: np.ndarray | None) -> list[str]:
    if clusters is None:
        return []
    count = len(np.unique(clusters))
    if count == 1:
        return ["All samples are of one cluster, such as one patient, so that there are no intervals."]
    return [f"The intervals come from resampling {count} clusters (patients), each with all its samples, not {n} samples."]


def _class_notes(answers: Answers) -> list[str]:
    true, said = answers.truth.sum(axis=0), answers.decided.sum(axis=0)
    notes = []
    if absent := _named(answers, true == 0):
        notes.append(f"No sample of {absent}: ROC-AUC and PR-AUC are undefined there, and the averages leave them out.")
    if always := _named(answers, true == answers.n):
        notes.append(f"Every sample is of {always}: ROC-AUC is undefined there, for want of a sample without it.")
    if unsaid := _named(answers, (true > 0) & (said == 0)):
        notes.append(f"Never predicted: {unsaid}; precision and F1 count as 0 there, as in scikit-learn.")
    if unfounded := _named(answers, (true == 0) & ((said > 0) | answers.multilabel)):
        notes.append(f"Without a true sample, recall and F1 count as 0, as in scikit-learn: {unfounded}.")
    return notes


def _named(answers: Answers, which: np.ndarray) -> str:
    names = [repr(name) for name, chosen in zip(answers.classes, which, strict=True) if chosen]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _group_notes(table: pd.DataFrame | None) -> list[str]:
    if table is None or not table["roc_auc"].isna().any():
        return []
    names = [repr(name) for name in table.index[table["roc_auc"].isna()]]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return [f"ROC-AUC is undefined in the groups with a single class: {shown}."]
