"""The demo on the brain template: its parts, and the whole of it as a user runs it, with fewer epochs."""

import importlib.util
import json

import numpy as np
import pytest

from medical import demo, volumes
from pipelines import Report, cli, load


@pytest.fixture(scope="module")
def brain():
    return demo.read_template()


def test_the_mask_is_of_grey_and_white_matter(brain):
    scan, mask = brain
    assert volumes.same_grid(scan, mask)
    assert np.bincount(mask.array.ravel()).tolist() == [6_963_686, 1_079_599, 632_004]
    brightness = [scan.array[mask.array == label].mean() for label in range(3)]
    assert brightness[0] < brightness[1] < brightness[2]


def test_halves_are_mirror_images_in_their_places(brain):
    (left, left_mask), (right, right_mask) = demo.halves(*brain)
    np.testing.assert_array_equal(left.array, right.array[::-1])  # what the demo says of itself
    np.testing.assert_array_equal(left_mask.array, right_mask.array[::-1])
    for half, mask in ((left, left_mask), (right, right_mask)):
        assert volumes.same_grid(half, mask)
        np.testing.assert_array_equal(volumes.on_grid(brain[0], half).array, half.array)
    middles = [(half.affine @ [*(np.array(half.shape) - 1) / 2, 1])[0] for half in (left, right)]
    assert middles[0] < -30
    assert middles[1] > 30


def test_slabs_leave_gaps_and_nothing_out_at_the_ends(brain):
    left, _ = demo.halves(*brain)
    slabs = demo._slabs(*left)
    assert len(slabs) == 6
    starts = [scan.affine[1, 3] for scan, _ in slabs]
    ends = [start + scan.shape[1] for start, (scan, _) in zip(starts, slabs, strict=True)]
    assert [b - a for a, b in zip(ends, starts[1:], strict=False)] == [2] * 5
    assert (starts[0], ends[-1]) == (left[0].affine[1, 3], left[0].affine[1, 3] + left[0].shape[1])
    for scan, mask in slabs:
        assert volumes.same_grid(scan, mask)
        assert set(np.unique(mask.array)) == {0, 1, 2}
        np.testing.assert_array_equal(volumes.on_grid(left[1], scan, order=0).array, mask.array)


def test_missing_data_package_gives_the_pip_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install nilearn"):
        demo.read_template()


@pytest.mark.slow
def test_template_reports_saves_and_predicts_again(tmp_path, monkeypatch, capsys):
    def small(**params):
        return demo_class(**{**params, "epochs": 2, "width": 4, "patch": [32, 24, 32], "verbose": 0})

    demo_class = demo.ScanSegmenter
    monkeypatch.setattr(demo, "ScanSegmenter", small)
    out = tmp_path / "demo"
    assert cli.main(["demo", "template", "--out", str(out)]) == 0
    assert f"file {out / 'predicted' / 'right-half.nii.gz'}" in capsys.readouterr().out
    report = Report.from_dict(json.loads((out / "model" / "report.json").read_text()))
    assert report.n == 6
    assert report.tables["structures"].index.tolist() == ["grey matter", "white matter"]
    assert "image/png" in (out / "report.html").read_text()
    whole, said = volumes.read(out / "scans" / "right-half.nii.gz"), volumes.read(out / "predicted" / "right-half.nii.gz")
    assert volumes.same_grid(whole, said)
    np.testing.assert_array_equal(load(out / "model").predict([whole])[0], said.array)
    truth = volumes.read_mask(out / "masks" / "right-half.nii.gz", whole)
    assert truth.array.any()
