"""Judging by patients: the one way in which classifiers of scans and of records compare predictions with the truth."""

import time
from typing import Any

from pipelines.report import Report

__all__ = ["judged"]


def judged(model: Any, X: Any, y: Any, groups: Any, patients: Any, **more: Any) -> Report:
    """Do as `Pipeline.evaluate`, with intervals by patients, none of whom may have been learned from.

    Parameters
    ----------
    model : Pipeline
        A fitted classifier.
    X, y : sequences
        Samples and their true labels.
    groups, patients : sequences or None
        As `evaluate` of the classifier takes them.
    **more
        Further arguments of `pipelines.metrics.classification`.

    Returns
    -------
    Report
        Kept as `model.report_`, too.

    Raises
    ------
    DataError
        If samples, labels or patients cannot be used, or a patient was learned from.
    """
    model._ready()
    X, y = model._samples(X, y)
    y = model._targets(y)
    clusters = model._clusters(patients, len(X))
    started = time.perf_counter()
    X = model._inspect(X)
    outputs = model._infer(X)
    context = model._context(time.perf_counter() - started)
    model.report_ = model._report(X, y, outputs, groups, context, clusters=clusters, **more)
    return model.report_
