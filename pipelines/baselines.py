"""Simple models that every report puts beside the network's figures."""

import warnings

import numpy as np

__all__ = ["fit_linear", "linear_scores"]


def fit_linear(
    features: np.ndarray, y: np.ndarray, k: int, *, C: float = 1.0, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression, and return it as plain arrays.

    Parameters
    ----------
    features : ndarray, (n, d)
        Roughly standardised.
    y : ndarray, (n,) or (n, k)
        Class codes below `k`, or a 0/1 indicator (one regression a label).
    k : int
        Number of classes.
    C : float
        How freely the regression may follow the samples; scikit-learn's parameter.
    weights : ndarray, (k,), optional
        Weight of each class, or of each present label; 1 by default.

    Returns
    -------
    coef, intercept : ndarray, (k, d) and (k,)
        A class that does not occur in `y` gets a score that no sample reaches.

    Examples
    --------
    >>> coef, intercept = fit_linear(np.array([[-1.0], [-2.0], [1.0], [2.0]]), np.array([0, 0, 1, 1]), 2)
    >>> linear_scores(np.array([[3.0]]), coef, intercept).argmax()
    np.int64(1)
    """
    coef, intercept = np.zeros((k, features.shape[1])), np.full(k, -30.0)
    weights = np.ones(k) if weights is None else weights
    if y.ndim == 2:
        for j in range(k):
            if len(np.unique(y[:, j])) > 1:
                coef[j], intercept[j] = (part[0] for part in _regression(features, y[:, j], C, 1 + y[:, j] * (weights[j] - 1)))
            else:
                intercept[j] = 30.0 if y[0, j] else -30.0
        return coef, intercept
    seen = np.unique(y)
    if len(seen) < 2:
        intercept[seen] = 0.0
        return coef, intercept
    weights, bias = _regression(features, y, C, weights[y])
    if len(seen) == 2:  # scikit-learn gives the second class's score; the first one's is zero
        weights, bias = np.vstack([np.zeros_like(weights), weights]), np.array([0.0, bias[0]])
    coef[seen], intercept[seen] = weights, bias
    return coef, intercept


def linear_scores(features: np.ndarray, coef: np.ndarray, intercept: np.ndarray) -> np.ndarray:
    """Return the scores (logits) of a regression made by `fit_linear`."""
    return features @ coef.T + intercept


def _regression(features: np.ndarray, y: np.ndarray, C: float, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    with warnings.catch_warnings(), threadpool_limits(1, "blas"):  # on a busy machine BLAS threads wait for each other
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline that stopped early is still one
        model = LogisticRegression(C=C, max_iter=100).fit(features, y, sample_weight=shares)
    return model.coef_, model.intercept_
