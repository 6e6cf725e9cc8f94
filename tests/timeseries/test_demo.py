"""The demos on carbon dioxide and what the project promises of them, run as a user runs them."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from pipelines import Report, load
from tests.conftest import ROOT


def run(demo, folder):
    """Run a demo as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines", "demo", demo]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.slow
def test_co2_reports_saves_and_predicts_again(tmp_path):
    done = run("co2", tmp_path)
    assert "seasonal naive" in done.stdout
    assert "predict  week 2002-01-05, co2 37" in done.stdout
    report = Report.from_dict(json.loads((tmp_path / "demo" / "model" / "report.json").read_text()))
    assert report.n == 457 - 52 + 1  # every window of the held-out fifth
    assert report.metrics["mae"] < report.tables["baselines"].loc["last value", "mae"] / 3
    assert 0.5 < report.metrics["coverage_80"] < 0.95
    assert "<svg" in (tmp_path / "demo" / "report.html").read_text()
    history = pd.read_csv(tmp_path / "demo" / "history.csv", index_col="week", parse_dates=True)
    forecast = load(tmp_path / "demo" / "model").predict(history)
    assert forecast.shape == (52, 3)
    assert (forecast["co2_q0.1"] <= forecast["co2"]).all()
    assert (forecast["co2"] <= forecast["co2_q0.9"]).all()


@pytest.mark.slow
def test_faults_reports_saves_and_lists_events_again(tmp_path):
    done = run("faults", tmp_path)
    assert "moving z-score" in done.stdout
    assert "predict  series none, start 199" in done.stdout
    assert "variables ['co2']" in done.stdout
    report = Report.from_dict(json.loads((tmp_path / "demo" / "model" / "report.json").read_text()))
    kinds = ["none", "spike", "level-shift", "drift", "flat-line", "noise", "changed-period"]
    assert report.tables["series"].index.tolist() == kinds
    assert report.tables["series"]["events"].tolist() == [0, 1, 1, 1, 1, 1, 1]
    assert report.metrics["event_recall"] == 1.0
    assert report.metrics["vus_pr"] > 2 * report.tables["baselines"].loc["moving z-score", "vus_pr"]
    assert "<svg" in (tmp_path / "demo" / "report.html").read_text()
    broken = pd.read_csv(tmp_path / "demo" / "broken.csv", index_col="week", parse_dates=True)
    scores = load(tmp_path / "demo" / "model").score_samples(broken[["co2", "fault"]])
    assert scores.notna().sum() == report.n


def test_missing_data_package_gives_the_pip_line(monkeypatch):
    from timeseries.demo import read_co2

    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    with pytest.raises(ImportError, match="pip install statsmodels"):
        read_co2()
