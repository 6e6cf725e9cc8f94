"""The CO2 demo and what the project promises of it, run as a user runs it."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

from pipelines import Report, load
from tests.conftest import ROOT


@pytest.mark.slow
def test_demo_reports_saves_and_predicts_again(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipelines", "demo", "co2"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
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


def test_missing_data_package_gives_the_pip_line(monkeypatch):
    from timeseries.demo import read_co2

    monkeypatch.setitem(sys.modules, "statsmodels.datasets", None)
    with pytest.raises(ImportError, match="pip install statsmodels"):
        read_co2()
