"""Quantile forecasts: their loss, their order, and the shift that brings them to what they promise."""

from collections.abc import Sequence

import numpy as np

__all__ = ["ordered", "pinball", "shifts"]


def pinball(outputs: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> float:
    """Return twice the mean quantile loss of outputs (n, C, horizon, levels) over what was observed of (n, C, horizon).

    Examples
    --------
    >>> pinball(np.zeros((1, 1, 2, 1)), np.array([[[3.0, np.nan]]]), [0.5])
    3.0
    """
    error = truth[..., None] - outputs
    q = np.asarray(levels)
    return float(2 * np.nanmean(np.maximum(q * error, (q - 1) * error)))


def ordered(outputs: np.ndarray, median: int) -> np.ndarray:
    """Keep quantiles from crossing: the median stays, and those beside it give way.

    Examples
    --------
    >>> ordered(np.array([2.0, 1.0, 3.0]), median=1)
    array([1., 1., 3.])
    """
    low = np.minimum.accumulate(outputs[..., : median + 1][..., ::-1], axis=-1)[..., ::-1]
    high = np.maximum.accumulate(outputs[..., median:], axis=-1)
    return np.concatenate([low, high[..., 1:]], axis=-1)


def shifts(outputs: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Return what to add to each quantile so that the validation part lies below it as often as it says [1]_.

    Parameters
    ----------
    outputs : ndarray, (n, C, horizon, levels)
        Quantile forecasts of the validation part.
    truth : ndarray, (n, C, horizon)
        What came, NaN where it is missing.
    levels : sequence of float
        The quantiles; the median is not shifted.

    Returns
    -------
    ndarray, (C, horizon, levels)

    References
    ----------
    .. [1] Y. Romano, E. Patterson, E. Candès, "Conformalized Quantile Regression", NeurIPS 2019; arXiv:1905.03222.
    """
    found = np.zeros(outputs.shape[1:])
    for k, level in enumerate(levels):
        if level != 0.5:
            found[..., k] = np.nan_to_num(np.nanquantile(truth - outputs[..., k], level, axis=0))
    return found
