"""How the values of scans become what a network sees: CT by one window for all, pictures by one scale, others each by itself.

The schemes are nnU-Net's [1]_.

References
----------
.. [1] Isensee, Jaeger, Kohl, Petersen, Maier-Hein (2021), "nnU-Net: a self-configuring method for deep learning-based biomedical
   image segmentation", Nature Methods 18, doi:10.1038/s41592-020-01008-z.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from pipelines import checks

__all__ = ["SCHEMES", "apply", "learn", "values"]

SCHEMES = ("auto", "window", "range", "z-score")
_DRAWN = 20_000  # values of each scan that are looked at
_HOUNSFIELD = (-3100, -500)  # where the smallest value of a CT lies: air, or what lies outside the round field of view
_BACKGROUND = 0.25  # share of the voxels with one value from which that value is no tissue


def values(array: np.ndarray, mask: np.ndarray | None = None, seed: int = 0) -> dict[str, Any]:
    """Return what `learn` needs of one scan.

    Parameters
    ----------
    array : ndarray
        Its values.
    mask : ndarray, optional
        Labels on its grid; where they are above 0 is what matters.
    seed : int
        Of the drawing.

    Returns
    -------
    dict
        Some values of the foreground, the smallest of all, and whether the scan is an 8-bit picture.

    Examples
    --------
    >>> values(np.array([[0, 5], [5, 9]]), np.array([[0, 1], [1, 0]]))["drawn"].tolist()
    [5.0, 5.0]
    """
    chosen = array[mask > 0] if mask is not None and (mask > 0).any() else array.reshape(-1)
    chosen = chosen.reshape(-1)
    if len(chosen) > _DRAWN:
        chosen = chosen[np.random.default_rng(seed).integers(0, len(chosen), _DRAWN)]
    return {
        "drawn": chosen.astype(np.float64),
        "least": float(array.min()),
        "whole": array.dtype.kind in "iu" or bool((chosen == np.rint(chosen)).all()),
        "picture": array.dtype == np.uint8,
    }


def learn(scans: Iterable[Mapping[str, Any]], modalities: Iterable[str] = (), asked: str = "auto") -> dict[str, Any]:
    """Choose the scheme, and what it needs, from the training scans.

    Parameters
    ----------
    scans : iterable of dict
        What `values` says of each scan.
    modalities : iterable of str
        DICOM's name of each scan's modality, "" where it is unknown.
    asked : str
        "window" clips to the 0.5 and 99.5 percentiles of the foreground and standardises by its mean and deviation, the same for
        all, as Hounsfield units mean the same in all; "range" does so without clipping; "z-score" standardises each scan by
        itself. "auto": "window" for CT, "range" for 8-bit pictures, otherwise "z-score".

    Returns
    -------
    dict
        `scheme`, and `low`, `high`, `mean`, `deviation` where it is the same for all; plain numbers.

    Examples
    --------
    >>> learn([values(np.arange(-1000, 1001))])["scheme"]
    'window'
    >>> learn([values(np.arange(256, dtype=np.uint8))])["scheme"]
    'range'
    """
    checks.choice("intensity", asked, SCHEMES)
    scans = list(scans)
    scheme = _chosen(scans, list(modalities)) if asked == "auto" else asked
    if scheme == "z-score":
        return {"scheme": scheme}
    drawn = np.concatenate([scan["drawn"] for scan in scans])
    low, high = np.percentile(drawn, [0.5, 99.5]) if scheme == "window" else (drawn.min(), drawn.max())
    clipped = np.clip(drawn, low, high)
    deviation = float(clipped.std()) or 1.0
    return {"scheme": scheme, "low": float(low), "high": float(high), "mean": float(clipped.mean()), "deviation": deviation}


def apply(scheme: Mapping[str, Any], array: np.ndarray) -> np.ndarray:
    """Return the values of a scan as a network sees them.

    Parameters
    ----------
    scheme : mapping
        What `learn` returned.
    array : ndarray
        Values of one scan, in their own units.

    Returns
    -------
    ndarray
        float32, about zero.

    Examples
    --------
    >>> apply({"scheme": "z-score"}, np.arange(5)).astype(float).round(1).tolist()
    [-1.4, -0.7, 0.0, 0.7, 1.4]
    """
    if scheme["scheme"] == "z-score":
        return _standardised(array)
    found = array.astype(np.float32)
    if scheme["scheme"] == "window":
        np.clip(found, scheme["low"], scheme["high"], out=found)
    found -= np.float32(scheme["mean"])
    found /= np.float32(scheme["deviation"])
    return found


def _chosen(scans: list[Mapping[str, Any]], modalities: list[str]) -> str:
    if "CT" in modalities or all(scan["whole"] and _HOUNSFIELD[0] <= scan["least"] <= _HOUNSFIELD[1] for scan in scans):
        return "window"
    return "range" if all(scan["picture"] for scan in scans) else "z-score"


def _standardised(array: np.ndarray) -> np.ndarray:
    """Standardise one scan by the voxels that show something: those of a corner's value are none, where they are many."""
    found = array.astype(np.float32)
    tissue = found != found.flat[0]
    if tissue.mean() > 1 - _BACKGROUND:
        tissue = np.ones_like(tissue)
    seen = found[tissue].astype(np.float64)
    found -= np.float32(seen.mean())
    found /= np.float32(seen.std() or 1.0)
    return found
