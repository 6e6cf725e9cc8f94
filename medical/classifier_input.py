"""What a network that classifies scans sees: a plan made from the training scans, and scans brought to its form."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pipelines.engines import load_framework
from pipelines.errors import DataError

from . import classifier_networks as networks
from . import files, intensities, scans, volumes
from .grids import Volume

__all__ = ["Batch", "Plan", "Prepared", "described", "fitted", "kept", "learn", "one", "prepared"]

Plan = dict[str, Any]

_SHARE = 4  # of the machine's memory, one part in so many for scans that are kept
_LOOKED_AT = 500  # training scans from which a plan is made
_EDGE = 90  # percentile of the scans' sizes that must fit
_GREY = 2  # values by which the three colours of a grey picture may differ, from JPEG
_WORKING = 2 * 2**30  # bytes for the scans of a batch while they are learned from
_SAME = 0.01  # share by which two spacings may differ and be one


# ---------------------------------------------------------------- the plan
def learn(
    X: Any,
    kind: Literal["2d", "3d"],
    network: str,
    outputs: int,
    *,
    size: Sequence[int] | None,
    spacing: Sequence[float] | None,
    intensity: str,
    batch_size: int,
    seed: int,
) -> tuple[Plan, list[str]]:
    """Make the plan from the training scans, or from 500 of them drawn at random.

    Parameters
    ----------
    X : sequence
        Scans.
    kind : "2d" or "3d"
        What they are.
    network, outputs : str, int
        One of `classifier_networks.NETWORKS`; number of scores.
    size, spacing, intensity : list of int, list of float, str
        What the user asks for; None or "auto" where that is to be found.
    batch_size : int
        The most scans that go through the network together.
    seed : int
        Of the drawing.

    Returns
    -------
    plan : dict
        `kind`, `orientation` ("RAS", or "" where axes are left as they are), `spacing` in mm and `scaled_to` in voxels (one of
        them), `size` in voxels, `channels`, `colours` ("kept", "turned to grey" or "none"), `intensity`, `network`, `batch_size`.
    notes : list of str
        What was noticed.

    Examples
    --------
    >>> options = {"size": None, "spacing": None, "intensity": "auto", "batch_size": 32, "seed": 0}
    >>> plan, notes = learn([np.eye(28), 1 - np.eye(28)], "2d", "small-cnn", 2, **options)
    >>> plan["size"], plan["channels"], plan["intensity"]["scheme"], plan["batch_size"]
    ([28, 28], 1, 'z-score', 32)
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(X))[:_LOOKED_AT])
    looks = [_Look.at(scans.one(X, int(i), kind), int(i)) for i in rows]
    channels, colours, notes = _channels(looks)
    axes = int(kind[0])
    plan: Plan = {"kind": kind, "orientation": "", "spacing": None, "scaled_to": None}
    if axes == 2:
        plan["scaled_to"] = _picture_size([look.shape for look in looks], networks.NETWORKS[network].longest[0], size)
        wanted = plan["scaled_to"]
    else:
        placed = sum(look.placed for look in looks)
        plan["orientation"] = "RAS" if placed else ""
        if 0 < placed < len(looks):
            notes.append(
                f"{len(looks) - placed} of {len(looks)} scans do not say where they lie in the patient: their axes are left as "
                "they are, the others were turned to RAS."
            )
        plan["spacing"], wanted = _grid(looks, networks.NETWORKS[network].longest[1], size, spacing)
    plan["size"] = networks.size_for(network, axes, wanted)
    plan |= {"channels": channels, "colours": colours}
    plan["intensity"] = intensities.learn([look.values for look in looks], {look.modality for look in looks}, intensity)
    each = networks.bytes_needed(network, axes, channels, outputs, plan["size"])[1]
    return plan | {"network": network, "batch_size": max(1, min(batch_size, _WORKING // each))}, notes


@dataclasses.dataclass(frozen=True)
class _Look:
    """What the plan needs to know of one scan, its axes turned to RAS where it says where they point."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    placed: bool
    modality: str
    colour: str
    values: Mapping[str, Any]

    @classmethod
    def at(cls, scan: Volume, i: int) -> "_Look":
        values = intensities.values(scan.array, seed=i)
        few = {**values, "drawn": values["drawn"][:: max(1, len(values["drawn"]) // 5000)]}
        turned = volumes.to_orientation(scan) if scan.axes == 3 else scan
        return cls(turned.shape, turned.spacing, scan.placed, scan.modality, _colour(scan, i), few)


def _colour(scan: Volume, i: int) -> str:
    """Return "grey", "colours", or "grey as colours" for three channels that are one."""
    if scan.channels == 1:
        return "grey"
    if scan.channels != 3:
        raise DataError(f"Sample {i} has {scan.channels} channels. Expected 1, or 3 that are red, green and blue.")
    first = scan.array[..., :1].astype(np.float64)
    return "grey as colours" if np.abs(scan.array - first).max() <= _GREY else "colours"


def _channels(looks: Sequence[_Look]) -> tuple[int, str, list[str]]:
    found = [look.colour for look in looks]
    coloured, grey = found.count("colours"), found.count("grey")
    if not coloured:
        return 1, "none", []
    if not grey:
        return 3, "kept", []
    return 1, "turned to grey", [f"{coloured} of {len(found)} scans have colours and {grey} have none: all were turned to grey."]


def _picture_size(shapes: Sequence[tuple[int, ...]], longest: int, asked: Sequence[int] | None) -> list[int]:
    if asked is not None:
        return list(asked)
    median = np.median(np.asarray(shapes, dtype=float), axis=0)
    return [max(1, round(float(side))) for side in median * min(1.0, longest / median.max())]


def _grid(
    looks: Sequence[_Look], longest: int, size: Sequence[int] | None, spacing: Sequence[float] | None
) -> tuple[list[float], list[int]]:
    """Return spacing and size: what most scans have, made coarser where that would be too many voxels."""
    reach = np.percentile([np.multiply(look.shape, look.spacing) for look in looks], _EDGE, axis=0)
    if spacing is not None:
        return list(spacing), list(size or np.ceil(reach / np.array(spacing) - 1e-6).astype(int).tolist())
    steps = np.median([look.spacing for look in looks], axis=0)
    if size is not None:
        return _rounded(np.maximum(steps, reach / np.array(size))), list(size)
    coarser = _rounded(_coarsened(steps, reach, longest**3))
    return coarser, [max(1, math.ceil(side - 1e-3)) for side in reach / np.array(coarser)]


def _coarsened(steps: np.ndarray, reach: np.ndarray, most: int) -> np.ndarray:
    """Return the steps, the finest of them made coarser until there are at most so many voxels."""
    coarser = steps
    for limit in np.geomspace(steps.min(), reach.max(), 1000):
        coarser = np.maximum(steps, limit)
        if math.prod(reach / coarser) <= most:
            break
    return coarser


def _rounded(steps: np.ndarray) -> list[float]:
    return [float(f"{step:.4g}") for step in steps]


# ---------------------------------------------------------------- scans as the plan has them
def one(X: Any, i: int, plan: Plan) -> Volume:
    """Read sample `i` in the plan's channels: grey, or colours; DataError where it is of another kind.

    Examples
    --------
    >>> one([np.eye(4)], 0, {"kind": "2d", "channels": 1, "colours": "none"}).channels
    1
    """
    scan = scans.one(X, i, plan["kind"])
    colour = _colour(scan, i)
    if plan["channels"] == 3:
        if scan.channels == 1:
            raise DataError(f"Sample {i} has no colours, but the training scans had. Give it as they were.")
        return scan
    if colour == "colours" and plan["colours"] == "none":
        raise DataError(f"Sample {i} has colours, but the training scans were grey. Give it as they were.")
    return volumes.grey(scan)


def fitted(scan: Volume, plan: Plan) -> Volume:
    """Bring a scan to the plan's intensities, orientation, spacing and size; `volumes.on_grid` is the way back.

    Parameters
    ----------
    scan : Volume
        As `one` returns it.
    plan : dict
        As `learn` returns it.

    Returns
    -------
    Volume
        float32. What is too large is cut at both ends; what is too small is filled up with its smallest value.

    Examples
    --------
    >>> plan = {"kind": "2d", "scaled_to": [2, 4], "size": [4, 4], "intensity": {"scheme": "z-score"}}
    >>> fitted(Volume(np.arange(32.0).reshape(4, 8), np.eye(4), "2d", placed=False), plan).shape
    (4, 4)
    """
    scan = scan.with_array(intensities.apply(plan["intensity"], scan.array))
    if scan.axes == 2:
        scan = _scaled(scan, plan["scaled_to"])
    else:
        scan = _spaced(volumes.to_orientation(scan, plan["orientation"]) if plan["orientation"] else scan, plan["spacing"])
    return _centred(scan, plan["size"])


def described(plan: Plan) -> str:
    """Say what is done to scans before the network sees them."""
    by = " x ".join
    size, scheme = by(map(str, plan["size"])), plan["intensity"]["scheme"]
    if plan["kind"] == "2d":
        return f"Pictures are brought to {by(map(str, plan['scaled_to']))} pixels, their proportions kept; intensities: {scheme}."
    turned = "turned to RAS, " if plan["orientation"] else ""
    steps = by(f"{step:.4g}" for step in plan["spacing"])
    return f"Scans are {turned}resampled to {steps} mm and cut or filled up to {size} voxels; intensities: {scheme}."


def _scaled(scan: Volume, target: Sequence[int]) -> Volume:
    """Scale a picture to fit into a size, smoothed where it shrinks."""
    factor = min(wanted / side for wanted, side in zip(target, scan.shape, strict=True))
    shape = [max(1, round(side * factor)) for side in scan.shape]
    if tuple(shape) == scan.shape:
        return scan
    torch = load_framework("torch", extra="medical")
    channels = torch.from_numpy(scan.array.reshape(*scan.shape, -1)).movedim(-1, 0)[None]
    found = torch.nn.functional.interpolate(channels, shape, mode="bilinear", antialias=True)[0].movedim(0, -1).numpy()
    change = np.eye(4)
    for axis, (before, after) in enumerate(zip(scan.shape, shape, strict=True)):
        change[axis, axis], change[axis, 3] = before / after, (before / after - 1) / 2
    array = found.reshape(*shape, *scan.array.shape[2:])
    return dataclasses.replace(scan, array=array, affine=scan.affine @ change)


def _spaced(scan: Volume, spacing: Sequence[float]) -> Volume:
    """Resample a volume, smoothed along the axes where it becomes coarser."""
    ratio = np.array(spacing) / np.array(scan.spacing)
    if (np.abs(ratio - 1) < _SAME).all():
        return scan
    from scipy import ndimage  # comes with scikit-learn; here, since `import medical` does without it

    spread = [*np.maximum(0, (ratio - 1) / 2), *[0] * (scan.array.ndim - scan.axes)]
    smooth = ndimage.gaussian_filter(scan.array, spread, mode="nearest") if max(spread) > 0 else scan.array
    return volumes.resampled(scan.with_array(smooth), spacing)


def _centred(scan: Volume, size: Sequence[int]) -> Volume:
    """Cut or fill up at both ends of each axis."""
    starts = [(side - wanted) // 2 for side, wanted in zip(scan.shape, size, strict=True)]
    if scan.shape == tuple(size):
        return scan
    cut = scan.array[tuple(slice(max(0, start), max(0, start) + n) for start, n in zip(starts, size, strict=True))]
    fill = [(max(0, -start), n - side - max(0, -start)) for start, n, side in zip(starts, size, cut.shape, strict=False)]
    array = np.pad(cut, [*fill, *[(0, 0)] * (cut.ndim - len(size))], constant_values=scan.array.min())
    change = np.eye(4)
    change[: scan.axes, 3] = starts
    return dataclasses.replace(scan, array=array, affine=scan.affine @ change)


# ---------------------------------------------------------------- many scans
class Prepared(Sequence[np.ndarray]):
    """Scans in the plan's form, in memory, at half precision: `(n, channels, …)`."""

    def __init__(self, arrays: np.ndarray) -> None:
        self.arrays = arrays

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, rows: Any) -> Any:
        return self.arrays[rows]


class Batch:
    """Takes numbers of scans and returns them as the network sees them, float32 `(n, channels, …)`, from memory or read anew."""

    def __init__(self, X: Any, plan: Plan) -> None:
        self.X, self.plan = X, plan

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Return the scans of these numbers."""
        if isinstance(self.X, Prepared):
            return self.X[rows].astype(np.float32)
        return np.stack([_halved(fitted(one(self.X, int(i), self.plan), self.plan)) for i in rows]).astype(np.float32)


def prepared(X: Any, plan: Plan) -> Any:
    """Return scans in the plan's form, each read once, if they fit into a quarter of the memory; or else check that each can be.

    Examples
    --------
    >>> plan = {"kind": "2d", "channels": 1, "colours": "none", "scaled_to": [4, 4], "size": [4, 4]}
    >>> prepared([np.eye(4)], plan | {"intensity": {"scheme": "z-score"}}).arrays.shape
    (1, 1, 4, 4)
    """
    if isinstance(X, Prepared):
        return X
    shape = (len(X), plan["channels"], *plan["size"])
    if 2 * math.prod(shape) > files.memory() // _SHARE:
        for i in range(len(X)):
            one(X, i, plan)
        return X
    arrays = np.empty(shape, np.float16)
    for i in range(len(X)):
        arrays[i] = _halved(fitted(one(X, i, plan), plan))
    return Prepared(arrays)


def _halved(scan: Volume) -> np.ndarray:
    """Return `(channels, …)` at half precision, which is kept and read alike."""
    array = scan.array if scan.array.ndim > scan.axes else scan.array[..., None]
    return np.moveaxis(array, -1, 0).clip(-6e4, 6e4).astype(np.float16)


def kept(X: Any, kind: Literal["2d", "3d"]) -> Any:
    """Read all scans of a kind and return them, if they fit into a quarter of the memory; or else `X`, each of it read once."""
    return scans.kept(X, scans.each(X, kind), files.memory() // _SHARE)
