"""What simple models say of a scan: the mean shape of the training masks, and Otsu's threshold."""

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["atlas", "brightness", "from_atlas", "from_brightness", "otsu"]

_SIDE = 24  # of the grid the mean shape is kept on
_BINS = 256


def atlas(masks: Sequence[np.ndarray], k: int) -> np.ndarray:
    """Return the share of masks that have each class, on a coarse grid over each of them.

    Parameters
    ----------
    masks : sequence of ndarray of int
        Positions of classes, of any shapes.
    k : int
        Number of classes.

    Returns
    -------
    ndarray, (k, 24, 24[, 24])
        float32.

    Examples
    --------
    >>> atlas([np.eye(30, dtype=int)], 2).shape
    (2, 24, 24)
    """
    grid = (_SIDE,) * masks[0].ndim
    total = np.zeros((k, *grid), np.float32)
    for mask in masks:
        total += np.stack([_resized((mask == v).astype(np.float32), grid) for v in range(k)])
    return total / np.float32(len(masks))


def from_atlas(shares: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the likeliest class at each place of a scan of another shape.

    Examples
    --------
    >>> from_atlas(atlas([np.tri(30, dtype=int)], 2), (3, 3)).tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    return np.argmax([_resized(share, shape) for share in shares], axis=0).astype(np.int32)


def otsu(array: np.ndarray) -> float:
    """Return the threshold that parts the values into two groups as far apart as they can be (Otsu 1979).

    Examples
    --------
    >>> bool(1 < otsu(np.array([0.0, 0.5, 1.0, 9.0, 9.5, 10.0])) < 9)
    True
    """
    counts, edges = np.histogram(array, _BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * middles)
    above = below[-1] - below
    apart = np.divide(sums, below, where=below > 0, out=np.zeros(_BINS)) - np.divide(
        sums[-1] - sums, above, where=above > 0, out=np.zeros(_BINS)
    )
    return float(edges[1 + int(np.argmax(below * above * apart**2))])


def brightness(scans: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> dict[str, Any]:
    """Find out whether structures are brighter than Otsu's threshold or darker, and which of them is the most frequent.

    Parameters
    ----------
    scans : sequence of ndarray, (c, …)
        Values.
    masks : sequence of ndarray of int
        Positions of classes.

    Returns
    -------
    dict
        `above` and `label`.

    Examples
    --------
    >>> brightness([np.array([[0.0, 1, 9, 9]])], [np.array([0, 0, 2, 2])])
    {'above': True, 'label': 2}
    """
    k = 1 + max(int(mask.max()) for mask in masks)
    counts = np.sum([np.bincount(mask.ravel(), minlength=k) for mask in masks], axis=0)
    right = 0
    for scan, mask in zip(scans, masks, strict=True):
        grey = scan.mean(axis=0)
        bright = grey > otsu(grey)
        right += int(np.sum(bright & (mask > 0))) - int(np.sum(~bright & (mask > 0)))
    return {"above": right >= 0, "label": 1 + int(np.argmax(counts[1:]))}


def from_brightness(array: np.ndarray, found: dict[str, Any]) -> np.ndarray:
    """Return the most frequent structure on that side of Otsu's threshold where structures are.

    Examples
    --------
    >>> from_brightness(np.array([0.0, 1, 9, 9]), {"above": True, "label": 2}).tolist()
    [0, 0, 2, 2]
    """
    bright = array > otsu(array)
    return np.where(bright if found["above"] else ~bright, found["label"], 0).astype(np.int32)


def _resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    from scipy import ndimage

    factors = [new / old for new, old in zip(shape, array.shape, strict=True)]
    return ndimage.zoom(array, factors, order=1, mode="nearest", grid_mode=True)
