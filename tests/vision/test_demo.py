"""The demos and what the project promises of them, run as a user runs them."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pipelines import Report, cli, load
from tests.conftest import ROOT, SHARED
from vision import demo, masks


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


def test_scenes_hold_whole_digits_of_their_class_and_none_over_another():
    images = np.stack([np.full((8, 8), 16.0), np.zeros((8, 8))])
    scenes, truth = demo.compose(images, np.array([4, 9]), 30, seed=0)
    assert {scene.shape for scene in scenes} == {mask.shape for mask in truth} == {(64, 64)}
    assert {scene.dtype for scene in scenes} == {mask.dtype for mask in truth} == {np.dtype(np.uint8)}
    assert set(np.unique(truth)) == {0, 5}  # a digit without ink marks nothing
    sizes = [2 * 8, 3 * 8]
    possible = {a * sizes[0] ** 2 + b * sizes[1] ** 2 for a in range(13) for b in range(13)}
    assert {int((mask == 5).sum()) for mask in truth} <= possible
    marked = [scene[mask > 0].mean() - scene[mask == 0].mean() for scene, mask in zip(scenes, truth, strict=True) if mask.any()]
    assert min(marked) > 20


def test_scenes_are_of_the_seed_alone():
    images, _, labels, _ = demo._split_digits()
    for one, same, other in zip(*(demo.compose(images, labels, 3, seed=seed) for seed in (0, 0, 1)), strict=True):
        np.testing.assert_array_equal(one, same)
        assert not np.array_equal(one, other)


def test_digits_of_test_scenes_are_in_no_training_scene():
    images, test_images, _, _ = demo._split_digits()
    known = {image.tobytes() for image in images}
    assert not known & {image.tobytes() for image in test_images}


@pytest.mark.slow
def test_scenes_report_save_and_predict_again(tmp_path, monkeypatch, capsys):
    made = demo.ImageSegmenter
    monkeypatch.setattr(demo, "ImageSegmenter", lambda **params: made(**{**params, "epochs": 1, "verbose": 0}))
    monkeypatch.setattr(demo, "_SCENES", 12)
    monkeypatch.setattr(demo, "_TEST_SCENES", 6)
    out = tmp_path / "demo"
    assert cli.main(["demo", "scenes", "--out", str(out)]) == 0
    assert "predicted" in capsys.readouterr().out
    report = Report.from_dict(json.loads((out / "model" / "report.json").read_text()))
    assert report.n == 6
    assert "random forest" in report.tables["baselines"].index
    files = sorted((out / "scenes").iterdir())
    predicted = load(out / "model").predict([str(file) for file in files])
    for file, mask in zip(files, predicted, strict=True):
        truth = masks.read(out / "masks" / file.name, 0, size=(64, 64))
        assert truth.shape == mask.shape
        np.testing.assert_array_equal(masks.read(out / "predicted" / file.name, 0), mask)
