"""Segmentation: a class for every pixel or voxel, masks in the labels they came in, and their report."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from .. import checks, data, metrics
from ..errors import DataError, ParameterError
from ..report import Example, Report

__all__ = ["Each", "SegmenterMixin", "mask_files"]

_SHARE = 0.1
_FEW = 2  # samples that judge the epochs, even where a tenth is fewer
_FEWEST = 4  # samples that can be split at all
_ROOM = 2**30  # bytes of masks that are kept once they were made
_SHOWN = 8  # samples with pictures in the HTML report


class Each(Sequence[np.ndarray]):
    """Masks that are made or read when they are asked for; the first ones, up to a gigabyte, only once.

    Parameters
    ----------
    make : callable
        Takes a sample's number and returns its mask.
    n : int
        Number of samples.

    Examples
    --------
    >>> Each(lambda i: np.full(2, i), 3)[1].tolist()
    [1, 1]
    """

    def __init__(self, make: Callable[[int], np.ndarray], n: int) -> None:
        self.make, self.n, self.room = make, n, _ROOM
        self.known: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: Any) -> Any:
        if not 0 <= i < self.n:
            raise IndexError(i)
        if i in self.known:
            return self.known[i]
        mask = self.make(i)
        if mask.nbytes <= self.room:
            self.known[i] = mask
            self.room -= mask.nbytes
        return mask

    def changed(self, change: Callable[[np.ndarray, int], np.ndarray]) -> "Each":
        """Return the masks as `change` makes them of a mask and its number; those that are kept are handed over, not kept twice.

        Examples
        --------
        >>> Each(lambda i: np.full(2, i), 3).changed(lambda mask, i: mask + 10)[1].tolist()
        [11, 11]
        """
        made = Each(lambda i: change(self.make(i), i), self.n)
        for i in list(self.known):
            made.known[i] = change(self.known.pop(i), i)
            made.room -= made.known[i].nbytes
        return made

    def part(self, rows: Sequence[int]) -> "Each":
        """Return some of the masks, which this one goes on to keep.

        Examples
        --------
        >>> Each(lambda i: np.full(2, i), 3).part([2])[0].tolist()
        [2, 2]
        """
        made = Each(lambda i: self[rows[i]], len(rows))
        made.room = 0
        return made


class SegmenterMixin:
    """A label for every pixel or voxel of a sample.

    Of scans 0 is the background, which is no structure and counts in no mean, and figures are means over scans. In ordinary
    images every class counts, and the pixels of all images together: a domain says so by `background = False`. Pixels whose
    number in the masks is `_ignored` count neither in the loss nor in a figure.

    A domain supplies `_read_mask(X, y, i)`, one mask as it came, on the grid of its sample, with an error that names it;
    `_infer(X)`, a mask of positions in `labels_` for each sample, on its own grid; and, if it likes, `_spacings(X)`,
    `_baseline_masks(X)` and `_picture`.

    Attributes
    ----------
    labels_ : ndarray
        The numbers that masks hold, sorted; where there is a background, 0 among them.
    classes_ : ndarray
        Their names.
    class_prior_ : ndarray
        Share of each in the training masks.
    """

    background: ClassVar[bool] = True

    labels_: np.ndarray
    classes_: np.ndarray
    classes: dict[str, Any] | None

    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Predict probabilities.

        Parameters
        ----------
        X : sequence
            Samples.

        Returns
        -------
        list of ndarray, (…, k)
            A map for each sample on its own grid, one channel a class, in the order of `classes_`, last; they sum to one.
        """
        raise NotImplementedError

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None, patients: Any = None) -> Report:
        """Compare predicted masks with true ones.

        Parameters
        ----------
        X, y : sequences
            Samples and their masks, not used in `fit`.
        groups : sequence, DataFrame or dict, optional
            One name a sample, or several columns of such names (site, sex, age); the report gets a row a group.
        patients : sequence, optional
            One name a sample: intervals are by patients, and none may have been among the `groups` of `fit`.

        Returns
        -------
        Report
            See `pipelines.metrics.segmentation`, with simple baselines and pictures of the worst samples.

        Raises
        ------
        DataError
            If samples or masks cannot be used, or a patient was learned from; the message names the first.
        """
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)
        clusters = self._clusters(patients, len(X))  # type: ignore[attr-defined]
        X = self._inspect(X)  # type: ignore[attr-defined]
        masks = self._true_masks(X, y)
        started = time.perf_counter()
        found = self._infer(X)  # type: ignore[attr-defined]
        context = self._context(time.perf_counter() - started)  # type: ignore[attr-defined]
        self.report_ = self._report(X, masks, found, groups, context, clusters)
        return self.report_

    def score(self, X: Any, y: Any = None) -> float:
        """Return the report's headline, as scikit-learn's tools expect: mean Dice, or mean IoU where there is no background."""
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)
        X = self._inspect(X)  # type: ignore[attr-defined]
        masks = self._true_masks(X, y)
        counts = np.stack([counted(masks[i], said, len(self.labels_)) for i, said in enumerate(self._infer(X))])  # type: ignore[attr-defined]
        return mean_dice(counts) if self.background else pooled_means(counts)["iou"]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        return tags

    # ---------------------------------------------------------------- masks
    @property
    def _ignored(self) -> int | None:
        """The number in masks of pixels that count nowhere, if there are such."""
        return None

    def _declared(self) -> dict[int, str] | None:
        """Return the names of the numbers that the parameter `classes` declares."""
        return None if self.classes is None else {label: name for name, label in _checked_classes(self.classes).items()}

    def _samples(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        X, y = checks.samples(X, y)
        return X, list(y) if hasattr(y, "iloc") else y  # of a pandas column [i] would be a label of the index

    def _read_mask(self, X: Any, y: Any, i: int) -> np.ndarray:
        raise NotImplementedError

    def _true_masks(self, X: Any, y: Any) -> Each:
        """Return the masks, each of them looked at."""
        masks = self._masks(X, y)
        for _ in masks:
            pass
        return masks

    def _masks(self, X: Any, y: Any) -> Each:
        return self._encoded(self._read(X, y))

    def _read(self, X: Any, y: Any) -> Each:
        if y is None:
            raise DataError("y is missing: give a mask a sample.")
        return Each(lambda i: self._read_mask(X, y, i), len(X))

    def _encoded(self, masks: Each) -> Each:
        return masks.changed(lambda mask, i: encoded(mask, self.labels_, i, self._ignored))

    def _learn_labels(self, X: Any, y: Any) -> Each:
        """Find which labels there are, or check that there are no others than those declared; return the masks, read once."""
        masks = self._read(X, y)
        found = [np.unique(mask, return_counts=True) for mask in masks]
        names = self._declared()
        if names is None:
            names = {label: str(label) for labels, _ in found for label in labels.tolist() if label != self._ignored}
            if self.background:
                names[0] = "background"
        elif self.background:
            names = {0: "background", **names}
        if not names:
            raise DataError(f"Every pixel of all {len(X)} masks in y is to be ignored, so there is nothing to learn.")
        self.labels_ = np.array(sorted(names), dtype=np.int64)
        self.classes_ = np.array([names[label] for label in self.labels_.tolist()])
        counts = np.zeros(len(names) + 1, np.int64)
        for i, (labels, times) in enumerate(found):
            np.add.at(counts, encoded(labels, self.labels_, i, self._ignored), times)
        self._check_something_to_learn(counts[:-1], len(X))
        missing = [name for name, count in zip(self.classes_.tolist(), counts[:-1], strict=True) if not count]
        if missing:
            self._note(f"No training mask holds {', '.join(missing)}: it cannot be learned.")
        return self._encoded(masks)

    def _check_something_to_learn(self, counts: np.ndarray, n: int) -> None:
        """Raise DataError unless the masks mark two classes at least, the background among them where there is one."""
        if self.background and not counts[1:].any():
            raise DataError(
                f"No mask in y marks anything: all {n} of them hold 0 alone, so there is nothing to learn. Give masks with "
                "labels above 0."
            )
        if not counts.any():
            raise DataError(f"Every pixel of all {n} masks in y is to be ignored, so there is nothing to learn.")
        if not self.background and np.count_nonzero(counts) == 1:
            only = str(self.classes_[int(np.argmax(counts))])
            raise DataError(
                f"All {n} masks in y hold the class {only!r} alone, so there is nothing to tell apart. Give masks of two classes "
                "at least."
            )

    def _hold_out(self, X: Any, y: Any, valid: Any) -> tuple[Any, Each, Any]:
        """Learn the labels, and split the validation part off: a tenth, of few samples more; copies stay together."""
        masks = self._learn_labels(X, y)
        if not checks.is_share(valid):
            X_valid, y_valid = self._samples(*valid)
            X_valid = self._inspect(X_valid)  # type: ignore[attr-defined]
            return X, masks, (X_valid, self._true_masks(X_valid, y_valid))
        share = _SHARE if valid is None else float(valid)
        checks.number("valid", share, 0, 0.9)
        count = max(round(share * len(X)), _FEW if valid is None else 0)
        if not share or len(X) < _FEWEST or not count:
            if share:
                self._note(f"No validation part: {len(X)} samples are too few to split, so the last epoch's weights are kept.")
            return X, masks, None
        held = data.stratified(X, [0] * len(X), count, self.seed)  # type: ignore[attr-defined]
        parts = [np.flatnonzero(~held), np.flatnonzero(held)]
        train, judged = ((_safe_indexing(X, part), masks.part(part.tolist())) for part in parts)
        return *train, judged

    def _learn(self, X: Any, y: Each) -> None:
        k = len(self.labels_)
        counts = sum(np.bincount(mask.ravel(), minlength=k)[:k] for mask in y)  # not those that are ignored
        self.class_prior_ = counts / np.sum(counts)

    def _note(self, sentence: str) -> None:
        self.notes_.append(sentence)  # type: ignore[attr-defined]

    # ---------------------------------------------------------------- outputs
    def _judge(self, outputs: np.ndarray, _: Any) -> dict[str, float]:
        """Measure the validation part: `outputs` are the counts of each sample, see `counted`."""
        dice = mean_dice(outputs)
        return {"val_loss": 1 - dice, "val_dice": dice}

    def _decide(self, outputs: Any) -> list[np.ndarray]:
        kind = np.min_scalar_type(int(self.labels_.max())) if self.labels_.min() >= 0 else np.int32
        labels = self.labels_.astype(kind)
        return [labels[codes] for codes in outputs]

    def _report(self, X: Any, y: Any, outputs: Any, groups: Any, context: dict[str, Any], clusters: Any = None) -> Report:
        report = metrics.segmentation(
            y,
            outputs,
            self.classes_.tolist(),
            background=... if self.background else None,
            pooled=not self.background,
            ignore=None if self._ignored is None else len(self.labels_),
            spacing=self._spacings(X),
            groups=groups,
            clusters=clusters,
            baselines={**self._one_label(), **self._baseline_masks(X)},
            seed=self.seed,  # type: ignore[attr-defined]
            context=context,
        )
        worst = list(dict.fromkeys(report.errors()["sample"].tolist()))[:_SHOWN]
        shown = (self._picture(X, y[i], outputs[i], i) for i in worst)
        captions = [_caption(report.errors(), i) for i in worst]
        return replace(
            report,
            task=self.task,  # type: ignore[attr-defined]
            notes=(*report.notes, *self.notes_),  # type: ignore[attr-defined]
            examples=tuple(Example(caption, image=image) for caption, image in zip(captions, shown, strict=True) if image),
        )

    def _spacings(self, X: Any) -> Any:
        """Return the millimetres from voxel to voxel, one row a sample, where samples have such."""
        return None

    def _one_label(self) -> dict[str, int]:
        """Return the class that the simplest of all models says everywhere: the background, or the most frequent one."""
        if self.background:
            return {"background": 0}
        most = int(np.argmax(self.class_prior_))
        return {f"all {self.classes_[most]}": most}

    def _baseline_masks(self, X: Any) -> dict[str, Sequence[np.ndarray]]:
        """Return what simple models say of the same samples."""
        return {}

    def _picture(self, X: Any, truth: np.ndarray, said: np.ndarray, i: int) -> bytes | None:
        """Return a PNG with the true and the predicted mask of sample `i`."""
        return None


def mask_files(X: Sequence[Any], folder: Path, name: Callable[[Path], str], instead: str) -> list[Path]:
    """Return a file a sample in a folder, named after it; DataError if a sample is no path, or two would share a file.

    Examples
    --------
    >>> mask_files(["in/7.jpg"], Path("out"), lambda path: f"{path.stem}.png", "Use predict.")[0].as_posix()
    'out/7.png'
    """
    made: dict[Path, Any] = {}
    for i, source in enumerate(X):
        if not isinstance(source, (str, os.PathLike)):
            raise DataError(f"Sample {i} has no name to call its mask by: it is no path. {instead}")
        file = folder / name(Path(source))
        if file in made:
            raise DataError(f"{made[file]} and {source} would both become {file}. Give them to two calls with a folder each.")
        made[file] = source
    return list(made)


def encoded(mask: np.ndarray, labels: np.ndarray, i: int, ignored: int | None = None) -> np.ndarray:
    """Return the positions of a mask's numbers in the sorted `labels`; DataError, which names sample `i`, where one is not there.

    The position of `ignored` is the one after the last.

    Examples
    --------
    >>> encoded(np.array([0, 4]), np.array([0, 4]), 0).tolist()
    [0, 1]
    >>> encoded(np.array([0, 4, 255]), np.array([0, 4]), 0, ignored=255).tolist()
    [0, 1, 2]
    """
    codes = np.searchsorted(labels, mask).clip(max=len(labels) - 1)
    known = labels[codes] == mask
    if ignored is not None:
        codes = np.where(mask == ignored, len(labels), codes)
        known |= mask == ignored
    if not known.all():
        odd = np.unique(mask[~known]).tolist()
        shown = ", ".join(map(str, odd[:5])) + (", …" if len(odd) > 5 else "")
        raise DataError(
            f"The mask of sample {i} holds labels that are none: {shown}. The labels are {labels.tolist()}; name all "
            "of them with `classes`, or leave `classes` out to take those of the training masks."
        )
    return codes.astype(np.uint8 if len(labels) < 256 else np.int32)


def counted(truth: np.ndarray, said: np.ndarray, k: int) -> np.ndarray:
    """Count, class by class, the voxels that both masks have, those of the truth, and those of the prediction.

    Voxels whose truth is `k`, one more than the last class, count nowhere.

    Examples
    --------
    >>> counted(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
    [[1.0, 1.0, 2.0], [1.0, 2.0, 1.0]]
    """
    pairs = np.bincount(truth.ravel().astype(np.int64) * k + said.ravel(), minlength=k * k)
    both = pairs[: k * k].reshape(k, k)
    return np.stack([both.diagonal(), both.sum(axis=1), both.sum(axis=0)], axis=1).astype(np.float64)


def mean_dice(counts: np.ndarray) -> float:
    """Return the mean over structures of their mean Dice over samples, from `(n, k, 3)` counts; the background is none.

    Examples
    --------
    >>> mean_dice(counted(np.array([0, 1, 1]), np.array([0, 0, 1]), 2)[None])
    0.6666666666666666
    """
    both, true, said = np.moveaxis(counts[:, 1:], 2, 0)
    dice = np.divide(2 * both, true + said, out=np.full(both.shape, np.nan), where=true + said > 0)
    known = np.isfinite(dice)
    sums, cases = np.where(known, dice, 0).sum(axis=0), known.sum(axis=0)
    return float((sums[cases > 0] / cases[cases > 0]).mean()) if known.any() else 0.0


def pooled_means(counts: np.ndarray) -> dict[str, float]:
    """Return the means of `iou` and `dice` over the classes there are, of the pixels of all samples, from `(n, k, 3)` counts.

    Examples
    --------
    >>> pooled_means(counted(np.array([0, 1, 1]), np.array([0, 0, 1]), 3)[None])
    {'iou': 0.5, 'dice': 0.6666666666666666}
    """
    both, true, said = counts.sum(axis=0).T
    both, total = both[true + said > 0], (true + said)[true + said > 0]
    if not len(total):
        return {"iou": 0.0, "dice": 0.0}
    return {"iou": float((both / (total - both)).mean()), "dice": float((2 * both / total).mean())}


def _checked_classes(classes: Any) -> dict[str, int]:
    whole = isinstance(classes, dict) and all(isinstance(v, int) and not isinstance(v, bool) for v in classes.values())
    if not whole or not classes or len(set(classes.values())) < len(classes):
        raise ParameterError(
            f"classes must name a whole number of the masks each, such as {{'liver': 1, 'tumour': 2}}, but received {classes!r}."
        )
    return dict(classes)


def _caption(errors: pd.DataFrame, i: int) -> str:
    rows = errors[errors["sample"] == i]
    return f"sample {i}: " + ", ".join(f"{row.structure} Dice {row.dice:.2f}" for row in rows.itertuples())
