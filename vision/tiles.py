"""A network over an image larger than what memory holds at once: overlapping tiles, of which the borders are left out.

A tile reaches beyond the part it is made for as far as the network looks, so that what is kept of it equals what the network says
of the whole image; the sides of an image are sides of its tiles, too. Memory grows with a tile, and not with the image.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .crops import reflected

__all__ = ["MARGIN", "TILE", "Tile", "scores", "tiles"]

TILE = 1024  # pixels a side that go through a network at once
MARGIN = 128  # pixels that a tile reaches beyond what is kept of it


@dataclass(frozen=True)
class Tile:
    """Rows and columns that a network sees, and those of them that are kept; each a pair of begin and end."""

    seen: tuple[tuple[int, int], tuple[int, int]]
    kept: tuple[tuple[int, int], tuple[int, int]]


def tiles(shape: tuple[int, int], multiple: int, *, tile: int = TILE, margin: int = MARGIN) -> list[Tile]:
    """Cover an image with tiles, each a multiple in size and place, an image that is small enough with one.

    Parameters
    ----------
    shape : (height, width)
        Of the image; tiles at its lower and right end reach beyond it, up to the next multiple.
    multiple : int
        What the sides of tiles are multiples of, and a divisor of `tile` and `margin`.
    tile : int
        Pixels a side, at most.
    margin : int
        Pixels from what is kept to the end of a tile, but for those at the image's sides.

    Returns
    -------
    list of Tile
        From left to right and from top to bottom.

    Examples
    --------
    >>> [each.kept for each in tiles((90, 100), 16, tile=96, margin=16)]
    [((0, 90), (0, 80)), ((0, 90), (80, 100))]
    """
    axes = [_spans(extent, multiple, tile, margin) for extent in shape]
    return [Tile((row[0], column[0]), (row[1], column[1])) for row in axes[0] for column in axes[1]]


def scores(
    network: Callable[[np.ndarray], np.ndarray], images: np.ndarray, multiple: int, *, tile: int = TILE, margin: int = MARGIN
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Yield a network's scores of images of one size, a tile at a time.

    Parameters
    ----------
    network : callable
        Takes pixels `(n, height, width, channels)` as float32 and returns scores `(n, height, width, k)`.
    images : ndarray, (n, height, width, channels)
        Values 0–255; what a tile sees beyond them is their mirror image.
    multiple, tile, margin
        As for `tiles`.

    Yields
    ------
    (rows, columns), scores : pair of slice, ndarray (n, rows, columns, k)
        A part of the images, and what the network says of it.

    Examples
    --------
    >>> double = lambda pixels: pixels * 2
    >>> parts = scores(double, np.ones((1, 90, 100, 1), np.uint8), 16, tile=96, margin=16)
    >>> [part.shape for _, part in parts]
    [(1, 90, 80, 1), (1, 90, 20, 1)]
    """
    height, width = images.shape[1:3]
    for each in tiles((height, width), multiple, tile=tile, margin=margin):
        rows, columns = (reflected(*span, extent) for span, extent in zip(each.seen, (height, width), strict=True))
        found = network(images[:, rows[:, None], columns].astype(np.float32))
        inner = tuple(slice(a - start, b - start) for (a, b), (start, _) in zip(each.kept, each.seen, strict=True))
        yield tuple(slice(*span) for span in each.kept), found[(slice(None), *inner)]  # type: ignore[misc]


def _spans(extent: int, multiple: int, tile: int, margin: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return what tiles see along an axis and what is kept of it."""
    padded = -(-extent // multiple) * multiple
    if padded <= tile:
        return [((0, padded), (0, extent))]
    found: list[tuple[tuple[int, int], tuple[int, int]]] = []
    begin = 0
    while begin < extent:
        first = max(0, begin - margin)
        last = min(padded, first + tile)
        end = extent if last == padded else last - margin
        found.append(((first, last), (begin, end)))
        begin = end
    return found
