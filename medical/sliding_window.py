"""A network over a scan larger than what it sees at once: overlapping windows, those weighted most whose middle it is.

The result equals `monai.inferers.sliding_window_inference` with Gaussian weights; but slabs of the scan are finished one after
the other, so that memory grows with a slab and not with the scan.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from pipelines.engines import load_framework

torch: Any = load_framework("torch")

__all__ = ["starts", "windowed_scores"]

_SIGMA = 0.125  # of the Gaussian, in windows: nnU-Net's and MONAI's


def starts(extent: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along an axis, evenly, so that neighbours share at least `overlap` of a window.

    Examples
    --------
    >>> starts(100, 40, 0.5), starts(30, 40, 0.5)
    ([0, 20, 40, 60], [0])
    """
    if extent <= window:
        return [0]
    count = int(np.ceil((extent - window) / max(1, window * (1 - overlap)))) + 1
    return np.rint(np.linspace(0, extent - window, count)).astype(int).tolist()


def windowed_scores(
    network: Callable[[Any], Any],
    image: Any,
    window: Sequence[int],
    *,
    overlap: float = 0.5,
    batch_size: int = 4,
    flips: Sequence[int] = (),
) -> Iterator[tuple[int, Any]]:
    """Yield a network's scores of a scan, a slab at a time, in order along its first axis.

    Parameters
    ----------
    network : callable
        Takes `(b, c, *window)` and returns scores `(b, k, *window)`.
    image : tensor, (c, *shape)
        The scan; what is smaller than a window is filled up with zeros on both sides.
    window : sequence of int
        Voxels a window, one number an axis.
    overlap : float
        Share of a window that neighbours have in common.
    batch_size : int
        Windows that go through the network at once.
    flips : sequence of int
        Axes along which each window is also turned round, alone and together; the scores are means.

    Yields
    ------
    start, scores : int, tensor (k, rows, …)
        The rows of the scan from `start` on.

    References
    ----------
    .. [1] Isensee et al. (2021), "nnU-Net", Nature Methods 18, doi:10.1038/s41592-020-01008-z.

    Examples
    --------
    >>> scores = list(windowed_scores(lambda x: torch.cat([x, -x], 1), torch.ones(1, 6, 5), (4, 4)))
    >>> [(start, tuple(part.shape)) for start, part in scores]
    [(0, (2, 2, 5)), (2, (2, 4, 5))]
    """
    shape = image.shape[1:]
    padded, before = _filled(image, window)
    weight = _gaussian(window).to(image.device)
    corners = itertools.product(*(starts(extent, side, overlap) for extent, side in zip(padded.shape[1:], window, strict=True)))
    inner = tuple(slice(first, first + extent) for first, extent in zip(before[1:], shape[1:], strict=True))
    total: Any = None
    mass: Any = None
    base = 0

    def finished(rows: int) -> Iterator[tuple[int, Any]]:
        first, last = max(base, before[0]), min(base + rows, before[0] + shape[0])
        if first < last and total is not None:
            part = (total[:, first - base : last - base] / mass[first - base : last - base])[(slice(None), slice(None), *inner)]
            yield first - before[0], part

    for group in _batched(corners, batch_size):
        cuts = [tuple(slice(at, at + side) for at, side in zip(corner, window, strict=True)) for corner in group]
        scores = _mirrored(network, torch.stack([padded[(slice(None), *cut)] for cut in cuts]), flips)
        if total is None:
            total = scores.new_zeros((scores.shape[1], window[0], *padded.shape[2:]))
            mass = scores.new_zeros((window[0], *padded.shape[2:]))
        for cut, score in zip(cuts, scores, strict=True):
            if moved := cut[0].start - base:
                yield from finished(moved)
                total, mass, base = _moved(total, moved, 1), _moved(mass, moved, 0), base + moved
            total[(slice(None), slice(None), *cut[1:])] += score * weight
            mass[(slice(None), *cut[1:])] += weight
    yield from finished(window[0])


def _batched(items: Any, size: int) -> Iterator[tuple[Any, ...]]:
    """Do as `itertools.batched`, which Python 3.11 lacks."""
    items = iter(items)
    while group := tuple(itertools.islice(items, size)):
        yield group


def _filled(image: Any, window: Sequence[int]) -> tuple[Any, list[int]]:
    """Fill a scan up to the size of a window, and return how many voxels were put before it along each axis."""
    lacking = [max(0, side - extent) for extent, side in zip(image.shape[1:], window, strict=True)]
    before = [lack // 2 for lack in lacking]
    sides = [side for lack, first in zip(reversed(lacking), reversed(before), strict=True) for side in (first, lack - first)]
    return (torch.nn.functional.pad(image, sides) if any(lacking) else image), before


def _gaussian(window: Sequence[int]) -> Any:
    """Return the weight of each voxel of a window, largest in its middle and nowhere 0."""
    weigh = load_framework("monai").data.utils.compute_importance_map
    return weigh(tuple(window), mode="gaussian", sigma_scale=_SIGMA)


def _mirrored(network: Callable[[Any], Any], batch: Any, flips: Sequence[int]) -> Any:
    """Return the mean scores over all ways to turn the windows round."""
    ways = [axes for count in range(len(flips) + 1) for axes in itertools.combinations([axis + 2 for axis in flips], count)]
    return sum(network(batch.flip(axes)).float().flip(axes) for axes in ways) / len(ways)


def _moved(rows: Any, by: int, axis: int) -> Any:
    """Drop the first rows, and put as many of zeros behind."""
    by = min(by, rows.shape[axis])
    kept = rows.narrow(axis, by, rows.shape[axis] - by)
    return torch.cat([kept, torch.zeros_like(rows.narrow(axis, 0, by))], dim=axis)
