"""What a simple model says of a picture: a random forest on colour and place of each pixel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["features", "forest", "from_forest", "proba_from_forest"]

_PIXELS = 20_000  # of all training images together
_IMAGES = 500  # to draw them from, at most
_TREES = 24
_DEPTH = 14
_LEAF = 3  # pixels of training in a leaf, at least
_BLOCK = 2**14  # pixels at once: what is looked up for them stays in the processor's cache
_SMOOTH = 20  # the smoothed colour's window is so small a part of the shorter side


def forest(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], k: int, *, ignore: int | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Fit a random forest [1]_ on pixels drawn from all images, and return it as plain arrays.

    Parameters
    ----------
    images : sequence of ndarray, (height, width, 1 or 3)
        Values from 0 to 255; all of one number of channels.
    masks : sequence of ndarray of int, (height, width)
        Positions of classes.
    k : int
        Number of classes.
    ignore : int, optional
        What marks pixels that are not learned from.
    seed : int
        Of the pixels drawn, and of the trees.

    Returns
    -------
    dict of ndarray
        For each node of all trees, one after the other: `feature` and `threshold` (a pixel whose feature is at most that goes
        left), `left` and `right` (the numbers of the next nodes, in a leaf its own), `leaf` (the row of `shares`); for each leaf
        `shares`, the share of each class; for each tree `root`.

    References
    ----------
    .. [1] L. Breiman, "Random forests", Machine Learning 45, 2001, https://doi.org/10.1023/A:1010933404324

    Examples
    --------
    >>> image = np.zeros((8, 8, 3), np.uint8)
    >>> image[:, 4:] = 255
    >>> arrays = forest([image], [image[:, :, 0] // 255], 2)
    >>> from_forest(arrays, image)[0].tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    from sklearn.ensemble import RandomForestClassifier

    X, y = _drawn(images, masks, ignore, seed)
    model = RandomForestClassifier(_TREES, max_depth=_DEPTH, min_samples_leaf=_LEAF, n_jobs=1, random_state=seed)
    return _arrays(model.fit(X, y), k)


def from_forest(arrays: Mapping[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Return the likeliest class of each pixel, (height, width), of an image (height, width, channels) from 0 to 255."""
    return proba_from_forest(arrays, image).argmax(axis=2)


def proba_from_forest(arrays: Mapping[str, np.ndarray], image: np.ndarray) -> np.ndarray:
    """Return the share of each class, (height, width, k): the mean over the trees of what their leaves hold."""
    table = np.ascontiguousarray(features(image).T)  # feature after feature, so that a block of one lies together
    sides = np.stack([arrays["right"], arrays["left"]], axis=1).ravel().astype(np.intp)
    blocks = [_walked(arrays, sides, table[:, start : start + _BLOCK]) for start in range(0, table.shape[1], _BLOCK)]
    return np.concatenate(blocks).reshape(*image.shape[:2], -1)


def _walked(arrays: Mapping[str, np.ndarray], sides: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Lead all pixels of a block down each tree together, and return the mean of what its leaves hold.

    `sides` has the next nodes of node i at 2 i, on the right, and at 2 i + 1, on the left.
    """
    pixels = table.shape[1]
    values, columns = table.ravel(), np.arange(pixels)
    rows = arrays["feature"].astype(np.intp) * pixels
    total = np.zeros((pixels, arrays["shares"].shape[1]))
    for root in arrays["root"]:
        place, arrived = np.full(pixels, root, np.intp), False
        while not arrived:
            below = values.take(rows.take(place) + columns) <= arrays["threshold"].take(place)
            following = sides.take(2 * place + below)
            arrived, place = np.array_equal(following, place), following
        total += arrays["shares"].take(arrays["leaf"].take(place), axis=0)
    return total / len(arrays["root"])


def features(image: np.ndarray) -> np.ndarray:
    """Return what the forest looks at: of each pixel its colour, the mean colour around it, and its place from left and top.

    Parameters
    ----------
    image : ndarray, (height, width, channels)
        Values from 0 to 255.

    Returns
    -------
    ndarray of uint8, (height * width, 2 * channels + 2)
        All from 0 to 255, the place, too.

    Examples
    --------
    >>> features(np.full((1, 2, 1), 7, np.uint8)).tolist()
    [[7, 7, 0, 0], [7, 7, 255, 0]]
    """
    from scipy import ndimage

    height, width, channels = image.shape
    window = 2 * (min(height, width) // (2 * _SMOOTH)) + 3
    smooth = ndimage.uniform_filter(image.astype(np.float32), (window, window, 1), mode="nearest")
    rows, columns = (np.rint(np.linspace(0, 255, side) if side > 1 else np.zeros(1)) for side in (height, width))
    place = np.stack(np.broadcast_arrays(columns[None, :], rows[:, None]), axis=2)
    parts = [np.rint(image), np.rint(smooth), place]
    return np.concatenate([part.clip(0, 255).astype(np.uint8) for part in parts], axis=2).reshape(-1, 2 * channels + 2)


def _drawn(
    images: Sequence[np.ndarray], masks: Sequence[np.ndarray], ignore: int | None, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw about as many pixels from each image, or from as many as there is time for."""
    rng = np.random.default_rng(seed)
    looked_at = np.sort(rng.permutation(len(images))[:_IMAGES]).tolist()
    share = _PIXELS // len(looked_at)
    X, y = [], []
    for i in looked_at:
        image, mask = images[i], masks[i]
        which = np.arange(mask.size) if ignore is None else np.flatnonzero(mask != ignore)
        chosen = rng.choice(which, min(share, len(which)), replace=False)
        X.append(features(image)[chosen])
        y.append(mask.ravel()[chosen])
    return np.concatenate(X), np.concatenate(y)


def _arrays(model: Any, k: int) -> dict[str, np.ndarray]:
    """Take scikit-learn's trees apart."""
    trees = [each.tree_ for each in model.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    places, offsets = np.arange(len(leaf)), np.repeat(roots, [tree.node_count for tree in trees])
    sides = {
        name: np.where(leaf, places, np.concatenate([getattr(tree, f"children_{name}") for tree in trees]) + offsets)
        for name in ("left", "right")
    }
    shares = np.zeros((int(leaf.sum()), k))
    shares[:, model.classes_] = np.concatenate([tree.value[:, 0] for tree in trees])[leaf]
    # a whole number is at most a threshold just where it is at most its floor
    thresholds = np.floor(np.concatenate([tree.threshold for tree in trees])).clip(0, 255)
    return {
        "feature": np.where(leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int32),
        "threshold": thresholds.astype(np.uint8),
        "left": sides["left"].astype(np.int32),
        "right": sides["right"].astype(np.int32),
        "leaf": np.where(leaf, np.cumsum(leaf) - 1, 0).astype(np.int32),
        "shares": shares,
        "root": roots.astype(np.int32),
    }
