"""How much of a forecast comes from the network, and how much from the simple forecasts beside it."""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

__all__ = ["blended", "weights"]

_MOST_VALUES = 200_000  # forecasts compared when weights are chosen
_LEARNED, _NAIVE = 0.45, 0.03  # shares before anything is seen, of a method that learned from the series and of one that did not
_CAUTION = 2.0  # forecasts that do not overlap, to outweigh the shares before


def weights(forecasts: Mapping[str, np.ndarray], truth: np.ndarray, seed: int, independent: float) -> dict[str, float]:
    """Choose the shares, none below zero and one in all, whose mixture has the smallest mean absolute error [1]_.

    A validation part of one or two seasons says little, and mixtures fitted to so little lose to plain averages [2]_. So shares
    that leave those of equal parts of the network and the linear map cost what their relative entropy to these is, and the less
    the more forecasts that do not overlap were seen.

    Parameters
    ----------
    forecasts : mapping of str to ndarray
        Forecasts of the validation part by each method, in one unit.
    truth : ndarray
        What came, NaN where it is missing.
    seed : int
        Of the values drawn where there are very many.
    independent : float
        How many of the forecasts do not overlap.

    Returns
    -------
    dict of str to float
        Shares below one in a hundred are left out.

    References
    ----------
    .. [1] D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992; J. M. Bates and C. W. J. Granger, "The combination of
       forecasts", Operational Research Quarterly 20, 1969.
    .. [2] G. Claeskens et al., "The forecast combination puzzle: a simple theoretical explanation", Int. J. Forecasting 32, 2016.

    Examples
    --------
    >>> right, wrong, truth = np.array([1.0, 2.0, 3.0]), np.array([9.0, 9.0, 9.0]), np.array([1.0, 2.0, 3.0])
    >>> weights({"network": right, "last value": wrong}, truth, seed=0, independent=3)
    {'network': 1.0}
    """
    seen = np.flatnonzero(~np.isnan(truth))
    if len(seen) > _MOST_VALUES:
        seen = np.sort(np.random.default_rng(seed).choice(seen, _MOST_VALUES, replace=False))
    said, came = np.stack([one.ravel()[seen] for one in forecasts.values()]), truth.ravel()[seen]
    unit = float(np.abs(said - came).mean(axis=1).min()) or 1.0  # costs are shares of the best method's error
    said, came = said / unit, came / unit
    prior = np.log([_LEARNED if name in ("network", "linear map") else _NAIVE for name in forecasts])
    caution = _CAUTION / max(independent, 1.0)

    def loss(scores: np.ndarray) -> tuple[float, np.ndarray]:
        shares, surprise = softmax(scores), log_softmax(scores) - log_softmax(prior)
        error = shares @ said - came
        slope = said @ np.sign(error) / len(came) + caution * surprise
        return float(np.abs(error).mean() + caution * (shares @ surprise)), shares * (slope - shares @ slope)

    starts = [prior, *(prior + 4 * np.eye(len(said)))]
    found = min((minimize(loss, start, jac=True, method="L-BFGS-B") for start in starts), key=lambda result: result.fun)
    shares = softmax(found.x)
    shares = np.where(shares < 0.01, 0.0, shares)
    return {name: float(share) for name, share in zip(forecasts, shares / shares.sum(), strict=True) if share}


def blended(forecasts: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> np.ndarray:
    """Mix forecasts by their shares."""
    return np.sum([share * forecasts[name] for name, share in shares.items()], axis=0)
