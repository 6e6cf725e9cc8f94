"""What the command line knows of each reader: its options, how data becomes parts to fit and judge, how predictions look."""

from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from . import data
from .checks import did_you_mean
from .errors import DataError, ParameterError

__all__ = ["READERS", "Parts", "Samples", "TimeSeries", "reader_of"]


@dataclass(frozen=True)
class Parts:
    """What to fit on, and what to judge with, which may depend on the fitted pipeline."""

    X: Any
    y: Any = None
    valid: Any = None
    held: Callable[[Any], tuple[Any, Any]] | None = None


class Samples:
    """Samples with labels: files in a folder, or the rows of a table."""

    about: ClassVar[str] = "a folder with one sub-folder per class, or a table"
    options: ClassVar[dict[str, str]] = {
        "x": "a table's column with the samples",
        "y": "a table's column with the labels",
        "group": "a table's column (patient, speaker) that is kept on one side of the split",
    }

    def parts(self, model: Any, arguments: Namespace) -> Parts:
        """Read the data, and hold out a share of it; groups stay whole."""
        X, y, groups = self._read(arguments)
        group_of = dict(zip(X, groups, strict=True)) if groups else {}
        held = valid = None
        if arguments.test:
            X, X_test, y, y_test = data.split(X, y, test=arguments.test, groups=groups, seed=model.seed)
            held = (X_test, y_test)
        if groups and len({group_of[x] for x in X}) > 1:  # groups stay whole in the validation part, too
            left = [group_of[x] for x in X]
            X, X_valid, y, y_valid = data.split(X, y, test=0.1, groups=left, seed=model.seed)
            valid = (X_valid, y_valid)
        return Parts(X, y, valid, None if held is None else lambda model: held)

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`."""
        X, y, groups = self._read(arguments)
        return {"X": X, "y": y, "groups": groups}

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Return one row a file."""
        if not arguments.inputs:
            raise ParameterError("There is nothing to predict: name the inputs, files or folders.")
        if arguments.future:
            raise ParameterError(f"--future is for forecasts; {model.task} takes files or folders alone.")
        X = [file for path in arguments.inputs for file in (data.files(path) if Path(path).is_dir() else [path])]
        if not hasattr(model, "predict_proba"):
            return [{"sample": x, "prediction": p} for x, p in zip(X, model.predict(X), strict=True)]
        proba = model.predict_proba(X)
        names = [str(label) for label in model.classes_.tolist()]
        return [
            {"sample": x, "prediction": p, "proba": {name: round(float(v), 6) for name, v in zip(names, row, strict=True)}}
            for x, p, row in zip(X, model.decide(proba), proba, strict=True)
        ]

    def _read(self, arguments: Namespace) -> tuple[Any, Any, Any]:
        path = Path(arguments.data)
        if path.is_dir():
            return *data.folder(path), None
        if not arguments.x or not arguments.y:
            raise ParameterError(f"{path} is read as a table, which needs --x COLUMN and --y COLUMN.")
        X, y = data.table(path, x=arguments.x, y=arguments.y)
        groups = data.table(path, x=arguments.group)[0] if arguments.group else None
        return X, y, groups


class TimeSeries:
    """Time series in a table: one row a time, one column a variable."""

    about: ClassVar[str] = "a table of time series"
    options: ClassVar[dict[str, str]] = {
        "time": "the column with the time stamps",
        "value": "the columns with the values, separated by commas; all others by default",
    }

    def parts(self, model: Any, arguments: Namespace) -> Parts:
        """Read the series, and hold out the end of each; to judge it, the rows before serve as the first context."""
        X = self._read(arguments.data, arguments, _listed(arguments.value, model))
        if not arguments.test:
            return Parts(X)
        if model.series_id is not None and model.series_id not in X.columns:
            raise DataError(f"{arguments.data} has no column {model.series_id!r}.{did_you_mean(model.series_id, X.columns)}")
        series = [X] if model.series_id is None else [part for _, part in X.groupby(model.series_id, sort=False)]
        halves = [data.split(part, test=arguments.test)[:2] for part in series]
        longest = max(len(end) for _, end in halves)
        if longest < getattr(model, "horizon", 1):
            raise DataError(
                f"--test {arguments.test:g} holds out {longest} rows, fewer than the horizon of {model.horizon}. Choose a larger "
                "share, a smaller --horizon, or --test 0 for no report."
            )
        return Parts(
            pd.concat([start for start, _ in halves]),
            held=lambda model: (pd.concat([part for start, end in halves for part in (start.tail(model.lookback_), end)]), None),
        )

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`."""
        return {"X": self._read(arguments.data, arguments, _listed(arguments.value, model) or _fitted(model))}

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Return one row a time to come, after the series in a file or after those of the training."""
        if len(arguments.inputs) > 1:
            raise ParameterError(f"One table with the series is enough, but {len(arguments.inputs)} files were named.")
        columns = _listed(arguments.value, model) or _fitted(model)
        history = self._read(arguments.inputs[0], arguments, columns) if arguments.inputs else None
        if not arguments.future:
            return _rows(model.predict(history))
        names = [*model.known, *_id(model)] if model.known else None
        return _rows(model.predict(history, future=self._read(arguments.future, arguments, names)))

    def _read(self, path: str, arguments: Namespace, columns: list[str] | None) -> pd.DataFrame:
        if not arguments.time:
            raise ParameterError(f"{path} is read as a table of time series, which needs --time COLUMN.")
        return data.series(path, time=arguments.time, value=columns)[0]


def _listed(text: str | None, model: Any) -> list[str] | None:
    """Return the columns that were named, with those that the pipeline's own parameters name."""
    if text is None:
        return None
    return list(dict.fromkeys([*(name.strip() for name in text.split(",")), *(model.known or ()), *_id(model)]))


def _fitted(model: Any) -> list[str] | None:
    """Return the columns a pipeline was fitted on, or None where they had no names."""
    columns = model.form_["columns"]
    return [*columns, *_id(model)] if all(isinstance(name, str) for name in columns) else None


def _id(model: Any) -> list[str]:
    return [] if model.series_id is None else [model.series_id]


def _rows(forecast: Any) -> Any:
    """Turn a forecast of whatever kind into what JSON can hold; frames and Series become rows."""
    if isinstance(forecast, dict):
        return {str(name): _rows(one) for name, one in forecast.items()}
    if isinstance(forecast, list):
        return [_rows(one) for one in forecast]
    if isinstance(forecast, pd.Series):
        forecast = forecast.to_frame("value" if forecast.name is None else forecast.name)
    if not isinstance(forecast, pd.DataFrame):
        return forecast.tolist()
    index, columns = forecast.index, [str(column) for column in forecast.columns]
    dates = isinstance(index, pd.DatetimeIndex) and index.tz is None and (index == index.normalize()).all()
    times = (
        index.strftime("%Y-%m-%d") if dates else [time.isoformat() if hasattr(time, "isoformat") else str(time) for time in index]
    )
    return [
        {index.name or "time": time, **dict(zip(columns, map(_short, row), strict=True))}
        for time, row in zip(times, forecast.itertuples(index=False, name=None), strict=True)
    ]


def _short(value: Any) -> Any:
    """Round to nine digits, more than a network in single precision means."""
    return float(f"{value:.9g}") if isinstance(value, float) else value


READERS: dict[str, Samples | TimeSeries] = {"folder": Samples(), "series": TimeSeries()}


def reader_of(pipeline: Any, arguments: Namespace) -> Samples | TimeSeries:
    """Return what reads a pipeline's data, a class or a fitted one; options of other readers are refused.

    Raises
    ------
    ParameterError
        If an option is none of this reader's.
    """
    own = READERS[pipeline.reader]
    for other in READERS.values():
        for name in other.options:
            if name not in own.options and getattr(arguments, name, None) is not None:
                raise ParameterError(
                    f"--{name} is for tasks that read {other.about}, but {pipeline.task} reads {own.about}. Its options are "
                    f"{', '.join(f'--{option}' for option in own.options)}."
                )
    return own
