"""The forecasting report: errors with intervals, baselines, steps, variables, series and quantiles from plain arrays."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.bootstrap import affordable, block_length, intervals
from pipelines.metrics._forecast_answers import MODEL, Forecasts, check_forecasts
from pipelines.metrics._forecast_curves import curves
from pipelines.metrics._forecast_notes import MOST_GROUPS, notes
from pipelines.metrics._forecast_sums import Sums, collect, ratios
from pipelines.report import Example, Report

__all__ = ["forecasting"]

_ORDER = ["mae", "mse", "rmse", "mape", "smape", "mase", "bias", "quantile_loss"]
_COMPARED = ["mae", "mse", "rmse", "smape", "mase"]
_STEPS = ["mae", "rmse", "mase"]
_VARIABLES = ["mae", "mse", "rmse", "mape", "smape", "mase"]
_GROUPS = ["mae", "rmse", "smape", "mase"]
_BOOTSTRAP_BUDGET = 400_000_000  # resamples x windows; about ten seconds on one core
_DIFFERENCE = "difference"

Spread = dict[str, tuple[float, float]]


def forecasting(
    y_true: Any,
    y_pred: Any,
    variables: Sequence[Hashable] | None = None,
    *,
    quantiles: Mapping[float, Any] | None = None,
    scale: Any = None,
    baselines: Mapping[str, Any] | None = None,
    groups: Sequence[Hashable] | None = None,
    times: Sequence[Any] | None = None,
    contexts: Any = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    context: Mapping[str, Any] | None = None,
    examples: Iterable[Example] = (),
) -> Report:
    """Report how good forecasts are, from anybody's arrays.

    Every metric is a mean over all observed values of all windows, steps and variables. Windows that overlap resemble
    each other, so the 95 % intervals come from a bootstrap of blocks of neighbouring windows, at least as long as the
    horizon (see `pipelines.bootstrap.resamples`).

    Parameters
    ----------
    y_true : array-like of shape (n, h) or (n, h, c)
        What came: ``n`` windows, in order of time, of ``h`` steps of ``c`` variables. ``nan`` is a value that nobody
        observed; it is left out of every figure.
    y_pred : array-like, shaped like ``y_true``
        The forecast of the mean or median.
    variables : sequence of str or int, optional
        Names of the ``c`` variables.
    quantiles : mapping of float to array-like, optional
        Level between 0 and 1 to the forecast of that quantile, shaped like ``y_pred``. Levels symmetric around one
        half, such as 0.1 and 0.9, are the ends of an interval.
    scale : array-like of shape (c,) or (n, c), optional
        Mean absolute error of the naive forecast on the training series, the denominator of the scaled error
        ``mase`` [1]_; per window where windows come from several series. 0 or ``nan`` leaves it undefined there.
    baselines : mapping of str to array-like, optional
        What simple models forecast for the same windows, each shaped like ``y_pred``. Default: the last value of
        ``contexts`` where that is given, otherwise none.
    groups : sequence of shape (n,), optional
        Name of the series each window belongs to; the report then has a row per series.
    times : sequence of shape (n,), optional
        Time of each window's first step, for captions.
    contexts : array-like of shape (n, L) or (n, L, c), optional
        What came before each window, drawn before it; a view such as `numpy.lib.stride_tricks.sliding_window_view`
        makes is never copied as a whole.
    n_bootstrap : int
        Number of resamples; fewer are drawn where windows are very many, and a note says so.
    seed : int
        Seed of the bootstrap.
    context : mapping, optional
        Facts to keep with the numbers (parameters, device, versions); ``n_bootstrap``, ``seed`` and ``block_length``
        (in windows) are added.
    examples : iterable of Example, optional
        Samples worth looking at, kept in the report.

    Returns
    -------
    Report
        Headline ``mase`` where ``scale`` defines it, otherwise ``mae``. Metrics ``mae``, ``mse``, ``rmse``, ``mape``
        and ``smape`` [2]_ (both in percent), ``mase``, ``bias`` (mean of forecast minus truth), ``quantile_loss``
        (mean over the levels of the pinball loss [3]_), and per interval ``coverage_80`` (share of true values inside)
        and ``width_80`` (mean width). Tables ``headline``, ``baselines``, ``horizon``, ``variables``, ``intervals``
        and ``groups``, each where there is something to say; curves ``horizon``, ``coverage`` and ``forecast``.

    Raises
    ------
    DataError
        If an argument cannot be used; the message names the first offending window, step and variable.

    References
    ----------
    .. [1] R. J. Hyndman and A. B. Koehler, "Another look at measures of forecast accuracy", International Journal of
           Forecasting 22(4), 2006, https://doi.org/10.1016/j.ijforecast.2006.03.001
    .. [2] S. Makridakis, E. Spiliotis and V. Assimakopoulos, "The M4 Competition: 100,000 time series and 61
           forecasting methods", International Journal of Forecasting 36(1), 2020,
           https://doi.org/10.1016/j.ijforecast.2019.04.014
    .. [3] R. Koenker and G. Bassett, "Regression quantiles", Econometrica 46(1), 1978, https://doi.org/10.2307/1913643

    Examples
    --------
    >>> truth = [[10.0, 12.0], [12.0, 11.0], [11.0, 14.0]]
    >>> report = forecasting(truth, [[11.0, 11.0], [12.0, 13.0], [13.0, 14.0]], scale=[2.0])
    >>> report.metrics["mae"], report.metrics["mase"], report.headline
    (1.0, 0.5, 'mase')
    >>> report.tables["horizon"]["mae"].tolist()
    [1.0, 1.0]
    """
    forecasts = check_forecasts(
        y_true, y_pred, variables, quantiles=quantiles, scale=scale, baselines=baselines, groups=groups, times=times,
        contexts=contexts,
    )  # fmt: skip
    n_bootstrap, cut = affordable(n_bootstrap, forecasts.n, _BOOTSTRAP_BUDGET)
    block = block_length(forecasts.n, forecasts.horizon)
    sums = collect(forecasts)
    found = {name: _metrics(each.total) for name, each in sums.items()}
    headline = "mae" if np.isnan(found[MODEL].get("mase", np.nan)) else "mase"
    best = _best(found, headline)
    spread = _spread(forecasts, sums, headline, best, n_bootstrap=n_bootstrap, seed=seed, block=block)
    tables = _tables(forecasts, sums, found, spread, headline)
    return Report(
        task="forecasting",
        headline=headline,
        metrics=found[MODEL],
        tables=tables,
        curves=curves(forecasts, sums, headline),
        n=forecasts.n,
        notes=(*notes(forecasts, sums, found, headline, best, spread.get(_DIFFERENCE), block), *cut),
        context={**(context or {}), "n_bootstrap": n_bootstrap, "seed": seed, "block_length": block},
        examples=tuple(examples),
    )


def _metrics(total: Mapping[str, float]) -> dict[str, float]:
    found = {name: float(value) for name, value in ratios(total).items()}
    return {name: found[name] for name in [*_ORDER, *found] if name in found}


def _best(found: Mapping[str, Mapping[str, float]], headline: str) -> str | None:
    others = [name for name in found if name != MODEL]
    return min(others, key=lambda name: found[name][headline], default=None)


def _spread(
    forecasts: Forecasts, sums: Mapping[str, Sums], headline: str, best: str | None, *, n_bootstrap: int, seed: int, block: int
) -> Spread:
    """Intervals of the model's metrics and of its difference to the best baseline; none from a single window."""
    if forecasts.n == 1:
        return {}
    ours = sums[MODEL].window
    stacked = np.stack(list(ours.values()))
    theirs = None if best is None else np.stack(list(sums[best].window.values()))

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        values = ratios(dict(zip(ours, stacked @ weights, strict=True)))
        if best is not None and theirs is not None:
            other = ratios(dict(zip(sums[best].window, theirs @ weights, strict=True)))
            values[_DIFFERENCE] = values[headline] - other[headline]
        return values

    numbers = None if forecasts.groups is None else forecasts.groups[1]
    return intervals(statistics, forecasts.n, n_bootstrap=n_bootstrap, seed=seed, block=block, groups=numbers)


def _tables(
    forecasts: Forecasts, sums: Mapping[str, Sums], found: Mapping[str, dict[str, float]], spread: Spread, headline: str
) -> dict[str, pd.DataFrame]:
    tables = {"headline": _headline_table(found[MODEL], spread)}
    if forecasts.baselines:
        rows = [[row[name] for name in _named(row, _COMPARED)] for row in found.values()]
        models = pd.Index(list(found), name="model")
        tables["baselines"] = pd.DataFrame(rows, columns=_named(found[MODEL], _COMPARED), index=models)
    if forecasts.pairs:
        tables["intervals"] = _interval_table(forecasts, found[MODEL])
    if len(forecasts.variables) > 1:
        tables["variables"] = _table(sums[MODEL].variable, _VARIABLES, pd.Index(forecasts.variables, name="variable"))
    if forecasts.groups is not None:
        tables["groups"] = _group_table(*forecasts.groups, sums[MODEL].window, headline)
    tables["horizon"] = _horizon_table(forecasts, sums)
    return tables


def _headline_table(found: Mapping[str, float], spread: Spread) -> pd.DataFrame:
    ends = [spread.get(name, (np.nan, np.nan)) if value == value else (np.nan, np.nan) for name, value in found.items()]
    frame = pd.DataFrame({"value": found}).rename_axis("metric")
    frame["low"], frame["high"] = (list(column) for column in zip(*ends, strict=True))
    return frame


def _interval_table(forecasts: Forecasts, found: Mapping[str, float]) -> pd.DataFrame:
    rows = [
        {"nominal": high - low, "coverage": found[f"coverage_{name}"], "width": found[f"width_{name}"]}
        for name, (low, high) in forecasts.pairs.items()
    ]
    return pd.DataFrame(rows, index=pd.Index([f"{name} %" for name in forecasts.pairs], name="interval"))


def _horizon_table(forecasts: Forecasts, sums: Mapping[str, Sums]) -> pd.DataFrame:
    frame = _table(sums[MODEL].step, _STEPS, pd.RangeIndex(1, forecasts.horizon + 1, name="step"))
    for name in forecasts.baselines:
        frame[name] = ratios(sums[name].step)["mae"]
    return frame


def _group_table(names: list[Hashable], numbers: np.ndarray, window: Mapping[str, np.ndarray], headline: str) -> pd.DataFrame:
    summed = {name: np.bincount(numbers, weights=values, minlength=len(names)) for name, values in window.items()}
    frame = _table(summed, _GROUPS, pd.Index(names, name="group"))
    frame.insert(0, "n", np.bincount(numbers, minlength=len(names)))
    if len(frame) <= MOST_GROUPS:
        return frame
    ranked = frame.sort_values(headline, ascending=False, kind="stable").dropna(subset=[headline])
    half = MOST_GROUPS // 2
    return ranked if len(ranked) <= MOST_GROUPS else pd.concat([ranked.head(half), ranked.tail(half)])


def _table(summed: Mapping[str, np.ndarray], wanted: list[str], index: pd.Index) -> pd.DataFrame:
    found = ratios(summed)
    names = _named(found, wanted) + [name for name in found if name.startswith("coverage_")]
    return pd.DataFrame({name: found[name] for name in names}, index=index)


def _named(found: Mapping[str, Any], wanted: list[str]) -> list[str]:
    return [name for name in wanted if name in found]
