"""Forecasting: what comes next in a series, judged by a rolling backtest."""

import time
from dataclasses import replace
from typing import Any

from .. import checks, metrics
from ..errors import DataError
from ..report import Report

__all__ = ["ForecasterMixin"]


class ForecasterMixin:
    """Forecasts of the next `horizon` rows; the truth is in the series themselves, so there is no `y`.

    A domain supplies `_backtest(series, stride, groups)`, the arguments of `pipelines.metrics.forecasting` for every window.
    """

    horizon: int

    def _samples(self, X: Any, y: Any = None) -> tuple[Any, None]:
        if y is not None:
            raise DataError("A forecast takes no y: what is to be forecast are the series in X themselves. Pass X alone.")
        return X, None

    def _hold_groups_out(self, X: Any, y: Any, groups: Any, valid: Any) -> Any:
        raise DataError("fit takes no groups here: what judges the epochs is the end of each series. Leave groups out.")

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None, stride: int = 1) -> Report:
        """Forecast from every place in the series and compare with what came after.

        Parameters
        ----------
        X : series
            In a kind that `fit` takes. The first rows serve as the context of the first forecast: to judge all of a test part,
            put the last rows of the training part before it. Every window of context and horizon counts, none is dropped.
        y : None
            The truth is in `X`.
        groups : sequence, optional
            One name a series; the report gets a row a group. By default the names of the series.
        stride : int
            Rows from one forecast to the next.

        Returns
        -------
        Report
            Errors overall, by step, by variable and by group, with intervals, beside the simple forecasts that always run.

        Raises
        ------
        DataError
            If no series has room for a context and a horizon, or something in them cannot be used.
        """
        self._ready()  # type: ignore[attr-defined]
        checks.number("stride", stride, 1, integer=True)
        X, _ = self._samples(X, y)
        series = self._inspect(X)  # type: ignore[attr-defined]
        started = time.perf_counter()
        found = self._backtest(series, stride, groups)  # type: ignore[attr-defined]
        context = self._context(time.perf_counter() - started)  # type: ignore[attr-defined]
        report = metrics.forecasting(**found, seed=self.seed, context={**context, "stride": stride})  # type: ignore[attr-defined]
        notes = dict.fromkeys((*report.notes, *series.notes, *self.notes_))  # type: ignore[attr-defined]
        self.report_ = replace(report, task=self.task, notes=tuple(notes))  # type: ignore[attr-defined]
        return self.report_

    def score(self, X: Any, y: Any = None) -> float:
        """Return minus the mean absolute scaled error of a rolling backtest: larger is better, as scikit-learn's tools expect."""
        self._ready()  # type: ignore[attr-defined]
        X, _ = self._samples(X, y)
        found = self._backtest(self._inspect(X), 1, None)  # type: ignore[attr-defined]
        plain = {name: found[name] for name in ("y_true", "y_pred", "variables", "scale")}
        report = metrics.forecasting(**plain, n_bootstrap=0)
        return -report.metrics[report.headline]
