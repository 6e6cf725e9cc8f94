"""The segmentation report: overlap and distances, case by case or of all pixels, intervals, baselines, groups, worst cases."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pipelines import checks
from pipelines.bootstrap import affordable, intervals
from pipelines.errors import DataError
from pipelines.metrics import _segmentation_pooled as pool
from pipelines.metrics import _segmentation_tables as made
from pipelines.metrics._answers import check_clusters, group_columns
from pipelines.metrics._segmentation_masks import Masks, check_masks, check_sequence
from pipelines.metrics._segmentation_measures import Measures, measure
from pipelines.metrics._segmentation_notes import baseline_notes, interval_notes, notes, units
from pipelines.metrics._segmentation_sums import scores, weighted_scores
from pipelines.report import Report

__all__ = ["segmentation"]

_BOOTSTRAP_BUDGET = 3_000_000_000  # resamples x cases x structures; about ten seconds on one core
_MOST_ROWS = 300  # in the table of cases


def segmentation(
    y_true: Any,
    y_pred: Any,
    classes: Sequence[Hashable],
    *,
    background: Hashable | None = ...,
    ignore: int | None = None,
    spacing: Sequence[float] | Sequence[Sequence[float]] | None = None,
    tolerance: float = 1.0,
    pooled: bool = False,
    boundary_tolerance: float = 0.0075,
    groups: Sequence[Hashable] | Mapping[str, Sequence[Hashable]] | pd.DataFrame | None = None,
    clusters: Sequence[Hashable] | None = None,
    baselines: Mapping[str, Any] | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
    context: Mapping[str, Any] | None = None,
) -> Report:
    """Report how good predicted masks are, from anybody's arrays.

    Dice, IoU, distances and volumes are measured in each case for each structure; a metric is the mean over structures of the
    mean over the cases in which it is defined, as advised for medical images in [1]_. Where neither mask has a structure the case
    does not count for it; where only one has it, Dice, IoU and surface Dice are 0, and HD95 is undefined. Intervals of 95 % come
    from a bootstrap over cases, or over clusters of them.

    With ``pooled=True`` the pixels of all cases are counted together, as for street scenes [4]_: there a class is not judged by
    an image that has next to nothing of it.

    Parameters
    ----------
    y_true, y_pred : sequence of array-like of int
        Masks, 2-D or 3-D. They are fetched one at a time, by number, so a sequence may read them from files. Shapes may differ
        from case to case.
    classes : sequence of shape (k,)
        Names: the number v in a mask means ``classes[v]``.
    background : Hashable or None, optional
        Name of the class that is no structure; by default the first, None where every class counts, as in street scenes.
    ignore : int, optional
        Number in ``y_true`` of voxels that count nowhere; for distances they are of no structure in either mask.
    spacing : sequence of float, or one such per case, optional
        Millimetres from voxel to voxel along each axis; without it distances are in voxels.
    tolerance : float
        Distance within which a surface counts as found by surface Dice, in millimetres, or without ``spacing`` in voxels.
    pooled : bool
        Whether figures are of all pixels together.
    boundary_tolerance : float
        Distance within which a boundary counts as met by boundary F1, as a share of the diagonal; for ``pooled=True``.
    groups : sequence of shape (n,), DataFrame or mapping of sequences, optional
        A group for each case, or several columns of them (site, sex, age); the report then has a row per group.
    clusters : sequence of shape (n,), optional
        What each case belongs to, say its patient: the bootstrap draws whole clusters.
    baselines : mapping of str to (sequence of masks or int), optional
        What simple models say of the same cases, an int being one label everywhere. Default: the background everywhere, or
        where there is none the most frequent class.
    seed : int
        Seed of the bootstrap.
    n_bootstrap : int
        Number of resamples; fewer are drawn where cases times structures are very many, and a note says so.
    context : mapping, optional
        Facts to keep with the numbers (parameters, device, versions); ``background``, ``ignore``, tolerance and units,
        ``n_bootstrap`` and ``seed`` are added.

    Returns
    -------
    Report
        Headline ``dice``, whatever the background. Metrics by case: ``dice``, ``iou``, ``hd95`` (the larger of the 95th
        percentiles of the distances from surface to surface, there and back [2]_), ``surface_dice`` (share of both surfaces
        within the tolerance of the other [3]_) and ``volume_error`` (share of the true volume, without its sign). Of the voxels
        of all cases together: ``pixel_accuracy`` and ``frequency_weighted_iou`` over all classes, and ``iou_pooled``, the mean
        over the structures, which with ``background=None`` is the mean IoU of papers on street scenes [4]_. Tables
        ``headline``, ``baselines``, ``structures`` (a row each, with the median and the 5 % quantile of its Dice,
        ``volume_bias`` with its sign, and how many true masks have it), ``confusion`` (voxels), ``groups``, ``cases`` (the worst
        first, at most 300) and ``errors``; curve ``dice_by_case``. Distances are those of MONAI, between the voxels at the edge.

        With ``pooled=True``: headline ``mean_iou``, the mean over the structures of the IoU of all pixels; ``mean_dice``
        likewise, ``pixel_accuracy``, ``frequency_weighted_iou``, and ``boundary_f1``, which is measured in each image for each
        structure that one of the masks has there, and averaged [5]_. Tables ``headline``, ``baselines``, ``classes`` (a row
        each, the background's too), ``confusion``, ``groups``, ``cases`` (the one with the largest share of wrong pixels first)
        and ``errors`` (the structures with the most wrong pixels first).

    Raises
    ------
    DataError
        If an argument cannot be used; the message names the first case.

    References
    ----------
    .. [1] L. Maier-Hein et al., "Metrics reloaded: recommendations for image analysis validation", Nature Methods 21, 2024,
           https://doi.org/10.1038/s41592-023-02151-z
    .. [2] A. A. Taha and A. Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15, 2015,
           https://doi.org/10.1186/s12880-015-0068-x
    .. [3] S. Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", JMIR 23(7), 2021,
           https://doi.org/10.2196/26151
    .. [4] J. Long, E. Shelhamer and T. Darrell, "Fully convolutional networks for semantic segmentation", CVPR 2015, section 5.
    .. [5] G. Csurka, D. Larlus and F. Perronnin, "What is a good evaluation measure for semantic segmentation?", BMVC 2013,
           https://doi.org/10.5244/C.27.32

    Examples
    --------
    >>> truth, said = np.zeros((2, 6, 6), dtype=int)
    >>> truth[2:4, 1:5], said[2:4, 1:4] = 1, 1
    >>> report = segmentation([truth], [said], ["background", "heart"])
    >>> {name: round(report.metrics[name], 3) for name in ("dice", "hd95", "surface_dice")}
    {'dice': 0.857, 'hd95': 1.0, 'surface_dice': 1.0}
    """
    checks.number("tolerance", tolerance, 0)
    checks.number("boundary_tolerance", boundary_tolerance, 0, 1)
    masks = check_masks(y_true, classes, background, ignore, spacing)
    if pooled and spacing is not None:
        raise DataError("spacing is for distances, and figures of all pixels together hold none; leave it out, or pooled=True.")
    n_bootstrap, cut = affordable(n_bootstrap, masks.n * len(masks.structures), _BOOTSTRAP_BUDGET)
    members = None if clusters is None else check_clusters(clusters, masks.n)
    columns = None if groups is None else group_columns(groups, masks.n)
    measured: Any = partial(pool.count, share=boundary_tolerance) if pooled else partial(measure, tolerance=tolerance)
    weigh: Any = pool.weighted_scores if pooled else weighted_scores
    ours, others = _measured(masks, y_pred, baselines, measured)
    found = scores(weigh, ours)
    single = masks.n == 1 or (members is not None and len(np.unique(members)) == 1)
    spread = {} if single else intervals(partial(weigh, ours), masks.n, n_bootstrap=n_bootstrap, seed=seed, clusters=members)
    tables = {"headline": made.headline_table(found, spread)}
    tables |= (_pooled_tables if pooled else _case_tables)(ours, others, masks, columns)
    if len(tables["cases"]) > _MOST_ROWS:
        cut = [f"The table of cases holds the {_MOST_ROWS} worst of {len(tables['cases'])} rows.", *cut]
        tables["cases"] = tables["cases"].head(_MOST_ROWS)
    if not baselines:
        cut = [f"No baseline was given; {tables['baselines'].index[1]!r} stands for one.", *cut]
    headline = next(iter(found))
    if pooled:
        said = pool.notes(ours, masks, boundary_tolerance) + interval_notes(ours, members)
    else:
        said = notes(ours, masks, tolerance, members, tables.get("groups"))
    facts = {"boundary_tolerance": boundary_tolerance} if pooled else {**_units(ours, masks), "tolerance": tolerance}
    return Report(
        task="segmentation",
        headline=headline,
        metrics=found,
        tables=tables,
        curves={} if pooled else {"dice_by_case": made.dice_by_case(ours, masks)},
        n=masks.n,
        notes=(*baseline_notes(tables["baselines"], headline, masks), *said, *cut),
        context={**(context or {}), **_facts(masks), **facts, "n_bootstrap": n_bootstrap, "seed": seed},
    )


def _case_tables(ours: Measures, others: Mapping[str, Measures], masks: Masks, columns: Any) -> dict[str, pd.DataFrame]:
    groups = {} if columns is None else {"groups": made.group_table(ours, columns)}
    return {
        "baselines": made.baseline_table(ours, others),
        "structures": made.structure_table(ours, masks),
        "confusion": made.confusion_table(ours, masks),
        **groups,
        "cases": made.case_table(ours, masks),
        "errors": made.error_table(ours, masks),
    }


def _pooled_tables(ours: pool.Counts, others: Mapping[str, pool.Counts], masks: Masks, columns: Any) -> dict[str, pd.DataFrame]:
    groups = {} if columns is None else {"groups": pool.group_table(ours, columns)}
    return {
        "baselines": pool.baseline_table(ours, others),
        "classes": pool.class_table(ours, masks),
        "confusion": made.confusion_table(ours, masks),
        **groups,
        "cases": pool.case_table(ours),
        "errors": pool.error_table(ours, masks),
    }


def _measured(
    masks: Masks, y_pred: Any, baselines: Mapping[str, Any] | None, measured: Callable[[Masks, Any], list[Any]]
) -> tuple[Any, dict[str, Any]]:
    """Measure the model and what it is compared with."""
    others = dict(baselines or {})
    if not others and masks.background is not None:
        others = {_everywhere(masks, masks.background): masks.background}
    models = [("y_pred", y_pred), *((f"baselines[{name!r}]", said) for name, said in others.items())]
    ours, *theirs = measured(masks, [(name, _checked(said, name, masks)) for name, said in models])
    if not others:  # which class is the most frequent is known only now
        most = int(ours.confusion.sum(axis=1).argmax())
        others, theirs = {_everywhere(masks, most): most}, measured(masks, [("baseline", most)])
    return ours, dict(zip(others, theirs, strict=True))


def _checked(said: Any, name: str, masks: Masks) -> Any:
    if not isinstance(said, int):
        return check_sequence(said, name, masks.n)
    if not 0 <= said < len(masks.classes):
        raise DataError(f"{name} is the label {said}, but the labels are 0 to {len(masks.classes) - 1}.")
    return said


def _everywhere(masks: Masks, label: int) -> str:
    return f"all {masks.classes[label]}"


def _facts(masks: Masks) -> dict[str, Any]:
    return {"background": None if masks.background is None else masks.classes[masks.background], "ignore": masks.ignore}


def _units(ours: Measures, masks: Masks) -> dict[str, Any]:
    distance, volume = units(ours, masks)
    return {"distances": distance, "volumes": volume}
