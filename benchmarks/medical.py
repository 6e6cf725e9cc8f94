"""Medical scans: how good masks and findings are, beside simple baselines.

Run `python -m benchmarks.medical [name …]`; the names are the functions in `BENCHMARKS`. Reads `../shared/data/medical`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medical import ScanClassifier, ScanSegmenter, demo, volumes

from .common import SHARED, run

DATA = SHARED / "medical"


def hippocampus() -> dict[str, Any]:
    """22 MRI volumes to learn two structures from, 8 to judge, with defaults."""
    folder = DATA / "hippocampus_mri"
    table = pd.read_csv(folder / "cases.csv")
    parts = {
        name: [[str(folder / file) for file in part[column]] for column in ("image", "label")]
        for name, part in table.groupby("split")
    }
    model = ScanSegmenter(classes={"anterior": 1, "posterior": 2}, verbose=0).fit(*parts["train"])
    report = model.evaluate(*parts["test"])
    structures, baselines = report.tables["structures"], report.tables["baselines"]
    return {
        "dice": round(report.metrics["dice"], 4),
        "by_structure": {name: round(row.dice, 4) for name, row in zip(structures.index, structures.itertuples(), strict=True)},
        "hd95_mm": round(report.metrics["hd95"], 2),
        "baselines": {name: round(value, 4) for name, value in baselines["dice"].iloc[1:].items()},
        "fit_s": round(model.fit_seconds_),
    }


def pneumonia() -> dict[str, Any]:
    """Chest X-rays of 28 x 28 pixels in their official parts, with defaults, three seeds."""
    with np.load(DATA / "pneumoniamnist" / "pneumoniamnist.npz") as stored:
        parts = {name: (stored[f"{name}_images"], stored[f"{name}_labels"].ravel()) for name in ("train", "val", "test")}
    models = [ScanClassifier(seed=seed, verbose=0).fit(*parts["train"], valid=parts["val"]) for seed in (0, 1, 2)]
    reports = [model.evaluate(*parts["test"]) for model in models]
    found: dict[str, Any] = {"fit_s": [round(model.fit_seconds_) for model in models]}
    for name in ("roc_auc", "accuracy", "balanced_accuracy"):
        values = [report.metrics[name] for report in reports]
        found[name] = [round(value, 4) for value in values]
        found[f"{name}_mean"] = round(statistics.mean(values), 4)
    return found


def template() -> dict[str, Any]:
    """Tissue of the MNI template's right half, learned on the left half, its mirror image, as the demo does."""
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        model, X, y, (whole, *_) = demo.template(Path(folder))
        mask = str(Path(folder, "masks", Path(whole).name))
        reports = {"slabs": model.evaluate(X, y), "whole": model.evaluate([whole], [mask])}
        scan, truth = volumes.read(whole).array, volumes.read(mask).array
    found: dict[str, Any] = {
        name: {tissue: round(float(dice), 4) for tissue, dice in report.tables["structures"]["dice"].items()}
        for name, report in reports.items()
    }
    # of left slabs whose mirror images were not learned from either, but which chose the epoch
    found["validation"] = round(max(record["val_dice"] for record in model.history_), 4)
    found["two_thresholds"] = _best_thresholds(scan, truth)
    return {**found, "fit_s": round(model.fit_seconds_), "processor_s": round(time.process_time() - started)}


def _best_thresholds(scan: np.ndarray, truth: np.ndarray) -> list[float]:
    """Return Dice of grey and white matter by the two thresholds that are best on these very voxels."""
    counts = np.stack([np.bincount(scan[truth == label], minlength=256) for label in range(3)])
    above = np.cumsum(counts[:, ::-1], axis=1)[:, ::-1]  # voxels of each class at this brightness or more
    white = 2 * above[2] / (above.sum(axis=0) + above[2, 0])
    between = above[:, :, None] - above[:, None, :]
    grey = 2 * between[1] / (between.sum(axis=0) + above[1, 0])
    low, high = np.unravel_index(np.argmax(np.triu(grey + white)), grey.shape)
    return [round(float(grey[low, high]), 4), round(float(white[high]), 4)]


BENCHMARKS: dict[str, Callable[[], Any]] = {"hippocampus": hippocampus, "pneumonia": pneumonia, "template": template}

if __name__ == "__main__":
    run(BENCHMARKS)
