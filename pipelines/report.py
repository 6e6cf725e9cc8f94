"""Report: the frozen value that every evaluation returns, for every task."""

import base64
import contextlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from pipelines import report_text
from pipelines.errors import DataError, FormatError
from pipelines.report_text import BELOW_BASELINE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BELOW_BASELINE", "Example", "Report", "compare"]

_FORMAT = 1
_SUFFIXES = (".json", ".html", ".md", ".csv")


@dataclass(frozen=True)
class Example:
    """One sample worth looking at, such as a confident mistake.

    Parameters
    ----------
    caption : str
        What there is to see.
    image : bytes, optional
        The sample as a PNG file.
    text : str, optional
        The sample as text.
    aligned : tuple of (str, str)
        What was true beside what was said, word by word; one of the two is empty where a word is missing or added.

    Examples
    --------
    >>> Example("said 'spam' (0.98), is 'ham'", text="Dear friend").text
    'Dear friend'
    """

    caption: str
    image: bytes | None = None
    text: str | None = None
    aligned: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """How good a model is on some samples: numbers, tables, curves, and what to know about them.

    Parameters
    ----------
    task : str
        What was evaluated, such as ``"image-classification"``.
    headline : str
        Name of the main metric.
    metrics : dict of str to float
        Flat name to value, in the metric's natural sign; ``nan`` where undefined, with the reason in ``notes``.
    tables : dict of str to DataFrame
        ``"headline"`` holds ``value``, ``low`` and ``high`` (95 % interval) per metric; the rest depends on the task.
    curves : dict of str to DataFrame
        Points of curves; drawn in HTML and by `plot`.
    n : int
        Number of samples.
    notes : tuple of str
        Sentences a reader must know; those that begin with "BELOW BASELINE" are shown first.
    context : dict
        Facts that belong to the numbers: parameters, device, seconds, versions.
    examples : tuple of Example
        Samples worth looking at.

    Examples
    --------
    >>> from pipelines.metrics import classification
    >>> report = classification([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2])
    >>> report
    Report('classification', accuracy=0.7500, n=4)
    >>> Report.from_dict(report.to_dict()) == report
    True
    """

    task: str
    headline: str
    metrics: dict[str, float]
    tables: dict[str, pd.DataFrame]
    curves: dict[str, pd.DataFrame]
    n: int
    notes: tuple[str, ...]
    context: dict[str, Any]
    examples: tuple[Example, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a headline that is not among the metrics."""
        if self.headline not in self.metrics:
            raise DataError(f"The headline {self.headline!r} is not one of the metrics {sorted(self.metrics)}.")

    def __repr__(self) -> str:
        """One line: task, headline and number of samples."""
        return f"Report({self.task!r}, {self.headline}={self.metrics[self.headline]:.4f}, n={self.n})"

    def __str__(self) -> str:
        """Render the report for a terminal."""
        return report_text.to_text(self)

    def _repr_html_(self) -> str:
        from pipelines import report_html

        return report_html.fragment(self)

    def __eq__(self, other: object) -> bool:
        """Whether everything is the same; two ``nan`` count as equal."""
        return self.to_dict() == other.to_dict() if isinstance(other, Report) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # its parts are dicts

    def to_frame(self) -> pd.DataFrame:
        """Return a row per metric: ``value``, and ``low`` and ``high`` of its 95 % interval."""
        frame = pd.DataFrame({"value": self.metrics}).rename_axis("metric")
        ends = self.tables.get("headline", pd.DataFrame()).reindex(index=frame.index, columns=["low", "high"])
        return frame.join(ends.astype(float))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types; ``nan`` becomes None and ``inf`` the string "inf"."""
        return {
            "format": _FORMAT,
            "task": self.task,
            "headline": self.headline,
            "n": int(self.n),
            "metrics": _plain(self.metrics),
            "notes": list(self.notes),
            "tables": {name: _frame_to_dict(frame) for name, frame in self.tables.items()},
            "curves": {name: _frame_to_dict(frame) for name, frame in self.curves.items()},
            "context": _plain(self.context),
            "examples": [_example_to_dict(example) for example in self.examples],
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Build the report that `to_dict` described.

        Parameters
        ----------
        d : mapping
            What `to_dict` returned, or the parsed content of a saved ``.json``.

        Raises
        ------
        FormatError
            If something is missing or malformed, or written by a newer version.
        """
        if isinstance(d, Mapping) and isinstance(d.get("format"), int) and d["format"] > _FORMAT:
            raise FormatError(f"The report has format {d['format']}, this version reads up to {_FORMAT}: upgrade.")
        try:
            return cls(
                task=d["task"],
                headline=d["headline"],
                metrics={name: _number(value) for name, value in d["metrics"].items()},
                tables={name: _frame_from_dict(frame) for name, frame in d["tables"].items()},
                curves={name: _frame_from_dict(frame) for name, frame in d["curves"].items()},
                n=d["n"],
                notes=tuple(d["notes"]),
                context=dict(d["context"]),
                examples=tuple(_example_from_dict(example) for example in d["examples"]),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"This is not a saved report: {type(error).__name__}: {error}.") from error

    def save(self, path: str | os.PathLike) -> Path:
        """Write the report; a reader sees the old file or the whole new one, never a part.

        Parameters
        ----------
        path : str or Path
            The suffix chooses the form: ``.json`` (everything, see `from_dict`), ``.html`` (one self-contained page),
            ``.md``, or ``.csv`` (the metrics, as `to_frame`).

        Returns
        -------
        Path
            Where the file is.

        Raises
        ------
        DataError
            If the suffix is unknown, the folder does not exist or the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() not in _SUFFIXES:
            raise DataError(f"A report is saved as one of {', '.join(_SUFFIXES)}; {str(path)!r} is none of them.")
        if not path.parent.is_dir():
            raise DataError(f"The folder {str(path.parent)!r} does not exist; create it before saving {path.name!r}.")
        _write(path, self._render(path.suffix.lower()))
        return path

    def errors(self) -> pd.DataFrame:
        """Return the mistakes, at most 100: those a classifier was surest of, the worst transcripts, or the worst masks.

        Returns
        -------
        DataFrame
            Columns `sample` (its number), `text` where the samples are texts (of a long one the begin), `truth`, `prediction`,
            and `confidence`, the probability of what was said. Where samples have several labels: a row a label that was
            wrongly given or missed, its name in `label`. Of transcripts, instead of the confidence: `wer` of the clip, and how
            many words were `substituted`, `deleted` and `inserted`. Of masks: `structure`, `dice`, `hd95` (of images `iou`)
            and how many voxels are `false_positive` and `false_negative`. No row where all was right.

        Raises
        ------
        DataError
            If the report is not one of classification, transcription or segmentation.

        Examples
        --------
        >>> from pipelines.metrics import classification
        >>> report = classification(["ham", "ham", "spam"], [0.2, 0.9, 0.7], ["ham", "spam"])
        >>> report.errors().loc[1].to_dict()
        {'sample': 1, 'truth': 'ham', 'prediction': 'spam', 'confidence': 0.9}
        """
        if "errors" not in self.tables:
            raise DataError(
                f"This report on {self.task} has no list of errors. Those of classifiers, transcribers and segmenters have one, "
                "if they were made by this version: make it anew with model.evaluate(X, y), or one of pipelines.metrics."
            )
        return self.tables["errors"].copy()

    def plot(self) -> "Figure":
        """Draw the curves and the confusion matrix; returns a matplotlib Figure and leaves pyplot alone."""
        from pipelines import report_plot

        return report_plot.figure(self)

    def _render(self, suffix: str) -> str:
        if suffix == ".json":
            # One line a field: small, and still possible to look at.
            fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in self.to_dict().items()]
            return "{\n" + ",\n".join(fields) + "\n}\n"
        if suffix == ".html":
            from pipelines import report_html

            return report_html.page(self)
        return report_text.to_markdown(self) if suffix == ".md" else self.to_frame().to_csv(lineterminator="\n")


def compare(reports: Mapping[str, Report]) -> pd.DataFrame:
    """Put reports side by side, a row each.

    Parameters
    ----------
    reports : mapping of str to Report
        Name to report.

    Returns
    -------
    DataFrame
        Columns ``task``, ``n`` and every metric that one of the reports has.

    Examples
    --------
    >>> from pipelines.metrics import classification
    >>> y = [0, 1, 1, 0]
    >>> both = {"a": classification(y, [0.1, 0.9, 0.4, 0.2]), "b": classification(y, [0.1, 0.9, 0.8, 0.2])}
    >>> compare(both)["accuracy"].to_dict()
    {'a': 0.75, 'b': 1.0}
    """
    if not isinstance(reports, Mapping) or not all(isinstance(report, Report) for report in reports.values()):
        raise DataError("compare takes a mapping from names to reports, as in {'cnn': report, 'resnet': other}.")
    rows = [{"task": report.task, "n": report.n, **report.metrics} for report in reports.values()]
    return pd.DataFrame(rows, index=pd.Index(list(reports), name="report"))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="replace", newline="") as file:  # half characters become question marks
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise DataError(f"The report cannot be written to {str(path)!r}: {error.strerror or error}.") from error


def _plain(value: Any) -> Any:
    """Turn nested values into JSON types; what JSON has no word for becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray | pd.Series | pd.Index):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _frame_to_dict(frame: pd.DataFrame) -> dict[str, Any]:
    # A list of columns, not a dict: JSON would turn the integer class names of a confusion matrix into strings.
    columns = [
        {"name": _plain(name), "dtype": str(frame.dtypes.iloc[j]), "values": _plain(frame.iloc[:, j])}
        for j, name in enumerate(frame.columns)
    ]
    index = {"name": frame.index.name, "columns_name": frame.columns.name, "values": _plain(frame.index)}
    return {"index": index, "columns": columns}


def _frame_from_dict(d: Mapping[str, Any]) -> pd.DataFrame:
    rows = pd.Index(d["index"]["values"], name=d["index"]["name"])
    data = {j: _column(column, rows) for j, column in enumerate(d["columns"])}
    frame = pd.DataFrame(data, index=rows)
    frame.columns = pd.Index([column["name"] for column in d["columns"]], name=d["index"]["columns_name"])
    return frame


def _column(column: Mapping[str, Any], rows: pd.Index) -> pd.Series:
    dtype, values = column["dtype"], column["values"]
    if dtype.startswith("float"):
        values = [_number(value) for value in values]
    return pd.Series(values, index=rows, dtype=dtype)


def _example_to_dict(example: Example) -> dict[str, Any]:
    image = None if example.image is None else base64.b64encode(example.image).decode("ascii")
    found: dict[str, Any] = {"caption": example.caption, "image": image, "text": example.text}
    return found | {"aligned": [list(pair) for pair in example.aligned]} if example.aligned else found


def _example_from_dict(d: Mapping[str, Any]) -> Example:
    image = None if d["image"] is None else base64.b64decode(d["image"])
    aligned = tuple((str(truth), str(said)) for truth, said in d.get("aligned", ()))
    return Example(caption=d["caption"], image=image, text=d["text"], aligned=aligned)
