"""What the command line knows of each reader: its options, how data becomes parts to fit and judge, how predictions look."""

import math
import os
from argparse import Namespace
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from . import data
from .checks import choice, did_you_mean
from .errors import DataError, ParameterError

__all__ = [
    "READERS",
    "ForecastSeries",
    "MonitoredSeries",
    "MaskedImages",
    "MaskedScans",
    "Parts",
    "Recordings",
    "Records",
    "Samples",
    "Scans",
    "Texts",
    "TimeSeries",
    "reader_of",
]


@dataclass(frozen=True)
class Parts:
    """What to fit on; what to judge with, which may depend on the fitted pipeline, and how; learned facts worth printing."""

    X: Any
    y: Any = None
    groups: Any = None
    held: Callable[[Any], tuple[Any, Any]] | None = None
    judged: dict[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()


class Samples:
    """Samples with labels: files in a folder, or the rows of a table."""

    about: ClassVar[str] = "a folder with one sub-folder per class, or a table"
    options: ClassVar[dict[str, str]] = {
        "x": "a table's column with the samples; two columns with a comma between them are pairs of texts",
        "y": "a table's column with the labels; several columns of 0 and 1 are several labels a sample",
        "group": "a table's column (patient, speaker) that is kept on one side of the split",
    }
    predicting: ClassVar[tuple[str, ...]] = ("abstain",)

    def parts(self, model: Any, arguments: Namespace) -> Parts:
        """Read the data, and hold out a share of it; groups stay whole."""
        X, y, groups = self._read(arguments)
        # an index says which rows a part has
        y = y.reset_index(drop=True) if isinstance(y, pd.DataFrame) else pd.Series(y, dtype=object)
        held = None
        if arguments.test:
            X, X_test, y, y_test = data.split(X, y, test=arguments.test, groups=groups, seed=model.seed)
            held = (X_test, y_test)
        left = [groups[row] for row in y.index] if groups else None
        return Parts(X, y, left, None if held is None else lambda model: held)

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`."""
        X, y, groups = self._read(arguments)
        return {"X": X, "y": y, "groups": groups}

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Return one row a sample."""
        names, X = self._inputs(model, arguments)
        _check_x(arguments)
        if not hasattr(model, "predict_proba"):
            return [{"sample": name, "prediction": p} for name, p in zip(names, model.predict(X), strict=True)]
        proba = model.predict_proba(X)
        classes = model.classes_.tolist()
        return [
            {"sample": name, "prediction": _said(p, classes, model.multilabel_), "proba": _proba(row, classes)}
            for name, p, row in zip(names, model.decide(proba, abstain=arguments.abstain), proba, strict=True)
        ]

    def _inputs(self, model: Any, arguments: Namespace) -> tuple[list[Any], list[Any]]:
        """Return what to call each sample in the results, and the samples."""
        found = _named(arguments)
        if not found:
            raise ParameterError("There is nothing to predict: name the inputs, files or folders.")
        X = [sample for path in found for sample in self._stored(path, arguments)]
        return X, X

    def _stored(self, path: str, arguments: Namespace) -> list[Any]:
        if Path(path).is_dir():
            return data.files(path)
        return data.table(path, x=_needed(arguments, path))[0] if data.is_table(path) else [path]

    def _read(self, arguments: Namespace) -> tuple[Any, Any, Any]:
        path = Path(arguments.data)
        if path.is_dir():
            _refuse_columns(arguments)
            return *self._folder(path), None
        if not arguments.x or not arguments.y:
            raise ParameterError(f"{path} is read as a table, which needs --x COLUMN and --y COLUMN.")
        X, y = self._table(path, _columns(arguments.x), _columns(arguments.y))
        groups = data.table(path, x=arguments.group)[0] if arguments.group else None
        return X, y, groups

    def _folder(self, path: Path) -> tuple[Any, Any]:
        return data.folder(path)

    def _table(self, path: Path, x: str | list[str], y: str | list[str]) -> tuple[Any, Any]:
        return data.table(path, x=x, y=y)


class Texts(Samples):
    """Texts with labels: files in a folder, or the rows of a table; to predict, also what stands on the command line.

    There an argument is a text, never the name of a file, so that no text is mistaken for one; files come with `--data`.
    """

    about: ClassVar[str] = "texts in a folder with one sub-folder per class, or in a table"

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`."""
        found = super().truth(model, arguments)
        _check_pairs(found["X"], model)
        return found

    def _inputs(self, model: Any, arguments: Namespace) -> tuple[list[Any], list[Any]]:
        names, X = list(arguments.inputs), list(arguments.inputs)
        for text in X:
            _check_no_path(text)
        if arguments.data:
            more = self._stored(arguments.data, arguments)
            names += more
            X += more if data.is_table(arguments.data) else [data.read_text(file) for file in more]
        if not X:
            raise ParameterError("There is nothing to predict: write the texts, each in quotes, or name a file with --data.")
        _check_pairs(X, model)
        return names, X

    def _stored(self, path: str, arguments: Namespace) -> list[Any]:
        if data.is_table(path):
            return data.texts(path, x=_columns(_needed(arguments, path)))[0]
        return super()._stored(path, arguments)

    def _folder(self, path: Path) -> tuple[Any, Any]:
        return data.texts(path)

    def _table(self, path: Path, x: str | list[str], y: str | list[str]) -> tuple[Any, Any]:
        return data.texts(path, x=x, y=y)


class Recordings(Samples):
    """Recordings with what is said in them: in a table, or in a folder with the texts beside them."""

    about: ClassVar[str] = "recordings in a table, or in a folder with texts beside them"
    options: ClassVar[dict[str, str]] = {
        **Samples.options,
        "normalizer": "what texts go through before they are compared: basic (the default), english or none",
    }
    predicting: ClassVar[tuple[str, ...]] = ("format", "out")

    def parts(self, model: Any, arguments: Namespace) -> Parts:
        """Read the data, and hold out a share of it."""
        judged = _normalized(arguments)  # a wrong name is told before anything is read
        return replace(super().parts(model, arguments), judged=judged)

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`."""
        return {**_normalized(arguments), **super().truth(model, arguments)}

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Return one transcript a recording, the content of a file, or the names of those that were written."""
        names, X = self._inputs(model, arguments)
        _check_x(arguments)
        form = arguments.format or "json"
        if arguments.out:
            files = _files_for(names, Path(arguments.out), form)
            return [
                {"sample": name, "file": str(transcript.save(file))}
                for name, file, transcript in zip(names, files, model.predict(X), strict=True)
            ]
        if form == "json":
            return [{"sample": name, **transcript.to_dict()} for name, transcript in zip(names, model.predict(X), strict=True)]
        if len(X) > 1:
            raise ParameterError(f"{len(X)} recordings make as many .{form} files. Name a folder for them: --out FOLDER")
        return model.predict(X)[0].render(form)

    def _stored(self, path: str, arguments: Namespace) -> list[Any]:
        if Path(path).is_dir():
            found = data.files(path, data.AUDIO_SUFFIXES)
            if not found:
                raise DataError(f"The folder {path} holds no audio or video file, by the endings of its files.")
            return found
        return data.recordings(path, audio=arguments.x)[0] if data.is_table(path) else [path]

    def _read(self, arguments: Namespace) -> tuple[Any, Any, Any]:
        path = Path(arguments.data)
        if path.is_dir():
            _refuse_columns(arguments)
        X, y = data.recordings(path, audio=arguments.x, text=arguments.y)
        if y is None:
            cure = "Put a .txt file beside each." if path.is_dir() else "Name the column with --y."
            raise ParameterError(f"{path} does not say what is said in its recordings. {cure}")
        return X, y, data.texts(path, x=arguments.group)[0] if arguments.group else None


class Scans(Samples):
    """Scans with labels: files in a folder, or the rows of a table; the groups are patients."""

    about: ClassVar[str] = "scans in a folder with one sub-folder per class, or in a table"

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`: intervals are by patients, and there is no row for each of them."""
        found = super().truth(model, arguments)
        return {"X": found["X"], "y": found["y"], "patients": found["groups"]}


class MaskedScans(Scans):
    """Scans with masks, both of them files named in a table; the groups are patients."""

    about: ClassVar[str] = "scans and their masks, both named in a table"
    predicting: ClassVar[tuple[str, ...]] = ("out",)

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Write a mask a scan, and return the names of their files."""
        names, X = self._inputs(model, arguments)
        _check_x(arguments)
        if not arguments.out:
            raise ParameterError("Masks are written to files. Name a folder for them: --out FOLDER")
        files = model.save_masks(X, arguments.out)
        return [{"sample": name, "file": str(file)} for name, file in zip(names, files, strict=True)]

    def _folder(self, path: Path) -> tuple[Any, Any]:
        raise ParameterError(f"{path} is a folder. Name a table with a column of scans and one of masks: --x scan --y mask")

    def _table(self, path: Path, x: str | list[str], y: str | list[str]) -> tuple[Any, Any]:
        if not isinstance(x, str) or not isinstance(y, str):
            raise ParameterError("--x and --y name one column each: that of the scans, and that of the masks.")
        return data.table(path, x=x)[0], data.table(path, x=y)[0]


class MaskedImages(MaskedScans):
    """Images with masks: two folders, a mask an image of the same stem; or a table that names both."""

    about: ClassVar[str] = "images and their masks, in two folders or both named in a table"
    options: ClassVar[dict[str, str]] = {
        **Samples.options,
        "masks": "the folder with the masks, a file an image of the same stem, where --data is the folder with the images",
    }

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`; the report has a row a group."""
        return Samples.truth(self, model, arguments)

    def _read(self, arguments: Namespace) -> tuple[Any, Any, Any]:
        if not Path(arguments.data).is_dir():
            if arguments.masks:
                raise ParameterError(
                    f"{arguments.data} is a table, which names the masks in a column: --y COLUMN. Leave --masks out."
                )
            return super()._read(arguments)
        if not arguments.masks:
            raise ParameterError(f"{arguments.data} is a folder of images. Name the folder of their masks, too: --masks FOLDER")
        _refuse_columns(arguments)
        return *data.pairs(arguments.data, arguments.masks), None


class Records(Scans):
    """Records with labels, the rows of a table; the groups are patients."""

    about: ClassVar[str] = "a table of records"
    options: ClassVar[dict[str, str]] = {
        **Samples.options,
        "x": "the columns of the records, separated by commas; all others by default",
    }

    def _inputs(self, model: Any, arguments: Namespace) -> tuple[list[Any], Any]:
        """Return the numbers of the rows, and the rows."""
        found = _named(arguments)
        if len(found) != 1:
            raise ParameterError(f"Name one table with the records to predict, not {len(found)} files.")
        X, _ = data.records(found[0], x=_several(arguments.x))
        return list(range(len(X))), X

    def _read(self, arguments: Namespace) -> tuple[Any, Any, Any]:
        if not arguments.y:
            raise ParameterError(f"{arguments.data} is read as a table of records, which needs --y COLUMN.")
        X, y = data.records(arguments.data, y=_columns(arguments.y), x=_several(arguments.x))
        if not arguments.group:
            return X, y, None
        return X.drop(columns=arguments.group, errors="ignore"), y, data.table(arguments.data, x=arguments.group)[0]


class TimeSeries:
    """Time series in a table: one row a time, one column a variable."""

    options: ClassVar[dict[str, str]] = {
        "time": "the column with the time stamps",
        "value": "the columns with the values, separated by commas; all others by default",
    }

    def _read(self, path: str, arguments: Namespace, columns: list[str] | None) -> pd.DataFrame:
        if not arguments.time:
            raise ParameterError(f"{path} is read as a table of time series, which needs --time COLUMN.")
        return data.series(path, time=arguments.time, value=columns)[0]

    def _table(self, arguments: Namespace) -> str | None:
        """Return the one table that was named after the model."""
        found = _named(arguments)
        if len(found) > 1:
            raise ParameterError(f"One table with the series is enough, but {len(found)} files were named.")
        return found[0] if found else None

    def _halves(self, X: pd.DataFrame, model: Any, arguments: Namespace) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
        """Cut the end off each series."""
        if model.series_id is None:
            series = [X]
        else:
            _check_column(X, model.series_id, arguments.data)
            series = [part for _, part in X.groupby(model.series_id, sort=False)]
        return [data.split(part, test=arguments.test)[:2] for part in series]


class ForecastSeries(TimeSeries):
    """Time series to forecast: the truth is what came next."""

    about: ClassVar[str] = "a table of time series"
    predicting: ClassVar[tuple[str, ...]] = ("future",)

    def parts(self, model: Any, arguments: Namespace) -> Parts:
        """Read the series, and hold out the end of each; to judge it, the rows before serve as the first context."""
        X = self._read(arguments.data, arguments, self._listed(arguments, model))
        if not arguments.test:
            return Parts(X)
        halves = self._halves(X, model, arguments)
        longest = max(len(end) for _, end in halves)
        if longest < model.horizon:
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
        return {"X": self._read(arguments.data, arguments, self._listed(arguments, model) or _fitted(model))}

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Return one row a time to come, after the series in a file or after those of the training."""
        columns, path = self._listed(arguments, model) or _fitted(model), self._table(arguments)
        history = None if path is None else self._read(path, arguments, columns)
        if not arguments.future:
            return _rows(model.predict(history))
        names = [*model.known, *_id(model)] if model.known else None
        return _rows(model.predict(history, future=self._read(arguments.future, arguments, names)))

    def _listed(self, arguments: Namespace, model: Any) -> list[str] | None:
        return _listed(arguments.value, [*(model.known or ()), *_id(model)])


class MonitoredSeries(TimeSeries):
    """Time series to watch: the truth is a column of labels, which is never an input."""

    about: ClassVar[str] = "a table of monitored series"
    options: ClassVar[dict[str, str]] = {
        **TimeSeries.options,
        "label": "the column with 1 in an anomaly and 0 elsewhere; `fit` without it learns from all rows and judges nothing",
    }
    predicting: ClassVar[tuple[str, ...]] = ("events",)

    def parts(self, model: Any, arguments: Namespace) -> Parts:
        """Read the series, and hold out the end of each where there are labels to judge it by."""
        table = self._marked(arguments, _listed(arguments.value, _id(model)))
        told = ("threshold_",)
        if not arguments.label or not arguments.test:
            return Parts(_apart(table, arguments.label)[0], told=told)
        train, test = (pd.concat(half) for half in zip(*self._halves(table, model, arguments), strict=True))
        return Parts(_apart(train, arguments.label)[0], held=lambda model: _apart(test, arguments.label), told=told)

    def truth(self, model: Any, arguments: Namespace) -> dict[str, Any]:
        """Return the arguments of `evaluate`."""
        if not arguments.label:
            raise ParameterError("There is nothing to judge by: name the column that marks the anomalies with --label.")
        table = self._marked(arguments, _listed(arguments.value, _id(model)) or _fitted(model))
        return dict(zip("Xy", _apart(table, arguments.label), strict=True))

    def predictions(self, model: Any, arguments: Namespace) -> Any:
        """Return one row a time, or with `--events` one an event."""
        path = self._table(arguments)
        if path is None:
            raise ParameterError("There is nothing to look at: name a table with the series.")
        X = self._read(path, arguments, _listed(arguments.value, _id(model)) or _fitted(model))
        if arguments.events:
            return _events(model.events(X), X.index)
        scores = model.score_samples(X)
        return _rows(X[_id(model)].assign(score=scores, anomaly=(scores > model.threshold_).astype(int)))

    def _marked(self, arguments: Namespace, columns: list[str] | None) -> pd.DataFrame:
        """Read the series with their labels, where there are some."""
        label = arguments.label
        if label is None:
            return self._read(arguments.data, arguments, columns)
        if columns is not None and label in columns:
            raise ParameterError(f"--label {label!r} is an input of the model; the anomalies must be marked in another column.")
        table = self._read(arguments.data, arguments, None if columns is None else [*columns, label])
        _check_column(table, label, arguments.data)
        for row, value in enumerate(table[label].tolist()):
            if value not in (0, 1):
                where = f"Row {row} of {arguments.data} has {value!r} in the column {label!r}"
                raise DataError(f"{where}; expected 1 in an anomaly and 0 elsewhere.")
        return table


def _named(arguments: Namespace) -> list[str]:
    """Return the files and folders that `predict` was given, with or without `--data` before them."""
    return [*arguments.inputs, *([arguments.data] if arguments.data else [])]


def _needed(arguments: Namespace, path: str) -> str:
    if not arguments.x:
        raise ParameterError(f"{path} is read as a table, which needs --x COLUMN.")
    return str(arguments.x)


def _columns(text: str) -> str | list[str]:
    """Return one column, or several that are separated by commas."""
    names = [name.strip() for name in text.split(",")]
    return names[0] if len(names) == 1 else names


def _several(text: str | None) -> list[str] | None:
    """Return the columns that were named, if there are any."""
    return None if text is None else [name.strip() for name in text.split(",")]


def _check_x(arguments: Namespace) -> None:
    if arguments.x and not any(map(data.is_table, _named(arguments))):
        raise ParameterError(f"--x {arguments.x} names a column, but no table was named. Name one with --data.")


def _files_for(names: list[str], folder: Path, form: str) -> list[Path]:
    """Return a file a recording, in a folder that is made if it is not there; two of one name are refused."""
    files = [folder / f"{Path(name).stem}.{form}" for name in names]
    made: dict[Path, str] = {}
    for file, name in zip(files, names, strict=True):
        if file in made:
            raise ParameterError(f"{made[file]} and {name} would both become {file}. Give them to two calls with a folder each.")
        made[file] = name
    folder.mkdir(parents=True, exist_ok=True)
    return files


def _normalized(arguments: Namespace) -> dict[str, Any]:
    """Return the argument `normalizer` of `evaluate`, if it was asked for."""
    asked = arguments.normalizer
    if asked is None:
        return {}
    choice("--normalizer", asked, ("basic", "english", "none"))
    return {"normalizer": None if asked == "none" else asked}


def _refuse_columns(arguments: Namespace) -> None:
    for name in Samples.options:
        if getattr(arguments, name):
            raise ParameterError(f"--{name} names a table's column, but {arguments.data} is a folder. Leave --{name} out.")


def _check_no_path(text: str) -> None:
    """Refuse what looks like the name of a file or is one, for that name would be classified and not what is in the file."""
    if len(text.split()) != 1:
        return
    ending = data.is_table(text) or text.lower().endswith(".txt")
    if ending or (os.path.exists(text) and (Path(text).suffix or os.sep in text)):
        raise ParameterError(f"{text!r} would be classified as a text. For the texts in a file or folder write: --data {text}")


def _check_pairs(X: list[Any], model: Any) -> None:
    """Say how to name pairs, or single texts, where training had the others."""
    pairs = [not isinstance(x, str) for x in X]
    if all(pair == model.pairs_ for pair in pairs):
        return
    had, now = ("pairs of texts", "--x FIRST,SECOND") if model.pairs_ else ("single texts", "--x COLUMN")
    raise ParameterError(f"The model was fitted on {had}. Name them as those of a table: --data FILE {now}")


def _said(prediction: Any, classes: list[Any], several: bool) -> Any:
    """Return a label, or where samples have several the list of them."""
    return [label for label, there in zip(classes, prediction, strict=True) if there] if several else prediction


def _proba(row: Any, classes: list[Any]) -> dict[str, float]:
    return {str(label): round(float(value), 6) for label, value in zip(classes, row, strict=True)}


def _check_column(table: pd.DataFrame, name: str, path: str) -> None:
    if name not in table.columns:
        raise DataError(f"{path} has no column {name!r}.{did_you_mean(name, table.columns)}")


def _apart(table: pd.DataFrame, label: str | None) -> tuple[pd.DataFrame, pd.Series | None]:
    """Take series and labels apart."""
    return (table, None) if label is None else (table.drop(columns=label), table[label])


def _listed(text: str | None, more: list[str]) -> list[str] | None:
    """Return the columns that were named, with those that the pipeline's own parameters name."""
    return None if text is None else list(dict.fromkeys([*(name.strip() for name in text.split(",")), *more]))


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
    times = _times(index, index)
    return [
        {index.name or "time": time, **dict(zip(columns, map(_short, row), strict=True))}
        for time, row in zip(times, forecast.itertuples(index=False, name=None), strict=True)
    ]


def _events(events: pd.DataFrame, index: pd.Index) -> list[dict[str, Any]]:
    """Turn events of series with an index into what JSON can hold."""
    texts = {name: _times(events[name], index) for name in ("start", "end", "peak")}
    return [{name: _short(value) for name, value in row.items()} for row in events.assign(**texts).to_dict("records")]


def _times(times: Iterable[Any], index: pd.Index) -> list[str]:
    """Return stamps of an index as texts, dates alone where it has nothing but dates."""
    if isinstance(index, pd.DatetimeIndex) and index.tz is None and (index == index.normalize()).all():
        return [time.strftime("%Y-%m-%d") for time in times]
    return [time.isoformat() if hasattr(time, "isoformat") else str(time) for time in times]


def _short(value: Any) -> Any:
    """Round to nine digits, more than a network in single precision means; JSON has no NaN."""
    if not isinstance(value, float):
        return value
    return float(f"{value:.9g}") if math.isfinite(value) else None


Reader = Samples | ForecastSeries | MonitoredSeries

READERS: dict[str, Reader] = {
    "folder": Samples(),
    "texts": Texts(),
    "recordings": Recordings(),
    "records": Records(),
    "scans": Scans(),
    "masked-scans": MaskedScans(),
    "masked-images": MaskedImages(),
    "series": ForecastSeries(),
    "monitored-series": MonitoredSeries(),
}


def reader_of(pipeline: Any, arguments: Namespace) -> Reader:
    """Return what reads a pipeline's data, a class or a fitted one; options of other readers are refused.

    Raises
    ------
    ParameterError
        If an option is none of this reader's.
    """

    def options(reader: Reader) -> list[str]:
        return [*reader.options, *(reader.predicting if hasattr(arguments, "inputs") else ())]  # `fit` has another --out

    own = READERS[pipeline.reader]
    known = options(own)
    for other in READERS.values():
        for name in options(other):
            if name not in known and getattr(arguments, name, None) is not None:
                raise ParameterError(
                    f"--{name} is for tasks that read {other.about}, but {pipeline.task} reads {own.about}. Its options are "
                    f"{', '.join(f'--{option}' for option in known if hasattr(arguments, option))}."
                )
    return own
