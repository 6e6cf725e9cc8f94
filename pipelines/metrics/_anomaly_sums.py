"""Sums over the points and events of a series, and the anomaly metrics as ratios of such sums.

Every metric is a ratio of two sums over series, so the same few lines give it for one series, a group, all of them, or
hundreds of bootstrap weightings of series or of points.
"""

from collections.abc import Mapping

import numpy as np

from pipelines.metrics._anomaly_series import Series
from pipelines.metrics._vus import Volume
from pipelines.metrics._weighted import Ranking

__all__ = ["RANKED", "Points", "ratios", "tally"]

RANKED = ("vus_pr", "vus_roc", "pr_auc", "roc_auc")
"""The metrics that need no threshold: means over the series that have both kinds of points."""

_VOLUME_COST = 200.0  # multiplications of `Volume` that take as long as everything else about one point


class Points:
    """The sums over the points of one series as a function of sample weights; points without a score have none.

    Parameters
    ----------
    series : Series
        What was true, and what a model said.

    Examples
    --------
    >>> points = Points(Series("a", np.array([False, True, True]), np.array([0.2, 0.9, 0.4]), threshold=0.5, period=1))
    >>> sums = points(np.ones((3, 1)))
    >>> sums["true"].tolist(), sums["hits"].tolist(), sums["roc_auc"].tolist()
    ([2.0], [1.0], [1.0])
    """

    def __init__(self, series: Series) -> None:
        truth, score, alarm = (part[series.scored] for part in (series.truth, series.score, series.alarm))
        self._count = len(truth)
        self._ranks = None
        if truth.any() and not truth.all():
            self._ranks = Volume(truth, score, series.period), Ranking(truth, score)
        self._flags = {"true": truth}
        if series.threshold is not None:
            adjusted = _whole_events(series)[series.scored]
            self._flags |= {"said": alarm, "hits": truth & alarm, "adjusted_hits": truth & adjusted}

    def __len__(self) -> int:
        return self._count

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the sums ``(b,)`` under each name for weights ``(n, b)``."""
        found = {name: flag.astype(float) @ weights for name, flag in self._flags.items()}
        values = np.full((len(RANKED), weights.shape[1]), np.nan)
        if self._ranks is not None:
            volume, ranking = self._ranks
            (vus_roc, vus_pr), (roc_auc, pr_auc) = volume(weights), ranking.areas(weights)
            values = np.stack([vus_pr, vus_roc, pr_auc, roc_auc])
        ranked = ~np.isnan(values).any(axis=0)
        return found | dict(zip(RANKED, np.where(ranked, values, 0.0), strict=True)) | {"ranked": ranked.astype(float)}

    @property
    def cost(self) -> float:
        """Work of one weighting, in points."""
        return self._count if self._ranks is None else self._count + self._ranks[0].size / _VOLUME_COST


def tally(series: Series) -> dict[str, float]:
    """Add up the points and events of one series.

    Parameters
    ----------
    series : Series
        What was true, and what a model said.

    Returns
    -------
    dict of str to float
        The sums of which `ratios` makes the metrics; those that need a threshold only where there is one.

    Examples
    --------
    >>> truth = np.array([False, True, True, False])
    >>> sums = tally(Series("a", truth, np.array([0.1, 0.2, 0.9, 0.8]), threshold=0.5, period=1))
    >>> sums["found"], sums["delay"], sums["alarms"], sums["false_alarms"]
    (1.0, 1.0, 1.0, 0.0)
    """
    count = int(series.scored.sum())
    found = {name: float(value[0]) for name, value in Points(series)(np.ones((count, 1))).items()}
    found |= {"points": count, "thousands": count / 1000, "days": series.days if series.clocked else 0.0}
    events = series.events
    found["events"] = len(events.delay)
    if series.threshold is not None:
        found |= {"found": events.found.sum(), "delay": np.nansum(events.delay)}
        found |= {"alarms": len(events.false), "false_alarms": events.false.sum()}
    return {name: float(value) for name, value in found.items()}


def ratios(sums: Mapping[str, np.ndarray | float]) -> dict[str, np.ndarray]:
    """Metrics of sums of any shape; ``nan`` where nothing was counted.

    Parameters
    ----------
    sums : mapping of str to array
        Quantities as `tally` or `Points` name them, all of one shape.

    Returns
    -------
    dict of str to ndarray
        Name of the metric to values of that shape; metrics of events only where their sums are there.

    Examples
    --------
    >>> found = ratios({**dict.fromkeys(RANKED, 1.5), "ranked": 2.0, "true": 4.0, "said": 2.0, "hits": 1.0, "adjusted_hits": 4.0})
    >>> {name: round(float(found[name]), 3) for name in ("vus_pr", "precision", "recall", "f1", "f1_point_adjusted")}
    {'vus_pr': 0.75, 'precision': 0.5, 'recall': 0.25, 'f1': 0.333, 'f1_point_adjusted': 0.889}
    """
    unknown = np.full(np.shape(sums["true"]), np.nan)
    true, said, hits, adjusted = (sums.get(name, unknown) for name in ("true", "said", "hits", "adjusted_hits"))
    found = {name: _ratio(sums[name], sums["ranked"]) for name in RANKED}
    found |= {"precision": _ratio(hits, said), "recall": _ratio(hits, true), "f1": _ratio(2 * hits, true + said)}
    if "events" in sums:
        false, alarms, events = (sums.get(name, unknown) for name in ("false_alarms", "alarms", "found"))
        found |= {"event_recall": _ratio(events, sums["events"]), "event_precision": _ratio(alarms - false, alarms)}
        found |= {
            f"false_alarms_per_{unit}": _ratio(false, sums[whole]) for unit, whole in (("day", "days"), ("1000", "thousands"))
        }
        found["delay"] = _ratio(sums.get("delay", unknown), events)
    return found | {"f1_point_adjusted": _ratio(2 * adjusted, true + said - hits + adjusted)}


def _whole_events(series: Series) -> np.ndarray:
    """Alarms, and every point of an event that one of them touches: the point adjustment."""
    starts, stops = (edge[series.events.found] for edge in series.events.true)
    steps = np.zeros(len(series.truth) + 1, dtype=int)
    steps[starts], steps[stops] = 1, -1
    return series.alarm | (np.cumsum(steps[:-1]) > 0)


def _ratio(part: np.ndarray | float, whole: np.ndarray | float) -> np.ndarray:
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
