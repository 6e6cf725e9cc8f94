"""Scans on the command line: a table of files, masks and patients; masks written to a folder."""

import json

import numpy as np
import pytest

from pipelines.cli import main
from pipelines.engines import load_framework

nib = load_framework("nibabel")


@pytest.fixture
def table(tmp_path):
    """Eight bright boxes in noise as NIfTI files, two of a patient, named by a table beside them."""
    rng, lines = np.random.default_rng(0), ["scan,mask,patient"]
    for i in range(8):
        mask = np.zeros((16, 14, 12), np.uint8)
        mask[3 + i % 4 : 9 + i % 4, 4:10, 3:9] = 1
        scan = (mask * 2 + rng.normal(0, 0.2, mask.shape)).astype(np.float32)
        for name, array in ((f"scan{i}.nii.gz", scan), (f"mask{i}.nii.gz", mask)):
            nib.Nifti1Image(array, np.diag([-1.0, 1, 2, 1])).to_filename(tmp_path / name)
        lines.append(f"scan{i}.nii.gz,mask{i}.nii.gz,patient {i // 2}")
    path = tmp_path / "scans.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


COLUMNS = ["--x", "scan", "--y", "mask", "--group", "patient"]


def test_fit_evaluate_and_predict(table, tmp_path, capsys):
    model = str(tmp_path / "model")
    options = ["--width", "4", "--epochs", "1", "--verbose", "0", "--test", "0.25"]
    fit = ["fit", "scan-segmentation", "--data", str(table), *COLUMNS, "--out", model, *options]
    assert main(fit) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["report"]["n"] == 2
    assert main(["evaluate", model, "--data", str(table), *COLUMNS]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 8
    assert main(["predict", model, str(tmp_path / "scan0.nii.gz"), "--out", str(tmp_path / "masks")]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["file"] == str(tmp_path / "masks" / "scan0.nii.gz")
    written = nib.load(row["file"])
    assert written.shape == (16, 14, 12)
    np.testing.assert_allclose(written.affine, np.diag([-1.0, 1, 2, 1]))
    assert main(["predict", model, str(tmp_path / "scan0.nii.gz")]) == 2
    assert "--out FOLDER" in capsys.readouterr().err


def test_a_folder_is_no_table_of_masks(tmp_path, capsys):
    out = ["--out", str(tmp_path / "model")]
    assert main(["fit", "scan-segmentation", "--data", str(tmp_path), *out]) == 2
    assert "--x scan --y mask" in capsys.readouterr().err
