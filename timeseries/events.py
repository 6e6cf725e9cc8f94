"""Alarms as events: from when to when, how strange at most, and which variables are to blame."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.metrics.events import runs

from .panel import Panel
from .scoring import Scorer

__all__ = ["blame", "found_events", "narrowed"]

_MOST_BLAMED, _BLAMED = 5, 0.8  # variables named at most, and the share of the error they explain together


def narrowed(alarms: np.ndarray, strange: np.ndarray, reach: int) -> np.ndarray:
    """Return the events within alarms: strange rows, with what lies between two of them no more than `reach` apart.

    An alarm without any strange row is an event as a whole.

    Examples
    --------
    >>> alarms = np.array([0, 1, 1, 1, 1, 1, 0, 1, 1]) > 0
    >>> narrowed(alarms, np.array([1, 0, 1, 0, 1, 0, 0, 0, 0]) > 0, 2).astype(int)
    array([0, 0, 1, 1, 1, 0, 0, 1, 1])
    """
    between = np.zeros(len(alarms) + 1, dtype=int)
    for start, stop in zip(*runs(alarms), strict=True):
        rows = start + np.flatnonzero(strange[start:stop])
        if not len(rows):
            between[[start, stop]] += [1, -1]
        near = np.diff(rows) <= reach
        between[rows[:-1][near]] += 1
        between[rows[1:][near]] -= 1
    return (alarms & strange) | (np.cumsum(between)[:-1] > 0)


def found_events(
    panel: Panel, events: Sequence[np.ndarray], scores: Sequence[np.ndarray], values: Sequence[np.ndarray], scorer: Scorer
) -> pd.DataFrame:
    """Return a row an event.

    Parameters
    ----------
    panel : Panel
        The series.
    events, scores, values : sequences of ndarray
        Whether each row of the grid is in an event, (T,), its score, (T,), and the scaled series (T, C).
    scorer : Scorer
        What made the scores.

    Returns
    -------
    DataFrame
        `series` (where there are several), `start`, `end` (the last row in it), `rows`, `peak`, `score` (at the peak) and
        `variables`, those to blame, first the one most to blame.
    """
    found = []
    for one, event, score, scaled in zip(panel.series, events, scores, values, strict=True):
        rows = one.given(np.arange(len(score)))  # a missing stamp does not part an event
        index: Any = rows if one.index is None else one.given(one.index)
        given = score[rows]
        for start, stop in zip(*runs(event[rows]), strict=True):
            peak = start + int(np.nanargmax(given[start:stop]))
            found.append(
                {
                    "series": one.name,
                    "start": index[start],
                    "end": index[stop - 1],
                    "rows": int(stop - start),
                    "peak": index[peak],
                    "score": float(given[peak]),
                    "variables": _named(blame(scorer, scaled, rows[peak]), panel.form.variables),
                }
            )
    table = pd.DataFrame(found, columns=["series", "start", "end", "rows", "peak", "score", "variables"])
    return table if len(panel) > 1 else table.drop(columns="series")


def blame(scorer: Scorer, values: np.ndarray, row: int) -> np.ndarray:
    """Return the share of each variable in the strangeness of a row, (C,).

    What counts is the strangest window of each kind of view behind the score.

    Examples
    --------
    >>> from .views import Reconstruction
    >>> scorer = Scorer({"zero": Reconstruction(lambda windows: windows * 0, 2)}, online=True, units={"zero": 1.0})
    >>> blame(scorer, np.array([[0.0, 0.0], [3.0, 1.0], [0.0, 0.0]]), 1)
    array([0.9, 0.1])
    """
    found: dict[type, np.ndarray] = {}
    for name, view in scorer.views.items():
        first = scorer.behind(view, row, len(values))
        if not len(first):
            continue
        errors = np.concatenate([errors for _, errors in scorer.errors(view, values, first)])
        for part in scorer.parts(name):
            said = part.of(errors)
            by_variable = errors[said.argmax(), :, -part.rows :].mean(axis=1)
            strange = np.sqrt(said.max() / scorer.units[part.name]) * by_variable / max(by_variable.sum(), 1e-300)
            before = found.get(type(view), np.zeros(1))
            found[type(view)] = strange if strange.sum() >= before.sum() else before
    shares = np.sum([np.zeros(values.shape[1]), *found.values()], axis=0)
    return shares / shares.sum() if shares.sum() > 0 else shares


def _named(shares: np.ndarray, names: Sequence[Any]) -> list[Any]:
    """Return the variables that explain most of it together, first the one that explains most."""
    order = np.argsort(-shares, kind="stable")
    enough = int(np.searchsorted(np.cumsum(shares[order]), _BLAMED)) + 1
    return [names[i] for i in order[: min(enough, _MOST_BLAMED)]]
