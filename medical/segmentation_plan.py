"""The plan of a segmentation, made from the training scans: spacing, patch, intensities and depth, in the manner of nnU-Net."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import segmenter_networks

__all__ = ["Facts", "patch_for", "spacing_for"]

_VOXELS = {2: 192 * 192, 3: 48 * 48 * 48}  # of a patch: what a processor learns from in a fraction of a second


@dataclasses.dataclass
class Facts:
    """What a plan is made from: shape, spacing, modality and values of each training scan.

    Examples
    --------
    >>> Facts([(8, 8)], [(1.0, 1.0)], [""], [{}]).shapes
    [(8, 8)]
    """

    shapes: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    spacings: list[tuple[float, ...]] = dataclasses.field(default_factory=list)
    modalities: list[str] = dataclasses.field(default_factory=list)
    values: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def spacing_for(facts: Facts) -> list[float]:
    """Return the median spacing along each axis; where all scans have nearly the same, exactly the first one's.

    Examples
    --------
    >>> spacing_for(Facts([], [(1.0, 1.0, 2.0), (1.0, 1.0, 3.0), (1.0, 1.0, 3.0)]))
    [1.0, 1.0, 3.0]
    """
    return [float(step) for step in np.median(np.array(facts.spacings), axis=0)]


def patch_for(network: str, facts: Facts, spacing: Sequence[float]) -> tuple[list[int], list[list[int]]]:
    """Return the patch, as much of the median scan as the budget allows, and the strides of the levels.

    Parameters
    ----------
    network : str
        One of `segmenter_networks.NETWORKS`.
    facts : Facts
        Of the training scans.
    spacing : sequence of float
        Millimetres to which they are brought.

    Returns
    -------
    patch, strides : list
        Voxels along each axis, and `segmenter_networks.levels` of them.

    Examples
    --------
    >>> patch_for("unet", Facts([(35, 51, 35)], [(1.0, 1.0, 1.0)]), [1, 1, 1])
    ([40, 56, 40], [[2, 2, 2], [2, 2, 2], [2, 2, 2]])
    """
    steps = np.asarray(spacing, dtype=float)
    shape = np.median(np.array(facts.shapes) * np.array(facts.spacings) / steps, axis=0)
    budget = _VOXELS[len(steps)]
    sides = np.maximum(shape, 8.0)
    while math.prod(sides) > budget:  # the longest side, in millimetres, is cut first
        longest = int(np.argmax(np.where(sides > 8, sides * steps, 0)))
        sides[longest] = max(8.0, sides[longest] * 0.95)
        if (sides <= 8).all():
            break
    strides = segmenter_networks.levels(sides.tolist(), steps.tolist())
    whole = np.array(segmenter_networks.multiple(network, strides))
    patch = (np.maximum(1, np.ceil(sides / whole - 1e-6)) * whole).astype(int)
    if network == "swin-unetr" and (patch == whole).all():  # a single voxel at its deepest level cannot be normalised
        patch[int(np.argmax(sides))] *= 2
    return patch.tolist(), strides
