"""What the other modules work with: one series on a regular grid, and the form in which the user's series came and go."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipelines.errors import DataError

from .frequency import Grid

__all__ = ["Form", "Name", "Series", "future_index", "index_kind", "plain_name", "time_zone"]

Name = str | int


@dataclass(frozen=True, eq=False)
class Series:
    """One series on a regular grid.

    Parameters
    ----------
    name : str, int or None
        The key of a dict, the id in a long frame, otherwise None.
    values : ndarray
        (T, variables), floats, NaN where a value is missing; the user's own memory where nothing had to be repaired.
    index : DatetimeIndex, PeriodIndex, RangeIndex or None
        The regular stamps; None for arrays.
    known : ndarray or None
        (T, known columns), floats, all finite; None where no columns are known in advance.
    freq : str or None
        The frequency of the stamps as pandas writes it; None where there is no time.
    places : ndarray or None
        The rows that the user gave; None where no row was inserted.
    rows : ndarray or None
        Where these lie in a long frame; None in any other input.
    """

    name: Name | None
    values: np.ndarray
    index: pd.Index | None = None
    known: np.ndarray | None = None
    freq: str | None = None
    places: np.ndarray | None = None
    rows: np.ndarray | None = None

    def given(self, results: Any) -> Any:
        """Return the part of an array or index, one entry a row, that belongs to rows the user gave."""
        return results if self.places is None or results is None else results[self.places]

    def tail(self, rows: int) -> "Series":
        """Return the last `rows` rows as views."""
        start = max(len(self.values) - rows, 0)
        index = None if self.index is None else self.index[start:]
        known = None if self.known is None else self.known[start:]
        return dataclasses.replace(self, values=self.values[start:], index=index, known=known, places=None, rows=None)

    def facts(self) -> dict[str, Any]:
        """Return what is not an array as plain JSON values, for `from_facts`."""
        return {"name": self.name, "freq": self.freq, "index": None if self.index is None else _index_facts(self.index)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any], values: np.ndarray, known: np.ndarray | None = None) -> "Series":
        """Return a series with an index as long as `values` that ends where the one did whose `facts` these are.

        Examples
        --------
        >>> from timeseries.reading import read
        >>> series = read(pd.Series([1.0, 2.0, 4.0], pd.date_range("2024-01-31", periods=3, freq="ME")))[0][0]
        >>> Series.from_facts(series.facts(), np.zeros((2, 1))).index.strftime("%d %b").tolist()
        ['29 Feb', '31 Mar']
        """
        index = None if facts["index"] is None else _index_from(facts["index"], facts["freq"], len(values))
        return cls(facts["name"], values, index, known, facts["freq"])


@dataclass(frozen=True)
class Form:
    """How input looked, so that results go out in kind and later input can be compared with it.

    Parameters
    ----------
    container : {"one", "list", "dict", "block", "long"}
        One series or how several came.
    entry : {"flat", "table", "series", "frame"}
        What a series was: values `(T,)`, an array `(T, C)`, a pandas Series, a DataFrame.
    columns : tuple of str or int
        The columns used, in the order of the input; the positions where they have no names.
    variables, known, ignored : tuple of str or int
        Those to forecast, those known in advance, and those not used.
    labels : tuple of str, int or None
        The name of each pandas Series.
    index : {"time", "period", "row", None}
        The kind of index.
    freq : str or None
        The frequency, as pandas writes it; None where there is no time.
    tz : str or None
        The time zone.
    series_id, time : str, int or None
        The columns with the ids and the time stamps of a long frame; `time` is None where the index holds them.
    """

    container: str
    entry: str
    columns: tuple[Name, ...]
    variables: tuple[Name, ...]
    known: tuple[Name, ...] = ()
    ignored: tuple[Name, ...] = ()
    labels: tuple[Name | None, ...] = ()
    index: str | None = None
    freq: str | None = None
    tz: str | None = None
    series_id: Name | None = None
    time: Name | None = None

    @property
    def named(self) -> bool:
        """Whether columns go by name rather than by position."""
        return self.entry == "frame"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Form":
        """Return the form whose `to_dict` this was.

        Examples
        --------
        >>> from timeseries.reading import read
        >>> form = read(np.zeros((5, 2)))[1]
        >>> Form.from_dict(form.to_dict()) == form
        True
        """
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()}
        return cls(**plain)

    def wrap(
        self,
        forecasts: Sequence[np.ndarray],
        series: Sequence[Series],
        quantiles: Mapping[float, Sequence[np.ndarray]] | None = None,
    ) -> Any:
        """Return forecasts in the kind of the input.

        Parameters
        ----------
        forecasts : sequence of ndarray
            (horizon, variables) of each series.
        series : sequence of Series
            Those continued, in the same order.
        quantiles : dict, optional
            Level to such a sequence. Frames get columns such as "load_q0.1" after each variable, arrays one more axis: the
            forecast, then the levels from low to high.

        Returns
        -------
        Series, DataFrame, ndarray, list or dict
            As the input was; indices continue.

        Examples
        --------
        >>> load = pd.Series([1.0, 2.0, 3.0], pd.date_range("2024-01-01", periods=3, freq="D"), name="load")
        >>> from timeseries.reading import read
        >>> series, form, _ = read(load)
        >>> form.wrap([np.array([[4.0], [5.0]])], series)
        2024-01-04    4.0
        2024-01-05    5.0
        Freq: D, Name: load, dtype: float64
        """
        levels = sorted(quantiles or {})
        layers = [forecasts, *(quantiles[level] for level in levels)] if quantiles else [forecasts]
        blocks = [np.stack([np.asarray(layer[i], dtype=np.float64) for layer in layers], 2) for i in range(len(series))]
        if self.container == "long":
            return self._long(blocks, series, levels)
        out = [self._entry(block, one, i, levels) for i, (block, one) in enumerate(zip(blocks, series, strict=True))]
        if self.container == "one":
            return out[0]
        if self.container == "block":
            return np.stack(out)
        return out if self.container == "list" else dict(zip([one.name for one in series], out, strict=True))

    def per_row(self, results: Sequence[np.ndarray], series: Sequence[Series], index: pd.Index | None, name: str) -> Any:
        """Return one result a row of each series in the kind of the input: pandas objects come back as a Series.

        Parameters
        ----------
        results : sequence of ndarray
            One number for each row that the user gave, not for those that were inserted, for each series.
        series : sequence of Series
            Those the results belong to, in the same order.
        index : Index or None
            That of a long frame.
        name : str
            Of the pandas Series.

        Examples
        --------
        >>> from timeseries.reading import read
        >>> series, form, _ = read(pd.Series([1.0, 5.0, 2.0], pd.date_range("2024-01-01", periods=3, freq="D")))
        >>> form.per_row([np.array([0.1, 0.9, 0.2])], series, None, "score")
        2024-01-01    0.1
        2024-01-02    0.9
        2024-01-03    0.2
        Freq: D, Name: score, dtype: float64
        """
        found: list[Any] = list(results)
        if self.container == "long":
            order = np.concatenate([one.rows for one in series if one.rows is not None])
            return pd.Series(np.concatenate(found)[np.argsort(order, kind="stable")], index, name=name)
        if self.entry in ("series", "frame"):
            found = [pd.Series(result, one.given(one.index), name=name) for result, one in zip(found, series, strict=True)]
        if self.container == "one":
            return found[0]
        if self.container == "block":
            return np.stack(found)
        return found if self.container == "list" else dict(zip([one.name for one in series], found, strict=True))

    def _entry(self, block: np.ndarray, series: Series, place: int, levels: Sequence[float]) -> Any:
        if self.entry == "flat":
            return block[:, 0] if levels else block[:, 0, 0]
        if self.entry == "table":
            return block if levels else block[:, :, 0]
        index = future_index(series, len(block))
        if self.entry == "frame":
            return self._frame(block, index, levels)
        label = self.labels[place]
        if not levels:
            return pd.Series(block[:, 0, 0], index, name=label)
        return pd.DataFrame(block[:, 0], index, columns=_with_levels(["value" if label is None else label], levels))

    def _frame(self, block: np.ndarray, index: pd.Index | None, levels: Sequence[float]) -> pd.DataFrame:
        names = [name for name in self.columns if name in self.variables]  # the order of the input, not that of fit
        block = block[:, [self.variables.index(name) for name in names]]
        return pd.DataFrame(block.reshape(len(block), -1), index, columns=_with_levels(names, levels))

    def _long(self, blocks: Sequence[np.ndarray], series: Sequence[Series], levels: Sequence[float]) -> pd.DataFrame:
        frame = self._frame(np.concatenate(blocks), None, levels)
        sizes = [len(block) for block in blocks]
        if self.index is not None:
            stamps = [future_index(one, size) for one, size in zip(series, sizes, strict=True)]
            times = pd.Index(stamps[0]).append(stamps[1:])
            if self.time is None:
                frame.index = times
            else:
                frame.insert(0, self.time, times, allow_duplicates=True)
        ids = pd.Index([one.name for one in series])
        frame.insert(0, self.series_id, ids.repeat(sizes), allow_duplicates=True)
        return frame


def future_index(series: Series, horizon: int) -> pd.Index | None:
    """Return the `horizon` stamps that follow a series; None where it has no index.

    Examples
    --------
    >>> from timeseries.reading import read
    >>> series = read(pd.Series([1.0, 2.0, 4.0], pd.date_range("2024-01-31", periods=3, freq="ME")))[0][0]
    >>> future_index(series, 2)
    DatetimeIndex(['2024-04-30', '2024-05-31'], dtype='datetime64[us]', freq='ME')
    """
    index = series.index
    if index is None:
        return None
    index = _grid(index, series.freq).at(index, np.arange(len(index), len(index) + horizon))
    if not isinstance(index, pd.DatetimeIndex):
        return index
    try:
        return pd.DatetimeIndex(index, freq=getattr(series.index, "freq", None) or series.freq)
    except ValueError:  # a day without midnight, where clocks change then
        return index


def _grid(index: pd.Index, freq: str | None) -> Grid:
    """Return the grid of a regular index."""
    if isinstance(index, pd.DatetimeIndex):
        grid = Grid.parse(freq or "")
        if grid is None:
            raise DataError(f"A series with a DatetimeIndex needs a frequency, but its freq is {freq!r}.")
        return grid
    if isinstance(index, pd.PeriodIndex):
        count = re.match(r"\d*", freq or "")
        return Grid("period", int(count[0] or 1) if count and freq else index.freq.n)
    return Grid("row", index.step)


def _with_levels(names: Sequence[Name], levels: Sequence[float]) -> list[Name]:
    return [column for name in names for column in (name, *(f"{name}_q{level:g}" for level in levels))]


def _index_facts(index: pd.Index) -> dict[str, Any]:
    facts = {"kind": index_kind(index), "name": plain_name(index.name) if isinstance(index.name, (str, int)) else None}
    if isinstance(index, pd.DatetimeIndex):
        return facts | {"last": index[-1].isoformat(), "unit": index.unit, "tz": time_zone(index)}
    if isinstance(index, pd.PeriodIndex):
        return facts | {"last": int(index.asi8[-1]), "freq": index.freqstr}
    return facts | {"last": int(index[-1]), "step": int(index.step)}


def _index_from(facts: Mapping[str, Any], freq: str | None, rows: int) -> pd.Index:
    back = np.arange(1 - rows, 1)
    if facts["kind"] == "row":
        start = facts["last"] - facts["step"] * (rows - 1)
        return pd.RangeIndex(start, start + facts["step"] * rows, facts["step"], name=facts["name"])
    if facts["kind"] == "period":
        last = pd.PeriodIndex.from_ordinals([facts["last"]], freq=facts["freq"], name=facts["name"])
    else:
        last = pd.DatetimeIndex([facts["last"]], name=facts["name"]).as_unit(facts["unit"])
        last = last if facts["tz"] is None else last.tz_convert(facts["tz"])
    return _grid(last, freq).at(last, back)


def index_kind(index: pd.Index) -> str:
    """Return "time", "period" or "row"."""
    if isinstance(index, pd.DatetimeIndex):
        return "time"
    return "period" if isinstance(index, pd.PeriodIndex) else "row"


def time_zone(index: pd.Index | None) -> str | None:
    """Return the name of an index's time zone, None where it has none."""
    zone = getattr(index, "tz", None)
    if zone is None:
        return None
    file = getattr(zone, "_filename", None)  # dateutil's zones do not print as names
    return str(zone) if file is None else "dateutil/" + str(file).split("zoneinfo/")[-1]


def plain_name(name: Any) -> Any:
    """Turn a number of numpy's into one of Python's."""
    return name.item() if isinstance(name, np.generic) else name
