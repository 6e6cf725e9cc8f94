"""Segment 3-D scans: learn from files, judge on patients never seen, and write masks where the scans lie.

Run it with `python examples/scan_segmentation.py`; the scans are made on the spot, and it takes under a minute.
"""

from pathlib import Path

import nibabel as nib
import numpy as np

from medical import ScanSegmenter
from pipelines import data


def make_scan(folder: Path, name: str, rng: np.random.Generator) -> tuple[str, str]:
    """Write a noisy scan of an organ with a lesion in it, and its mask: 1 is the organ, 2 the lesion."""
    shape = np.array([32, 28, 20])
    middle = shape * rng.uniform(0.4, 0.6, 3)
    distance = np.sqrt(sum(((axis - m) / s) ** 2 for axis, m, s in zip(np.indices(shape), middle, (9, 8, 6), strict=True)))
    lesion = np.sqrt(sum((axis - m - 3) ** 2 for axis, m in zip(np.indices(shape), middle, strict=True))) < 3
    mask = np.where(lesion, 2, distance < 1).astype(np.uint8)
    scan = np.array([0.0, 100, 160])[mask] + rng.normal(0, 15, shape)
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])  # millimetres; pointing to the left, to the back and to the head
    paths = folder / f"{name}.nii.gz", folder / f"{name}-mask.nii.gz"
    for array, path in zip((scan.astype(np.float32), mask), paths, strict=True):
        nib.Nifti1Image(array, affine).to_filename(path)
    return str(paths[0]), str(paths[1])


def main() -> None:
    """Fit, report, and write the masks of the test scans."""
    folder, rng = Path("scan-segmentation"), np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    pairs = [make_scan(folder, f"scan{i}", rng) for i in range(16)]
    scans, masks = [scan for scan, _ in pairs], [mask for _, mask in pairs]
    patients = [f"patient {i // 2}" for i in range(16)]  # two scans each, which must not be parted

    X, X_test, y, y_test = data.split(scans, masks, test=0.25, groups=patients, seed=0)
    names = dict(zip(scans, patients, strict=True))
    model = ScanSegmenter(classes={"organ": 1, "lesion": 2}, width=8, epochs=5, verbose=0)
    model.fit(X, y, groups=[names[scan] for scan in X])
    print(model.plan_)  # what was decided from the scans: patch, spacing, intensities

    report = model.evaluate(X_test, y_test, patients=[names[scan] for scan in X_test])
    print(report)  # Dice, surface distances in millimetres, volumes; beside a mean shape and Otsu's threshold
    report.save(folder / "report.html")  # with the worst scans drawn

    for file in model.save_masks(X_test, folder / "predicted"):  # on the grid of each scan, for any viewer
        print(file)


if __name__ == "__main__":
    main()
