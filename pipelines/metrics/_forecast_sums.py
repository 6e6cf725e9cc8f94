"""Sums of errors, and the forecasting metrics as ratios of such sums.

Every metric is a ratio of two sums over values, so the same few lines give it for all windows, a step, a variable, a
group, or hundreds of bootstrap weightings. The data are walked through once, some windows at a time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from pipelines.metrics._forecast_answers import MODEL, Forecasts, chunks

__all__ = ["Sums", "collect", "ratios"]

_RATIOS = {
    "mae": ("absolute", "observed"),
    "mse": ("squared", "observed"),
    "mape": ("percent", "nonzero"),
    "smape": ("symmetric", "observed"),
    "mase": ("scaled", "scalable"),
    "bias": ("error", "observed"),
    "quantile_loss": ("pinball", "observed"),
}


@dataclass(frozen=True, eq=False)
class Sums:
    """What one model's errors add up to, by window, by step and by variable.

    Parameters
    ----------
    window, step, variable : dict of str to ndarray
        Name of the quantity to its sums, ``(n,)``, ``(h,)`` and ``(c,)``.
    crossed : int
        Places where a higher quantile lies below a lower one.
    """

    window: dict[str, np.ndarray] = field(default_factory=dict)
    step: dict[str, np.ndarray] = field(default_factory=dict)
    variable: dict[str, np.ndarray] = field(default_factory=dict)
    crossed: int = 0

    @property
    def total(self) -> dict[str, float]:
        """The sums over everything."""
        return {name: float(values.sum()) for name, values in self.window.items()}


def ratios(sums: Mapping[str, np.ndarray | float]) -> dict[str, np.ndarray]:
    """Metrics of sums of any shape; ``nan`` where nothing was counted.

    Parameters
    ----------
    sums : mapping of str to array
        Quantities as `collect` names them, all of one shape.

    Returns
    -------
    dict of str to ndarray
        Name of the metric to values of that shape; only metrics whose sums are there.

    Examples
    --------
    >>> found = ratios({"absolute": 6.0, "squared": 12.0, "observed": 3.0})
    >>> {name: float(value) for name, value in found.items()}
    {'mae': 2.0, 'mse': 4.0, 'rmse': 2.0}
    """
    found = {}
    for name, (part, whole) in _RATIOS.items():
        if part in sums:
            found[name] = _ratio(sums[part], sums[whole])
        if name == "mse" and part in sums:
            found["rmse"] = np.sqrt(found["mse"])
    for name in sums:
        if name.startswith(("coverage_", "width_")):
            found[name] = _ratio(sums[name], sums["observed"])
    return found


def collect(forecasts: Forecasts) -> dict[str, Sums]:
    """Add up the errors of the model and of every baseline.

    Parameters
    ----------
    forecasts : Forecasts
        The checked arguments.

    Returns
    -------
    dict of str to Sums
        `MODEL` first, then the baselines.

    Examples
    --------
    >>> from pipelines.metrics._forecast_answers import check_forecasts
    >>> sums = collect(check_forecasts([[1.0, float("nan")]], [[4.0, 4.0]]))["this model"]
    >>> sums.total["absolute"], sums.step["observed"].tolist()
    (3.0, [1.0, 0.0])
    """
    shape, crossed = forecasts.truth.shape, 0
    found = {name: Sums() for name in [MODEL, *forecasts.baselines]}
    unit = _unit(forecasts.scale)
    for part in chunks(shape):
        truth = forecasts.truth[part].astype(float)
        seen = ~np.isnan(truth)
        truth = np.where(seen, truth, 0.0)
        factor = None if unit is None else (unit if len(unit) == 1 else unit[part])[:, None, :]
        ours = _counts(truth, seen, factor) | _errors(truth, seen, forecasts.forecast[part], factor, full=True)
        quantiles = {level: values[part].astype(float) for level, values in forecasts.quantiles.items()}
        ours |= _quantile_errors(truth, seen, quantiles, forecasts.pairs)
        crossed += _crossed(list(quantiles.values()))
        _add(found[MODEL], ours, part, shape)
        for name, values in forecasts.baselines.items():
            theirs = {count: ours[count] for count in ("observed", "scalable") if count in ours}
            _add(found[name], theirs | _errors(truth, seen, values[part], factor, full=False), part, shape)
    return found | {MODEL: replace(found[MODEL], crossed=crossed)}


def _unit(scale: np.ndarray | None) -> np.ndarray | None:
    """One over the scale, and 0 where that is undefined."""
    return None if scale is None else _divided(np.ones_like(scale), scale)


def _counts(truth: np.ndarray, seen: np.ndarray, factor: np.ndarray | None) -> dict[str, np.ndarray]:
    found = {"observed": seen.astype(float), "nonzero": (truth != 0).astype(float)}
    return found if factor is None else found | {"scalable": (seen & (factor > 0)).astype(float)}


def _errors(
    truth: np.ndarray, seen: np.ndarray, forecast: np.ndarray, factor: np.ndarray | None, *, full: bool
) -> dict[str, np.ndarray]:
    forecast = forecast.astype(float)
    error = np.where(seen, forecast - truth, 0.0)
    size, level = np.abs(error), np.abs(truth)
    with np.errstate(over="ignore"):
        found = {"absolute": size, "squared": error * error, "symmetric": 200 * _divided(size, level + np.abs(forecast))}
        if full:
            found |= {"error": error, "percent": 100 * _divided(size, level)}
        if factor is not None:
            found["scaled"] = size * factor
    return found


def _quantile_errors(
    truth: np.ndarray, seen: np.ndarray, quantiles: dict[float, np.ndarray], pairs: Mapping[str, tuple[float, float]]
) -> dict[str, np.ndarray]:
    if not quantiles:
        return {}
    loss = np.zeros_like(truth)
    for level, values in quantiles.items():
        above = truth - values
        loss += np.maximum(level * above, (level - 1) * above)
    found = {"pinball": np.where(seen, loss, 0.0) / len(quantiles)}
    for name, (low, high) in pairs.items():
        inside = seen & (quantiles[low] <= truth) & (truth <= quantiles[high])
        found[f"coverage_{name}"] = inside.astype(float)
        found[f"width_{name}"] = np.where(seen, quantiles[high] - quantiles[low], 0.0)
    return found


def _crossed(quantiles: list[np.ndarray]) -> int:
    if len(quantiles) < 2:
        return 0
    wrong = [higher < lower for lower, higher in pairwise(quantiles)]
    return int(np.logical_or.reduce(wrong).sum())


def _add(sums: Sums, quantities: Mapping[str, np.ndarray], part: slice, shape: tuple[int, ...]) -> None:
    for name, values in quantities.items():
        values = np.broadcast_to(values, (part.stop - part.start, *shape[1:]))
        sums.window.setdefault(name, np.zeros(shape[0]))[part] = values.reshape(len(values), -1).sum(axis=1)
        both = values.sum(axis=0)
        sums.step[name] = sums.step.get(name, 0.0) + both.sum(axis=1)
        sums.variable[name] = sums.variable.get(name, 0.0) + both.sum(axis=0)


def _divided(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _ratio(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
