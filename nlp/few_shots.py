"""Learning from a handful of texts a class: the encoder learns what belongs together, and class names count as knowledge.

The method is in the manner of SetFit [1]_, with a supervised contrastive loss [2]_ over all pairs of a batch. The last layer is a
logistic regression whose prior is not zero but the direction of each class's name, where classes have names.

References
----------
.. [1] Tunstall et al. (2022), "Efficient Few-Shot Learning Without Prompts", arXiv:2209.11055.
.. [2] Khosla et al. (2020), "Supervised Contrastive Learning", arXiv:2004.11362.
"""

import re
from typing import Any

import numpy as np

from pipelines import data
from pipelines.engines import load_framework

from .tokens import Tokens

torch: Any = load_framework("torch", extra="nlp")

__all__ = ["TEMPLATES", "ClassBatches", "Contrast", "names", "regression", "towards_names"]

TEMPLATES = ("{}", "This sentence is {}", "This text is about {}.", "a {} text")

_TEMPERATURE = 0.1  # of the contrastive loss
_TRUST = 5.0  # how far the prior goes towards a class's name


def names(classes: np.ndarray) -> list[str] | None:
    """Return the classes' names as words, or None where they are numbers.

    Examples
    --------
    >>> names(np.array(["card_arrival", "LostCard"]))
    ['card arrival', 'Lost Card']
    >>> names(np.array([0, 1])) is None
    True
    """
    if classes.dtype.kind != "U":
        return None
    found = [re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-./:]+", " ", name).strip() for name in classes.tolist()]
    return found if all(re.search(r"[^\W\d]", name) for name in found) and len(set(found)) == len(found) else None


class ClassBatches(data.Batches):
    """Batches with several texts of each of their classes, drawn anew every epoch.

    Parameters
    ----------
    tokens : Tokens
        One window a text.
    y : ndarray, (windows,)
        Class codes.
    batch_size, steps : int
        Texts a batch; batches an epoch.
    seed : int
        Of the drawing.
    """

    def __init__(self, tokens: Tokens, y: np.ndarray, batch_size: int, steps: int, seed: int) -> None:
        self.members = [np.flatnonzero(y == code) for code in np.unique(y)]
        self.steps = steps
        together = max(2, min(len(self.members), batch_size // 2))
        self.each = max(2, batch_size // together)
        self.classes = together
        super().__init__(tokens.padded, len(tokens), together * self.each, targets=y, seed=seed)

    def start_epoch(self, epoch: int) -> None:
        """Draw for `epoch`: some classes a batch, and as many texts of each; a class with fewer texts gives some twice."""
        rng = np.random.default_rng([self.seed or 0, epoch])
        self.order = np.concatenate([self._draw(rng) for _ in range(self.steps)])

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        chosen = rng.permutation(len(self.members))[: self.classes]
        return np.concatenate([np.resize(rng.permutation(self.members[k]), self.each) for k in chosen])


class Contrast:
    """The supervised contrastive loss: a text should be nearer to those of its class than to all others."""

    def __call__(self, vectors: Any, y: Any) -> Any:
        """Return the mean loss over the texts of a batch."""
        unit = torch.nn.functional.normalize(vectors.float(), dim=1)
        itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
        near = (unit @ unit.T / _TEMPERATURE).masked_fill(itself, -1e4)
        same = (y[:, None] == y[None]) & ~itself
        logs = near - near.logsumexp(1, keepdim=True)
        return -((logs * same).sum(1) / same.sum(1).clamp(min=1)).mean()


def towards_names(vectors: np.ndarray, count: int) -> np.ndarray:
    """Return the direction of each class from the mean of all.

    Parameters
    ----------
    vectors : ndarray, (templates * classes, d)
        Unit vectors of the names in each template, one template after the other.
    count : int
        Number of classes.

    Returns
    -------
    ndarray, (classes, d)
    """
    means = vectors.reshape(-1, count, vectors.shape[1]).mean(0)
    means = means - means.mean(0)
    return _TRUST * means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)


def regression(
    vectors: np.ndarray, y: np.ndarray, prior: np.ndarray, C: float, weights: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a logistic regression whose coefficients are believed beforehand to be near `prior` instead of zero.

    Parameters
    ----------
    vectors : ndarray, (n, d)
        Unit vectors of the texts.
    y : ndarray, (n,)
        Class codes.
    prior : ndarray, (k, d)
        Mean of the coefficients' prior.
    C : float
        Its variance, as scikit-learn's parameter.
    weights : ndarray, (k,), optional
        Weight of each class; 1 by default.

    Returns
    -------
    coef, intercept : ndarray, (k, d) and (k,)
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    n, k = len(vectors), len(prior)
    middle = vectors.mean(0)
    centred = vectors - middle
    offsets, truth = centred @ prior.T, np.eye(k)[y]
    shares = C * (np.ones(k) if weights is None else weights)[y]

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        more, bias = flat[:-k].reshape(k, -1), flat[-k:]
        logs = log_softmax(offsets + centred @ more.T + bias, axis=1)
        errors = (np.exp(logs) - truth) * shares[:, None]
        value = -shares @ logs[np.arange(n), y] + 0.5 * (more**2).sum() + 0.005 * (bias**2).sum()
        return value, np.concatenate([(errors.T @ centred + more).ravel(), errors.sum(0) + 0.01 * bias])

    flat = minimize(cost, np.zeros(prior.size + k), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    coef = prior + flat[:-k].reshape(k, -1)
    return coef, flat[-k:] - coef @ middle
