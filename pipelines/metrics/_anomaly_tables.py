"""The tables of an anomaly report: metrics with intervals, models, series, groups and events."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics._anomaly_series import MODEL, Detections, Series
from pipelines.metrics._anomaly_sums import ratios
from pipelines.metrics._forecast_curves import moment
from pipelines.metrics.events import Runs, peaks

__all__ = ["MOST_EVENTS", "MOST_FALSE", "tables"]

MOST_EVENTS = 500
"""True events in the table of events; where there are more, the first ones."""

MOST_FALSE = 20
"""False alarms in the table of events, those that exceed the threshold most."""

_SINGLE = ["vus_pr", "precision", "recall", "f1", "event_recall"]  # few enough for a table of a terminal's width
_COMPARED = ["vus_pr", "pr_auc", "roc_auc", "precision", "recall", "f1", "event_recall"]

Spread = Mapping[str, tuple[float, float]]


def tables(
    detections: Detections, sums: Mapping[str, Sequence[Mapping[str, float]]], found: Mapping[str, float], spread: Spread
) -> dict[str, pd.DataFrame]:
    """Make the tables of a report.

    Parameters
    ----------
    detections : Detections
        The checked arguments.
    sums : mapping of str to sequence of mapping
        By model, what `tally` says about each series.
    found : mapping of str to float
        Metrics of the model itself, those to be shown.
    spread : mapping of str to (float, float)
        Their intervals.

    Returns
    -------
    dict of str to DataFrame
        ``headline``, ``baselines``, ``series`` and ``groups`` (where there are some), and ``events``.
    """
    last = [name for name in found if name.startswith(("false_alarms", "f1_point"))]
    models = [_row(each, [*_COMPARED, *last]) for each in sums.values()]
    made = {
        "headline": _headline(found, spread),
        "baselines": pd.DataFrame(models, index=pd.Index(list(sums), name="model")),
    }
    ours = sums[MODEL]
    if detections.many:
        rows = [{"n": int(each["points"])} | _events_of([each]) | _row([each], [*_SINGLE, *last]) for each in ours]
        made["series"] = pd.DataFrame(rows, index=pd.Index([series.name for series in detections.ours], name="series"))
    if detections.groups is not None:
        names, numbers = detections.groups
        members = [[ours[i] for i in np.flatnonzero(numbers == group).tolist()] for group in range(len(names))]
        rows = [{"series": len(each)} | _events_of(each) | _row(each, [*_SINGLE, *last]) for each in members]
        made["groups"] = pd.DataFrame(rows, index=pd.Index(names, name="group"))
    return made | {"events": _events(detections)}


def _headline(found: Mapping[str, float], spread: Spread) -> pd.DataFrame:
    ends = [spread.get(name, (np.nan, np.nan)) if value == value else (np.nan, np.nan) for name, value in found.items()]
    frame = pd.DataFrame({"value": found}).rename_axis("metric")
    frame["low"], frame["high"] = (list(column) for column in zip(*ends, strict=True))
    return frame


def _events_of(sums: Sequence[Mapping[str, float]]) -> dict[str, int]:
    return {"events": int(sum(each["events"] for each in sums))}


def _row(sums: Sequence[Mapping[str, float]], shown: Iterable[str]) -> dict[str, float]:
    found = ratios({name: sum(each[name] for each in sums) for name in sums[0]})
    return {name: float(found[name]) for name in shown}


def _events(detections: Detections) -> pd.DataFrame:
    true = [row for series in detections.ours for row in _true(series, decided=detections.decided)]
    false = [row for series in detections.ours for row in _false(series)]
    false.sort(key=lambda row: row["above"], reverse=True)
    rows = true[:MOST_EVENTS] + false[:MOST_FALSE]
    columns = ["series", "kind", "start", "end", "rows", "delay", "peak_score"]
    frame = pd.DataFrame(rows, columns=columns, index=pd.RangeIndex(1, len(rows) + 1, name="event"))
    frame = frame.astype({"rows": int, "delay": float, "peak_score": float})
    return frame if detections.many else frame.drop(columns="series")


def _true(series: Series, *, decided: bool) -> Iterable[dict[str, Any]]:
    starts, stops = (edge[:MOST_EVENTS] for edge in series.events.true)
    for row, delay in zip(_spans(series, (starts, stops)), series.events.delay, strict=False):
        found = "missed" if np.isnan(delay) else "found"
        yield row | {"kind": found if decided else "event", "delay": delay}


def _false(series: Series) -> Iterable[dict[str, Any]]:
    if series.threshold is None:
        return
    starts, stops = (edge[series.events.false] for edge in series.events.alarms)
    strongest = np.argsort(-peaks(series.score, (starts, stops)), kind="stable")[:MOST_FALSE]
    for row in _spans(series, (starts[strongest], stops[strongest])):
        yield row | {"kind": "false alarm", "delay": np.nan, "above": row["peak_score"] - series.threshold}


def _spans(series: Series, where: Runs) -> Iterable[dict[str, Any]]:
    for start, stop, peak in zip(*where, peaks(series.score, where), strict=True):
        ends = {"start": _place(series, start), "end": _place(series, stop - 1)}
        yield {"series": series.name, **ends, "rows": int(stop - start), "peak_score": float(peak)}


def _place(series: Series, row: int) -> Hashable:
    if series.times is None:
        return int(row)
    return moment(series.times[row]) if series.clocked else series.times[row]
