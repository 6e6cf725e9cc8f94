"""When to say nothing: from which confidence on answers are wrong as rarely as was asked, with a guarantee."""

from bisect import bisect_left

import numpy as np
from scipy.stats import binom

__all__ = ["DOUBT", "confidence_limit", "refusal"]

DOUBT = 0.05
"""The share of calibrations that may let more answers be wrong than was asked."""

_RISKS = [step / 10**size for size in range(7, 2, -1) for step in range(10, 100)]  # of two digits, up to 0.099
_RISKS += [step / 100 for step in range(10, 100)]
_TIMES = 1.02 ** np.arange(1, 234)  # as many samples as there are, up to a hundred times


def confidence_limit(confidence: np.ndarray, right: np.ndarray, risk: float, doubt: float = DOUBT) -> float | None:
    """Choose the confidence above which at most a share of the answers is wrong, and as many as possible are given.

    Parameters
    ----------
    confidence : ndarray, (n,)
        How sure the model was of its answers to samples that it has not learned from, above 0.
    right : ndarray of bool, (n,)
        Whether each answer was right.
    risk : float
        The share of the answers given that may be wrong, between 0 and 1.
    doubt : float
        How often the guarantee may fail: with probability 1 - `doubt` over the samples, the true share is at most `risk`.

    Returns
    -------
    float or None
        The answers surer than this are given; 0 where all of them are, None where so small a risk cannot be guaranteed.

    Notes
    -----
    Selective classification with guaranteed risk [1]_: the surest answers are enough where so few of them are wrong that, were
    the true share above `risk`, that would happen with a probability of at most `doubt` (the binomial tail, Clopper-Pearson).
    Where [1]_ searches by halving, with a part of the doubt for each step, limits are tried one after the other from strict to
    lenient, up to the first that fails, which costs nothing (fixed-sequence testing [2]_); only the starts, at all answers, the
    surer half, the surest quarter and so on, share the doubt. This takes for granted that answers given with more confidence are
    not more often wrong, and that new samples are like these.

    References
    ----------
    .. [1] Y. Geifman and R. El-Yaniv, "Selective Classification for Deep Neural Networks", NIPS 2017, arXiv:1705.08500
    .. [2] A. Angelopoulos, S. Bates, E. Candès, M. Jordan, L. Lei, "Learn then Test", 2021, arXiv:2110.01052

    Examples
    --------
    >>> confidence = np.linspace(0.999, 0.5, 200)
    >>> round(confidence_limit(confidence, confidence > 0.6, risk=0.1), 2)  # the surest 160 of 200 answers are right
    0.58
    """
    ends, wrong = _counts(confidence, right)
    most = _most(ends, wrong, risk, doubt)
    if not most:
        return None
    return float(np.sort(confidence)[-most - 1]) if most < len(confidence) else 0.0


def refusal(confidence: np.ndarray, right: np.ndarray, risk: float, doubt: float = DOUBT) -> str:
    """Say that a risk cannot be guaranteed, which can be, and what it would take; the arguments are those of `confidence_limit`.

    Examples
    --------
    >>> refusal(np.linspace(0.99, 0.9, 30), np.ones(30, dtype=bool), risk=0.05).partition(". ")[0]
    'A share of 0.05 wrong answers cannot be guaranteed with 30 samples to judge by: the least that can be is 0.096'
    """
    (ends, wrong), n = _counts(confidence, right), len(confidence)
    least = bisect_left(_RISKS, True, key=lambda r: _most(ends, wrong, r, doubt) > 0)
    told = f"the least that can be is {_RISKS[least]:g}" if least < len(_RISKS) else "no other can be, either"

    def enough(times: float) -> bool:
        more, more_wrong = np.ceil(ends * times).astype(int), np.floor(wrong * times).astype(int)
        return _most(more, more_wrong, risk, doubt) > 0

    times = bisect_left(_TIMES, True, key=enough)
    cure = (
        f"About {int(np.ceil(n * _TIMES[times])):,} like them would be enough"
        if times < len(_TIMES)
        else "More of them would hardly be enough, as even the surest answers are wrong more often"
    )
    return f"A share of {risk:g} wrong answers cannot be guaranteed with {n} samples to judge by: {told}. {cure}."


def _counts(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of surest answers that a limit can cut off, and how many of them are wrong."""
    order = np.argsort(-confidence, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(confidence[order]) != 0, True)) + 1  # equally sure answers are all given or none
    return ends, np.cumsum(~right[order].astype(bool))[ends - 1]


def _most(ends: np.ndarray, wrong: np.ndarray, risk: float, doubt: float) -> int:
    """Return how many of the surest answers can be given, 0 where none: `wrong[i]` of the surest `ends[i]` were."""
    starts: list[int] = []
    while (start := int(ends[-1]) >> len(starts)) and (1 - risk) ** start <= doubt / (len(starts) + 1):
        starts.append(start)
    if not starts:
        return 0
    passed = binom.cdf(wrong, ends, risk) <= doubt / len(starts)
    most = 0
    for first in np.searchsorted(ends, starts):
        failed = np.flatnonzero(~passed[first:])
        last = first + (failed[0] if len(failed) else len(passed) - first) - 1
        most = max(most, int(ends[last]) if last >= first else 0)
    return most
