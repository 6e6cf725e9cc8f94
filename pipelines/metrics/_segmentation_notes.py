"""What a reader of the segmentation report must know, as sentences."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from pipelines.metrics._segmentation_masks import Masks
from pipelines.metrics._segmentation_measures import Measures
from pipelines.metrics._segmentation_pooled import Counts
from pipelines.report import BELOW_BASELINE

__all__ = ["baseline_notes", "interval_notes", "notes", "units"]

_SHOWN = 10  # structures or groups named in a sentence


def units(measures: Measures, masks: Masks) -> tuple[str, str]:
    """Return the unit of distances, and that of volumes."""
    solid = measures.ndim == 3
    if masks.spacing is not None:
        return "mm", "ml" if solid else "mm²"
    return ("voxels", "voxels") if solid else ("pixels", "pixels")


def baseline_notes(table: pd.DataFrame, headline: str, masks: Masks) -> list[str]:
    """Say which simple model is not beaten; by the share of right pixels only where the background counts like the rest."""
    found = []
    for metric in (headline,) if masks.background is not None else (headline, "pixel_accuracy"):
        ours = table[metric].iloc[0]
        for name, theirs in table[metric].iloc[1:].items():
            if ours <= theirs:
                relation = "is lower than" if ours < theirs else "is no better than"
                found.append(f"{BELOW_BASELINE}: {metric} {ours:.4f} {relation} the {theirs:.4f} of {str(name)!r}.")
    return found


def notes(
    measures: Measures, masks: Masks, tolerance: float, clusters: np.ndarray | None, groups: pd.DataFrame | None
) -> list[str]:
    """Say in which units the numbers are, what is undefined and why, and what the intervals rest on."""
    distance, volume = units(measures, masks)
    found = [
        f"Distances are in {distance}, volumes in {volume}; surface Dice counts as found what is within {tolerance:g} "
        f"{distance} of the other surface."
    ]
    found += _empty_notes(measures, masks) + interval_notes(measures, clusters)
    if groups is not None and groups["dice"].isna().any():
        found.append(f"No mask of the groups {_named(groups.index[groups['dice'].isna()])} has a structure; undefined there.")
    return found


def _empty_notes(measures: Measures, masks: Masks) -> list[str]:
    true, said = measures.true > 0, measures.said > 0
    cases = {"true": true, "said": said, "neither": ~true & ~said, "one": true ^ said}
    counts = {name: each.sum(axis=0) for name, each in cases.items()}
    found = []
    if nowhere := _chosen(masks, counts["neither"] == measures.n):
        found.append(f"No case has {_named(nowhere)} in truth or prediction: undefined there, and the means leave it out.")
    partly = np.where(counts["neither"] < measures.n, counts["neither"], 0)
    if partly.any():
        found.append(
            "In some cases neither truth nor prediction has the structure, so they do not count for it: "
            f"{_counted(masks, partly, measures.n)}."
        )
    if counts["one"].any():
        found.append(
            f"In some cases only one of truth and prediction has the structure: {_counted(masks, counts['one'], measures.n)}. "
            "Dice, IoU and surface Dice are 0 there. HD95 is undefined and leaves them out, so read it beside Dice."
        )
    if untrue := _chosen(masks, (counts["true"] == 0) & (counts["said"] > 0)):
        found.append(f"No true mask has {_named(untrue)}, so the volume error is undefined there.")
    if not measures.voxels.sum():
        found.append("Every voxel is ignored, so nothing is defined.")
    return found


def interval_notes(measures: Measures | Counts, clusters: np.ndarray | None) -> list[str]:
    """Say what the intervals rest on."""
    n = measures.n if clusters is None else len(np.unique(clusters))
    if n == 1:
        return [f"There is one {'case' if clusters is None else 'cluster of cases'} only, so no interval can be had."]
    found = [] if clusters is None else [f"The intervals draw {n} clusters, each whole, not {measures.n} cases."]
    if measures.voxels.any() and (measures.right == measures.voxels).all():
        bound = 1 - 0.05 ** (1 / n)
        found.append(
            f"No mistake in {measures.n} cases, so resampling shows no spread; mistakes in a share of more than {bound:.4f} of "
            f"{'cases' if clusters is None else 'clusters'} would do so less than once in twenty times."
        )
    return found


def _chosen(masks: Masks, which: np.ndarray) -> list[object]:
    return [name for name, chosen in zip(masks.names, which, strict=True) if chosen]


def _named(names: Sequence[object]) -> str:
    return ", ".join(repr(name) for name in names[:_SHOWN]) + _rest(len(names))


def _counted(masks: Masks, counts: np.ndarray, n: int) -> str:
    shown = [f"{name!r} in {count} of {n}" for name, count in zip(masks.names, counts.tolist(), strict=True) if count]
    return ", ".join(shown[:_SHOWN]) + _rest(len(shown))


def _rest(count: int) -> str:
    return f" and {count - _SHOWN} more" if count > _SHOWN else ""
