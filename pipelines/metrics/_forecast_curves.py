"""Error by step, coverage of the intervals, and a few windows to look at, as tables of points."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipelines.metrics._forecast_answers import MODEL, Forecasts, chunks
from pipelines.metrics._forecast_sums import Sums, ratios

__all__ = ["curves", "moment"]

_MOST_LINES = 10
_LEAST_CONTEXT = 24  # earlier steps drawn before a window, or as many as the window has


def curves(forecasts: Forecasts, sums: Mapping[str, Sums], headline: str) -> dict[str, pd.DataFrame]:
    """Compute the points to draw.

    Parameters
    ----------
    forecasts : Forecasts
        The checked arguments.
    sums : mapping of str to Sums
        By model.
    headline : str
        The main metric, by which windows are ranked.

    Returns
    -------
    dict of str to DataFrame
        ``"horizon"`` (step, and the mean absolute error of each model), ``"coverage"`` (nominal, coverage; with two
        intervals or more) and ``"forecast"``: three windows of the most typical variable, with columns label, window,
        variable, step (0 and less is before the window), truth, forecast, and low, high and nominal of the widest
        interval.

    Examples
    --------
    >>> from pipelines.metrics._forecast_answers import check_forecasts
    >>> from pipelines.metrics._forecast_sums import collect
    >>> found = check_forecasts([[1.0, 2.0]], [[1.5, 2.0]], contexts=[[3.0]])
    >>> curves(found, collect(found), "mae")["horizon"]["last value"].tolist()
    [2.0, 1.0]
    """
    found = {"horizon": _horizon(forecasts, sums)}
    if len(forecasts.pairs) > 1:
        found["coverage"] = _coverage(forecasts, sums[MODEL])
    if forecasts.horizon > 1 or forecasts.contexts is not None:  # otherwise there would be two dots
        found["forecast"] = _examples(forecasts, sums[MODEL], headline)
    return found


def _horizon(forecasts: Forecasts, sums: Mapping[str, Sums]) -> pd.DataFrame:
    lines = {name: ratios(each.step)["mae"] for name, each in list(sums.items())[:_MOST_LINES]}
    return pd.DataFrame({"step": np.arange(1, forecasts.horizon + 1)} | lines)


def _coverage(forecasts: Forecasts, ours: Sums) -> pd.DataFrame:
    found = ratios(ours.total)
    rows = [(high - low, float(found[f"coverage_{name}"])) for name, (low, high) in forecasts.pairs.items()]
    return pd.DataFrame(rows, columns=["nominal", "coverage"])


def _examples(forecasts: Forecasts, ours: Sums, headline: str) -> pd.DataFrame:
    variable = _typical_variable(ours, "mase" if headline == "mase" else "smape")
    errors = _window_errors(forecasts, variable, scaled=headline == "mase")
    ranked = np.argsort(errors, kind="stable")[: int(np.isfinite(errors).sum())]
    last = len(ranked) - 1
    wanted = {"worst": last, "median error": last // 2, "best tenth": last // 10}
    chosen = {int(ranked[place]): label for label, place in reversed(wanted.items())}
    if forecasts.n == 1:
        chosen = {0: "the only window"}
    frames = [_window(forecasts, window, variable, label) for window, label in chosen.items()]
    return pd.concat(frames, ignore_index=True)


def _typical_variable(ours: Sums, metric: str) -> int:
    """Return the variable whose relative error is the middle one, so that the pictures flatter nothing."""
    relative = ratios(ours.variable)[metric]
    known = np.flatnonzero(~np.isnan(relative))
    return int(known[np.argsort(relative[known], kind="stable")[(len(known) - 1) // 2]])


def _window_errors(forecasts: Forecasts, variable: int, *, scaled: bool) -> np.ndarray:
    """Mean absolute error of one variable in each window, ``inf`` where it is undefined."""
    found = np.full(forecasts.n, np.inf)
    for part in chunks((*forecasts.truth.shape[:2], 1)):
        truth = forecasts.truth[part, :, variable].astype(float)
        seen = ~np.isnan(truth)
        size = np.where(seen, np.abs(truth - forecasts.forecast[part, :, variable]), 0.0).sum(axis=1)
        np.divide(size, seen.sum(axis=1), out=found[part], where=seen.any(axis=1))
    if scaled and forecasts.scale is not None:
        scale = np.broadcast_to(forecasts.scale, (forecasts.n, forecasts.scale.shape[1]))[:, variable]
        found = np.divide(found, scale, out=np.full_like(found, np.inf), where=scale > 0)
    return found


def _window(forecasts: Forecasts, window: int, variable: int, label: str) -> pd.DataFrame:
    truth = forecasts.truth[window, :, variable].astype(float)
    before = _before(forecasts, window, variable)
    steps = np.arange(1 - len(before), len(truth) + 1)
    frame = pd.DataFrame({"step": steps, "truth": np.concatenate([before, truth])})
    frame["forecast"] = _padded(forecasts.forecast, window, variable, len(before))
    low, high = list(forecasts.pairs.values())[-1] if forecasts.pairs else (None, None)
    frame["low"], frame["high"] = np.nan, np.nan
    if low is not None and high is not None:
        frame["low"] = _padded(forecasts.quantiles[low], window, variable, len(before))
        frame["high"] = _padded(forecasts.quantiles[high], window, variable, len(before))
    frame["nominal"] = np.nan if low is None or high is None else high - low
    frame.insert(0, "variable", str(forecasts.variables[variable]))
    frame.insert(0, "window", window)
    frame.insert(0, "label", _caption(forecasts, window, variable, label))
    return frame


def _before(forecasts: Forecasts, window: int, variable: int) -> np.ndarray:
    if forecasts.contexts is None:
        return np.empty(0)
    most = max(_LEAST_CONTEXT, forecasts.horizon)
    return forecasts.contexts[window, -most:, variable].astype(float)


def _padded(values: np.ndarray, window: int, variable: int, before: int) -> np.ndarray:
    return np.concatenate([np.full(before, np.nan), values[window, :, variable].astype(float)])


def _caption(forecasts: Forecasts, window: int, variable: int, label: str) -> str:
    parts = [label]
    if len(forecasts.variables) > 1:
        parts.append(str(forecasts.variables[variable]))
    if forecasts.groups is not None:
        parts.append(str(forecasts.groups[0][forecasts.groups[1][window]]))
    parts.append(f"window {window}" if forecasts.times is None else moment(forecasts.times[window]))
    return ", ".join(parts)


def moment(time: object) -> str:
    """Return a time as text, without a clock that stands at zero.

    Examples
    --------
    >>> moment(pd.Timestamp("2024-03-01")), moment(pd.Timestamp("2024-03-01 06:30"))
    ('2024-03-01', '2024-03-01 06:30')
    """
    text = str(time)
    return text.removesuffix(" 00:00:00").removesuffix(":00") if text.count(":") == 2 else text
