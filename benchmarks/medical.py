"""Medical scans: how good masks and findings are, beside simple baselines.

Run `python -m benchmarks.medical [name …]`; the names are the functions in `BENCHMARKS`. Reads `../shared/data/medical`.
"""

import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from medical import ScanClassifier, ScanSegmenter

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


BENCHMARKS: dict[str, Callable[[], Any]] = {"hippocampus": hippocampus, "pneumonia": pneumonia}

if __name__ == "__main__":
    run(BENCHMARKS)
