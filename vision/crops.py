"""Crops to learn from: cut out of images and masks together, turned, mirrored, bent and re-lit on the way."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

__all__ = ["AUGMENT", "Crops", "Places", "reflected"]

AUGMENT = ("none", "shift", "photo", "micrograph")
_TURN = math.radians(10)
_ZOOM = {"shift": 0.1, "photo": 0.4, "micrograph": 0.25}
_LIGHT = {"shift": (0.2, 25.5), "photo": (0.2, 25.5), "micrograph": (0.3, 30.0)}  # by how much contrast and brightness differ
_GAMMA, _NOISE, _BLUR = 0.4, 20.0, (0.3, 1.0)  # of micrographs: a logarithm, the most grey values, pixels from least to most
_NOISY, _BLURRED = 1 / 2, 0.3  # shares of the crops
_CELL, _NODES, _BEND = 32, 64, 8.0  # pixels from node to node of the mesh, from bend to bend, and by how much they are bent
_AS_THEY_ARE = 1 / 3  # share of the crops without resampling


class Crops:
    """Crops of one size, anywhere in images of any sizes; the number of a crop decides all that is random about it.

    `crops(numbers)` are the pixels, and `crops[numbers]` the masks that belong to them.

    Parameters
    ----------
    images : sequence of ndarray, (height, width, channels)
        Values 0–255, uint8 or float32.
    masks : sequence of ndarray of int, (height, width)
        Positions of classes.
    size : (height, width)
        Of the crops; what reaches beyond an image is its mirror image.
    augment : str
        "none"; "shift" turns, zooms and moves a little and changes the light; "photo" also mirrors and zooms more; "micrograph"
        turns by any angle, mirrors, bends as tissue does, and changes gamma, noise and focus, too.
    seed : int
        Of everything random.

    Notes
    -----
    One resampling does all of it, bicubic for images and nearest for masks, whose labels thus stay whole. As it smooths a little,
    a third of the crops are cut out as they are, and only mirrored or turned by right angles. Bending by random
    vectors on a coarse grid is that of U-Net (Ronneberger, Fischer, Brox, 2015, doi:10.1007/978-3-319-24574-4_28).

    Examples
    --------
    >>> crops = Crops([np.ones((6, 6, 1), np.uint8)], [np.ones((6, 6), np.uint8)], (4, 4), augment="micrograph", seed=0)
    >>> crops(np.arange(2)).shape, crops[np.arange(2)].shape
    ((2, 4, 4, 1), (2, 4, 4))
    """

    def __init__(
        self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], size: tuple[int, int], *, augment: str, seed: int
    ) -> None:
        self.images, self.masks, self.size, self.augment, self.seed = images, masks, size, augment, seed

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Return the pixels of the crops with these numbers, `(n, height, width, channels)` as float32."""
        return np.stack([self._image(int(number)) for number in numbers])

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([self._mask(int(number)) for number in numbers])

    def _image(self, number: int) -> np.ndarray:
        rng = self._rng(number)
        image = self.images[number % len(self.images)]
        crop = _warped(image, self._mesh(image.shape, rng), self.size, Image.Resampling.BICUBIC).astype(np.float32)
        if self.augment == "none":
            return crop
        crop = _relit(crop, _LIGHT[self.augment], rng)
        return _exposed(crop, rng) if self.augment == "micrograph" else crop

    def _mask(self, number: int) -> np.ndarray:
        mask = self.masks[number % len(self.masks)]
        return _warped(mask[:, :, None], self._mesh(mask.shape, self._rng(number)), self.size, Image.Resampling.NEAREST)[:, :, 0]

    def _rng(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number])

    def _mesh(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return where in the image the nodes of a mesh over the crop lie, `(rows, columns, 2)`, as y and x from its corner."""
        size = np.array(self.size, dtype=float)
        middle = np.array([_middle(extent, side, rng) for extent, side in zip(shape, self.size, strict=False)])
        if self.augment == "none" or rng.random() < _AS_THEY_ARE:
            matrix = np.eye(2) if self.augment == "none" else self._matrix(0.5 * math.pi * self._quarters(rng), 1.0, rng)
            corner = np.abs(matrix) @ size / 2  # on whole pixels, so that none of them is mixed
            return (_nodes(self.size, bend=False) - size / 2) @ matrix.T + corner + np.floor(middle - corner + 0.5)
        if self.augment != "micrograph":
            middle += rng.uniform(-0.1, 0.1, 2) * size
        nodes = _nodes(self.size, bend=self.augment == "micrograph") - size / 2
        if self.augment == "micrograph":
            nodes = nodes + _bent(nodes.shape[:2], self.size, rng)
        limit = math.pi if self.augment == "micrograph" else _TURN
        zoom = math.exp(rng.uniform(-_ZOOM[self.augment], _ZOOM[self.augment]))
        return nodes @ self._matrix(rng.uniform(-limit, limit), zoom, rng).T + middle

    def _quarters(self, rng: np.random.Generator) -> int:
        return int(rng.integers(4)) if self.augment == "micrograph" else 0

    def _matrix(self, angle: float, zoom: float, rng: np.random.Generator) -> np.ndarray:
        """Return a rotation with a zoom, and in half of the cases with mirroring, where that may be."""
        mirror = -1.0 if self.augment != "shift" and rng.random() < 0.5 else 1.0
        cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
        return np.array([[cosine, sine * mirror], [-sine, cosine * mirror]])


class Places:
    """Crops at fixed places that cover images whole, to judge by; what reaches beyond an image is ignored.

    Parameters
    ----------
    images, masks, size
        As for `Crops`.
    ignored : int
        What masks hold beyond an image.

    Examples
    --------
    >>> places = Places([np.ones((6, 4, 1), np.uint8)], [np.ones((6, 4), np.uint8)], (4, 4), ignored=2)
    >>> len(places), places[np.array([1])][0, :, 0].tolist()
    (2, [1, 1, 2, 2])
    """

    def __init__(self, images: Sequence[np.ndarray], masks: Sequence[np.ndarray], size: tuple[int, int], *, ignored: int) -> None:
        self.images, self.masks, self.size, self.ignored = images, masks, size, ignored
        height, width = size
        self.corners = [
            (i, top, left)
            for i, mask in enumerate(masks)
            for top in range(0, mask.shape[0], height)
            for left in range(0, mask.shape[1], width)
        ]

    def __len__(self) -> int:
        return len(self.corners)

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """Return the pixels of the crops with these numbers, `(n, height, width, channels)` as float32."""
        return np.stack([self._image(*self.corners[number]) for number in numbers])

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        return np.stack([self._mask(*self.corners[number]) for number in numbers])

    def _image(self, i: int, top: int, left: int) -> np.ndarray:
        image = self.images[i]
        rows, columns = (
            reflected(start, start + side, extent)
            for start, side, extent in zip((top, left), self.size, image.shape, strict=False)
        )
        return image[rows[:, None], columns].astype(np.float32)

    def _mask(self, i: int, top: int, left: int) -> np.ndarray:
        part = self.masks[i][top : top + self.size[0], left : left + self.size[1]]
        found = np.full(self.size, self.ignored, part.dtype)
        found[: part.shape[0], : part.shape[1]] = part
        return found


def reflected(start: int, stop: int, extent: int) -> np.ndarray:
    """Return the places `start` to `stop` along an axis, mirrored at its ends as often as it takes.

    Examples
    --------
    >>> reflected(-2, 5, 3).tolist()
    [1, 0, 0, 1, 2, 2, 1]
    """
    places = np.arange(start, stop) % (2 * extent)
    return np.where(places < extent, places, 2 * extent - 1 - places)


def _middle(extent: int, side: int, rng: np.random.Generator) -> float:
    """Choose a middle that keeps the crop inside the image, where it fits into it."""
    return float(rng.uniform(side / 2, extent - side / 2)) if extent > side else extent / 2


def _nodes(size: tuple[int, int], *, bend: bool) -> np.ndarray:
    """Return the corners of a crop, or where it is to be bent those of cells of about 32 pixels."""
    axes = [np.linspace(0, side, (max(1, round(side / _CELL)) if bend else 1) + 1) for side in size]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _bent(shape: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a smooth field of vectors at the nodes."""
    from scipy import ndimage

    coarse = [max(2, round(side / _NODES) + 1) for side in size]
    places = np.meshgrid(*(np.linspace(0, few - 1, many) for few, many in zip(coarse, shape, strict=True)), indexing="ij")
    fields = rng.normal(0, _BEND, (2, *coarse))
    return np.stack([ndimage.map_coordinates(field, places, order=3, mode="nearest") for field in fields], axis=-1)


def _warped(image: np.ndarray, mesh: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    """Resample `(height, width, channels)` so that the cells of the mesh become those of a crop."""
    low = np.floor(mesh.min(axis=(0, 1))).astype(int) - 1
    high = np.ceil(mesh.max(axis=(0, 1))).astype(int) + 1
    rows, columns = (reflected(a, b, extent) for a, b, extent in zip(low, high, image.shape, strict=False))
    part = image[rows[:, None], columns]
    cells = _cells(mesh - low, size)
    planes = [part] if part.dtype == np.uint8 and part.shape[2] == 3 else np.moveaxis(part, 2, 0)
    found = [
        np.asarray(Image.fromarray(np.ascontiguousarray(p)).transform(size[::-1], Image.Transform.MESH, cells, resample=resample))
        for p in planes
    ]
    return found[0] if found[0].ndim == 3 else np.stack(found, axis=2)


def _cells(mesh: np.ndarray, size: tuple[int, int]) -> list[tuple[Any, Any]]:
    """Return each cell as Pillow wants it: its box in the crop, and its corners in the image, from the upper left one down."""
    rows, columns = (np.linspace(0, side, count).round().astype(int) for side, count in zip(size, mesh.shape, strict=False))
    corners = mesh[..., ::-1].tolist()
    return [
        (
            (int(columns[c]), int(rows[r]), int(columns[c + 1]), int(rows[r + 1])),
            (*corners[r][c], *corners[r + 1][c], *corners[r + 1][c + 1], *corners[r][c + 1]),
        )
        for r in range(len(rows) - 1)
        for c in range(len(columns) - 1)
    ]


def _relit(image: np.ndarray, by: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Change contrast and brightness a little."""
    contrast, brightness = 1 + rng.uniform(-by[0], by[0]), rng.uniform(-by[1], by[1])
    grey = image.mean()
    return np.clip((image - grey) * np.float32(contrast) + np.float32(grey + brightness), 0, 255, dtype=np.float32)


def _exposed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change what differs from one micrograph to the next: gamma, and in some of the crops noise and focus."""
    from scipy import ndimage

    image = 255 * (image / 255) ** np.float32(math.exp(rng.uniform(-_GAMMA, _GAMMA)))
    if rng.random() < _NOISY:
        image = image + rng.normal(0, rng.uniform(0, _NOISE), image.shape).astype(np.float32)
    if rng.random() < _BLURRED:
        radius = rng.uniform(*_BLUR)
        image = ndimage.gaussian_filter(image, (radius, radius, 0))
    return np.clip(image, 0, 255, dtype=np.float32)
