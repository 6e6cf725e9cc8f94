"""Instances: the separate pieces of each class in a mask, numbered."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Instance", "label"]


@dataclass(frozen=True)
class Instance:
    """One piece of a class.

    Parameters
    ----------
    number : int
        What the label image holds for it.
    label : int
        What the mask holds: its class.
    pixels : int
        How many.
    box : (int, int, int, int)
        First row, first column, and the row and the column behind the last ones.
    """

    number: int
    label: int
    pixels: int
    box: tuple[int, int, int, int]


def label(mask: np.ndarray, background: int | None = 0, *, smallest: int = 1) -> tuple[np.ndarray, list[Instance]]:
    """Give each connected piece of every class a number; pixels that share a side or a corner are connected.

    Things of one class that touch are one piece: this counts things that lie apart.

    Parameters
    ----------
    mask : ndarray of int, (height, width)
        A class a pixel.
    background : int, optional
        The class that is no thing; None where every class is one.
    smallest : int
        Pieces of fewer pixels are left out.

    Returns
    -------
    numbers : ndarray of int32, (height, width)
        0 where there is no piece; each piece has a number of its own, from 1 on, class after class in the order of their numbers.
    instances : list of Instance
        A row a piece, in the order of the numbers.

    Examples
    --------
    >>> numbers, instances = label(np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 0, 1]]))
    >>> numbers.tolist()
    [[1, 1, 0, 4], [0, 0, 0, 4], [2, 0, 0, 3]]
    >>> instances[3]
    Instance(number=4, label=2, pixels=2, box=(0, 3, 2, 4))
    """
    from scipy import ndimage

    numbers = np.zeros(mask.shape, np.int32)
    found: list[Instance] = []
    for value in np.unique(mask).tolist():
        if value == background:
            continue
        pieces, _ = ndimage.label(mask == value, structure=np.ones((3, 3)))
        counts = np.bincount(pieces.ravel())
        for piece, box in enumerate(ndimage.find_objects(pieces), start=1):
            if counts[piece] < smallest:
                continue
            rows, columns = box
            here = rows.start, columns.start, rows.stop, columns.stop
            found.append(Instance(len(found) + 1, value, int(counts[piece]), here))
            numbers[box][pieces[box] == piece] = len(found)
    return numbers, found
