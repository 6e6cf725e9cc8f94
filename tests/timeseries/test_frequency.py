"""Frequencies: what pandas would generate is found again, with gaps too, and the calendar repeats when its cycle does."""

import numpy as np
import pandas as pd
import pytest

from pipelines.errors import DataError
from timeseries.frequency import Grid, calendar, calendar_names, describe, family, find, infer

FREQUENCIES = [
    *("h", "15min", "min", "s", "6h", "90min", "36h", "250ms", "D", "2D", "10D", "B", "W-SUN", "W-MON", "2W-WED"),
    *("MS", "ME", "BMS", "BME", "2MS", "5ME", "QS-JAN", "QS-FEB", "QS-MAR", "QE-OCT", "QE-NOV", "QE-DEC", "BQS-JAN", "BQE-DEC"),
    *("2QS-JAN", "YS-JAN", "YS-APR", "YE-DEC", "YE-JUN", "BYS-JAN", "BYE-DEC", "2YS-JAN"),
]


def plain(index):
    """The same stamps without the frequency pandas remembers."""
    return pd.DatetimeIndex(list(index))


def made(freq, periods=40, **options):
    return plain(pd.date_range("2021-03-30 00:00", periods=periods, freq=freq, **options))


# --- inference --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_what_pandas_generates_is_found_again(freq):
    index = made(freq)
    found = infer(index)
    assert pd.date_range(index[0], periods=40, freq=found).equals(index)
    assert family(found) == family(freq)


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_missing_stamps_do_not_hide_the_frequency(freq):
    index = made(freq)
    grid = find(index.delete([1, 7, 8, 20, 30]))
    places = grid.places(index.delete([1, 7, 8, 20, 30]))
    assert places.tolist() == [i for i in range(40) if i not in (1, 7, 8, 20, 30)]
    assert grid.at(index, np.arange(40)).equals(index)


@pytest.mark.parametrize("freq", FREQUENCIES)
def test_the_stamps_before_and_after_are_those_of_pandas(freq):
    index = made(freq)
    grid = find(index[10:20])
    assert grid.at(index[10:], np.arange(-10, 30)).equals(index)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("freq", ["h", "30min", "D", "B", "W-SUN", "MS", "ME"])
def test_local_time_is_regular_across_daylight_saving(zone, freq):
    whole = pd.date_range("2017-01-01", periods=500, freq=freq, tz=zone)
    index = plain(whole).delete([3, 4, 100])
    grid = find(index)
    assert grid.text(index) == freq
    assert len(np.setdiff1d(np.arange(500), grid.places(index))) == 3
    assert grid.at(index, np.arange(500)).equals(plain(whole))


def test_days_without_midnight_do_not_break_a_daily_series():
    days = pd.date_range("2017-01-01", periods=600, freq="D").tz_localize("America/Sao_Paulo", nonexistent="shift_forward")
    assert len(set(days.hour)) == 2  # clocks went forward at midnight
    assert infer(days) == "D"
    assert find(days).at(days[:5], np.arange(600)).equals(plain(days))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_every_resolution_of_pandas_is_kept(unit):
    index = made("h").as_unit(unit)
    assert infer(index) == "h"
    assert find(index).at(index, np.arange(50)).unit == unit
    assert find(made("D").as_unit(unit)).at(made("D").as_unit(unit), np.arange(3)).unit == unit


def test_working_days_with_holidays_are_no_daily_series():
    days = made("B", 60)
    assert infer(days.delete([4, 20, 21])) == "B"
    assert infer(made("D", 60).delete([4, 20])) == "D"
    assert infer(pd.bdate_range("2024-01-01", periods=5)[:5].append(pd.DatetimeIndex(["2024-01-06"]))) == "D"
    assert infer(plain(pd.bdate_range("2024-01-01", periods=5))) == "D"  # one week tells nothing of its end
    closing = plain(pd.bdate_range("2024-01-01 16:00", periods=30, tz="America/New_York"))
    assert infer(closing) == "B"


@pytest.mark.parametrize("freq", ["M", "Q-DEC", "Y-DEC", "W-SUN", "D", "h", "2h", "min"])
def test_periods_know_their_frequency(freq):
    index = pd.period_range("2024-01-01", periods=20, freq=freq)
    assert infer(index) == freq
    assert infer(index[:1]) == freq
    assert find(index).places(index.delete(4))[4] == 5
    assert find(index).at(index[:3], np.arange(20)).equals(index)
    assert infer(pd.period_range("2024-01", periods=20, freq="M")[::3]) == "3M"


def test_the_frequency_pandas_remembers_decides():
    assert infer(pd.date_range("2024-01-01", periods=1, freq="h")) == "h"
    assert infer(pd.date_range("2024-01-01", periods=3, freq="B")) == "B"
    assert infer(pd.bdate_range("2024-01-01", periods=30, freq="C")) == "B"  # a custom calendar has no name: as its stamps say


def test_what_has_no_frequency_is_none():
    random = pd.DatetimeIndex(np.sort(np.random.default_rng(0).integers(0, 10**9, 50)).astype("M8[s]"))
    assert infer(random) is None
    assert infer(made("h", 2)) is None
    assert infer(made("h", 40)[::2].append(made("h", 40)[35:36])) is None
    assert infer(made("D", 40)[[0, 1, 2, 9, 20, 39]]) is None  # too much is missing


def test_a_stamp_off_the_grid_is_named():
    with pytest.raises(DataError, match="2024-01-15 00:00:00 does not lie on the grid"):
        Grid("month", 1, "S").at(pd.DatetimeIndex(["2024-01-15"]), np.arange(2))
    assert Grid("business", 1).places(pd.DatetimeIndex(["2024-01-06"])) is None
    assert Grid("time", 1000).places(made("h").as_unit("s")) is None  # finer than the stamps


@pytest.mark.parametrize(
    ("freq", "found"), [("h", Grid("time", 3600 * 10**9)), ("2W-MON", Grid("day", 14)), ("3M", Grid("month", 3, "S"))]
)
def test_frequencies_are_read(freq, found):
    assert Grid.parse(freq) == found


@pytest.mark.parametrize("freq", ["", "C", "0D", "-1D", "WOM-2MON", "SME", "bh", "x y"])
def test_frequencies_without_a_grid_are_not(freq):
    assert Grid.parse(freq) is None
    assert family(freq) is None


def test_anchors_do_not_part_families_but_steps_do():
    assert family("W-SUN") == family("W-MON") == family("7D")
    assert family("MS") == family("ME") == family("M")
    assert family("3MS") == family("QE-DEC")
    assert family("60min") == family("h")
    assert len({family(freq) for freq in ("D", "B", "h", "W-SUN", "MS", "QS-JAN", "YE-DEC")}) == 7


@pytest.mark.parametrize(
    ("freq", "words"), [("h", "hourly"), ("B", "business-daily"), ("QE-DEC", "quarterly"), ("7min", "every")]
)
def test_frequencies_have_words(freq, words):
    assert words in describe(freq)
    assert repr(freq) in describe(freq)


# --- calendar ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("freq", "cycles"),
    [
        ("15min", ["time_of_day", "weekday"]),
        ("h", ["time_of_day", "weekday"]),
        ("D", ["weekday", "day_of_year"]),
        ("B", ["weekday", "day_of_year"]),
        ("W-SUN", ["week_of_year"]),
        ("ME", ["month_of_year"]),
        ("QS-OCT", ["quarter"]),
        ("YE-DEC", []),
        (None, []),
        ("C", []),
    ],
)
def test_the_cycles_depend_on_the_frequency_alone(freq, cycles):
    assert calendar_names(freq) == [f"{cycle}_{wave}" for cycle in cycles for wave in ("sin", "cos")]
    if freq not in (None, "C"):
        found = calendar(made(freq, 5), freq)
        assert found.shape == (5, 2 * len(cycles))
        assert found.dtype == np.float32


@pytest.mark.parametrize(("freq", "cycle"), [("h", 24 * 7), ("15min", 96 * 7), ("MS", 12), ("QE-DEC", 4)])
def test_the_calendar_repeats_with_its_cycle_and_not_before(freq, cycle):
    found = calendar(made(freq, 2 * cycle), freq)
    assert np.array_equal(found[:cycle], found[cycle:])
    assert len(np.unique(found[:cycle], axis=0)) == cycle
    assert np.allclose(found[:, ::2] ** 2 + found[:, 1::2] ** 2, 1, atol=1e-5)


def test_weekday_and_year_are_those_of_the_calendar():
    days = plain(pd.date_range("2024-01-01", periods=731, freq="D"))
    weekday = np.arctan2(*calendar(days, "D")[:, :2].T) / (2 * np.pi) * 7 % 7
    assert np.array_equal(np.round(weekday) % 7, days.day_of_week)
    year = np.arctan2(*calendar(days, "D")[:, 2:].T) / (2 * np.pi) * 365.25 % 365.25
    assert np.allclose(year, days.day_of_year - 1, atol=0.05)


def test_the_calendar_is_local():
    summer = pd.date_range("2024-07-01", periods=48, freq="h", tz="Europe/Berlin")
    winter = pd.date_range("2024-01-01", periods=48, freq="h", tz="Europe/Berlin")
    naive = pd.date_range("2024-01-01", periods=48, freq="h")
    assert np.array_equal(calendar(winter), calendar(naive))
    assert np.array_equal(calendar(summer)[:, :2], calendar(naive)[:, :2])
    assert not np.array_equal(calendar(summer.tz_convert("UTC"))[:, :2], calendar(naive)[:, :2])


def test_periods_and_rows_have_calendars_too():
    months = pd.period_range("2024-01", periods=24, freq="M")
    assert np.array_equal(calendar(months), calendar(months.to_timestamp(), "MS"))
    assert calendar(pd.RangeIndex(5)).shape == (5, 0)


def test_the_calendar_of_a_part_is_the_part_of_the_calendar():
    index = made("h", 100)
    assert np.array_equal(calendar(index, "h")[40:50], calendar(index[40:50], "h"))
    assert np.array_equal(calendar(index[40:41], "h"), calendar(index, "h")[40:41])


@pytest.mark.parametrize("freq", ["h", "D", "MS", "W-SUN", "QE-DEC"])
def test_the_step_is_found_where_every_third_stamp_is_missing(freq):
    index = made(freq, 30)
    assert infer(index[[i for i in range(30) if i % 3 != 1]]) == freq
