"""Faults put into a series: what each does to its rows, and that it leaves all others alone."""

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError, ParameterError
from timeseries.faults import FAULTS, inject

WAVE = np.sin(np.arange(200) * 2 * np.pi / 20)
SPREAD = WAVE.std()


@pytest.mark.parametrize("kind", FAULTS)
def test_rows_outside_stay_and_labels_mark_those_inside(kind):
    before = WAVE.copy()
    broken, labels = inject(WAVE, kind, 50, 30)
    assert (before == WAVE).all()  # a copy
    assert labels.tolist() == [0] * 50 + [1] * 30 + [0] * 120
    assert (broken[labels == 0] == WAVE[labels == 0]).all()
    assert not np.allclose(broken[labels == 1], WAVE[labels == 1])
    assert (inject(WAVE, kind, 50, 30)[0] == broken).all()


def test_size_counts_standard_deviations():
    inside = slice(50, 61)
    added = {kind: inject(WAVE, kind, 50, 11, size=2.0)[0][inside] - WAVE[inside] for kind in ("spike", "level-shift", "drift")}
    assert added["level-shift"] == pytest.approx(np.full(11, 2 * SPREAD))
    assert added["drift"] == pytest.approx(2 * SPREAD * np.arange(1, 12) / 11)
    assert added["spike"].argmax() == 5
    assert added["spike"].max() == pytest.approx(2 * SPREAD)
    assert (inject(WAVE, "drift", 50, 11, size=-2.0)[0][inside] - WAVE[inside]).min() == pytest.approx(-2 * SPREAD)
    assert inject(WAVE, "spike", 50, 1, size=2.0)[0][50] == pytest.approx(WAVE[50] + 2 * SPREAD)
    noise = inject(np.tile(WAVE, 50), "noise", 0, 10_000, size=2.0)[0] - np.tile(WAVE, 50)
    assert noise.std() == pytest.approx(2 * SPREAD, rel=0.05)


def test_flat_line_keeps_its_first_value_and_time_runs_faster():
    assert (inject(WAVE, "flat-line", 53, 20)[0][53:73] == WAVE[53]).all()
    assert inject(WAVE, "changed-period", 40, 20, size=2.0)[0][40:60] == pytest.approx(WAVE[40:80:2])


def test_noise_depends_on_the_seed():
    one, other = (inject(WAVE, "noise", 50, 30, seed=seed)[0] for seed in (0, 1))
    assert not np.allclose(one[50:80], other[50:80])


def test_series_keep_index_and_name_and_labels_add_up():
    series = pd.Series(WAVE, pd.date_range("2024-01-01", periods=200, freq="h"), name="flow")
    series.iloc[3] = np.nan
    broken, labels = inject(series, "spike", 50, 2)
    broken, more = inject(broken, "flat-line", 100, 10)
    assert broken.name == "flow"
    assert broken.index.equals(series.index)
    assert np.isnan(broken.iloc[3])
    assert (labels | more).sum() == 12


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("spikes", 0, 1), ParameterError, "Did you mean 'spike'"),
        (("spike", -1, 1), ParameterError, "start must be an integer"),
        (("spike", 0, 0), ParameterError, "length must be an integer"),
        (("spike", 195, 10), DataError, "from row 195 on needs 205 rows, but the series has 200"),
        (("changed-period", 100, 50), DataError, "from row 100 on needs 248 rows"),
    ],
)
def test_faults_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        inject(WAVE, *arguments)
    with pytest.raises(DataError, match="one variable"):
        inject(WAVE[:, None], "spike", 0, 1)
