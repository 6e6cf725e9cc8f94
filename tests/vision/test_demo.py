"""The digits demo and what the project promises of it, run as a user runs it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipelines import Report, load
from tests.conftest import ROOT, SHARED


@pytest.mark.slow
def test_demo_reports_saves_and_predicts_again(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "demo"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "logistic regression" in done.stdout
    assert "BELOW BASELINE" not in done.stdout
    report = Report.from_dict(json.loads((tmp_path / "demo" / "model" / "report.json").read_text()))
    assert report.metrics["accuracy"] >= 0.99
    assert report.metrics["roc_auc"] >= 0.999
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "<svg" in page
    samples = sorted(str(path) for path in (tmp_path / "demo" / "samples").iterdir())
    assert load(tmp_path / "demo" / "model").predict(samples).tolist() == list(range(10))


@pytest.mark.slow
@pytest.mark.shared_data
def test_photographs_from_folders_beat_the_logistic_regression(tmp_path):
    from pipelines import data
    from vision import ImageClassifier

    X, y = data.folder(SHARED / "vision" / "cifar10_small" / "train")
    X_test, y_test = data.folder(SHARED / "vision" / "cifar10_small" / "test")
    report = ImageClassifier(epochs=8, verbose=0).fit(X, y).evaluate(X_test, y_test)
    rows = report.tables["baselines"]
    assert report.metrics["roc_auc"] > rows.loc["logistic regression", "roc_auc"]
    assert np.isclose(report.metrics["accuracy"], rows.loc["this model", "accuracy"])
