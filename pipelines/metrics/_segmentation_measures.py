"""What there is to count and to measure in each case: overlap, distances between surfaces, volumes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion, find_objects
from scipy.spatial import KDTree

from pipelines.errors import DataError
from pipelines.metrics._segmentation_masks import Case, Masks

__all__ = ["Measures", "dice", "iou", "measure", "pair_counts", "ratio", "surface_distances"]

_PERCENTILE = 0.95
_MM3_PER_ML = 1000


@dataclass(frozen=True, eq=False)
class Measures:
    """One model on ``n`` cases by ``s`` structures; ``nan`` where something is undefined.

    Parameters
    ----------
    both, true, said : ndarray of int, shape (n, s)
        Voxels that are of the structure in truth and prediction, in truth, in the prediction.
    hd95 : ndarray of float, shape (n, s)
        95th percentile of the distances between surfaces; undefined where truth or prediction is empty.
    surface_dice : ndarray of float, shape (n, s)
        Share of both surfaces within the tolerance of the other.
    confusion : ndarray of int, shape (k, k)
        Voxels of all cases: rows true, columns predicted, of every class.
    right, voxels : ndarray of int, shape (n,)
        Voxels of the right class, and all that count.
    voxel_size : ndarray of float, shape (n,)
        Size of a voxel: in millilitres (3-D) or square millimetres (2-D) where the spacing is known, or else 1.
    ndim : int
        Number of axes of the masks.
    """

    both: np.ndarray
    true: np.ndarray
    said: np.ndarray
    hd95: np.ndarray
    surface_dice: np.ndarray
    confusion: np.ndarray
    right: np.ndarray
    voxels: np.ndarray
    voxel_size: np.ndarray
    ndim: int

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.voxels)

    @cached_property
    def dice(self) -> np.ndarray:
        """Twice the voxels that both have, divided by the sum of what each has."""
        return dice(self.both, self.true, self.said)

    @cached_property
    def iou(self) -> np.ndarray:
        """Voxels that both have, divided by those that at least one has."""
        return iou(self.both, self.true, self.said)

    @cached_property
    def volume_bias(self) -> np.ndarray:
        """Volume too much (below 0: too little), as a share of the true one; undefined without a true one."""
        return ratio(self.said - self.true, self.true)

    @cached_property
    def volume_error(self) -> np.ndarray:
        """The same without its sign."""
        return np.abs(self.volume_bias)


def measure(masks: Masks, models: Sequence[tuple[str, Any]], tolerance: float) -> list[Measures]:
    """Measure what models say, fetching every mask once.

    Parameters
    ----------
    masks : Masks
        The truth.
    models : sequence of (str, sequence of masks or int)
        Name and masks of each model, or one label that it says everywhere.
    tolerance : float
        Distance within which a surface counts as found.

    Returns
    -------
    list of Measures
        One per model.

    Raises
    ------
    DataError
        Naming the first case that cannot be used.
    """
    rows: list[list[dict[str, Any]]] = [[] for _ in models]
    confusions = [np.zeros((len(masks.classes),) * 2, dtype=np.int64) for _ in models]
    dimensions, sizes = 0, []
    for i in range(masks.n):
        case = masks.case(i, models)
        dimensions = dimensions or case.truth.ndim
        if case.truth.ndim != dimensions:
            raise DataError(
                f"y_true[{i}] has {case.truth.ndim} axes, but y_true[0] has {dimensions}; report pictures and volumes apart."
            )
        sizes.append(_voxel_size(case.spacing) if masks.spacing is not None else 1.0)
        boxes = find_objects(case.truth, len(masks.classes))
        for row, confusion, said in zip(rows, confusions, case.said, strict=True):
            counts = pair_counts(case.truth, said, len(masks.classes))
            confusion += counts
            row.append(_row(masks, case, said, boxes, counts, tolerance))
    return [
        Measures(
            **{name: np.array([row[name] for row in found]) for name in found[0]},
            confusion=confusion,
            voxel_size=np.array(sizes),
            ndim=dimensions,
        )
        for found, confusion in zip(rows, confusions, strict=True)
    ]


def surface_distances(truth: np.ndarray, said: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Measure how far each voxel on the surface of one mask is from the surface of the other.

    A voxel is on the surface where one of its neighbours along an axis is not of the structure, or is outside the image.

    Parameters
    ----------
    truth, said : ndarray of bool, of the same shape
        Two masks, neither empty.
    spacing : sequence of float
        Size of a voxel along each axis.

    Returns
    -------
    from_truth, from_said : ndarray of float32
        Distances from the surface of each to that of the other, in the unit of the spacing.

    Examples
    --------
    >>> truth, said = np.zeros((2, 5, 5), dtype=bool)
    >>> truth[2, 1:3], said[2, 1:5] = True, True
    >>> [each.tolist() for each in surface_distances(truth, said, (1.0, 0.5))]
    [[0.0, 0.0], [0.0, 0.0, 0.5, 1.0]]
    """
    one, other = (mask ^ binary_erosion(mask) for mask in (truth, said))
    return _distances(one, other, spacing), _distances(other, one, spacing)


def dice(both: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return twice the voxels that both have, divided by the sum of what each has."""
    return ratio(2 * both, true + said)


def iou(both: np.ndarray, true: np.ndarray, said: np.ndarray) -> np.ndarray:
    """Return the voxels that both have, divided by those that at least one has."""
    return ratio(both, true + said - both)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; nan where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)


def _voxel_size(spacing: tuple[float, ...]) -> float:
    return math.prod(spacing) / (_MM3_PER_ML if len(spacing) == 3 else 1)


def pair_counts(truth: np.ndarray, said: np.ndarray, k: int) -> np.ndarray:
    """Return the confusion matrix of one case in the layout of `Case`, without what counts nowhere.

    Examples
    --------
    >>> pair_counts(np.array([[1, 2, 0]]), np.array([[1, 1, 0]]), 2).tolist()
    [[1, 0], [1, 0]]
    """
    pairs = np.bincount((truth * (k + 1) + said).ravel(), minlength=(k + 1) ** 2)
    return pairs.reshape(k + 1, k + 1)[1:, 1:]


def _row(masks: Masks, case: Case, said: np.ndarray, boxes: list, counts: np.ndarray, tolerance: float) -> dict[str, Any]:
    which = list(masks.structures)
    both, true, found = counts.diagonal()[which], counts.sum(axis=1)[which], counts.sum(axis=0)[which]
    surfaces = np.full((2, len(which)), np.nan)
    surfaces[1, (true > 0) ^ (found > 0)] = 0.0  # all of the one surface is there for nothing
    others = find_objects(said, len(masks.classes))
    for j in np.flatnonzero((true > 0) & (found > 0)):
        v = which[j]
        box = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(boxes[v], others[v], strict=True))
        surfaces[:, j] = _surface(case.truth[box] == v + 1, said[box] == v + 1, case.spacing, tolerance)
    hd95, surface_dice = surfaces
    overlap = {"both": both, "true": true, "said": found, "right": counts.trace(), "voxels": counts.sum()}
    return overlap | {"hd95": hd95, "surface_dice": surface_dice}


def _surface(truth: np.ndarray, said: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> tuple[float, float]:
    there, back = surface_distances(truth, said, spacing)
    near = np.count_nonzero(there <= np.float32(tolerance)) + np.count_nonzero(back <= np.float32(tolerance))
    hd95 = max(np.quantile(there, _PERCENTILE), np.quantile(back, _PERCENTILE))
    return float(hd95), near / (len(there) + len(back))


def _distances(start: np.ndarray, goal: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    # Single precision, so that two voxels of 0.7 mm are within a tolerance of 1.4 mm.
    found = np.zeros(np.count_nonzero(start), dtype=np.float32)
    apart = ~goal[start]
    if apart.any():
        tree = KDTree(np.argwhere(goal) * spacing)  # several times as quick as a distance transform of the whole box
        found[apart] = tree.query(np.argwhere(start & ~goal) * spacing)[0]
    return found
