"""What a reader of a forecasting report must know, in sentences."""

from collections.abc import Hashable, Mapping

import numpy as np

from pipelines.metrics._forecast_answers import MODEL, Forecasts
from pipelines.metrics._forecast_sums import Sums, ratios
from pipelines.report import BELOW_BASELINE
from pipelines.report_text import number

__all__ = ["MOST_GROUPS", "notes"]

MOST_GROUPS = 30
"""Rows of the table of groups; where there are more, half of them from either end."""

_FEW_BLOCKS = 10  # fewer independent pieces than that say little about their own spread
_FAR = 0.05  # difference of a share of true values inside an interval that is worth a sentence
_UNEQUAL = 10.0


def notes(
    forecasts: Forecasts,
    sums: Mapping[str, Sums],
    found: Mapping[str, Mapping[str, float]],
    headline: str,
    best: str | None,
    difference: tuple[float, float] | None,
    block: int,
) -> list[str]:
    """Return the sentences, those about lost comparisons first.

    Parameters
    ----------
    forecasts : Forecasts
        The checked arguments.
    sums : mapping of str to Sums
        By model.
    found : mapping of str to mapping
        Metrics by model.
    headline : str
        The main metric.
    best : str or None
        The best baseline.
    difference : (float, float) or None
        95 % interval of this model's headline minus that of the best baseline.
    block : int
        Length of the bootstrap's blocks.
    """
    return [
        *_baseline_notes(found, headline),
        *_distinction_notes(found, headline, best, difference),
        *forecasts.remarks,
        *_observation_notes(forecasts, sums[MODEL]),
        *_percent_notes(sums[MODEL]),
        *_scale_notes(forecasts, found[MODEL]),
        *_size_notes(forecasts, sums[MODEL]),
        *_quantile_notes(forecasts, sums[MODEL], found[MODEL]),
        *_group_notes(forecasts, headline),
        *_block_notes(forecasts, block),
    ]


def _baseline_notes(found: Mapping[str, Mapping[str, float]], headline: str) -> list[str]:
    lost = []
    ours = found[MODEL]
    for name, theirs in found.items():
        if name == MODEL:
            continue
        # A smaller mean error can hide a few large misses, which the squares show.
        metric = "mse" if ours[headline] < theirs[headline] else headline
        if ours[metric] > theirs[metric] or ours[headline] >= theirs[headline]:
            relation = "is higher than" if ours[metric] > theirs[metric] else "is no better than"
            lost.append(f"{BELOW_BASELINE}: {metric} {number(ours[metric])} {relation} the {number(theirs[metric])} of {name!r}.")
    return lost


def _distinction_notes(
    found: Mapping[str, Mapping[str, float]], headline: str, best: str | None, difference: tuple[float, float] | None
) -> list[str]:
    if best is None or difference is None or not difference[0] <= 0 <= difference[1]:
        return []
    apart = found[MODEL][headline] - found[best][headline]
    return [
        f"Not distinguishable from the best baseline {best!r}: the difference in {headline} is {number(apart)}, "
        f"with a 95 % interval from {number(difference[0])} to {number(difference[1])}."
    ]


def _observation_notes(forecasts: Forecasts, ours: Sums) -> list[str]:
    values, observed = forecasts.truth.size, int(ours.total["observed"])
    if observed == values:
        return []
    empty = int((ours.window["observed"] == 0).sum())
    windows = f", among them all of {empty:,} of {forecasts.n:,} windows" if empty else ""
    return [f"{values - observed:,} of {values:,} true values were not observed (nan) and are left out{windows}."]


def _percent_notes(ours: Sums) -> list[str]:
    zeros = int(ours.total["observed"] - ours.total["nonzero"])
    if not zeros:
        return []
    if not ours.total["nonzero"]:
        return ["mape is undefined: every true value is 0."]
    observed = int(ours.total["observed"])
    return [f"mape leaves out {zeros:,} of {observed:,} true values, which are 0, where it is undefined."]


def _scale_notes(forecasts: Forecasts, ours: Mapping[str, float]) -> list[str]:
    if forecasts.scale is None:
        return []
    undefined = ~(forecasts.scale > 0)
    reason = "where the scale is 0 or nan, as of a series that is constant in training"
    if np.isnan(ours["mase"]):
        return [f"mase is undefined: no observed value has a scale ({reason}), so the headline is mae."]
    if not undefined.any():
        return []
    if len(forecasts.scale) == 1:
        names = [name for name, bad in zip(forecasts.variables, undefined[0], strict=True) if bad]
        return [f"mase leaves out {_listed(names)}, {reason}."]
    windows = int(undefined.any(axis=1).sum())
    return [f"mase leaves out {windows:,} of {forecasts.n:,} windows, or some variables of them, {reason}."]


def _size_notes(forecasts: Forecasts, ours: Sums) -> list[str]:
    each = ratios(ours.variable)["mae"]
    each = np.where(np.isnan(each), -1.0, each)
    known = np.flatnonzero(each >= 0)
    if len(known) < 2:
        return []
    large, small = known[each[known].argmax()], known[each[known].argmin()]
    if each[large] <= _UNEQUAL * each[small]:
        return []
    return [
        f"The variables differ in size: mae is {number(each[large])} for {forecasts.variables[large]!r} and "
        f"{number(each[small])} for {forecasts.variables[small]!r}; mae, mse and rmse over all are dominated by the large ones."
    ]


def _quantile_notes(forecasts: Forecasts, ours: Sums, found: Mapping[str, float]) -> list[str]:
    said = []
    if ours.crossed:
        said.append(
            f"Quantiles cross at {ours.crossed:,} of {forecasts.truth.size:,} values: a higher level lies below a lower one."
        )
    if forecasts.quantiles and not forecasts.pairs:
        said.append("No two quantile levels are symmetric around 0.5, so there is no interval to measure.")
    for name, (low, high) in forecasts.pairs.items():
        coverage = found[f"coverage_{name}"]
        if abs(coverage - (high - low)) > _FAR + 1e-9:
            wrong = "too narrow" if coverage < high - low else "too wide"
            said.append(f"The {name} % interval holds {100 * coverage:.1f} % of the true values: it is {wrong}.")
    return said


def _group_notes(forecasts: Forecasts, headline: str) -> list[str]:
    count = 0 if forecasts.groups is None else len(forecasts.groups[0])
    if count <= MOST_GROUPS:
        return []
    return [f"Of {count:,} groups the table holds those with the largest and the smallest {headline}, {MOST_GROUPS // 2} each."]


def _block_notes(forecasts: Forecasts, block: int) -> list[str]:
    if forecasts.n == 1:
        return ["One window alone says nothing about the spread, so there are no intervals."]
    if forecasts.groups is None:
        pieces = forecasts.n / block
    else:
        sizes = np.bincount(forecasts.groups[1])
        pieces = float((sizes / np.minimum(sizes, block)).sum())
    if pieces >= _FEW_BLOCKS:
        return []
    return [
        f"The intervals are rough: neighbouring windows depend on each other, so these {forecasts.n:,} hold only about "
        f"{pieces:.0f} independent pieces."
    ]


def _listed(names: list[Hashable]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
