"""Boosted trees: grown by scikit-learn, taken out into plain arrays, which need no pickle."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

__all__ = ["Boosted", "arrays", "grow"]

_SMALL = 10_000  # rows: with fewer, threads wait for each other longer than they work
_FIELDS = {
    "feature": ("feature_idx", np.int64),
    "threshold": ("num_threshold", np.float32),
    "missing_left": ("missing_go_to_left", np.bool),
    "left": ("left", np.int64),
    "right": ("right", np.int64),
    "value": ("value", np.float32),
}


class Boosted:
    """Gradient boosting as scikit-learn grew it, whose scores have a column for every class of the task.

    Parameters
    ----------
    model : HistGradientBoostingClassifier
        Fitted.
    seen : ndarray
        The codes of the classes it was fitted on.
    classes : int
        Number of classes of the task.
    samples : int
        It was fitted on so many; a class that was not among them is as unlikely as half a sample.
    """

    def __init__(self, model: Any, seen: np.ndarray, classes: int, samples: int) -> None:
        self.model, self.classes = model, classes
        self.outputs = seen if len(seen) > 2 else seen[1:]  # of two classes one has scores, the other has zeros
        self.start = np.full(classes, np.log(0.5 / samples))
        self.start[seen] = 0.0
        self.start[self.outputs] = model._baseline_prediction.ravel()

    def staged(self, X: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the scores (n, classes) after each round."""
        for stage in self.model.staged_decision_function(X):
            scores = np.tile(self.start, (len(X), 1))
            scores[:, self.outputs] = stage.reshape(len(X), -1)
            yield scores

    def trees(self, rounds: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield class and nodes of each tree of the first rounds."""
        for trees in self.model._predictors[:rounds]:
            for output, tree in zip(self.outputs, trees, strict=True):
                yield int(output), tree.nodes


def grow(
    X: np.ndarray, y: np.ndarray, weights: np.ndarray, *, rounds: int, lr: float, leaves: int, columns: float, seed: int
) -> Boosted:
    """Grow boosted trees on the logistic loss.

    Parameters
    ----------
    X : ndarray, (n, d)
        Float32, so that thresholds lie between numbers that a network can tell apart; NaN where missing.
    y : ndarray, (n,)
        Class codes, of at least two classes.
    weights : ndarray, (k,)
        Weight of each class.
    rounds, lr, leaves : int, float, int
        Trees a class, how much of each counts, and leaves of each.
    columns : float
        Share of the columns that a split chooses among.
    seed : int
        Of that choice.

    Examples
    --------
    >>> X, y = np.arange(40, dtype=np.float32)[:, None], np.arange(40) // 20
    >>> model = grow(X, y, np.ones(2), rounds=5, lr=0.1, leaves=2, columns=1.0, seed=0)
    >>> list(model.staged(X[:1]))[-1].round(2).tolist()
    [[0.0, -0.73]]
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    model = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=lr,
        max_leaf_nodes=leaves,
        min_samples_leaf=10,
        l2_regularization=1.0,
        max_features=columns,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(1 if len(X) < _SMALL else None, "openmp"):
        model.fit(X, y, sample_weight=weights[y])
    return Boosted(model, np.unique(y), len(weights), len(y))


def arrays(members: Sequence[Boosted], rounds: int) -> tuple[dict[str, np.ndarray], int]:
    """Return the mean of several boosted models as arrays, all their trees' nodes one after the other.

    Returns
    -------
    arrays : dict of ndarray
        `feature`, `threshold`, `missing_left`, `left`, `right`, `value` of each node, where a leaf leads to itself; `root` and
        `output` (class) of each tree; `start`, the scores without any tree.
    depth : int
        The most steps from a root to a leaf.

    Examples
    --------
    >>> X, y = np.arange(40, dtype=np.float32)[:, None], np.arange(40) // 20
    >>> model = grow(X, y, np.ones(2), rounds=1, lr=0.1, leaves=2, columns=1.0, seed=0)
    >>> found, depth = arrays([model], 1)
    >>> found["threshold"][0], found["left"].tolist(), depth
    (np.float32(19.5), [1, 1, 2], 1)
    """
    trees = [tree for member in members for tree in member.trees(rounds)]
    roots = np.cumsum([0, *(len(nodes) for _, nodes in trees)])[:-1]
    found: dict[str, np.ndarray] = {
        name: np.concatenate([nodes[field] for _, nodes in trees]).astype(kind) for name, (field, kind) in _FIELDS.items()
    }
    leaf = np.concatenate([nodes["is_leaf"] for _, nodes in trees]).astype(bool)
    places, offsets = np.arange(len(leaf)), np.repeat(roots, [len(nodes) for _, nodes in trees])
    for side in ("left", "right"):
        found[side] = np.where(leaf, places, found[side] + offsets)
    exact = np.concatenate([nodes["num_threshold"] for _, nodes in trees])
    found["threshold"] = _not_above(found["threshold"], exact)
    found["feature"][leaf] = 0
    found["value"] = np.where(leaf, found["value"] / len(members), 0).astype(np.float32)
    found["root"], found["output"] = roots.astype(np.int64), np.array([output for output, _ in trees], dtype=np.int64)
    found["start"] = np.mean([member.start for member in members], axis=0).astype(np.float32)
    return found, max(int(nodes["depth"].max()) for _, nodes in trees)


def _not_above(rounded: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Round down: a float32 is at most `exact` just where it is at most the largest float32 that is."""
    return np.where(rounded > exact, np.nextafter(rounded, np.float32(-np.inf)), rounded)
