"""Anomaly detection: how strange each moment of a series is, and which moments to raise an alarm for."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import metrics
from ..errors import DataError
from ..report import Report

__all__ = ["DetectorMixin"]


class DetectorMixin:
    """One score a row, larger where it is stranger, and an alarm where it exceeds `threshold_`, which no label ever moves.

    A domain supplies `_scores(series)`, one array a series; `_per_row(results, series, X, name)`, the results in the kind of the
    input; `_judged(series, scores, y)`, the other arguments of `pipelines.metrics.anomaly`; and `_marked`, those of them that are
    not about simple detectors.
    """

    threshold_: float

    def _samples(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        if hasattr(X, "__len__") and hasattr(y, "__len__") and len(X) != len(y):
            raise DataError(f"X has {len(X)} and y has {len(y)} entries. Pass labels in the form of the series, one a row.")
        return X, y

    def _hold_groups_out(self, X: Any, y: Any, groups: Any, valid: Any) -> Any:
        raise DataError("fit takes no groups here: what judges the epochs is a share of each series. Leave groups out.")

    def score_samples(self, X: Any) -> Any:
        """Say how strange each row is.

        Parameters
        ----------
        X : series
            In a kind that `fit` takes.

        Returns
        -------
        ndarray, Series, list or dict
            One number a row, in the kind of the input, larger where it is stranger; NaN where nothing can be said.
        """
        return self._results(X, "score", lambda score: score)

    def predict(self, X: Any) -> Any:
        """Raise alarms.

        Parameters
        ----------
        X : series
            In a kind that `fit` takes.

        Returns
        -------
        ndarray, Series, list or dict
            1 where the score exceeds `threshold_` and 0 elsewhere, in the kind of the input.
        """
        return self._results(X, "anomaly", lambda score: (score > self.threshold_).astype(np.int64))

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None, point_adjust: bool = False) -> Report:
        """Compare scores and alarms with the anomalies somebody marked.

        Parameters
        ----------
        X : series
            In a kind that `fit` takes.
        y : array-like, list or dict
            1 for each row in an anomaly and 0 elsewhere, for each series as it came in `X`. Nothing is chosen by it.
        groups : sequence, optional
            One name a series; the report gets a row a group.
        point_adjust : bool
            Whether to add the point-adjusted F1, which flatters.

        Returns
        -------
        Report
            See `pipelines.metrics.anomaly`, with the rows of simple detectors that always run.

        Raises
        ------
        DataError
            If series or labels cannot be used.
        """
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)
        series = self._inspect(X)  # type: ignore[attr-defined]
        started = time.perf_counter()
        scores = self._scores(series)  # type: ignore[attr-defined]
        context = self._context(time.perf_counter() - started)  # type: ignore[attr-defined]
        found = self._judged(series, scores, y)  # type: ignore[attr-defined]
        report = metrics.anomaly(
            **found,
            threshold=self.threshold_,
            groups=groups,
            point_adjust=point_adjust,
            seed=self.seed,  # type: ignore[attr-defined]
            context=context,
        )
        notes = dict.fromkeys((*report.notes, self._threshold_note, *series.notes, *self.notes_))  # type: ignore[attr-defined]
        self.report_ = replace(report, task=self.task, notes=tuple(notes))  # type: ignore[attr-defined]
        return self.report_

    def score(self, X: Any, y: Any = None) -> float:
        """Return the volume under the precision-recall surface: larger is better, as scikit-learn's tools expect."""
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)
        series = self._inspect(X)  # type: ignore[attr-defined]
        found = self._marked(series, self._scores(series), y)  # type: ignore[attr-defined]
        plain = {name: found[name] for name in ("y_true", "scores", "period")}
        report = metrics.anomaly(**plain, n_bootstrap=0)
        return report.metrics[report.headline]

    def _results(self, X: Any, name: str, result: Any) -> Any:
        self._ready()  # type: ignore[attr-defined]
        series = self._inspect(X)  # type: ignore[attr-defined]
        found: Sequence[np.ndarray] = [result(score) for score in self._scores(series)]  # type: ignore[attr-defined]
        return self._per_row(found, series, X, name)  # type: ignore[attr-defined]
