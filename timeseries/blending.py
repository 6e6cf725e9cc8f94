"""How much of a forecast comes from the network, and how much from the simple forecasts beside it."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax

__all__ = ["blended", "weights"]

_MOST_VALUES = 200_000  # forecasts compared when weights are chosen


def weights(forecasts: Mapping[str, np.ndarray], truth: np.ndarray, seed: int) -> dict[str, float]:
    """Choose the shares, none below zero and one in all, whose mixture has the smallest mean absolute error [1]_.

    Parameters
    ----------
    forecasts : mapping of str to ndarray
        Forecasts of the validation part by each method, in one unit.
    truth : ndarray
        What came, NaN where it is missing.
    seed : int
        Of the values drawn where there are very many.

    Returns
    -------
    dict of str to float
        Shares below one in a hundred are left out.

    References
    ----------
    .. [1] D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992; J. M. Bates and C. W. J. Granger, "The combination of
       forecasts", Operational Research Quarterly 20, 1969.

    Examples
    --------
    >>> weights({"a": np.array([1.0, 2.0, 3.0]), "b": np.array([9.0, 9.0, 9.0])}, np.array([1.0, 2.0, 3.0]), seed=0)
    {'a': 1.0}
    """
    seen = np.flatnonzero(~np.isnan(truth))
    if len(seen) > _MOST_VALUES:
        seen = np.sort(np.random.default_rng(seed).choice(seen, _MOST_VALUES, replace=False))
    said, came = np.stack([one.ravel()[seen] for one in forecasts.values()]), truth.ravel()[seen]
    unit = float(np.abs(said - came).mean()) or 1.0  # the search stops at slopes that are small as such
    said, came = said / unit, came / unit

    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        shares = softmax(scores)
        error = shares @ said - came
        slope = said @ np.sign(error) / len(came)
        return float(np.abs(error).mean()), shares * (slope - shares @ slope)

    starts = [np.zeros(len(said)), *(4 * np.eye(len(said)))]
    found = min((minimize(loss, start, jac=True, method="L-BFGS-B") for start in starts), key=lambda result: result.fun)
    shares = softmax(found.x)
    shares = np.where(shares < 0.01, 0.0, shares)
    return {name: float(share) for name, share in zip(forecasts, shares / shares.sum(), strict=True) if share}


def blended(forecasts: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> np.ndarray:
    """Mix forecasts by their shares."""
    return np.sum([share * forecasts[name] for name, share in shares.items()], axis=0)
