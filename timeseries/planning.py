"""What forecaster and detector choose by themselves from the training part: contexts, windows, segments, epochs."""

import math
from collections.abc import Sequence

import numpy as np

from .windows import filled

__all__ = [
    "LEAST_ROWS",
    "SECOND_WINDOW",
    "epochs_for",
    "lookback_for",
    "online_windows_for",
    "on_linear_map",
    "period_of",
    "segment_for",
    "segment_of",
    "windows_for",
]

LEAST_ROWS = 12  # a detector learns from
SECOND_WINDOW = 100  # rows, beside a window of the period

STEPS_AN_EPOCH = 125
_LONGEST_LOOKBACK = 720
_SHORT = 2000  # rows: less than three of the longest contexts
_FEWEST_SEGMENTS, _MOST_SEGMENTS = 6, 15  # the network walks over so many
_DETECTED, _SHAPE, _NEAREST = 12, 2, 4  # segments of a detector's window, and windows of its other views in that
_SHORTEST_PERIOD, _LONGEST_PERIOD, _MOST_ROWS, _MOST_SERIES = 3, 300, 20_000, 100
_PASSES, _FEWEST_STEPS, _MOST_STEPS, _MOST_EPOCHS = 8, 1000, 4000, 100


def lookback_for(rows: int, horizon: int, period: int) -> int:
    """Return the context for a shortest series of so many rows: a third of it, at most 720, in whole periods.

    Examples
    --------
    >>> lookback_for(8640, 96, 24), lookback_for(100, 12, 12)
    (720, 24)
    """
    lookback = min(_LONGEST_LOOKBACK, rows // 3, (rows - horizon) // 2)
    return lookback // period * period if lookback >= period else lookback


def on_linear_map(rows: int) -> bool:
    """Whether the network learns what the linear map leaves open, not the whole forecast, where series have so many rows.

    A few hundred rows teach a network less than a ridge regression knows in closed form: with air passengers the error of the
    network halves, over 414 series of M4 it falls by a sixth. Where rows are many, the map only stands in the network's way: on
    ETTh1 its error grows by 1 to 7 %.

    Examples
    --------
    >>> on_linear_map(108), on_linear_map(8640)
    (True, False)
    """
    return rows < _SHORT


def segment_for(lookback: int, period: int) -> int:
    """Return the rows of a segment: about two periods, but six to fifteen to a context, in whole periods or parts of one.

    Examples
    --------
    >>> segment_for(720, 24), segment_for(336, 24), segment_for(24, 12), segment_for(97, 1)
    (48, 48, 4, 6)
    """
    target = max(1.0, lookback / _MOST_SEGMENTS, min(2 * period, lookback / _FEWEST_SEGMENTS) if period > 1 else 0.0)

    def badness(rows: int) -> float:
        uneven = rows % period > 0 and period % rows > 0
        return abs(math.log(rows / target)) + 0.3 * (lookback % rows > 0) + 0.5 * uneven

    return min(range(1, math.ceil(2 * target) + 1), key=badness)


def epochs_for(windows: int, batch_size: int) -> int:
    """Return as many epochs as see every window eight times, within 1,000 and 4,000 steps, and at most 100.

    Examples
    --------
    >>> epochs_for(7825, 64), epochs_for(80, 64), epochs_for(200_000, 64)
    (9, 100, 32)
    """
    steps = min(max(_PASSES * windows / batch_size, _FEWEST_STEPS), _MOST_STEPS)
    return min(_MOST_EPOCHS, math.ceil(steps / min(math.ceil(windows / batch_size), STEPS_AN_EPOCH)))


def period_of(values: Sequence[np.ndarray]) -> int:
    """Return the period a detector takes its window from: the lag of the highest peak of the autocorrelation, from 3 to 300.

    Unlike a forecaster's it need not be a season that lasts: any length at which a series resembles itself makes a good window.

    Parameters
    ----------
    values : sequence of ndarray, (T, C)
        The series; the first 20,000 rows of a hundred of them are looked at.

    Returns
    -------
    int
        1 where there is no peak.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> period_of([(np.sin(np.arange(2000) * 2 * np.pi / 96) + rng.normal(0, 0.2, 2000))[:, None]])
    96
    """
    from scipy.signal import correlate

    total = np.zeros(_LONGEST_PERIOD + 2)
    for series in values[:_MOST_SERIES]:
        for column in filled(series[:_MOST_ROWS].T.astype(np.float64)):
            centred = column - column.mean()
            power = centred @ centred
            if power > 0:
                whole = correlate(centred, centred, method="fft")[len(centred) - 1 :][: len(total)]
                total[: len(whole)] += whole / power
    # next to lag 0 noise makes peaks that are higher than that of the period
    below = np.flatnonzero(total[: _LONGEST_PERIOD + 1] < 0)
    lags = np.arange(max(_SHORTEST_PERIOD, below[0] if len(below) else 0), _LONGEST_PERIOD + 1)
    peaks = lags[(total[lags] > total[lags - 1]) & (total[lags] > total[lags + 1])]
    return int(peaks[np.argmax(total[peaks])]) if len(peaks) else 1


def windows_for(window: int, rows: int) -> dict[str, int]:
    """Return the windows of a detector's views that looks back, none longer than a third of the rows.

    Those of the networks are in whole segments, a twelfth of a window; that may make them a little longer.

    Examples
    --------
    >>> windows_for(50, 2000)
    {'autoencoder': 50, 'forecaster': 50, 'shape': 100, 'nearest': 200}
    """
    one, two, four = (max(2, min(times * window, rows // 3)) for times in (1, _SHAPE, _NEAREST))
    return {"autoencoder": _whole(one), "forecaster": _whole(one), "shape": two, "nearest": four}


def online_windows_for(window: int, rows: int, second: int) -> dict[str, int]:
    """Return the windows of a detector's views that knows the past alone, none longer than a third of the rows.

    A score cannot be averaged over the windows that come after, so no length of window is right for short faults and for those
    that last. The views that cost little look at two; the network, which is slow to learn, at the longer one, of which its
    newest rows are judged.

    Examples
    --------
    >>> online_windows_for(50, 2000, 100)
    {'autoencoder': 108, 'forecaster': 50, 'level': 50, 'nearest': 50, 'second level': 100, 'second nearest': 100}
    >>> online_windows_for(50, 180, 50)
    {'autoencoder': 50, 'forecaster': 50, 'level': 50, 'nearest': 50, 'second level': 50, 'second nearest': 50}
    """
    one, two = (max(2, min(each, rows // 3)) for each in (window, second))
    found = {"autoencoder": _whole(max(one, two)), "forecaster": _whole(one)}
    return {**found, "level": one, "nearest": one, "second level": two, "second nearest": two}


def _whole(window: int) -> int:
    """Return the rows of a window in whole segments."""
    return segment_of(window) * math.ceil(window / segment_of(window))


def segment_of(window: int) -> int:
    """Return the rows of a segment of a detector's window."""
    return math.ceil(window / _DETECTED)
