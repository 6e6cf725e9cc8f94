"""Events: runs of neighbouring anomalous points, which alarms found them and how late, and which alarms were false."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Events", "Runs", "match", "peaks", "runs"]

Runs = tuple[np.ndarray, np.ndarray]
"""First row of each run, and the row after its last."""


@dataclass(frozen=True, eq=False)
class Events:
    """The true events of one series beside its alarms.

    Parameters
    ----------
    true : (ndarray, ndarray)
        The true events of which at least one row has a score.
    alarms : (ndarray, ndarray)
        The alarm events.
    delay : ndarray of float
        For each true event the rows from its start to the first alarm inside, ``nan`` where there is none. An alarm
        that began before the event and lasts into it has no delay.
    false : ndarray of bool
        For each alarm event whether it touches no true one.
    unseen : int
        True events without a single row that has a score; they are none of the above.
    """

    true: Runs
    alarms: Runs
    delay: np.ndarray
    false: np.ndarray
    unseen: int

    @property
    def found(self) -> np.ndarray:
        """For each true event whether an alarm touches it."""
        return ~np.isnan(self.delay)


def runs(flags: np.ndarray) -> Runs:
    """Return the maximal runs of True: first row of each, and the row after its last.

    Parameters
    ----------
    flags : ndarray of bool, shape (n,)

    Examples
    --------
    >>> starts, stops = runs(np.array([True, False, True, True]))
    >>> starts.tolist(), stops.tolist()
    ([0, 2], [1, 4])
    """
    change = np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8))
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def match(truth: np.ndarray, alarm: np.ndarray, scored: np.ndarray) -> Events:
    """Put the alarms of a series beside its true events.

    Parameters
    ----------
    truth, alarm, scored : ndarray of bool, shape (n,)
        Whether each row is anomalous, raises an alarm, and has a score at all (a row without one raises no alarm).

    Returns
    -------
    Events

    Examples
    --------
    >>> truth = np.array([0, 1, 1, 1, 0, 0, 1, 0], dtype=bool)
    >>> alarm = np.array([0, 0, 1, 1, 0, 0, 0, 1], dtype=bool)
    >>> events = match(truth, alarm, np.ones(8, dtype=bool))
    >>> events.delay.tolist(), events.false.tolist()
    ([1.0, nan], [False, True])
    """
    starts, stops = runs(truth)
    seen = _touched(scored, (starts, stops))
    true, alarms = (starts[seen], stops[seen]), runs(alarm)
    rows = np.append(np.flatnonzero(alarm), len(alarm))
    first = rows[np.searchsorted(rows, true[0])]
    delay = np.where(first < true[1], first - true[0], np.nan)
    return Events(true, alarms, delay, ~_touched(truth, alarms), int((~seen).sum()))


def peaks(score: np.ndarray, where: Runs) -> np.ndarray:
    """Return the largest score in each run, leaving out ``nan``.

    Parameters
    ----------
    score : ndarray, shape (n,)
    where : (ndarray, ndarray)
        Runs, see `runs`.

    Examples
    --------
    >>> peaks(np.array([1.0, float("nan"), 3.0, 2.0]), (np.array([0, 2]), np.array([2, 4]))).tolist()
    [1.0, 3.0]
    """
    if not len(where[0]):
        return np.empty(0)
    # reduceat takes the pieces between the edges, every second of which is a run; the last edge may be the end.
    return np.fmax.reduceat(np.append(score, np.nan), np.column_stack(where).ravel())[::2]


def _touched(flags: np.ndarray, where: Runs) -> np.ndarray:
    before = np.concatenate([[0], np.cumsum(flags)])
    return before[where[1]] > before[where[0]]
