"""The score above which there is an alarm, from scores of normal data alone."""

import numpy as np

__all__ = ["summary", "threshold"]

_MARGIN = 1.1  # of the default over the highest scores of normal data
_KEPT = 2000  # quantiles


def summary(scores: np.ndarray) -> np.ndarray:
    """Return what is kept of scores: all of them in order, or 2,000 quantiles, the last of which is the highest score.

    Examples
    --------
    >>> summary(np.array([3.0, np.nan, 1.0]))
    array([1., 3.])
    """
    scores = np.sort(scores[~np.isnan(scores)])
    return scores if len(scores) <= _KEPT else np.quantile(scores, np.linspace(0, 1, _KEPT))


def threshold(own: np.ndarray, held: np.ndarray, contamination: float | None) -> float:
    """Return the threshold for a share of false alarms.

    Scores of data that were learned from are too low for new data. Scores of data held out of a second fit are too high: that fit
    knows less, and a held-out part holds one or two independent surprises. So the threshold lies between the two, at their
    geometric mean.

    Parameters
    ----------
    own : ndarray
        Scores of the training part.
    held : ndarray
        Scores of its end by a second fit without it; empty where nothing was held out, and `own` then stands for both.
    contamination : float or None
        The share of rows of normal data that may be above. None allows none, and leaves room of a tenth above the highest
        score.

    Examples
    --------
    >>> threshold(np.array([1.0, 2.0]), np.array([4.0, 8.0]), None)
    4.4
    """
    held = held if len(held) else own
    share = 0.0 if contamination is None else contamination
    between = float(np.sqrt(np.quantile(own, 1 - share) * np.quantile(held, 1 - share)))
    return _MARGIN * between if contamination is None else between
