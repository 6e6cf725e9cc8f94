"""Word vectors from nothing but the training texts: what a network from scratch begins with."""

import math

import numpy as np

from .tokens import Tokens

__all__ = ["word_vectors"]

_WINDOW = 5  # words to each side that count as neighbours


def word_vectors(tokens: Tokens, size: int, units: int, spread: float, seed: int) -> np.ndarray:
    """Factorise how much more often than by chance tokens stand near each other.

    Parameters
    ----------
    tokens : Tokens
        The training texts.
    size : int
        Number of tokens in the vocabulary.
    units : int
        Numbers a vector.
    spread : float
        Root mean square of each vector; a token without neighbours gets a random one.
    seed : int
        Of the factorisation.

    Returns
    -------
    ndarray, (size, units)
        One vector a token.

    References
    ----------
    .. [1] Levy, Goldberg, Dagan (2015), "Improving Distributional Similarity with Lessons Learned from Word Embeddings", TACL 3:
       positive pointwise mutual information, contexts smoothed by the power 0.75, singular values by the power 0.5.

    Examples
    --------
    >>> from .tokens import Tokenizer, learn_words
    >>> stored = learn_words(["the cat sat", "the dog sat"] * 2, size=50)
    >>> tokens = Tokenizer(stored, limit=8).encode(["the cat sat", "the dog sat"])
    >>> word_vectors(tokens, 9, 4, spread=0.1, seed=0).shape
    (9, 4)
    """
    from scipy.sparse import csr_array
    from sklearn.utils.extmath import randomized_svd

    counts = _neighbours(tokens, size)
    rows, columns = np.asarray(counts.sum(1)).ravel(), np.asarray(counts.sum(0)).ravel() ** 0.75
    cells = counts.tocoo()
    information = np.log(cells.data / (rows[cells.row] * (columns / columns.sum())[cells.col]))
    more = information > 0
    table = csr_array((information[more], (cells.row[more], cells.col[more])), shape=(size, size))
    left, strengths, _ = randomized_svd(table, min(units, size - 1), n_iter=4, random_state=seed)
    vectors = np.zeros((size, units))
    vectors[:, : len(strengths)] = left * np.sqrt(strengths)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    random = np.random.default_rng(seed).normal(0, spread, vectors.shape)
    return np.where(lengths > 1e-8, vectors / np.maximum(lengths, 1e-8) * spread * math.sqrt(units), random)


def _neighbours(tokens: Tokens, size: int) -> "csr_array":  # type: ignore[name-defined]  # noqa: F821
    """Count neighbours, those at distance k as 1 / k, within each window."""
    from scipy.sparse import coo_array

    ids, window = tokens.ids, np.repeat(np.arange(len(tokens)), tokens.lengths)
    counts = coo_array((size, size)).tocsr()
    for k in range(1, _WINDOW + 1):
        same = window[:-k] == window[k:]
        one, other = ids[:-k][same], ids[k:][same]
        share = np.full(2 * len(one), 1 / k)
        counts += coo_array((share, (np.concatenate([one, other]), np.concatenate([other, one]))), shape=(size, size)).tocsr()
    return counts
