"""How well the boundaries between classes are met, whatever lies inside them."""

import numpy as np
from scipy.spatial import KDTree

from pipelines.metrics._segmentation_measures import ratio

__all__ = ["boundary_f1", "edges"]


def boundary_f1(truth: np.ndarray, said: np.ndarray, k: int, share: float) -> np.ndarray:
    """Measure the boundary F1 of each class in one image.

    Precision is the share of the predicted boundary that lies near the true one, recall the share of the true boundary near the
    predicted one, F1 their harmonic mean [1]_.

    Parameters
    ----------
    truth, said : ndarray of int, of the same shape
        In the layout of `Case`: class ``v`` is ``v + 1``, and 0 counts nowhere.
    k : int
        Number of classes.
    share : float
        How near that is, as a share of the image's diagonal.

    Returns
    -------
    ndarray of shape (k,)
        0 where only one of the masks has a boundary, ``nan`` where none has.

    References
    ----------
    .. [1] G. Csurka, D. Larlus and F. Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013,
           https://doi.org/10.5244/C.27.32

    Examples
    --------
    >>> truth, said = np.ones((2, 9, 9), dtype=int)
    >>> truth[:, 4:], said[:, 5:] = 2, 2
    >>> [boundary_f1(truth, said, 2, share).tolist() for share in (0.05, 0.1)]  # within 0.6 and 1.3 pixels
    [[0.0, 0.0], [1.0, 1.0]]
    """
    tolerance = share * float(np.linalg.norm(truth.shape))
    ours, theirs = (np.where(edges(mask), mask, 0) for mask in (said, truth))
    found, true = _counted(ours, k), _counted(theirs, k)
    precision = ratio(_counted(_near(ours, theirs, tolerance), k), found)
    recall = ratio(_counted(_near(theirs, ours, tolerance), k), true)
    f1 = np.nan_to_num(ratio(2 * recall * precision, recall + precision))
    return np.where(true + found > 0, f1, np.nan)


def edges(mask: np.ndarray) -> np.ndarray:
    """Find the voxels that touch one of another class along an axis; neither the image's edge nor what counts nowhere is one.

    Examples
    --------
    >>> edges(np.array([[1, 1, 2, 0, 1]])).tolist()
    [[False, True, True, False, False]]
    """
    found = np.zeros(mask.shape, dtype=bool)
    for axis in range(mask.ndim):
        values, edge = np.moveaxis(mask, axis, 0), np.moveaxis(found, axis, 0)
        apart = (values[:-1] != values[1:]) & (values[:-1] > 0) & (values[1:] > 0)
        edge[:-1] |= apart
        edge[1:] |= apart
    return found


def _near(line: np.ndarray, other: np.ndarray, tolerance: float) -> np.ndarray:
    """Keep of a line of classes what has the same class of the other one within the tolerance."""
    near = np.where(line == other, line, 0)
    far = (line > 0) & (near == 0)
    if far.any() and other.any():
        # One tree for all classes: the class is one more axis, along which they are farther apart than any two places.
        apart = 2 * sum(line.shape)
        start, goal = (
            np.column_stack([labels[which] * apart, np.argwhere(which)]) for labels, which in ((line, far), (other, other > 0))
        )
        reach = np.nextafter(tolerance, np.inf)  # the bound itself is left out
        near[far] = np.where(np.isfinite(KDTree(goal).query(start, distance_upper_bound=reach)[0]), line[far], 0)
    return near


def _counted(line: np.ndarray, k: int) -> np.ndarray:
    return np.bincount(line.ravel(), minlength=k + 1)[1:]
