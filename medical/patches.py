"""Patches to learn from: cut out of whole scans, half of them around a structure, turned, scaled and re-lit on the way."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.data import Batches
from pipelines.engines import load_framework

torch: Any = load_framework("torch")

__all__ = ["Cutter", "training_batches", "validation_batches"]

_AROUND = 0.5  # share of the patches whose middle is a voxel of a structure
_POINTS = 2000  # voxels of each structure of a scan that patches can lie around
_TURN = math.radians(20)
_ZOOM = 0.2
_BENT = 0.5  # share of the patches that are bent
_BEND = 1.5  # deviation of the places that a patch is bent by, in voxels of the finest axis
_KNOTS = 10  # such voxels between them
_LARGE = 8  # times the voxels of a patch: of a larger mask only a part is looked at


class Cutter:
    """Cuts patches out of scans; the number of a patch decides all that is random about it.

    Parameters
    ----------
    scans : sequence of ndarray, (c, *shape)
        Values as the network sees them.
    masks : sequence of ndarray, (*shape)
        Positions of classes.
    patch : sequence of int
        Voxels along each axis; outside a scan its outermost voxels go on, and belong to no structure.
    spacing : sequence of float
        Millimetres from voxel to voxel, so that turning bends nothing.
    augment : str
        "none"; "auto" turns, scales, bends and changes the light; "flip" also turns round.
    seed : int
        Of everything random.

    Examples
    --------
    >>> cut = Cutter([np.ones((1, 6, 6), np.float32)], [np.ones((6, 6), np.uint8)], [4, 4], [1, 1], augment="none", seed=0)
    >>> {name: part.shape for name, part in cut(np.arange(2)).items()}
    {'image': (2, 1, 4, 4), 'mask': (2, 4, 4)}
    """

    def __init__(
        self,
        scans: Sequence[np.ndarray],
        masks: Sequence[np.ndarray],
        patch: Sequence[int],
        spacing: Sequence[float],
        *,
        augment: str,
        seed: int,
    ) -> None:
        self.scans, self.masks, self.patch = scans, masks, tuple(patch)
        self.spacing, self.augment, self.seed = np.asarray(spacing, dtype=float), augment, seed
        self.points = [_points(mask, np.random.default_rng([seed, i])) for i, mask in enumerate(masks)]
        span = [torch.arange(side, dtype=torch.float32) - (side - 1) / 2 for side in self.patch]
        self.places = torch.stack(torch.meshgrid(*span, indexing="ij"), dim=-1)  # of a patch's voxels, from its middle

    def __call__(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Return the patches with these numbers: "image" `(b, c, *patch)` and "mask" `(b, *patch)`."""
        parts = [self._cut(np.random.default_rng([self.seed, int(number)])) for number in numbers]
        return {"image": np.stack([image for image, _ in parts]), "mask": np.stack([mask for _, mask in parts])}

    def _cut(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        i = int(rng.integers(len(self.scans)))
        middle = self._middle(i, rng)
        matrix = np.eye(len(self.patch)) if self.augment == "none" else self._turned(rng)
        bend = self._bend(rng) if self.augment != "none" and rng.random() < _BENT else None
        grid = _grid(self.places, middle, matrix, self.masks[i].shape, bend)
        image = _sampled(self.scans[i], grid, "bilinear", outside="border")
        mask = _sampled(_reached(self.masks[i], grid)[None], grid, "nearest", outside="zeros")[0]
        if self.augment != "none":
            image = _relit(image, rng)
        return image, mask.astype(np.int64)

    def _middle(self, i: int, rng: np.random.Generator) -> np.ndarray:
        """Choose where the middle of a patch lies: on a voxel of a structure, or anywhere that keeps it inside the scan."""
        shape, patch = np.array(self.masks[i].shape), np.array(self.patch)
        low, high = np.minimum(patch / 2, shape / 2), np.maximum(shape - patch / 2, shape / 2)
        anywhere = rng.uniform(low, high) - 0.5
        points = self.points[i]
        if not points or rng.random() >= _AROUND:
            return anywhere
        chosen = points[int(rng.integers(len(points)))]
        jitter = rng.uniform(-0.1, 0.1, len(patch)) * patch
        return np.clip(chosen[int(rng.integers(len(chosen)))] + jitter, low - 0.5, high - 0.5)

    def _turned(self, rng: np.random.Generator) -> np.ndarray:
        """Return a small rotation in millimetres with a zoom, as a change of voxels."""
        axes = len(self.patch)
        matrix = np.eye(axes) * np.exp(rng.uniform(-_ZOOM, _ZOOM))
        for a in range(axes):
            for b in range(a + 1, axes):
                angle = rng.uniform(-_TURN, _TURN)
                turn = np.eye(axes)
                turn[a, a] = turn[b, b] = math.cos(angle)
                turn[a, b], turn[b, a] = -math.sin(angle), math.sin(angle)
                matrix = matrix @ turn
        if self.augment == "flip":
            matrix = matrix * rng.choice([-1.0, 1.0], axes)
        return matrix * self.spacing / self.spacing[:, None]

    def _bend(self, rng: np.random.Generator) -> Any:
        """Return by how many voxels each place of a patch is moved along each axis, smoothly: `(axes, *patch)`."""
        finest = self.spacing.min()
        knots = [max(2, round(side * step / (_KNOTS * finest)) + 1) for side, step in zip(self.patch, self.spacing, strict=True)]
        moves = rng.normal(0, _BEND * finest, (len(knots), *knots)) / self.spacing.reshape(-1, *[1] * len(knots))
        mode = "trilinear" if len(knots) == 3 else "bilinear"
        spread = torch.nn.functional.interpolate(
            torch.from_numpy(moves.astype(np.float32))[None], size=self.patch, mode=mode, align_corners=True
        )
        return spread[0]


def training_batches(cut: Cutter, *, epochs: int, per_epoch: int, batch_size: int, seed: int, workers: int = 1) -> Batches:
    """Return batches of patches, other ones in every epoch.

    Examples
    --------
    >>> cut = Cutter([np.ones((1, 6, 6), np.float32)], [np.ones((6, 6), np.uint8)], [4, 4], [1, 1], augment="none", seed=0)
    >>> len(training_batches(cut, epochs=3, per_epoch=8, batch_size=4, seed=0))
    2
    """
    return Batches(cut, epochs * per_epoch, batch_size, seed=seed, draw=per_epoch, workers=workers)


def validation_batches(scans: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> Batches:
    """Return whole scans with their masks, one a batch, since their shapes differ.

    Examples
    --------
    >>> validation_batches([np.ones((1, 6, 6))], [np.ones((6, 6))])[0][0]["image"].shape
    (1, 1, 6, 6)
    """
    return Batches(lambda rows: {"image": scans[rows[0]][None], "mask": masks[rows[0]][None]}, len(scans), 1)


def _points(mask: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return some voxels of each structure there is."""
    found = []
    for label in np.unique(mask[mask > 0]):
        places = np.flatnonzero(mask == label)
        places = rng.choice(places, _POINTS, replace=False) if len(places) > _POINTS else places
        found.append(np.stack(np.unravel_index(places, mask.shape), axis=1).astype(float))
    return found


def _grid(places: Any, middle: np.ndarray, matrix: np.ndarray, shape: tuple[int, ...], bend: Any = None) -> Any:
    """Return where in a scan the voxels of a patch lie, as `grid_sample` wants it: from -1 to 1, the last axis first."""
    scale = 2 / np.array([max(1, extent - 1) for extent in shape])
    turned = torch.from_numpy((matrix * scale[:, None]).T[:, ::-1].astype(np.float32))
    shift = torch.from_numpy((middle * scale - 1)[::-1].astype(np.float32))
    grid = torch.addmm(shift, places.view(-1, len(shape)), turned).view(places.shape)
    if bend is not None:
        for axis, by in enumerate(scale.tolist()):
            grid[..., -1 - axis].add_(bend[axis], alpha=by)
    return grid[None]


def _reached(mask: np.ndarray, grid: Any) -> np.ndarray:
    """Return a mask as float32 as far as the patch reaches; the rest of a large one, which nothing reads, is left empty."""
    if mask.size <= _LARGE * grid[0, ..., 0].numel():
        return mask.astype(np.float32)
    places = grid[0].reshape(-1, mask.ndim)
    ends = (torch.stack([places.amin(dim=0), places.amax(dim=0)]).numpy()[:, ::-1] + 1) / 2 * (np.array(mask.shape) - 1)
    box = tuple(slice(max(0, int(low) - 1), max(0, int(high) + 2)) for low, high in ends.T)
    found = np.empty(mask.shape, np.float32)
    found[box] = mask[box]
    return found


def _sampled(array: np.ndarray, grid: Any, mode: str, outside: str) -> np.ndarray:
    found = torch.nn.functional.grid_sample(
        torch.from_numpy(np.ascontiguousarray(array))[None], grid, mode=mode, padding_mode=outside, align_corners=True
    )
    return found[0].numpy()


def _relit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change contrast, brightness and gamma a little, and add some noise."""
    image = image * np.float32(rng.uniform(0.75, 1.25)) + np.float32(rng.normal(0, 0.1))
    if rng.random() < 0.3:
        low, high = image.min(), image.max()
        image = ((image - low) / (high - low + 1e-6)) ** np.float32(np.exp(rng.uniform(-0.4, 0.4))) * (high - low) + low
    if rng.random() < 0.3:
        image = image + rng.normal(0, rng.uniform(0, 0.2), image.shape).astype(np.float32)
    return image.astype(np.float32)
