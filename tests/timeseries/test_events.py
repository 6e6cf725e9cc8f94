"""Alarms become events with the places and the variables a user knows."""

import numpy as np
import pandas as pd
import pytest

from timeseries.events import blame, found_events, narrowed
from timeseries.panel import Panel
from timeseries.reading import read
from timeseries.scoring import Scorer
from timeseries.views import Reconstruction

DAYS = pd.date_range("2024-01-01", periods=300, freq="D")


def scorer(online=True):
    return Scorer({"zero": Reconstruction(lambda windows: windows * 0, 4)}, online, {"zero": 1.0})


def found(X, online=True, threshold=1.0, **options):
    panel, judge = Panel(*read(X, **options)), scorer(online)
    values = [np.nan_to_num(one) for one in panel.values]
    scores = [
        np.where(np.isnan(one.values).all(axis=1), np.nan, judge.score(v)) for one, v in zip(panel.series, values, strict=True)
    ]
    events = [np.nan_to_num(score, nan=-np.inf) > threshold for score in scores]
    return found_events(panel, events, scores, values, judge)


def quiet(columns=("a", "b", "c")):
    return pd.DataFrame(0.0, DAYS, list(columns))


def test_an_event_has_a_start_an_end_and_a_peak():
    X = quiet()
    X.iloc[100, 0], X.iloc[101, 0] = 3, 5
    event = found(X).iloc[0]
    assert (event["start"], event["end"], event["peak"]) == (DAYS[100], DAYS[101], DAYS[101])
    assert (event["rows"], event["score"], event["variables"]) == (2, pytest.approx(5 / np.sqrt(3)), ["a"])


def test_nothing_strange_is_a_table_without_rows():
    table = found(quiet())
    assert table.columns.tolist() == ["start", "end", "rows", "peak", "score", "variables"]
    assert len(table) == 0
    assert found([quiet(), quiet()]).columns[0] == "series"


def test_several_events_of_several_series():
    x, y = np.zeros(50), np.zeros(30)
    x[[10, 40]] = y[5] = 9
    table = found({"x": x, "y": y})
    assert table["series"].tolist() == ["x", "x", "y"]
    assert table["start"].tolist() == [10, 40, 5]
    assert table["end"].tolist() == [10, 40, 5]
    assert found([x, y])["series"].isna().all() or found([x, y])["series"].tolist() == [0, 0, 1]


def test_an_event_at_either_end_is_one():
    x = np.zeros(50)
    x[[3, 49]] = 9
    assert found(x)[["start", "end"]].to_numpy().tolist() == [[3, 3], [49, 49]]


def test_a_missing_stamp_does_not_part_an_event():
    X = quiet()
    X.iloc[100:110] = 5
    whole, gone = found(X), found(X.drop(DAYS[105]))
    assert len(gone) == len(whole) == 1
    assert gone[["start", "end"]].equals(whole[["start", "end"]])
    assert gone["rows"].item() == whole["rows"].item() - 1


# --- blame ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("online", [True, False])
def test_variables_are_blamed_by_their_share(online):
    values = np.zeros((300, 4))
    values[150] = [1, 3, 0, 2]
    shares = blame(scorer(online), values, 150)
    np.testing.assert_allclose(shares, np.array([1, 9, 0, 4]) / 14)
    assert not blame(scorer(online), np.zeros((300, 4)), 150).any()


def test_a_smoothed_peak_some_rows_off_still_names_the_variable():
    values = np.zeros((300, 3))
    values[150, 2] = 9
    score = scorer(online=False).score(values)
    for row in np.flatnonzero(score > 1e-6):
        np.testing.assert_allclose(blame(scorer(online=False), values, row), [0, 0, 1])


def test_those_are_named_that_explain_most_of_it_and_five_at_most():
    X = quiet("abcdefgh")
    X.iloc[100] = [0, 0.1, 0, 9, 0, 3, 0, 0]
    assert found(X)["variables"].item() == ["d"]
    X.iloc[100] = [0, 0, 5, 0, 0, 6, 4, 0]
    assert found(X)["variables"].item() == ["f", "c", "g"] or found(X)["variables"].item() == ["f", "c"]
    X.iloc[100] = 5
    assert found(X)["variables"].item() == list("abcde")


def test_an_alarm_is_narrowed_to_what_is_strange_in_it():
    def flags(text):
        return np.array([one == "x" for one in text])

    for alarms, strange, reach, expected in (
        ("..xxxxxx..", "....xx....", 1, "....xx...."),
        ("..xxxxxx..", "x.........", 3, "..xxxxxx.."),  # nothing strange in it: an event as a whole
        ("xxxxxxxxxx", "x..x....xx", 3, "xxxx....xx"),
        ("xxxx..xxxx", "...x..x...", 9, "...x..x..."),  # two alarms are never one event
        ("..........", "xxxxxxxxxx", 9, ".........."),
        ("xxxxxxxxxx", ".........x", 1, ".........x"),
    ):
        assert narrowed(flags(alarms), flags(strange), reach).tolist() == flags(expected).tolist()
