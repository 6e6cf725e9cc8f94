"""Time stamps: gaps become empty rows; every other fault is named with its row and what to do."""

import numpy as np
import pandas as pd
import pytest

from timeseries.reading import read
from timeseries.series import future_index

from .frames import DAYS, HOURS, A, fitted, frame, long, plain, refused, single


@pytest.mark.parametrize("freq", ["h", "D", "B", "W-MON", "MS", "ME", "QE-DEC", "15min"])
def test_missing_stamps_become_empty_rows(freq):
    index = pd.date_range("2024-01-01", periods=40, freq=freq)
    series, form, notes = read(single(plain(index)).drop(index[[5, 6, 30]]))
    assert (form.freq, series[0].freq) == (freq, freq)
    assert (series[0].index == index).all()
    assert np.flatnonzero(np.isnan(series[0].values[:, 0])).tolist() == [5, 6, 30]
    assert np.array_equal(np.delete(series[0].values[:, 0], [5, 6, 30]), np.delete(np.arange(40.0), [5, 6, 30]))
    assert notes == [f"3 missing time stamps were inserted as empty rows: the first is {index[5]}."]


def test_missing_stamps_of_several_series_are_one_note():
    X = {"x": single(), "y": single().drop(DAYS[[3, 8]]), "z": single().drop(DAYS[4])}
    series, _, notes = read(X)
    assert [len(s.values) for s in series] == [20, 20, 20]
    assert notes == [
        "3 missing time stamps were inserted as empty rows in 2 of 3 series: the first is 2024-01-04 00:00:00 in series 'y'."
    ]
    assert "in series 'y'" in read(long().drop(index=14), series_id="store")[2][0]


def test_float32_stays_float32_where_rows_are_inserted():
    assert read(single().astype(np.float32).drop(DAYS[3]))[0][0].values.dtype == np.float32


def test_inserted_rows_repeat_what_was_known_last():
    series, _, notes = read(frame(k=np.arange(20.0)).drop(DAYS[[4, 5]]), known=["k"])
    assert series[0].known[:7].ravel().tolist() == [0, 1, 2, 3, 3, 3, 6]
    assert notes[0].endswith("columns known in advance repeat their last value there.")


def test_rows_counted_by_numbers_may_have_gaps_too():
    series, form, notes = read(pd.Series([1.0, 2.0, 3.0, 4.0], [1990, 1991, 1993, 1994]))
    assert series[0].index.equals(pd.RangeIndex(1990, 1995))
    assert (form.index, form.freq) == ("row", None)
    assert notes == ["1 missing time stamp was inserted as an empty row: 1992."]
    series, _, _ = read(pd.Series(np.arange(10.0))[::2])
    assert (series[0].index.step, len(series[0].values)) == (2, 5)


def test_periods_may_have_gaps_too():
    months = pd.period_range("2024-01", periods=12, freq="M")
    series, form, notes = read(single(months.delete(4)))
    assert (form.freq, form.index) == ("M", "period")
    assert series[0].index.equals(months)
    assert "inserted as an empty row: 2024-05" in notes[0]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York"])
@pytest.mark.parametrize("freq", ["h", "D"])
def test_local_time_is_regular_across_daylight_saving_and_goes_out_local(zone, freq):
    index = pd.date_range("2024-03-01", periods=800, freq=freq, tz=zone)
    series, form, notes = read(single(plain(index)))
    assert (notes, form.freq, form.tz) == ([], freq, zone)
    out = form.wrap([np.zeros((400, 1))], series)
    assert out.index.equals(pd.date_range(index[-1], periods=401, freq=freq)[1:])
    assert str(out.index.tz) == zone


def test_unsorted_stamps_are_named():
    refused(
        single().iloc[[0, 2, 1, *range(3, 20)]], r"X is not sorted by time: 2024-01-02 00:00:00 in row 2 comes after.*sort_index"
    )
    refused(single()[::-1], "not sorted by time.*row 1")
    refused(pd.Series(A)[::-1], "not sorted by time: 18 in row 1 comes after 19")
    refused(single().to_period("D")[::-1], "not sorted by time: 2024-01-19 in row 1")
    refused({"x": single(), "y": single()[::-1]}, "Series 'y' is not sorted")
    refused(long()[::-1], r"Series 'y' is not sorted by time: 2024-01-09.* in row 1 .*sort_values\('day'\)", series_id="store")


def test_doubled_stamps_are_named():
    twice = single().iloc[[0, 1, 1, *range(2, 20)]]
    refused(twice, r"X has the time stamp 2024-01-02 00:00:00 twice, the second time in row 2.*duplicated\(\).*series_id=")
    refused({"x": single(), "y": twice}, r"Series 'y' has the time stamp 2024-01-02 00:00:00 twice")
    refused([twice.to_period("D")], "Series 0 has the time stamp 2024-01-02 twice")
    table = pd.concat([long(), long().iloc[[13]]]).sort_values(["store", "day"], kind="stable", ignore_index=True)
    refused(
        table, r"Series 'y' has the time stamp 2024-01-04.* twice, the second time in row 14.*drop_duplicates", series_id="store"
    )
    refused(long().set_index("day")[["sales"]].sort_index(), "twice.*belong to several series.*series_id=")


@pytest.mark.parametrize(("freq", "message"), [("h", "twice"), ("30min", "not sorted")])
def test_an_hour_that_comes_twice_gets_the_hint_to_name_the_zone(freq, message):
    index = pd.date_range("2024-10-26 12:00", periods=60, freq=freq, tz="Europe/Berlin").tz_localize(None)
    refused(single(index), rf"{message}.*clocks went back.*tz_localize\('Europe/…', ambiguous='infer'\)")


def test_missing_times_are_named():
    refused(single(pd.DatetimeIndex([*DAYS[:3], None, *DAYS[4:]])), r"no time stamp \(NaT\) in row 3.*notna")
    refused(single(pd.PeriodIndex(["2024-01", None, "2024-03"], freq="M")), r"\(NaT\) in row 1")
    refused(
        long().assign(day=lambda t: t["day"].where(t.index != 12)),
        r"Series 'y' has no time stamp \(NaT\) in row 12",
        series_id="store",
    )


def test_irregular_stamps_are_named():
    shifted = HOURS + pd.to_timedelta([0] * 7 + [5] + [0] * 12, unit="s")
    refused(
        single(shifted),
        r"irregular.*2024-01-01 07:00:05 in row 7 comes 01:00:05 after.*while 01:00:00 is usual.*resample\('1h'\)",
    )
    refused(
        single(DAYS[[0, 1, 2, 9, 19]]), r"15 of 20 are missing at steps of 1 day, the first after 2024-01-03.*resample\('1D'\)"
    )
    refused({"x": single(), "y": single(DAYS[[0, 1, 2, 9, 19]])}, "Series 'y' has irregular")
    refused(single(pd.to_datetime([f"2024-0{m}-15" for m in range(1, 7)])), r"one value a month.*to_period\('M'\)")
    refused(pd.Series([1.0, 2.0, 3.0], [1, 2, 30]), "27 of 30 are missing.*reset_index")
    refused(
        single(pd.PeriodIndex(["2024-01", "2024-02", "2024-12"], freq="M")), "9 of 12 are missing at steps of 1 period of 'M'"
    )
    random = pd.DatetimeIndex(np.sort(np.random.default_rng(0).integers(0, 10**6, 50)).astype("M8[s]"))
    refused(single(random), "irregular time stamps")


def test_a_third_may_be_missing_and_no_more():
    index = pd.date_range("2024-01-01", periods=30, freq="h")
    kept = [i for i in range(30) if i % 3 != 1]
    assert len(read(single(index[kept]))[0][0].values) == 30
    refused(single(index[[i for i in kept if i not in (12, 15)]]), "irregular")


def test_frequencies_are_not_mixed():
    refused(
        {"x": single(), "y": single(HOURS)}, r"Series 'y' is hourly \('h'\), but series 'x' is daily \('D'\)|Series 'x' is daily"
    )
    refused([single(DAYS), single(HOURS)], "eries 1")
    refused({"x": single(DAYS.tz_localize("UTC")), "y": single()}, r"in the zone 'UTC' and series 'y' .*without a time zone")
    refused({"x": single(DAYS.tz_localize("UTC")), "y": single(DAYS.tz_localize("Asia/Tokyo"))}, r"tz_convert\('UTC'\)")
    week = single(plain(pd.bdate_range("2024-01-01", periods=5)))  # may be daily, but the others are not
    series, form, _ = read({"short": week, "x": single(pd.bdate_range("2024-01-01", periods=30))})
    assert (form.freq, [s.freq for s in series]) == ("B", ["B", "B"])
    mondays, fridays = (pd.date_range("2024-01-01", periods=9, freq=freq) for freq in ("W-MON", "W-FRI"))
    assert [s.freq for s in read([single(mondays), single(fridays)])[0]] == ["W-MON", "W-FRI"]


def test_few_stamps_take_the_frequency_of_the_others():
    series, _, _ = read({"x": single(DAYS), "y": single(DAYS[:1]), "z": single(plain(DAYS[:2]))})
    assert [s.freq for s in series] == ["D", "D", "D"]
    refused(single(plain(DAYS[:2])), "2 time stamps, too few to tell how often values come.*asfreq")
    refused({"x": single(), "y": single(plain(HOURS[:2]))}, "Series 'y' has 2 time stamps from .* not daily")
    assert read(single(DAYS[:2]))[1].freq == "D"  # pandas remembers


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            pd.DataFrame({"day": DAYS, "a": A}),
            r"its time in the column 'day'.*df.index = pd.to_datetime\(df.pop\('day'\)\).*data.series",
        ),
        (pd.DataFrame({"day": DAYS.astype(str), "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"day": ["31/12/2024"] * 20, "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"day": pd.period_range("2024-01", periods=20, freq="M"), "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"day": DAYS.date.astype(object), "a": A}), "its time in the column 'day'"),
        (pd.DataFrame({"a": [1.0, 2.0]}, ["2024-01-01", "2024-01-02"]), r"index of str values.*to_datetime\(df.index\)"),
        (pd.DataFrame({"a": [1.0, 2.0]}, [0.5, 1.0]), "dtype float64.*reset_index"),
        (pd.DataFrame({"a": [1.0, 2.0]}, pd.to_timedelta([1, 2], unit="h")), "dtype timedelta64"),
        (pd.DataFrame({"a": [1.0]}, pd.MultiIndex.from_tuples([("x", 1)], names=["store", "t"])), "2 levels.*series_id='store'"),
    ],
)
def test_time_that_is_not_in_the_index_is_pointed_out(X, message):
    refused(X, message)


def test_numbers_written_as_texts_are_not_taken_for_dates():
    refused(pd.DataFrame({"a": ["3.5", "4.5"]}), "cannot be forecast as numbers")


def test_the_frequency_must_be_the_fitted_one():
    form = fitted(single())
    refused(single(HOURS), r"X is hourly \('h'\), but the model was fitted on data that is daily \('D'\)", like=form)
    refused(single(plain(HOURS[:2])), "2 time stamps from .* not daily", like=form)
    refused(single(pd.period_range("2024-01", periods=9, freq="M")), "monthly", like=form)
    refused(single(pd.bdate_range("2024-01-01", periods=30)), "business-daily", like=form)
    assert read(single(DAYS.to_period("D")), like=form)[1].freq == "D"
    assert read(single().reset_index(drop=True), like=form)[1].freq is None
    assert read(
        single(pd.date_range("2024", periods=9, freq="ME")), like=fitted(single(pd.date_range("2024", periods=9, freq="MS")))
    )


@pytest.mark.parametrize(
    ("freq", "kept"),
    [("D", [0]), ("D", [0, 1]), ("D", [0, 2, 3]), ("B", [0, 1, 2]), ("B", [3, 4, 6, 7]), ("QE-DEC", [1]), ("h", [5, 6])],
)
def test_a_short_history_takes_the_fitted_frequency(freq, kept):
    index = pd.date_range("2024-01-01", periods=40, freq=freq)
    series, form, _ = read(single(plain(index[kept])), like=fitted(single(index)))
    assert form.freq == freq
    assert series[0].index[-1] == index[kept[-1]]
    assert future_index(series[0], 3).equals(index[kept[-1] + 1 : kept[-1] + 4])


def test_the_time_zone_must_be_the_fitted_one():
    local = single(DAYS.tz_localize("Europe/Berlin"))
    refused(
        local, r"in the zone 'Europe/Berlin', but .* without a time zone. Drop it: df.tz_localize\(None\)", like=fitted(single())
    )
    refused(single(), r"Give it one: df.tz_localize\('Europe/Berlin'\)", like=fitted(local))
    refused(local.tz_convert("UTC"), r"Convert it: df.tz_convert\('Europe/Berlin'\)", like=fitted(local))
    assert read(local, like=fitted(local))[1].tz == "Europe/Berlin"
