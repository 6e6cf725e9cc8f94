"""The precision-recall curve, and a few series with their scores to look at, as tables of points."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from pipelines.metrics._anomaly_series import Detections, Series
from pipelines.metrics._curves import pr_curve
from pipelines.report_text import number

__all__ = ["curves"]

_MOST_SERIES = 4
_MOST_COLUMNS = 5  # variables of one series that can be told apart in one drawing
_MOST_LINES = 10
_POINTS = 2000  # of one series; half as many where several are drawn


def curves(detections: Detections, ours: Sequence[Mapping[str, float]]) -> dict[str, pd.DataFrame]:
    """Compute the points to draw.

    Parameters
    ----------
    detections : Detections
        The checked arguments.
    ours : sequence of mapping
        What `tally` says about each series, by which they are ranked.

    Returns
    -------
    dict of str to DataFrame
        ``"series"``: up to four series from the worst to the best, with columns label, time (of its own kind where all
        have dates, else the row), score, threshold, true, found (inside a true event that an alarm touches), alarm, and
        the values; long series are thinned to the highest score and the extreme values of each stretch. ``"pr"``
        (class, recall, precision, threshold): the models on a single series, or this model on each of those drawn.

    Examples
    --------
    >>> from pipelines.metrics._anomaly_answers import check_anomalies
    >>> found = check_anomalies([0, 1, 1, 0], [0.1, 0.9, 0.2, 0.3], threshold=0.5)
    >>> curves(found, [{"vus_pr": 0.9, "ranked": 1.0}])["series"]["found"].tolist()
    [False, True, True, False]
    """
    chosen = _chosen(ours)
    return {"series": _series(detections, ours, chosen), "pr": _pr(detections, chosen)}


def _pr(detections: Detections, chosen: Sequence[int]) -> pd.DataFrame:
    if len(detections.ours) == 1:
        lines = {name: series[0] for name, series in detections.models.items()}
    else:
        lines = {str(detections.ours[i].name): detections.ours[i] for i in chosen}
    known = {name: each for name, each in lines.items() if each.truth[each.scored].any()}
    return pr_curve(
        {name: (each.truth[each.scored], each.score[each.scored]) for name, each in list(known.items())[:_MOST_LINES]}
    )


def _series(detections: Detections, ours: Sequence[Mapping[str, float]], chosen: Sequence[int]) -> pd.DataFrame:
    points = _POINTS if len(chosen) == 1 else _POINTS // 2
    frames = []
    for i in chosen:
        frame = _one(detections.ours[i], detections.columns, points, clocked=detections.clocked)
        said = f"VUS-PR {number(ours[i]['vus_pr'])}" if ours[i]["ranked"] else "VUS-PR undefined"
        frame.insert(0, "label", f"{detections.ours[i].name}, {said}" if detections.many else said)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _chosen(ours: Sequence[Mapping[str, float]]) -> list[int]:
    """Return series from the worst to the best at even steps, so that the pictures flatter nothing."""
    ranked = [i for i, each in enumerate(ours) if each["ranked"]] or list(range(len(ours)))
    ranked.sort(key=lambda i: ours[i]["vus_pr"])
    places = np.linspace(0, len(ranked) - 1, min(_MOST_SERIES, len(ranked))).round().astype(int)
    return [ranked[place] for place in places]


def _one(series: Series, columns: Sequence[object], points: int, *, clocked: bool) -> pd.DataFrame:
    shown = _strangest(series)
    first = None if series.values is None else series.values[:, shown[0]]
    rows, edges = _thinned(series.score, first, points)
    stretch = np.searchsorted(edges, rows, side="right") - 1
    found = np.zeros(len(series.truth), dtype=bool)
    for start, stop in zip(*(edge[series.events.found] for edge in series.events.true), strict=True):
        found[start:stop] = True
    times = series.times.tz_localize(None) if clocked and isinstance(series.times, pd.DatetimeIndex) else None
    frame = pd.DataFrame({"time": rows if times is None else times[rows], "score": series.score[rows]})
    frame["threshold"] = np.nan if series.threshold is None else series.threshold
    # A stretch is true where any of its rows is, or a short event would vanish.
    frame["true"], frame["found"] = (np.logical_or.reduceat(flag, edges)[stretch] for flag in (series.truth, found))
    frame["alarm"] = series.alarm[rows]
    for column in shown if series.values is not None else []:
        name = "value" if len(columns) == 1 and columns[0] == 0 else f"value {columns[column]}"
        frame[name] = series.values[rows, column]  # type: ignore[index]
    return frame


def _strangest(series: Series) -> list[int]:
    """Return the variables that move most, for their size, around the highest score, in their order."""
    if series.values is None or series.values.shape[1] <= _MOST_COLUMNS or not series.scored.any():
        return [] if series.values is None else list(range(min(_MOST_COLUMNS, series.values.shape[1])))
    frame, peak = pd.DataFrame(series.values), int(np.nanargmax(series.score))
    near = frame.iloc[max(0, peak - series.period) : peak + series.period + 1]
    moved = (near.max() - near.min()) / frame.std()
    return sorted(moved.fillna(0).nlargest(_MOST_COLUMNS).index)


def _thinned(score: np.ndarray, value: np.ndarray | None, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows to draw, and the first row of each stretch they stand for."""
    n = len(score)
    if n <= points:
        return np.arange(n), np.arange(n)
    extremes = [(score, -np.inf)] if value is None else [(score, -np.inf), (value, -np.inf), (-value, -np.inf)]
    edges = np.linspace(0, n, points // len(extremes) + 1).astype(int)
    kept = [_highest(np.where(np.isnan(line), least, line), edges) for line, least in extremes]
    return np.unique(np.concatenate(kept)), edges[:-1]


def _highest(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.array([start + int(values[start:stop].argmax()) for start, stop in pairwise(edges)])
