"""Time stamps: they must be sorted, single and of one kind; then every series is placed on its regular grid, gaps included."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

from .frequency import Grid, dense, describe, family, find, usual
from .series import Form, Name, Series, index_kind, time_zone
from .tables import Table, lowered, plural

__all__ = [
    "check_index", "check_kinds", "check_time_is_index", "checked_index", "in_zone", "looks_like_dates", "regular",
    "texts_as_time", "to_zone",
]  # fmt: skip

_DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2})|\d{4}-\d{2})(\D|$)")


def check_time_is_index(frame: pd.DataFrame, who: str) -> None:
    """Raise if a column looks like the time that should be the index."""
    for name, dtype in frame.dtypes.items():
        if dtype.kind in "biufc":
            continue
        column = frame[name]
        if dtype.kind == "M" or isinstance(dtype, pd.PeriodDtype) or looks_like_dates(column):
            raise DataError(
                f"{who} has its time in the column {name!r}, not in the index. Make it the index: "
                f"df.index = pd.to_datetime(df.pop({name!r})), or read the file with data.series(path, time={name!r}, value=…)."
            )


def looks_like_dates(column: Any) -> bool:
    """Tell whether a column of objects or texts begins with a date."""
    if not isinstance(column, pd.Series) or not (column.dtype == object or isinstance(column.dtype, pd.StringDtype)):
        return False
    value = column.iloc[0]
    return hasattr(value, "year") or (isinstance(value, str) and bool(_DATE.match(value)))


def texts_as_time(column: pd.Series, name: Name) -> pd.DatetimeIndex:
    """Read ISO 8601 texts, the only ones whose order of day and month is certain."""
    first = column.iloc[0]
    iso = hasattr(first, "year") or re.match(r"\d{4}-\d\d", first)
    try:
        parsed = pd.to_datetime(column, format="ISO8601", errors="coerce") if iso else None
    except ValueError:  # several offsets from UTC
        parsed = None
    if parsed is None or parsed.dtype.kind != "M":
        raise DataError(
            f"The column {name!r} looks like time, {first!r} for one, but is not plainly ISO 8601 (2024-12-31). Say how to read "
            f"it: df[{name!r}] = pd.to_datetime(df[{name!r}], dayfirst=…, or format=…, or utc=True)."
        )
    if parsed.isna().any():
        row = int(np.flatnonzero(parsed.isna())[0])
        raise DataError(f"Row {row} has no readable time in the column {name!r}: {column.iloc[row]!r}.")
    return pd.DatetimeIndex(parsed)


def checked_index(index: pd.Index, who: str) -> pd.Index:
    """Return an index of a kind that can be regular."""
    if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)):
        return index
    if isinstance(index, pd.MultiIndex):
        names = [name for name in index.names if name is not None] or ["…"]
        raise DataError(
            f"{who} has an index of {index.nlevels} levels, {list(index.names)}. Pass a long frame, df.reset_index(), and name "
            f"the column of the series: series_id={names[0]!r}."
        )
    if index.dtype.kind in "iu":
        return index
    first = index[0]
    if isinstance(first, str) or hasattr(first, "year"):
        kind = type(first).__name__
        raise DataError(
            f"{who} has an index of {kind} values, {first!r} for one. Read them: df.index = pd.to_datetime(df.index)."
        )
    raise DataError(
        f"{who} has an index of the dtype {index.dtype}; expected a DatetimeIndex, a PeriodIndex or whole numbers. "
        "Use df.reset_index(drop=True) if the rows simply follow each other."
    )


def _stamps(index: pd.Index) -> np.ndarray:
    return index.asi8 if isinstance(index, (pd.DatetimeIndex, pd.PeriodIndex)) else index.to_numpy()


def check_index(table: Table) -> None:
    """Raise unless the stamps are there, sorted, and each only once."""
    index = table.index
    if index is None or (isinstance(index, pd.RangeIndex) and index.step > 0):
        return
    stamps = _stamps(index)
    steps = np.diff(stamps)
    if index.dtype.kind not in "iu" and bool(index.hasnans):
        here = table.place(int(np.flatnonzero(index.isna())[0]))
        raise DataError(f"{table.who} has no time stamp (NaT) in {here}. Drop such rows: df[df.index.notna()].")
    if (steps > 0).all():
        return
    row = int(np.flatnonzero(steps <= 0)[0]) + 1
    here, hint = table.place(row), _clocks(index, row) or _several(table)
    if steps[row - 1] == 0:
        raise DataError(f"{table.who} has the time stamp {index[row]} twice, the second time in {here}. {_keep_one(table)}{hint}")
    sort = "df.sort_index()" if table.rows is None or index.name is None else f"df.sort_values({index.name!r})"
    raise DataError(
        f"{table.who} is not sorted by time: {index[row]} in {here} comes after {index[row - 1]}. Sort it: {sort}.{hint}"
    )


def _keep_one(table: Table) -> str:
    if table.rows is not None:
        return "Keep one row of each series and time, with df.drop_duplicates, or average them, with df.groupby."
    return "Keep one of each, df[~df.index.duplicated()], or average them, df.groupby(level=0).mean()."


def _clocks(index: pd.Index, row: int) -> str:
    """Hint at daylight saving where local clock times repeat an hour on a Sunday night."""
    if not isinstance(index, pd.DatetimeIndex) or index.tz is not None or index[row].weekday() != 6 or index[row].hour > 3:
        return ""
    return " If clocks went back then, give the local time its zone: df.tz_localize('Europe/…', ambiguous='infer')."


def check_kinds(tables: Sequence[Table], like: Form | None) -> None:
    """Raise unless all series have one kind of index and one time zone, those of the fitted data if both have time."""
    first = tables[0].index
    for table in tables[1:]:
        if (table.index is None) != (first is None) or (first is not None and index_kind(table.index) != index_kind(first)):
            kinds = [type(t.index).__name__ for t in (tables[0], table)]
            raise DataError(
                f"{tables[0].who} has a {kinds[0]} and {lowered(table.who)} a {kinds[1]}. Give all series one kind of index."
            )
        if getattr(table.index, "tz", None) is not getattr(first, "tz", None) and time_zone(table.index) != time_zone(first):
            raise DataError(
                f"{tables[0].who} {in_zone(time_zone(first))} and {lowered(table.who)} {in_zone(time_zone(table.index))}. "
                f"{to_zone(time_zone(table.index), time_zone(first))}"
            )
    if like is not None and like.index == "time" and isinstance(first, pd.DatetimeIndex) and time_zone(first) != like.tz:
        raise DataError(
            f"{tables[0].who} {in_zone(time_zone(first))}, but the model was fitted on data that {in_zone(like.tz)}. "
            f"{to_zone(time_zone(first), like.tz)}"
        )


def _several(table: Table) -> str:
    """Hint at a long frame whose column of names was not named."""
    if table.who != "X" or table.index is None or table.index.is_unique:
        return ""
    return " If the rows belong to several series, name the column that tells them apart: series_id=…."


def in_zone(zone: str | None) -> str:
    """Say which time zone something has."""
    return "has time stamps without a time zone" if zone is None else f"has time stamps in the zone {zone!r}"


def to_zone(zone: str | None, target: str | None) -> str:
    """Say how to get from one time zone to another."""
    if zone is None:
        return f"Give it one: df.tz_localize({target!r})."
    return "Drop it: df.tz_localize(None)." if target is None else f"Convert it: df.tz_convert({target!r})."


def regular(tables: Sequence[Table], like: Form | None) -> tuple[list[Series], str | None, list[str]]:
    """Place every series on a regular grid; return them, their frequency, and notes of what was inserted."""
    index = tables[0].index
    if index is None:
        return [Series(table.name, table.values, None, table.known, rows=table.rows) for table in tables], None, []
    hint = like.freq if like is not None and like.index == index_kind(index) == "time" else None
    longest = max(tables, key=lambda table: len(table.values))
    reference = _grid_of(longest, [hint])
    assert longest.index is not None
    freq = None if reference.unit == "row" else reference.text(longest.index)
    if freq is not None and like is not None and like.freq is not None and family(freq) != family(like.freq):
        raise DataError(f"{longest.who} is {describe(freq)}, but the model was fitted on data that is {describe(like.freq)}.")
    placed: list[Series] = []
    repaired: list[tuple[Table, Series, np.ndarray]] = []
    seen: tuple[Table, Series] | None = None
    for table in tables:
        if seen is not None and _same_stamps(table, seen[0]):
            series = Series(table.name, table.values, table.index, table.known, seen[1].freq, rows=table.rows)
        else:
            series, places = _place(table, longest, freq, [freq, hint])
            if len(series.values) > len(table.values):
                repaired.append((table, series, places))
            else:
                seen = table, series
        placed.append(series)
    return placed, freq, _inserted_note(repaired, len(tables))


def _same_stamps(table: Table, other: Table) -> bool:
    """Tell whether two series have equal stamps, as they mostly do: then one look is enough."""
    if table.index is other.index:
        return True
    one, two = table.index, other.index
    if one is None or two is None or len(one) != len(two) or one.dtype != two.dtype or isinstance(one, pd.RangeIndex):
        return False
    return bool(np.array_equal(_stamps(one), _stamps(two)))


def _place(table: Table, longest: Table, freq: str | None, hints: Sequence[str | None]) -> tuple[Series, np.ndarray]:
    index = table.index
    assert index is not None
    grid = _grid_of(table, hints)
    text = None if grid.unit == "row" else grid.text(index[:1])
    if text is not None and freq is not None and family(text) != family(freq):
        raise DataError(
            f"{longest.who} is {describe(freq)}, but {lowered(table.who)} is {describe(text)}. "
            "Bring all series to one frequency with df.resample(…), or fit one model for each."
        )
    places = grid.places(index)
    assert places is not None
    rows = int(places[-1]) + 1
    if rows == len(index):
        even = index if grid.unit != "row" or isinstance(index, pd.RangeIndex) else grid.at(index, places)
        return Series(table.name, table.values, even, table.known, text, rows=table.rows), places
    values = np.full((rows, table.values.shape[1]), np.nan, dtype=table.values.dtype)
    values[places] = table.values
    known = table.known
    if known is not None:  # inserted rows repeat the last known value
        known = known[np.repeat(np.arange(len(places)), np.diff(places, append=rows))]
    return Series(table.name, values, grid.at(index, np.arange(rows)), known, text, places, table.rows), places


def _grid_of(table: Table, hints: Sequence[str | None]) -> Grid:
    """Return the grid of a series: that of the others or of the fitted data where it fits, otherwise its own."""
    index = table.index
    assert index is not None
    expected = [grid for hint in hints if hint and isinstance(index, pd.DatetimeIndex) and (grid := Grid.parse(hint))]
    for grid in expected:
        places = grid.places(index)
        if places is not None and int(places[-1]) + 1 == len(index):
            return grid
    own = find(index)
    if own is not None:
        return own
    for grid in expected:
        if dense(grid.places(index)):
            return grid
    raise DataError(_irregular(table, expected[0].text(index) if expected else None))


def _inserted_note(repaired: Sequence[tuple[Table, Series, np.ndarray]], of: int) -> list[str]:
    if not repaired:
        return []
    count = sum(len(series.values) - len(table.values) for table, series, _ in repaired)
    table, series, places = repaired[0]
    assert series.index is not None
    first = series.index[int(np.flatnonzero(places != np.arange(len(places)))[0])]
    where = f" in {len(repaired)} of {of} series" if of > 1 else ""
    which = f"the first is {first}" if count > 1 else f"{first}"
    which += f" in {lowered(table.who)}" if of > 1 else ""
    was = "was inserted as an empty row" if count == 1 else "were inserted as empty rows"
    known = "; columns known in advance repeat their last value there" if table.known is not None else ""
    return [f"{plural(count, 'missing time stamp')} {was}{where}: {which}{known}."]


def _irregular(table: Table, expected: str | None) -> str:
    """Say where the stamps leave the grid they seem to be on, and what to do."""
    index = table.index
    assert index is not None
    if len(index) < 3 and isinstance(index, pd.DatetimeIndex):
        count = plural(len(index), "time stamp")
        if expected is not None:
            return f"{table.who} has {count} from {index[0]}, not {describe(expected)} as the other data is."
        return (
            f"{table.who} has {count}, too few to tell how often values come. Give at least 3, or name the frequency: "
            "df.asfreq('D')."
        )
    steps = np.diff(_stamps(index))
    step = usual(steps)
    off = np.flatnonzero(steps % step)
    row = int(off[0] if len(off) else np.flatnonzero(steps != step)[0]) + 1
    if len(off):
        gap, common = _span(index, int(steps[row - 1])), _span(index, step)
        what = f"{index[row]} in {table.place(row)} comes {gap} after the one before, while {common} is usual"
    else:
        total = int(steps.sum()) // step + 1
        what = f"{total - len(index)} of {total} are missing at steps of {_span(index, step)}, the first after {index[row - 1]}"
    return f"{table.who} has irregular time stamps: {what}. {_regular_hint(index)}"


def _span(index: pd.Index, step: int) -> str:
    if isinstance(index, pd.DatetimeIndex):
        days, time = str(pd.Timedelta(step, index.unit)).split(" days ")
        return time if days == "0" else f"{plural(int(days), 'day')}{'' if time == '00:00:00' else ' ' + time}"
    return f"{plural(step, 'period')} of {index.freqstr!r}" if isinstance(index, pd.PeriodIndex) else f"{step}"


def _regular_hint(index: pd.Index) -> str:
    if not isinstance(index, pd.DatetimeIndex):
        return "Use df.reset_index(drop=True) if the rows simply follow each other."
    months = pd.DatetimeIndex(index).tz_localize(None).to_numpy().astype("M8[M]").astype(np.int64)
    if len(index) > 2 and (np.diff(months) == 1).all():
        return "If there is one value a month, say so: df.index = df.index.to_period('M')."
    seconds = float(np.median(np.diff(index.asi8))) * pd.Timedelta(1, index.unit).total_seconds()
    sizes = {"1D": 86400, "1h": 3600, "15min": 900, "5min": 300, "1min": 60, "1s": 1}
    freq = next((name for name, size in sizes.items() if seconds >= 0.9 * size), "100ms")
    return f"Bring it to a regular step first, for example df.resample({freq!r}).mean()."
