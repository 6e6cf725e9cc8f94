"""A report as one self-contained HTML page: no script, no font, no file beside it."""

import base64
import json
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from pipelines import report_plot
from pipelines.report_text import interval, loud, number, shortened, title

if TYPE_CHECKING:
    from pipelines.report import Example, Report

__all__ = ["fragment", "page", "whole_page"]

_MOST_COLUMNS = 30  # a wider table is only drawn; its numbers are in the JSON
_MOST_LETTERS = 400  # of a text; the rest is in the JSON
_LONG = 60  # letters from which a cell is a text
_SMALL, _LARGE = 64, 300  # pixels across up to which a picture shows its pixels, and from which it needs room

_SIZES = {
    "bias",
    "delay",
    "false_alarms_per_1000",
    "false_alarms_per_day",
    "hd95",
    "log_loss",
    "mae",
    "mape",
    "mase",
    "mse",
    "quantile_loss",
    "rmse",
    "smape",
    "volume_error",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 0; color: #1c232b; background: #fbfcfd; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #dfe5ec; background: #14181d; }} }}
@media print {{ body {{ color: #000; background: #fff; }} }}
</style>
</head>
<body>
{body}
</body>
</html>
"""

# Only half-transparent greys and the surrounding text colour, so it also looks right inside a dark notebook.
_STYLE = """<style>
.dp-report { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; max-width: 1120px; margin: 0 auto;
  padding: 24px 18px; box-sizing: border-box; overflow-wrap: anywhere; }
.dp-report h1 { font-size: 2.4rem; line-height: 1.15; margin: 0; font-weight: 650; }
.dp-report h2 { font-size: 1.02rem; font-weight: 600; margin: 2.1rem 0 .6rem; }
.dp-report .dp-task, .dp-report .dp-small { margin: 0; opacity: .72; }
.dp-report .dp-loud { border-left: 4px solid #d9304c; background: rgba(217, 48, 76, .12); padding: .7rem .9rem;
  border-radius: 6px; font-weight: 600; margin: 1rem 0 0; }
.dp-report .dp-scroll { overflow: auto; max-height: 560px; border: 1px solid rgba(128, 140, 155, .3);
  border-radius: 8px; }
.dp-report table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums;
  margin: 0; overflow-wrap: normal; }
.dp-report th, .dp-report td { padding: .38rem .75rem; text-align: right; white-space: nowrap; color: inherit;
  background: none; border: 0; border-top: 1px solid rgba(128, 140, 155, .2); }
.dp-report th { font-weight: 500; }
.dp-report th:first-child { text-align: left; }
.dp-report thead th { border-top: 0; font-weight: 600; background: rgba(128, 140, 155, .14); }
.dp-report .dp-bar { position: relative; display: block; width: 150px; height: 12px; border-radius: 3px;
  background: rgba(128, 140, 155, .16); }
.dp-report .dp-bar i { position: absolute; top: 0; height: 12px; min-width: 2px; border-radius: 3px;
  background: rgba(47, 126, 216, .45); }
.dp-report .dp-bar b { position: absolute; top: -1px; height: 14px; width: 3px; margin-left: -1.5px;
  background: #2f7ed8; }
.dp-report .dp-grid { display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); }
.dp-report .dp-grid svg { width: 100%; height: auto; font-family: inherit; }
.dp-report .dp-grid .dp-wide { grid-column: 1 / -1; }
.dp-report .dp-examples { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); }
.dp-report .dp-texts { grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
.dp-report figure { margin: 0; }
.dp-report .dp-examples img { width: 100%; border-radius: 6px; display: block; }
.dp-report .dp-examples img.dp-pixels { image-rendering: pixelated; }
.dp-report figcaption { font-size: .84rem; margin-top: .3rem; }
.dp-report blockquote { margin: 0; padding: .6rem; border-radius: 6px; background: rgba(128, 140, 155, .14);
  font-size: .88rem; white-space: pre-line; }
.dp-report .dp-key { margin: 0 0 .7rem; font-size: .88rem; }
.dp-report .dp-aligned { white-space: normal; line-height: 1.9; max-height: 320px; overflow: auto; }
.dp-report .dp-wrong { border-radius: 3px; padding: .12em .25em; white-space: pre-wrap; }
.dp-report .dp-wrong del { opacity: .75; }
.dp-report .dp-wrong ins { text-decoration: none; font-weight: 600; }
.dp-report .dp-substituted { background: rgba(232, 116, 59, .3); }
.dp-report .dp-deleted { background: rgba(217, 48, 76, .28); }
.dp-report .dp-inserted { background: rgba(47, 126, 216, .32); }
.dp-report .dp-text { text-align: start; }
.dp-report td.dp-text { white-space: pre-line; min-width: 260px; overflow-wrap: anywhere; }
@media (max-width: 640px) { .dp-report .dp-bar { display: none; }
  .dp-report th, .dp-report td { padding: .34rem .5rem; } }
.dp-report li { margin: .25rem 0; }
.dp-report pre { overflow: auto; font-size: .82rem; padding: .8rem; border-radius: 8px; margin: 0;
  background: rgba(128, 140, 155, .14); color: inherit; }
</style>"""


def page(report: "Report") -> str:
    """Render a report as a whole page."""
    return whole_page(f"{report.task}: {report.headline} {number(report.metrics[report.headline])}", fragment(report))


def whole_page(heading: str, body: str) -> str:
    """Put a piece of HTML into a page that follows the reader's light or dark mode."""
    return _PAGE.format(title=escape(heading), body=body)


def fragment(report: "Report") -> str:
    """Render a report as a piece of HTML to put into a page or a notebook."""
    parts = [_header(report), _section("metrics", _metrics(report.to_frame()))]
    if drawings := report_plot.svgs(report):
        parts.append(_section("curves", f'<div class="dp-grid">{"".join(drawings.values())}</div>'))
    if report.examples:
        shown = "".join(_example(example) for example in report.examples)
        wide = " dp-texts" if any(map(_needs_room, report.examples)) else ""
        key = f'<p class="dp-key">{_KEY}</p>' if any(example.aligned for example in report.examples) else ""
        parts.append(_section("examples", f'{key}<div class="dp-examples{wide}">{shown}</div>'))
    tables = {name: frame for name, frame in report.tables.items() if name != "headline" and len(frame)}
    parts += [_section(title(name, frame), _table(frame)) for name, frame in tables.items()]
    if notes := [note for note in report.notes if note not in loud(report)]:
        parts.append(_section("notes", f"<ul>{''.join(f'<li>{escape(note)}</li>' for note in notes)}</ul>"))
    if report.context:
        context = json.dumps(report.to_dict()["context"], indent=2, ensure_ascii=False)
        parts.append(_section("context", f"<pre>{escape(context)}</pre>"))
    return f'{_STYLE}\n<div class="dp-report">\n{"".join(parts)}</div>'


def _header(report: "Report") -> str:
    low, high = interval(report)
    details = f"95 % interval {low} to {high} · " if low else ""
    plural = "sample" if report.n == 1 else "samples"
    banners = "".join(f'<p class="dp-loud">{escape(note)}</p>' for note in loud(report))
    return (
        f'<header><p class="dp-task">{escape(report.task)}</p>'
        f"<h1>{escape(report.headline)} {number(report.metrics[report.headline])}</h1>"
        f'<p class="dp-small">{details}{report.n:,} {plural}</p>{banners}</header>\n'
    )


def _section(heading: str, body: str) -> str:
    return f"<section><h2>{escape(heading)}</h2>{body}</section>\n"


def _metrics(frame: pd.DataFrame) -> str:
    bars = ["<td></td>" if _is_size(str(row.Index)) else _bar(row.value, row.low, row.high) for row in frame.itertuples()]
    return _table(frame, bars if any("dp-bar" in bar for bar in bars) else None)


def _is_size(name: str) -> bool:
    """Whether a metric is an error of any size, no share, even where it happens to be below 1."""
    return name in _SIZES or name.startswith("width_")


def _table(frame: pd.DataFrame, bars: list[str] | None = None) -> str:
    if len(frame.columns) > _MOST_COLUMNS:
        size = f"{len(frame):,} by {len(frame.columns):,}"
        return f'<p class="dp-small">{size}: too wide to print; save the report as .json for its numbers.</p>'
    heads = [_heading(str(name), frame.iloc[:, j]) for j, name in enumerate(frame.columns)]
    head = "".join([_heading(str(frame.index.name or "")), *heads]) + ("<th></th>" if bars else "")
    columns = [_cells(str(name), frame.iloc[:, j]) for j, name in enumerate(frame.columns)]
    rows = [_row(name, [column[i] for column in columns]) for i, name in enumerate(frame.index)]
    body = "".join(f"<tr>{row}{bar}</tr>" for row, bar in zip(rows, bars or [""] * len(rows), strict=True))
    return f'<div class="dp-scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _heading(name: str, values: pd.Series | None = None) -> str:
    kind = ' class="dp-text"' if values is not None and _is_text(name, values) else ""
    return f'<th scope="col"{kind}>{escape(name)}</th>'


def _is_text(name: str, values: pd.Series) -> bool:
    """Whether the cells of a column are sentences, which need lines of their own."""
    return name == "text" or any(isinstance(value, str) and len(value) > _LONG for value in values)


def _cells(name: str, values: pd.Series) -> list[str]:
    if _is_text(name, values):
        return [f'<td class="dp-text" dir="auto">{escape(shortened(str(value), _MOST_LETTERS))}</td>' for value in values]
    return [f"<td>{escape(number(value))}</td>" for value in values]


def _row(name: Any, cells: list[str]) -> str:
    return f'<th scope="row">{escape(str(name))}</th>{"".join(cells)}'


def _bar(value: float, low: float, high: float) -> str:
    """Cell with the value and its interval on a line from 0 to 1, empty for metrics that are no such share."""
    if not 0 <= value <= 1 or not high <= 1 or not low >= 0:
        return "<td></td>"
    band = f'<i style="left:{100 * low:.2f}%;width:{100 * (high - low):.2f}%"></i>'
    return f'<td><span class="dp-bar">{band}<b style="left:{100 * value:.2f}%"></b></span></td>'


def _example(example: "Example") -> str:
    parts = []
    if example.image is not None:
        source = f"data:image/png;base64,{base64.b64encode(example.image).decode('ascii')}"
        small = _pixels_across(example.image) < _SMALL
        parts.append(f'<img src="{source}" alt="{escape(example.caption)}"{" class=dp-pixels" if small else ""}>')
    if example.text is not None:
        parts.append(f'<blockquote dir="auto">{escape(shortened(example.text, _MOST_LETTERS))}</blockquote>')
    if example.aligned:
        words = " ".join(_word(truth, said) for truth, said in example.aligned)
        parts.append(f'<blockquote class="dp-aligned" dir="auto">{words}</blockquote>')
    return f"<figure>{''.join(parts)}<figcaption>{escape(example.caption)}</figcaption></figure>"


def _needs_room(example: "Example") -> bool:
    return bool(example.text or example.aligned) or (example.image is not None and _pixels_across(example.image) >= _LARGE)


def _pixels_across(png: bytes) -> int:
    return int.from_bytes(png[16:20], "big")  # the width in its header


def _word(truth: str, said: str) -> str:
    """Show a word that is right as it is, and one that is not on its colour, what was true struck out."""
    if truth == said:
        return escape(truth)
    kind = "inserted" if not truth else "deleted" if not said else "substituted"
    both = " ".join(f"<{tag}>{escape(word)}</{tag}>" for tag, word in (("del", truth), ("ins", said)) if word)
    return f'<span class="dp-wrong dp-{kind}">{both}</span>'


_KEY = f"{_word('true', 'said')} was substituted, {_word('true', '')} is missing, {_word('', 'said')} was added."
