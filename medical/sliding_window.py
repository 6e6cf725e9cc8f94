"""A network over a scan larger than what it sees at once: overlapping windows, those weighted most whose middle it is.

The result equals `monai.inferers.sliding_window_inference` with Gaussian weights; but slabs of the scan are finished one after
the other, so that memory grows with a slab and not with the scan.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pipelines.engines import load_framework

torch: Any = load_framework("torch")

__all__ = ["starts", "windowed_scores"]

_SIGMA = 0.125  # of the Gaussian, in windows: nnU-Net's and MONAI's


def starts(extent: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along an axis, where MONAI's do: neighbours share at least `overlap` of a window.

    Examples
    --------
    >>> starts(100, 40, 0.5), starts(90, 40, 0.5), starts(30, 40, 0.5)
    ([0, 20, 40, 60], [0, 20, 40, 50], [0])
    """
    last = max(0, extent - window)
    return [*range(0, last, max(1, int(window * (1 - overlap)))), last]


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
        The scan; what is smaller than a window is filled up with its outermost voxels on both sides.
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
    places = [starts(extent, side, overlap) for extent, side in zip(padded.shape[1:], window, strict=True)]
    share = weight.new_zeros((1, window[0], *padded.shape[2:]))  # what all windows with the same first row weigh
    for cut in _cuts(places[1:], window[1:]):
        share[(slice(None), slice(None), *cut)] += weight
    inner = tuple(slice(first, first + extent) for first, extent in zip(before[1:], shape[1:], strict=True))
    total: Any = None
    mass, base = share.clone(), 0

    def finished(rows: int) -> Iterator[tuple[int, Any]]:
        first, last = max(base, before[0]), min(base + rows, before[0] + shape[0])
        if first < last:
            at = (slice(None), slice(first - base, last - base), *inner)
            yield first - before[0], total[at] / mass[at]

    for cuts in _batched(_cuts(places, window), batch_size):
        scores = _mirrored(network, torch.stack([padded[(slice(None), *cut)] for cut in cuts]), flips)
        if total is None:
            total = scores.new_zeros((scores.shape[1], window[0], *padded.shape[2:]))
        for cut, score in zip(cuts, scores, strict=True):
            if moved := cut[0].start - base:
                yield from finished(moved)
                base += moved
                _move(total, moved)
                _move(mass, moved)
                mass += share
            total[(slice(None), slice(None), *cut[1:])].addcmul_(score, weight)
    yield from finished(window[0])


def _cuts(places: Sequence[Sequence[int]], window: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """Yield all windows that begin at these places of each axis, the last axis changing first."""
    for corner in itertools.product(*places):
        yield tuple(slice(at, at + side) for at, side in zip(corner, window, strict=True))


def _batched(items: Any, size: int) -> Iterator[tuple[Any, ...]]:
    """Do as `itertools.batched`, which Python 3.11 lacks."""
    items = iter(items)
    while group := tuple(itertools.islice(items, size)):
        yield group


def _filled(image: Any, window: Sequence[int]) -> tuple[Any, list[int]]:
    """Fill a scan up to a window with its outermost voxels, and return how many were put before it along each axis."""
    lacking = [max(0, side - extent) for extent, side in zip(image.shape[1:], window, strict=True)]
    before = [lack // 2 for lack in lacking]
    sides = [side for lack, first in zip(reversed(lacking), reversed(before), strict=True) for side in (first, lack - first)]
    return (torch.nn.functional.pad(image[None], sides, mode="replicate")[0] if any(lacking) else image), before


def _gaussian(window: Sequence[int]) -> Any:
    """Return the weight of each voxel of a window, largest in its middle and nowhere 0."""
    weigh = load_framework("monai").data.utils.compute_importance_map
    return weigh(tuple(window), mode="gaussian", sigma_scale=_SIGMA)


def _mirrored(network: Callable[[Any], Any], batch: Any, flips: Sequence[int]) -> Any:
    """Return the mean scores over all ways to turn the windows round."""
    if not flips:
        return network(batch).float()  # turning nothing round would copy it all
    ways = [axes for count in range(len(flips) + 1) for axes in itertools.combinations([axis + 2 for axis in flips], count)]
    return sum(network(batch.flip(axes)).float().flip(axes) for axes in ways) / len(ways)


def _move(slab: Any, by: int) -> None:
    """Drop the first rows of each channel, and put as many of zeros behind; in place, as new memory is slow to come by."""
    kept = slab.shape[1] - by
    for at in range(0, kept, by):  # by so many at once no row is overwritten before it was read
        rows = min(by, kept - at)
        slab[:, at : at + rows] = slab[:, at + by : at + by + rows]
    slab[:, kept:] = 0
