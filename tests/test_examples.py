"""Every example runs as it stands, in a folder of its own."""

import os
import subprocess
import sys

import pytest

from .conftest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
HEADLINES = {  # what the report that an example prints is about
    "anomaly_detection": "vus_pr",
    "explain_image": "deletion",
    "forecasting": "mase",
    "image_classification": "accuracy",
    "image_segmentation": "mean_iou",
    "record_classification": "accuracy",
    "scan_classification": "accuracy",
    "scan_segmentation": "dice",
    "text_classification": "accuracy",
    "transcription": "wer",
}


def test_every_example_has_its_headline():
    assert {path.stem for path in EXAMPLES} == HEADLINES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(path, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert HEADLINES[path.stem] in done.stdout
    assert list(tmp_path.iterdir())
