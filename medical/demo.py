"""A demo of the scan pipelines, on the brain template that comes with nilearn."""

import dataclasses
import importlib.util
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from . import nifti, volumes
from .grids import Volume
from .segmentation import ScanSegmenter

__all__ = ["cropped", "halves", "read_template", "template"]

_FILES = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_TISSUES = {"grey matter": 1, "white matter": 2}
_SLABS = 6  # from the back to the front of a half; two of them choose the epoch
_GAP = 2  # millimetres between two of them that belong to neither
_EPOCHS = 20


def template(out: Path) -> tuple[ScanSegmenter, Any, Any, list[str]]:
    """Scan segmentation: grey and white matter of the MNI brain template, learned on its left half and judged on its right one.

    The template [1]_ is the mean of 152 heads, without skull, and made symmetric: the right half is the exact mirror image of the
    left one. So this shows the way from a file to a mask on its grid, and nothing of how well another brain would be segmented.
    In such a mean brightness tells tissue: two well-chosen thresholds do even better. Each half is cut into six slabs from back
    to front; two of the left ones choose the epoch and are not learned from.

    Parameters
    ----------
    out : path
        An existing folder; the slabs and the whole right half are written to `scans/` and `masks/` in it.

    Returns
    -------
    model, X_test, y_test, inputs : tuple
        The fitted segmenter, files of the right half's slabs and of their masks, and what to give to `pipelines predict`: the
        whole right half, whose mask goes to `predicted/`.

    References
    ----------
    .. [1] Fonov, Evans, McKinstry, Almli, Collins (2009), "Unbiased nonlinear average age-appropriate brain templates from birth
       to adulthood", NeuroImage 47, doi:10.1016/S1053-8119(09)70884-5.
    """
    left, right = halves(*read_template())
    X, y = _written(out, "left", _slabs(*left))
    X_test, y_test = _written(out, "right", _slabs(*right))
    whole, _ = _written(out, "right-half", [right])
    # both halves lie alike and have one light, so that nothing is gained by changing them
    model = ScanSegmenter(classes=_TISSUES, augment="none", epochs=_EPOCHS).fit(X, y)
    return model, X_test, y_test, [*whole, "--out", str(out / "predicted")]


def read_template() -> tuple[Volume, Volume]:
    """Return the template, a T1-weighted scan with voxels of 1 mm, and its mask: 1 grey matter, 2 white matter.

    A voxel belongs to a tissue whose share of it is above a half.

    Raises
    ------
    ImportError
        If nilearn, which brings the data, is not installed.

    Examples
    --------
    >>> scan, mask = read_template()
    >>> scan
    Volume(3d, 197 x 233 x 189, uint8, 1 x 1 x 1 mm, RAS)
    """
    found = importlib.util.find_spec("nilearn")  # to import it would take seconds
    if found is None or found.origin is None:
        raise ImportError("This demo's data comes with nilearn. Install it with: pip install nilearn")
    scan, grey, white = (volumes.read(Path(found.origin).parent / _FILES.format(name)) for name in ("t1", "gm", "wm"))
    mask = (grey.array > 127) * np.uint8(1) + (white.array > 127) * np.uint8(2)
    return scan, scan.with_array(mask)


def halves(scan: Volume, mask: Volume) -> list[tuple[Volume, Volume]]:
    """Return scan and mask of the left half of a brain, and of its right half, without the empty space around them.

    Parameters
    ----------
    scan, mask : Volume
        With axes to the right, to the front and to the head, and an odd number of slices from left to right; the middle one
        belongs to neither half and is left out.

    Examples
    --------
    >>> whole = Volume(np.ones((5, 4, 3), np.uint8), np.eye(4), "3d")
    >>> [half for half, _ in halves(whole, whole)]
    [Volume(3d, 2 x 4 x 3, uint8, 1 x 1 x 1 mm, RAS), Volume(3d, 2 x 4 x 3, uint8, 1 x 1 x 1 mm, RAS)]
    """
    across, *others = (np.flatnonzero(mask.array.any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1)))
    box = [slice(int(places[0]), int(places[-1]) + 1) for places in others]
    middle = mask.shape[0] // 2
    sides = slice(int(across[0]), middle), slice(middle + 1, int(across[-1]) + 1)
    return [(cropped(scan, (side, *box)), cropped(mask, (side, *box))) for side in sides]


def cropped(volume: Volume, box: tuple[slice, ...]) -> Volume:
    """Return a part of a volume, where it lies in the patient.

    Examples
    --------
    >>> cropped(Volume(np.ones((4, 4, 4)), np.eye(4), "3d"), (slice(1, 3), slice(0, 4), slice(2, 4))).affine[:3, 3].tolist()
    [1.0, 0.0, 2.0]
    """
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [side.start for side in box]
    return dataclasses.replace(volume, array=np.ascontiguousarray(volume.array[box]), affine=affine)


def _slabs(scan: Volume, mask: Volume) -> list[tuple[Volume, Volume]]:
    """Cut scan and mask from back to front."""
    ends = np.linspace(0, scan.shape[1] + _GAP, _SLABS + 1).astype(int).tolist()
    boxes = [(slice(0, scan.shape[0]), slice(a, b - _GAP), slice(0, scan.shape[2])) for a, b in itertools.pairwise(ends)]
    return [(cropped(scan, box), cropped(mask, box)) for box in boxes]


def _written(out: Path, name: str, parts: list[tuple[Volume, Volume]]) -> tuple[list[str], list[str]]:
    """Write scans and masks as NIfTI files, and return their paths."""
    files: tuple[list[str], list[str]] = ([], [])
    for folder in ("scans", "masks"):
        (out / folder).mkdir(exist_ok=True)
    for i, (scan, mask) in enumerate(parts, start=1):
        title = f"{name}-{i}.nii.gz" if len(parts) > 1 else f"{name}.nii.gz"
        file = out / "scans" / title
        file.write_bytes(nifti.encode(scan, packed=True))
        files[0].append(str(file))
        files[1].append(str(volumes.write_mask(mask, scan, out / "masks" / title)))
    return files
