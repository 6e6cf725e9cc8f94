"""A report as text: for the terminal and as Markdown."""

import json
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pipelines.report import Example, Report

__all__ = ["BELOW_BASELINE", "aligned", "clean", "number", "shortened", "title", "to_markdown", "to_text", "wrapped"]

BELOW_BASELINE = "BELOW BASELINE"
"""A note that begins so is shown before the numbers."""

_WIDTH = 96
_MOST_ROWS = 24
_MOST_COLUMNS = 12
_NAME = 26  # columns of the terminal for a row's name
_NARROWEST = 5  # and for a cell
_MOST_LETTERS = 200  # of a cell in Markdown
_MOST_ALIGNED = 3  # samples with their words side by side
_MOST_LINES = 4  # of each of them
_KEY = "words substituted (S), deleted (D) and inserted (I)"


def to_text(report: "Report") -> str:
    """Render a report for a terminal of 80 to 100 columns."""
    low, high = interval(report)
    plural = "sample" if report.n == 1 else "samples"
    first = f"{report.task}: {report.headline} {number(report.metrics[report.headline])}"
    parts = [f"{first}{f' (95 % interval {low} to {high})' if low else ''}, {report.n:,} {plural}"]
    parts += [wrapped(f"!! {note}") for note in loud(report)]
    parts += [_block(title(name, frame), frame) for name, frame in _tables(report).items() if name != "errors"]
    if worst := [example for example in report.examples if example.aligned][:_MOST_ALIGNED]:
        parts.append("\n\n".join([f"{_KEY} in the worst samples", *map(_compared, worst)]))
    if mistakes := len(report.tables.get("errors", ())):
        which = "surest" if "confidence" in report.tables["errors"] else "worst"
        parts.append(wrapped(f"The {which} of the mistakes ({mistakes}) are listed by report.errors() and in the HTML report."))
    elif report.examples:
        parts.append(f"{len(report.examples)} examples are shown in the HTML report.")
    if quiet := [note for note in report.notes if note not in loud(report)]:
        parts.append("\n".join(["notes", *(wrapped(f"- {note}") for note in quiet)]))
    return "\n\n".join(parts)


def to_markdown(report: "Report") -> str:
    """Render a report as Markdown, with every table in full."""
    parts = [f"# {_cell(report.task)}: {report.headline} {number(report.metrics[report.headline])}"]
    parts.append(f"{report.n:,} samples.")
    parts += [f"> **{_cell(note)}**" for note in loud(report)]
    parts += [f"## {_cell(title(name, frame))}\n\n{_pipes(frame)}" for name, frame in _tables(report).items()]
    if quiet := [note for note in report.notes if note not in loud(report)]:
        parts.append("## notes\n\n" + "\n".join(f"- {_cell(note)}" for note in quiet))
    if report.examples:
        parts.append("## examples\n\n" + "\n".join(map(_listed, report.examples)))
    if report.context:
        context = json.dumps(report.to_dict()["context"], indent=2, ensure_ascii=False)
        parts.append(f"## context\n\n```json\n{context}\n```")
    return "\n\n".join(parts) + "\n"


def aligned(pairs: Sequence[tuple[str, str]], width: int = _WIDTH) -> list[str]:
    r"""Put what was true above what was said, word above word, as many as fit into a line; a third line marks what differs.

    Examples
    --------
    >>> print("\n".join(aligned([("the", "the"), ("", "big"), ("cat", "hat"), ("sat", "")])))
    true  the *** cat sat
    said  the big hat ***
                I   S   D
    """
    lines: list[str] = []
    rows = ["true ", "said ", "     "]
    for truth, said in [(clean(truth), clean(said)) for truth, said in pairs]:
        size = min(max(_columns_of(truth), _columns_of(said)), width - 6)
        mark = " " if truth == said else "I" if not truth else "D" if not said else "S"
        if _columns_of(rows[0]) + 1 + size > width:
            lines += [row.rstrip() for row in rows]
            rows = ["true ", "said ", "     "]
        cells = (_cut(truth, size) or "*" * size, _cut(said, size) or "*" * size, mark)
        rows = [f"{row} {' ' * (size - _columns_of(cell))}{cell}" for row, cell in zip(rows, cells, strict=True)]
    return [*lines, *(row.rstrip() for row in rows)]


def number(value: Any) -> str:
    """Format one cell: four decimals for floats, a dash for what is undefined."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
        return str(value)
    if value != value:
        return "–"
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    size = abs(float(value))
    if 0 < size < 0.0001:
        return f"{value:.1e}"
    return f"{value:.4f}" if size < 1000 else f"{value:,.1f}"


def shortened(text: str, most: int) -> str:
    """Cut a text that is longer, and say so with an ellipsis."""
    return text if len(text) <= most else text[: most - 1] + "…"


def title(name: str, frame: pd.DataFrame) -> str:
    """Heading of a table; a table with two axes, such as a confusion matrix, says which is which."""
    return f"{name} (rows: {frame.index.name}, columns: {frame.columns.name})" if frame.columns.name else name


def loud(report: "Report") -> list[str]:
    """Return the notes that belong before the numbers."""
    return [note for note in report.notes if note.startswith(BELOW_BASELINE)]


def interval(report: "Report") -> tuple[str, str]:
    """Return the ends of the headline's interval, empty where there is none."""
    low, high = report.to_frame().loc[report.headline, ["low", "high"]]
    return (number(low), number(high)) if low == low else ("", "")


def _compared(example: "Example") -> str:
    lines = aligned(example.aligned, _WIDTH - 2)
    shown = [*lines[: 3 * _MOST_LINES], *(["…"] if len(lines) > 3 * _MOST_LINES else [])]
    return "\n".join(f"  {line}".rstrip() for line in (clean(example.caption), *shown))


def _listed(example: "Example") -> str:
    caption = f"- {_cell(example.caption)}"
    if not example.aligned:
        return caption
    lines = "\n".join(f"      {line}".rstrip() for line in aligned(example.aligned))
    return f"{caption}\n\n{lines}\n"


def _tables(report: "Report") -> dict[str, pd.DataFrame]:
    rest = {name: frame for name, frame in report.tables.items() if name != "headline"}
    return {"metrics": report.to_frame(), **rest}


def _block(heading: str, frame: pd.DataFrame) -> str:
    if len(frame.columns) > _MOST_COLUMNS:
        return f"{heading}: {len(frame):,} by {len(frame.columns):,}, too wide for text; see the HTML report"
    shown = frame if len(frame) <= _MOST_ROWS else frame.head(_MOST_ROWS - 4)
    names = [str(frame.index.name or ""), *map(str, shown.index)]
    columns = [[str(name), *map(number, shown.iloc[:, j])] for j, name in enumerate(shown.columns)]
    widths = [max(_columns_of(clean(text)) for text in column) for column in columns]
    first = _aligned(names, min(_NAME, _room_for_names(widths)), right=False)
    room = _room(widths, _WIDTH - _columns_of(first[0]) - 2)
    cells = [first, *(_aligned(column, room, right=True) for column in columns)]
    lines = ["  ".join(row).rstrip() for row in zip(*cells, strict=True)]
    if len(shown) < len(frame):
        lines.append(f"… and {len(frame) - len(shown):,} more")
    return "\n".join([heading, *(f"  {line}" for line in lines)])


def _room_for_names(widths: Sequence[int]) -> int:
    return _WIDTH - 2 - sum(min(width, _NARROWEST) + 2 for width in widths)


def _room(widths: Sequence[int], available: int) -> int:
    """Widest any column may be for all of them to fit; long names are cut before short ones."""
    room = max(widths, default=0)
    while room > _NARROWEST and sum(min(width, room) + 2 for width in widths) > available:
        room -= 1
    return room


def _aligned(texts: Sequence[str], most: int, *, right: bool) -> list[str]:
    cut = [_cut(clean(text), most) for text in texts]
    width = max(map(_columns_of, cut))
    pads = [" " * (width - _columns_of(text)) for text in cut]
    return [pad + text if right else text + pad for pad, text in zip(pads, cut, strict=True)]


def clean(text: str) -> str:
    """Replace what would break a line or steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _columns_of(text: str) -> int:
    """Columns a text takes in a terminal: Chinese takes two a character, an accent none."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _cut(text: str, most: int) -> str:
    if _columns_of(text) <= most:
        return text
    while _columns_of(text) > most - 1:
        text = text[:-1]
    return f"{text}…"


def wrapped(text: str) -> str:
    """Break a sentence into lines for a terminal."""
    return textwrap.fill(clean(text), _WIDTH, subsequent_indent="  ")


def _cell(text: str) -> str:
    text = "".join(f"\\{character}" if character in "\\`*_|<>[]$" else character for character in text)
    return " ".join(text.split())


def _pipes(frame: pd.DataFrame) -> str:
    head = [str(frame.index.name or ""), *map(str, frame.columns)]
    shown = [[shortened(number(value), _MOST_LETTERS) for value in values] for values in _rows(frame)]
    rows = [[str(name), *values] for name, values in zip(frame.index, shown, strict=True)]
    lines = [head, ["---"] + ["---:"] * len(frame.columns), *rows]
    return "\n".join(f"| {' | '.join(line if line[:3] == '---' else _cell(line) for line in row)} |" for row in lines)


def _rows(frame: pd.DataFrame) -> list[list[Any]]:
    # Column by column, because iterating over rows would turn whole numbers into floats.
    return [list(row) for row in zip(*(frame.iloc[:, j] for j in range(len(frame.columns))), strict=True)]
