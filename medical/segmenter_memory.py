"""How much memory a segmentation will take: estimates, right within a factor of two, to be said before the work begins."""

import copy
import math
from collections.abc import Sequence
from typing import Any

from .grids import Volume

__all__ = ["amount", "prediction", "scan_and_mask", "training", "validation", "window"]

_LOSS = 8  # arrays as large as the scores that Dice and cross-entropy keep
_LAYERS = 4  # outputs of the largest layer that are there at once, copies for quicker convolutions among them
_SLABS = 2.5  # sums of scores, those that are finished, and their probabilities
_JUDGED = 32  # bytes a voxel, for counting whole numbers of 64 bits
_PREPARED = 20  # bytes a voxel while intensities are standardised
_DECIDED = 10  # bytes a voxel for the class that is best so far, the next one, and which is larger


def amount(count: float) -> str:
    """Return bytes as people say them.

    Examples
    --------
    >>> amount(3 * 2**20), amount(1.26 * 2**30)
    ('3 MiB', '1.3 GiB')
    """
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MiB"


def training(network: Any, channels: int, classes: int, patch: Sequence[int], batch_size: int) -> int:
    """Return what training takes: seven times the weights, all that the layers give for a batch, and the loss of it.

    Parameters
    ----------
    network : torch.nn.Module
        It is copied without its values.
    channels, classes : int
        Of the scans, and of the masks, background included.
    patch : sequence of int
        Voxels along each axis.
    batch_size : int
        Patches a step.

    Returns
    -------
    int
        Bytes. The weights count with their gradients, two averages of these, their own average and its copy, and that of the
        best epoch.

    Examples
    --------
    >>> import torch
    >>> training(torch.nn.Conv2d(1, 2, 1, bias=False), 1, 2, [10, 10], 3)
    21656
    """
    each, _ = _given(network, channels, patch)
    weights = sum(tensor.numel() for tensor in network.state_dict().values())
    return 7 * 4 * weights + batch_size * (each + _LOSS * 4 * classes * math.prod(patch))


def validation(shape: Sequence[int], classes: int, patch: Sequence[int]) -> int:
    """Return what judging a whole scan of a shape takes beside the scan itself and the network.

    Examples
    --------
    >>> validation([100, 10, 10], 2, [10, 10, 10])
    340000
    """
    return _slab(shape, classes, patch) + _JUDGED * math.prod(shape)


def window(network: Any, channels: int, patch: Sequence[int], batch_size: int) -> int:
    """Return what a network takes while windows go through it, which are only looked at.

    Examples
    --------
    >>> import torch
    >>> window(torch.nn.Conv2d(1, 2, 1), 1, [10, 10], 3)
    9600
    """
    return _LAYERS * batch_size * _given(network, channels, patch)[1]


def prediction(scan: Volume, shape: Sequence[int], classes: int, patch: Sequence[int], *, maps: int, proba: bool) -> int:
    """Return what a prediction takes: the scan, a slab of scores, the maps of classes, and what becomes of them.

    Parameters
    ----------
    scan : Volume
        What is predicted.
    shape : sequence of int
        Its voxels on the grid of the plan.
    classes : int
        Background included.
    patch : sequence of int
        Voxels of a window.
    maps : int
        Bytes of the maps of all classes that are kept in memory, not in files.
    proba : bool
        Whether the maps are the result.

    Examples
    --------
    >>> import numpy as np
    >>> scan = Volume(np.zeros((100, 10, 10), np.float32), np.eye(4), "3d")
    >>> prediction(scan, [100, 10, 10], 2, [10, 10, 10], maps=80_000, proba=False)
    320000
    """
    voxels, own = math.prod(shape), math.prod(scan.shape)
    image = 2 * 4 * voxels * scan.channels
    result = 4 * (classes + 1) * own if proba else _DECIDED * own
    steps = _PREPARED * own * scan.channels + image, image + _slab(shape, classes, patch) + maps, maps + 4 * voxels + result
    return scan.array.nbytes + max(steps)


def scan_and_mask(scan: Volume) -> int:
    """Return the bytes of a scan that is kept, and of its mask.

    Examples
    --------
    >>> import numpy as np
    >>> scan_and_mask(Volume(np.zeros((10, 10), np.int16), np.eye(4), "2d"))
    300
    """
    return scan.array.nbytes + math.prod(scan.shape)


def _slab(shape: Sequence[int], classes: int, patch: Sequence[int]) -> int:
    """Return what the scores of the rows that windows have in common take; what is smaller than a window is filled up to it."""
    rows = [patch[0], *(max(extent, side) for extent, side in zip(shape[1:], patch[1:], strict=True))]
    return int(_SLABS * 4 * classes * math.prod(rows))


def _given(network: Any, channels: int, patch: Sequence[int]) -> tuple[int, int]:
    """Return the bytes of all that layers give for one patch, and of the largest of it, counted on a network without values."""
    from pipelines.engines import load_framework

    torch = load_framework("torch", extra="medical")
    empty = copy.deepcopy(network).to("meta").eval()
    given: list[int] = []
    for module in empty.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, __, output: given.append(_numbers(output)))
    with torch.no_grad():
        empty(torch.zeros(1, channels, *patch, device="meta"))
    return 4 * sum(given), 4 * max(given)


def _numbers(output: Any) -> int:
    return int(output.numel()) if hasattr(output, "numel") else sum(map(_numbers, output))
