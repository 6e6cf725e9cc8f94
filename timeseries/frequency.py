"""How often a series was measured: infer it from the time stamps, place stamps on its grid, and name its calendar cycles.

`pandas.infer_freq` gives up on a single missing stamp. Here the usual step is found first, and the stamps are then placed on
the grid it spans, so gaps can be counted and filled: fixed steps, calendar days (also across daylight saving), business days,
weeks, and months, quarters and years by their first, last, first business or last business day.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipelines.errors import DataError

__all__ = ["Grid", "calendar", "calendar_names", "describe", "family", "find", "infer", "lasting_cycles", "seasons"]

_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}  # the resolutions of pandas, in nanoseconds
_TICKS = {"h": 3600 * 10**9, "min": 60 * 10**9, **_UNITS}
_DAY = 24 * 3600 * 10**9
_WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_POINTS = ("S", "E", "BS", "BE")  # the day of a month: first, last, first business, last business day
_RULES = {"D": ("day", 1, ""), "W": ("day", 7, ""), "B": ("business", 1, "")} | {
    f"{point[:-1]}{letter}{point[-1]}": ("month", months, point)
    for letter, months in (("M", 1), ("Q", 3), ("Y", 12))
    for point in _POINTS
}
_RULES |= {"M": ("month", 1, "S"), "Q": ("month", 3, "S"), "Y": ("month", 12, "S")}  # what periods call themselves
_WORDS = {("day", 1): "daily", ("day", 7): "weekly", ("business", 1): "business-daily"}
_WORDS |= {("month", 1): "monthly", ("month", 3): "quarterly", ("month", 12): "yearly"}
_WORDS |= {("time", 3600 * 10**9): "hourly", ("time", 60 * 10**9): "by the minute", ("time", 10**9): "by the second"}


# ---------------------------------------------------------------- one frequency
@dataclass(frozen=True)
class Grid:
    """Equally spaced places in time: every `step` units, a unit being a nanosecond, a day, a business day or a month.

    Parameters
    ----------
    unit : {"time", "day", "business", "month", "period", "row"}
        What is counted; days and months are those of the local calendar.
    step : int
        Units from one place to the next; nanoseconds where the unit is "time".
    point : {"", "S", "E", "BS", "BE"}
        The day of a month: its first, last, first business or last business day.

    Examples
    --------
    >>> month_ends = pd.DatetimeIndex(["2024-01-31", "2024-03-31"])
    >>> Grid("month", 1, "E").places(month_ends).tolist()
    [0, 2]
    >>> Grid("month", 1, "E").at(month_ends, np.array([1])).strftime("%d %b").tolist()
    ['29 Feb']
    """

    unit: str
    step: int
    point: str = ""

    @classmethod
    def parse(cls, text: str) -> "Grid | None":
        """Read a frequency as pandas writes it, such as "15min" or "QS-OCT"; None for one without a grid of its own."""
        found = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]{3})?", text)
        if not found or found[1] == "0":
            return None
        count, rule = int(found[1] or 1), found[2]
        if rule in _RULES:
            unit, size, point = _RULES[rule]
            return cls(unit, count * size, point)
        return cls("time", count * _TICKS[rule]) if rule in _TICKS else None

    def text(self, index: pd.Index) -> str:
        """Write the frequency as pandas does, anchored at the first stamp of `index`."""
        if self.unit == "time":
            rule, size = next((rule, size) for rule, size in _TICKS.items() if self.step % size == 0)
            return _counted(self.step // size, rule)
        if self.unit == "row":
            return f"{self.step}"
        if self.unit == "period":
            return _counted(self.step, re.sub(r"^\d+", "", index.freqstr))
        if self.unit == "month":
            return self._months_text(index[0].month)
        if self.unit == "day" and self.step % 7 == 0:
            return _counted(self.step // 7, f"W-{_WEEKDAYS[index[0].weekday()]}")
        return _counted(self.step, "D" if self.unit == "day" else "B")

    def _months_text(self, month: int) -> str:
        begin, end = self.point[:-1], self.point[-1]
        if self.step % 12 == 0:
            return _counted(self.step // 12, f"{begin}Y{end}-{_MONTHS[month - 1]}")
        if self.step % 3 == 0:
            first = (month - 1) % 3  # JAN, FEB or MAR where quarters begin, OCT, NOV or DEC where they end
            return _counted(self.step // 3, f"{begin}Q{end}-{_MONTHS[first if end == 'S' else 9 + first]}")
        return _counted(self.step, f"{begin}M{end}")

    def places(self, index: pd.Index) -> np.ndarray | None:
        """Return each stamp's place on the grid, counted from the first stamp; None where a stamp lies off the grid."""
        counted = self.count(index)
        if counted is None:
            return None
        step = self._stride(index)
        steps = counted - counted[0]
        if step == 1:
            return steps
        places = steps // step if step else steps
        return places if step and np.array_equal(places * step, steps) else None

    def at(self, index: pd.Index, places: np.ndarray) -> pd.Index:
        """Return the stamps at consecutive `places`, counted from the first stamp of `index`, as an index of its kind."""
        first = index[:1]
        counted = self.count(first)
        if counted is None:
            raise DataError(f"The time stamp {first[0]} does not lie on the grid of the frequency {self.text(first)!r}.")
        there = counted[0] + np.asarray(places, dtype=np.int64) * self._stride(index)
        if self.unit == "row":
            start = int(there[0]) if len(there) else 0
            return pd.RangeIndex(start, start + self.step * len(there), self.step, name=index.name)
        if self.unit == "period":
            return pd.PeriodIndex.from_ordinals(there, freq=index.freq, name=index.name)
        if self.unit == "time":
            return _from_utc(there, index)
        return _from_days(self._days(there), first)

    def count(self, index: pd.Index) -> np.ndarray | None:
        """Return the stamps as numbers of units; None where one of them is not the point that the grid names."""
        if self.unit == "row":
            return index.to_numpy(dtype=np.int64)
        if self.unit in ("period", "time"):
            return index.asi8
        days = _days(index)
        if days is None or self.unit == "day":
            return days
        if self.unit == "business":
            weeks, weekdays = np.divmod(days + 3, 7)  # 1970-01-01 was a Thursday
            return weeks * 5 + weekdays if weekdays.max() < 5 else None
        months = days.view("M8[D]").astype("M8[M]").astype(np.int64)
        return months if np.array_equal(_month_days(months, self.point), days) else None

    def _days(self, counted: np.ndarray) -> np.ndarray:
        if self.unit == "business":
            weeks, weekdays = np.divmod(counted, 5)
            return weeks * 7 + weekdays - 3
        return counted if self.unit == "day" else _month_days(counted, self.point)

    def _stride(self, index: pd.Index) -> int:
        if self.unit != "time":
            return self.step
        step, rest = divmod(self.step, _UNITS[index.unit])
        return 0 if rest else step  # finer than the stamps can tell


def _counted(count: int, rule: str) -> str:
    return rule if count == 1 else f"{count}{rule}"


def _month_days(months: np.ndarray, point: str) -> np.ndarray:
    """Return the day that stands for each month, as days since 1970."""
    whole = months.view("M8[M]")
    if point in ("S", "BS"):
        days = whole.astype("M8[D]").astype(np.int64)
        return days if point == "S" else days + np.array([0, 0, 0, 0, 0, 2, 1])[(days + 3) % 7]
    days = (whole + 1).astype("M8[D]").astype(np.int64) - 1
    return days if point == "E" else days - np.array([0, 0, 0, 0, 0, 1, 2])[(days + 3) % 7]


def _clock(index: pd.DatetimeIndex) -> np.ndarray:
    """Return the local times as a datetime64 array."""
    return (index if index.tz is None else index.tz_localize(None)).to_numpy()


def _days(index: pd.DatetimeIndex) -> np.ndarray | None:
    """Return the local days since 1970; None unless all stamps stand at one time of day."""
    clock = _clock(index)
    days = clock.astype("M8[D]")
    times = clock - days
    if (times == times[0]).all():
        return days.astype(np.int64)
    if index.tz is None:
        return None
    counted = days.astype(np.int64)  # midnight may not exist on the day clocks change: then pandas takes the first time after
    return counted if np.array_equal(_from_days(counted, index[:1]).asi8, index.asi8) else None


def _from_days(days: np.ndarray, first: pd.DatetimeIndex) -> pd.DatetimeIndex:
    clock = _clock(first)[0]
    stamps = days.view("M8[D]") + (clock - clock.astype("M8[D]"))
    naive = pd.DatetimeIndex(stamps.astype(clock.dtype), name=first.name)
    if first.tz is None:
        return naive
    return naive.tz_localize(first.tz, nonexistent="shift_forward", ambiguous=np.ones(len(naive), dtype=bool))


def _from_utc(counted: np.ndarray, like: pd.DatetimeIndex) -> pd.DatetimeIndex:
    stamps = pd.DatetimeIndex(counted.view(f"M8[{like.unit}]"), name=like.name)
    return stamps if like.tz is None else stamps.tz_localize("UTC").tz_convert(like.tz)


# ---------------------------------------------------------------- inference
def infer(index: pd.Index) -> str | None:
    """Return the frequency of sorted time stamps as pandas writes it, gaps allowed; None where they have none.

    Parameters
    ----------
    index : DatetimeIndex or PeriodIndex
        At least three stamps, sorted, without copies; up to a third of the grid may be missing.

    Returns
    -------
    str or None
        Such as "15min", "h", "D", "B", "W-SUN", "MS" or "QE-DEC".

    Examples
    --------
    >>> days = pd.date_range("2024-01-01", periods=9, freq="D")
    >>> infer(days.delete(4)), pd.infer_freq(days.delete(4))
    ('D', None)
    >>> infer(pd.date_range("2024-01-01", periods=30, freq="B").delete(7))
    'B'
    """
    grid = find(index)
    return None if grid is None else grid.text(index)


def find(index: pd.Index) -> Grid | None:
    """Return the grid of sorted stamps without copies, of which at most a third may be missing; None where there is none."""
    for grid in _candidates(index):
        if dense(grid.places(index)):
            return grid
    return None


def dense(places: np.ndarray | None) -> bool:
    """Tell whether the stamps lie on the grid and at most a third of it is missing."""
    return places is not None and 3 * len(places) >= 2 * (int(places[-1]) + 1)


def usual(steps: np.ndarray) -> int:
    """Return the most frequent step, the smallest of several."""
    if (steps == steps[0]).all():
        return int(steps[0])
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()])


def _steps(counted: np.ndarray) -> Iterator[int]:
    """Yield the usual step, then the largest one that divides all: with many gaps, two steps may be the usual one."""
    steps = np.diff(counted)
    yield usual(steps)
    yield int(np.gcd.reduce(steps))


def _candidates(index: pd.Index) -> Iterator[Grid]:
    if isinstance(index, pd.PeriodIndex):
        yield Grid("period", index.freq.n)
        if len(index) > 2:
            yield from (Grid("period", step) for step in _steps(index.asi8))
    elif not isinstance(index, pd.DatetimeIndex):
        steps = _steps(index.to_numpy(dtype=np.int64)) if len(index) > 1 else [getattr(index, "step", 1)]
        yield from (Grid("row", step) for step in steps)
    else:
        named = Grid.parse(index.freqstr) if index.freq is not None else None
        if named is not None:
            yield named
        if len(index) > 2:
            yield from _time_candidates(index)


def _time_candidates(index: pd.DatetimeIndex) -> Iterator[Grid]:
    step = usual(np.diff(index.asi8)) * _UNITS[index.unit]
    days = _days(index) if step >= _DAY - 3600 * 10**9 else None  # a day is an hour shorter when clocks go forward
    if days is not None:
        if step >= 27 * _DAY:
            yield from _month_candidates(index)
        weeks = (days + 3) // 7
        if usual(np.diff(days)) == 1 and weeks[0] < weeks[-1] and ((days + 3) % 7).max() < 5:
            yield Grid("business", 1)
        yield from (Grid("day", count) for count in _steps(days) if count)
    yield from (Grid("time", count * _UNITS[index.unit]) for count in _steps(index.asi8))


def _month_candidates(index: pd.DatetimeIndex) -> Iterator[Grid]:
    for point in _POINTS:
        months = Grid("month", 1, point).count(index)
        if months is not None:
            yield from (Grid("month", count, point) for count in _steps(months) if count)


def family(text: str) -> tuple[str, int] | None:
    """Return what is counted and how many at a time, the same for all anchors: "W-SUN" and "W-MON", "MS" and "ME".

    Examples
    --------
    >>> family("QS-OCT"), family("W-SUN"), family("24h") == family("D")
    (('month', 3), ('day', 7), True)
    """
    grid = Grid.parse(text)
    if grid is None:
        return None
    if grid.unit == "time" and grid.step % _DAY == 0:
        return "day", grid.step // _DAY
    return grid.unit, grid.step


def describe(text: str) -> str:
    """Say a frequency in words, with pandas' name for it.

    Examples
    --------
    >>> describe("h"), describe("15min")
    ("hourly ('h')", "every '15min'")
    """
    word = _WORDS.get(family(text) or ("", 0))
    return f"{word} ({text!r})" if word else f"every {text!r}"


# ---------------------------------------------------------------- calendar
def calendar_names(freq: str | None) -> list[str]:
    """Return the names of the calendar columns that suit a frequency, the same whenever the frequency is.

    Parameters
    ----------
    freq : str or None
        Such as "h" or "MS"; None, where there is no time, has no calendar.

    Returns
    -------
    list of str
        A sine and a cosine of each cycle.

    Examples
    --------
    >>> calendar_names("MS")
    ['month_of_year_sin', 'month_of_year_cos']
    """
    return [f"{cycle}_{wave}" for cycle in _cycles(freq) for wave in ("sin", "cos")]


def lasting_cycles(freq: str | None, context: float, training: float) -> list[str]:
    """Return the cycles of the calendar that a context does not show by itself: those of which it holds less than two.

    A network that sees two weeks needs nobody to tell it the weekday; being told makes it learn the training part by heart.

    Parameters
    ----------
    freq : str or None
        The frequency.
    context, training : float
        Days a context and the training part last; a cycle must have come at least twice in training.

    Examples
    --------
    >>> lasting_cycles("D", context=60, training=1500), lasting_cycles("h", context=30, training=365)
    (['day_of_year'], [])
    """
    return [cycle for cycle in _cycles(freq) if context < 2 * _DAYS_OF[cycle] and training >= 2 * _DAYS_OF[cycle]]


def seasons(freq: str | None) -> list[int]:
    """Return the periods, in rows, that the calendar suggests for a frequency: the day, the week, the year.

    Examples
    --------
    >>> seasons("h"), seasons("B"), seasons("MS"), seasons(None)
    ([24, 168], [5, 261], [12], [])
    """
    unit, step = (family(freq) if freq else None) or ("", 0)
    if unit == "business":
        return [5, 261]
    days = {"time": step / _DAY, "day": step, "month": step * 365.25 / 12}.get(unit)
    cycles = {"time": (1, 7), "day": (7, 365.25), "month": (365.25,)}.get(unit, ())
    return [round(cycle / days) for cycle in cycles if days and round(cycle / days) > 1]


def calendar(index: pd.Index, freq: str | None = None, cycles: Sequence[str] | None = None) -> np.ndarray:
    """Return sines and cosines of the cycles that suit the frequency, such as hour and weekday, or month.

    Parameters
    ----------
    index : DatetimeIndex, PeriodIndex or RangeIndex
        The stamps, read as local time where they carry a time zone.
    freq : str, optional
        The frequency as `infer` returns it; None infers it. Give the fitted one, so that training and use agree.
    cycles : sequence of str, optional
        The cycles wanted, as `lasting_cycles` names them; all by default.

    Returns
    -------
    ndarray, float32
        (stamps, columns), two columns a cycle: none for a RangeIndex.

    Examples
    --------
    >>> calendar(pd.date_range("2024-01-01", periods=4, freq="QS"))[:, 0].tolist()
    [0.0, 1.0, 0.0, -1.0]
    """
    if not isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return np.empty((len(index), 0), dtype=np.float32)
    chosen = _cycles(freq or infer(index)) if cycles is None else cycles
    columns = np.empty((len(index), 2 * len(chosen)), dtype=np.float32)
    clock = _clock(index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index)
    for i, cycle in enumerate(chosen):
        codes, length = _CODES[cycle](clock)
        angle = codes * (2 * np.pi / length)
        columns[:, 2 * i], columns[:, 2 * i + 1] = np.sin(angle), np.cos(angle)
    np.round(columns, 6, out=columns)  # the sine of half a turn is 0, not 1e-16
    columns += 0.0  # and not -0
    return columns


def _cycles(freq: str | None) -> list[str]:
    unit, step = (family(freq) if freq else None) or ("", 0)
    if unit == "time":
        return ["time_of_day", "weekday"]
    if unit == "month":
        return ["month_of_year"] if step % 3 else ["quarter"] if step % 12 else []
    if unit == "day" and step % 7 == 0:
        return ["week_of_year"]
    return ["weekday", "day_of_year"] if unit in ("day", "business") else []


def _time_of_day(clock: np.ndarray) -> tuple[np.ndarray, float]:
    return (clock - clock.astype("M8[D]")).astype(np.int64), _DAY // _UNITS[np.datetime_data(clock.dtype)[0]]


def _weekday(clock: np.ndarray) -> tuple[np.ndarray, float]:
    return (clock.astype("M8[D]").astype(np.int64) + 3) % 7, 7


def _day_of_year(clock: np.ndarray) -> tuple[np.ndarray, float]:
    return (clock.astype("M8[D]") - clock.astype("M8[Y]").astype("M8[D]")).astype(np.int64), 365.25


def _month_of_year(clock: np.ndarray) -> tuple[np.ndarray, float]:
    return clock.astype("M8[M]").astype(np.int64) % 12, 12


def _quarter(clock: np.ndarray) -> tuple[np.ndarray, float]:
    return clock.astype("M8[M]").astype(np.int64) % 12 // 3, 4


_DAYS_OF = {
    "time_of_day": 1.0,
    "weekday": 7.0,
    "day_of_year": 365.25,
    "week_of_year": 365.25,
    "month_of_year": 365.25,
    "quarter": 365.25,
}
_CODES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, float]]] = {
    "time_of_day": _time_of_day,
    "weekday": _weekday,
    "day_of_year": _day_of_year,
    "week_of_year": _day_of_year,
    "month_of_year": _month_of_year,
    "quarter": _quarter,
}
