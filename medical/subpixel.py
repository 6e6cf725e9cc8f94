"""The end of a network that works at a fraction of the size of what comes in, and says something of every voxel."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from pipelines.engines import load_framework

torch: Any = load_framework("torch", extra="medical")

__all__ = ["SubpixelScores"]


class SubpixelScores(torch.nn.Module):
    """Scores of all the voxels that each voxel of some coarser features stands for, by one convolution of a single voxel [1]_.

    Parameters
    ----------
    channels, classes : int
        Of the features, and of the scores.
    times : sequence of int
        How many voxels along each axis a voxel of the features stands for.

    References
    ----------
    .. [1] Shi, Caballero, Huszár, Totz, Aitken, Bishop, Rueckert, Wang (2016), "Real-time single image and video super-resolution
       using an efficient sub-pixel convolutional neural network", doi:10.1109/CVPR.2016.207.

    Examples
    --------
    >>> SubpixelScores(8, 3, [2, 2, 1])(torch.zeros(1, 8, 5, 6, 7)).shape
    torch.Size([1, 3, 10, 12, 7])
    """

    def __init__(self, channels: int, classes: int, times: Sequence[int]) -> None:
        super().__init__()
        self.classes, self.times = classes, list(times)
        convolution = getattr(torch.nn, f"Conv{len(self.times)}d")
        self.scores = convolution(channels, classes * math.prod(self.times), 1)

    def forward(self, features: Any) -> Any:
        """Return scores `(b, classes, *sides)` from features `(b, channels, *sides / times)`."""
        n, _, *sides = features.shape
        split = self.scores(features).view(n, self.classes, *self.times, *sides)
        axes = range(2, 2 + len(sides))
        beside = itertools.chain.from_iterable((len(sides) + axis, axis) for axis in axes)  # each side before its voxels
        return split.permute(0, 1, *beside).reshape(n, self.classes, *map(math.prod, zip(sides, self.times, strict=True)))
