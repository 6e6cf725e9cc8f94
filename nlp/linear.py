"""The simple model beside every text classifier: TF-IDF and logistic regression."""

from typing import Any

import numpy as np

from pipelines import baselines

__all__ = ["fit", "scores"]

_FEATURES = 20_000
_SAMPLES = 20_000


def fit(texts: list[str], y: np.ndarray, k: int, seed: int) -> tuple[list[str], dict[str, np.ndarray]]:
    """Fit a logistic regression on TF-IDF of words and pairs of words, on at most 20,000 texts.

    Parameters
    ----------
    texts : list of str
        The training part.
    y : ndarray, (n,) or (n, k)
        Class codes, or a 0/1 indicator.
    k : int
        Number of classes.
    seed : int
        Which texts are taken where there are more.

    Returns
    -------
    terms : list of str
        The words and pairs that count, at most 20,000; empty where no text has a word.
    arrays : dict of ndarray
        `idf` (terms,), `coef` (k, terms) and `intercept` (k,).

    Examples
    --------
    >>> terms, arrays = fit(["good film", "bad film", "good", "bad"], np.array([1, 0, 1, 0]), 2, seed=0)
    >>> scores(["a good one"], terms, arrays).argmax()
    np.int64(1)
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(texts))[:_SAMPLES])
    vectorizer = _vectorizer()
    try:
        features = vectorizer.fit_transform([texts[i] for i in rows])
    except ValueError:  # no text has a word
        coef, intercept = baselines.fit_linear(np.zeros((len(rows), 1)), y[rows], k)
        return [], {"idf": np.empty(0), "coef": coef[:, :0], "intercept": intercept}
    coef, intercept = baselines.fit_linear(features, y[rows], k, C=10.0)  # features are short: 1 would be far too tame
    arrays = {"idf": vectorizer.idf_, "coef": coef.astype(np.float32), "intercept": intercept}
    return vectorizer.get_feature_names_out().tolist(), arrays


def scores(texts: list[str], terms: list[str], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the scores (n, k) of a model made by `fit`."""
    if not terms:
        return np.tile(arrays["intercept"], (len(texts), 1))
    vectorizer = _vectorizer(vocabulary=terms)
    vectorizer.idf_ = arrays["idf"]
    return baselines.linear_scores(vectorizer.transform(texts), arrays["coef"], arrays["intercept"])


def _vectorizer(vocabulary: Any = None) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        max_features=_FEATURES,
        token_pattern=r"(?u)\b\w\w{1,99}\b",  # a "word" of a million letters would be stored with the model
        vocabulary=vocabulary,
    )
