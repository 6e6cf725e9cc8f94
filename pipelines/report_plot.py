"""Drawing of a report's curves and confusion matrix, without touching pyplot."""

import io
import math
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pipelines.report import Report

__all__ = ["figure", "svgs"]

_INK = "#2f3640"  # text and axes; a page replaces it by its own text colour, so that dark mode works
_COLOURS = ["#2f7ed8", "#e8743b", "#19a979", "#b65fcf", "#d9304c", "#13a4b4", "#a07b45", "#7a83eb", "#b5a11b", "#e49"]
_GOOD, _BAD = _COLOURS[2], _COLOURS[4]
_MOST_LINES = 10
_MOST_INSIDE = 5  # names of lines that a drawing has room for
_FEW_POINTS = 20  # of a line that are marked one by one
_WORST = 5  # lines shown beside the average where there are more than that
_AVERAGE = "macro average"
_NAME = 22
_TITLE = 60

Draw = Callable[["Axes", pd.DataFrame], None]


def figure(report: "Report") -> "Figure":
    """Draw every curve and the confusion matrix of a report into one figure."""
    from matplotlib.figure import Figure

    panels = _panels(report)
    columns = min(2, max(1, len(panels)))
    places = _places([draw is _series for _, draw, _ in panels], columns)
    rows = 1 + max((row for row, _ in places), default=0)
    drawn = Figure(figsize=(5.6 * columns, 4.8 * rows), layout="constrained")
    heading = f"{report.task}: {report.headline} {report.metrics[report.headline]:.4f}, n = {report.n:,}"
    drawn.suptitle(heading, color=_INK, parse_math=False)
    grid = drawn.add_gridspec(rows, columns)
    for place, (name, draw, frame) in zip(places, panels, strict=True):
        _panel(drawn.add_subplot(grid[place]), name, draw, frame)
    if not panels:
        drawn.add_subplot().set_axis_off()
    return drawn


def svgs(report: "Report") -> dict[str, str]:
    """Draw each panel as an SVG element to put inline into a page."""
    return {name: _svg(name, draw, frame) for name, draw, frame in _panels(report)}


def _places(wide: list[bool], columns: int) -> list[tuple[int, int | slice]]:
    """Row and column of each panel, where a wide one has a row for itself."""
    row, column, places = 0, 0, []
    for whole in wide:
        if column and (whole or column == columns):
            row, column = row + 1, 0
        places.append((row, slice(None) if whole else column))
        column = columns if whole else column + 1
    return places


def _panels(report: "Report") -> list[tuple[str, Draw, pd.DataFrame]]:
    curves = [
        (title, _CURVES.get(name, _lines), part)
        for name, frame in report.curves.items()
        if len(frame)
        for title, part in _parts(name, frame).items()
    ]
    tables = [(name, draw, report.tables[name]) for name, draw in _TABLES.items() if name in report.tables]
    return curves + tables


def _parts(name: str, frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Split what is drawn as small pictures side by side, one for each label."""
    if name not in _MULTIPLES or "label" not in frame:
        return {name: frame}
    return {f"{name}: {label}": part for label, part in frame.groupby("label", sort=False)}


def _panel(axes: "Axes", name: str, draw: Draw, frame: pd.DataFrame) -> None:
    draw(axes, frame)
    axes.set_title(_short(name.replace("_", " "), _TITLE), color=_INK, fontsize=11, parse_math=False)
    for each in [axes, *axes.child_axes]:
        _style(each)


def _style(axes: Any) -> None:
    axes.tick_params(colors=_INK, labelsize=8)
    axes.patch.set_alpha(0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_INK, fontsize=9, parse_math=False)
    for side, spine in axes.spines.items():
        spine.set(color=_INK, alpha=0.4, visible=side in ("left", "bottom"))


def _svg(name: str, draw: Draw, frame: pd.DataFrame) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has the fonts, not matplotlib
        drawn = Figure(figsize=(10.2, 4.4) if draw is _series else (5.0, 4.4), layout="constrained")
        _panel(drawn.subplots(), name, draw, frame)
        metadata = dict.fromkeys(["Creator", "Date", "Format", "Type"])
        drawn.savefig(file, format="svg", transparent=True, metadata=metadata)
    text = file.getvalue()
    text = re.sub(r"<[^>]+>", lambda tag: _tag(tag[0], name), text[text.index("<svg") :])
    return text.replace("<svg", '<svg class="dp-wide"', 1) if draw is _series else text


def _tag(tag: str, name: str) -> str:
    # Several drawings share a page, so the names inside each must differ from those of the others.
    own = re.sub(r"\W", "-", name)
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", tag).replace(_INK, "currentColor")


def _roc(axes: "Axes", frame: pd.DataFrame) -> None:
    _draw_lines(axes, frame, "fpr", "tpr")
    axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linestyle=":", linewidth=1)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))


def _pr(axes: "Axes", frame: pd.DataFrame) -> None:
    _draw_lines(axes, frame, "recall", "precision", drawstyle="steps-post")  # what lies between two points is not reached
    axes.set(xlabel="recall", ylabel="precision", xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))


def _reliability(axes: "Axes", frame: pd.DataFrame) -> None:
    shares = frame["count"] / frame.groupby("class")["count"].transform("sum")
    axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linestyle=":", linewidth=1)
    _draw_lines(axes, frame, "confidence", "frequency")
    axes.scatter(frame["confidence"], frame["frequency"], s=8 + 120 * shares, color=_COLOURS[0], alpha=0.5, zorder=3)
    axes.set(xlabel="confidence", ylabel="how often right (dot size: share of samples)")
    axes.set(xlim=(-0.01, 1.03), ylim=(-0.02, 1.04))


def _horizon(axes: "Axes", frame: pd.DataFrame) -> None:
    """One line a model: the first column across, every other one up."""
    x, *names = frame.columns
    marker = "o" if len(frame) < 2 else None
    for i, name in enumerate(names):
        width = 2.0 if i == 0 else 1.3
        axes.plot(frame[x], frame[name], color=_COLOURS[i % len(_COLOURS)], linewidth=width, marker=marker, alpha=0.9)
    axes.set(xlabel=str(x), ylabel="mean absolute error")
    axes.set_ylim(0, axes.get_ylim()[1] * (1.2 if len(names) > 1 else 1.0))  # with room for the legend
    axes.locator_params(axis="x", integer=True)
    if len(names) > 1:
        _legend(axes, names)


def _forecast(axes: "Axes", frame: pd.DataFrame) -> None:
    """One window: what was known, what came, what was forecast, and the widest interval as a band."""
    names = ["truth", "forecast"]
    known = frame["step"] <= 0
    marker = "o" if (~known).sum() < 2 else None
    axes.plot(frame["step"], frame["truth"], color=_INK, linewidth=1.2, alpha=0.85, marker=marker, zorder=3)
    axes.plot(frame["step"], frame["forecast"], color=_COLOURS[0], linewidth=2.0, marker=marker)
    if frame["low"].notna().any():
        # A line of the band's colour stands for it in the legend.
        axes.plot([], [], color=_COLOURS[0], linewidth=7, alpha=0.25)
        names.append(f"{100 * frame['nominal'].iloc[0]:.4g} % interval")
        band = frame[~known]
        axes.fill_between(band["step"], band["low"], band["high"], color=_COLOURS[0], alpha=0.2, linewidth=0)
    if known.any():
        axes.axvline(0.5, color=_INK, alpha=0.4, linestyle=":", linewidth=1)
    axes.set(xlabel="step", ylabel=_short(frame["variable"].iloc[0]))
    axes.locator_params(axis="x", integer=True)
    _legend(axes, names)


def _series(axes: "Axes", frame: pd.DataFrame) -> None:
    """One series above its anomaly score, with the true events shaded."""
    values = [name for name in frame.columns if str(name).startswith("value")]
    axes.set_axis_off()
    bottom = axes.inset_axes((0, 0, 1, 0.43 if values else 0.92))
    _scores(bottom, frame)
    if values:
        top = axes.inset_axes((0, 0.53, 1, 0.47 if len(values) == 1 else 0.4))  # with room for a legend
        _values(top, frame, values)
        top.set_xlim(bottom.get_xlim())
        top.tick_params(labelbottom=False)


def _values(axes: "Axes", frame: pd.DataFrame, names: list[str]) -> None:
    lines = frame[names].to_numpy(dtype=float)
    if len(names) > 1:  # variables of any size in one drawing
        low, high = np.nanmin(lines, axis=0, initial=np.inf), np.nanmax(lines, axis=0, initial=-np.inf)
        lines = (lines - low) / np.where(high > low, high - low, 1.0)
    for i, line in enumerate(lines.T):
        axes.plot(frame["time"], line, color=_INK if len(names) == 1 else _COLOURS[i], linewidth=0.9, alpha=0.85)
    shown = [_short(name.removeprefix("value ")) for name in names]
    axes.set(ylabel=shown[0] if len(names) == 1 else "each from low to high")
    if len(names) > 1:
        _legend(axes, shown, place="above")
    _shade(axes, frame)


def _scores(axes: "Axes", frame: pd.DataFrame) -> None:
    axes.plot(frame["time"], frame["score"], color=_COLOURS[0], linewidth=0.9)
    names = ["score"]
    if np.isfinite(frame["threshold"]).any():
        axes.axhline(frame["threshold"].iloc[0], color=_INK, linewidth=1, linestyle="--", alpha=0.7)
        names.append("threshold")
    for name, colour, where in (("alarm in an event", _GOOD, frame["true"]), ("alarm outside", _BAD, ~frame["true"])):
        marked = frame[frame["alarm"] & where]
        if len(marked):
            axes.plot(marked["time"], marked["score"], color=colour, linestyle="none", marker="o", markersize=2.5)
            names.append(name)
    for kind, colour in _shade(axes, frame).items():
        # A line of the band's colour stands for it in the legend.
        axes.plot([], [], color=colour, linewidth=7, alpha=0.25)
        names.append(kind)
    axes.set(ylabel="score")
    _legend(axes, names, place="above")


def _shade(axes: "Axes", frame: pd.DataFrame) -> dict[str, str]:
    """Shade the true events, and return the colour of each kind there is."""
    kinds = {}
    for _, event in frame[frame["true"]].groupby((~frame["true"]).cumsum()):
        kind, colour = ("true event, found", _GOOD) if event["found"].any() else ("true event, missed", _BAD)
        if event["threshold"].isna().any():  # without alarms it is neither
            kind, colour = "true event", _COLOURS[1]
        kinds[kind] = colour
        # The edge of the band shows events of one row.
        axes.axvspan(event["time"].iloc[0], event["time"].iloc[-1], color=colour, alpha=0.18, linewidth=1)
    return dict(sorted(kinds.items()))


def _dice_by_case(axes: "Axes", frame: pd.DataFrame) -> None:
    """One line a structure, from its worst case to its best."""
    marker = "o" if frame.groupby("class").size().max() <= _FEW_POINTS else None
    _draw_lines(axes, frame, "share", "dice", marker=marker)
    axes.set(xlabel="share of cases with this Dice or less", ylabel="Dice", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _coverage(axes: "Axes", frame: pd.DataFrame) -> None:
    axes.plot([0, 1], [0, 1], color=_INK, alpha=0.4, linestyle=":", linewidth=1)
    axes.plot(frame["nominal"], frame["coverage"], color=_COLOURS[0], linewidth=1.3, marker="o", markersize=5)
    axes.set(xlabel="nominal coverage", ylabel="share of true values inside", xlim=(-0.01, 1.03), ylim=(-0.02, 1.04))


def _bars(axes: "Axes", frame: pd.DataFrame) -> None:
    """One bar a row: the first column says what it is of, the second how high it is."""
    what, value = frame.columns
    axes.bar(range(len(frame)), frame[value], color=_COLOURS[0], alpha=0.75, width=0.82)
    axes.set(xlabel=str(what), ylabel=str(value), xlim=(-0.6, len(frame) - 0.4))
    axes.set_ylim(0, None if (frame[value] > 0).any() else 1)
    axes.xaxis.set_ticks(range(len(frame)), [_short(name) for name in frame[what]], parse_math=False)
    if len(frame) > 6 and max(len(str(name)) for name in frame[what]) > 2:
        axes.tick_params(axis="x", rotation=90)


def _lines(axes: "Axes", frame: pd.DataFrame) -> None:
    """Draw a curve this module knows nothing about: the first two columns of numbers against each other."""
    x, y = [*frame.select_dtypes("number").columns, None, None][:2]
    if x is not None and y is not None:
        _draw_lines(axes, frame, x, y)
        axes.set(xlabel=str(x), ylabel=str(y))


def _draw_lines(axes: "Axes", frame: pd.DataFrame, x: str, y: str, drawstyle: str = "default", marker: str | None = None) -> None:
    groups = dict(list(frame.groupby("class", sort=False))) if "class" in frame else {"": frame}
    names = _chosen(groups, x, y)
    for i, name in enumerate(names):
        average = name == _AVERAGE
        style: dict[str, Any] = {"color": _INK, "linewidth": 2.2} if average else {"linewidth": 1.3, "alpha": 0.9}
        style = {"color": _COLOURS[i % len(_COLOURS)], "drawstyle": drawstyle, "marker": marker, "markersize": 4} | style
        axes.plot(groups[name][x], groups[name][y], **style)
    if len(names) > 1:
        _legend(axes, names, place="below" if len(names) > _MOST_INSIDE else "best")


def _chosen(groups: dict[Any, pd.DataFrame], x: str, y: str) -> list[Any]:
    """All lines, or where that would be a thicket the average and those with the smallest area."""
    single = [name for name in groups if name != _AVERAGE]
    if len(single) > _MOST_LINES:
        single = sorted(single, key=lambda name: abs(np.trapezoid(groups[name][y], groups[name][x])))[:_WORST]
    return single + [name for name in groups if name == _AVERAGE]


def _legend(axes: "Axes", names: list[Any], *, place: str = "best") -> None:
    # Names are set afterwards: matplotlib drops labels that begin with "_" and reads "$" as mathematics.
    handles = axes.get_lines()
    handles = [line for line in handles if line.get_linestyle() != ":"]
    where: dict[str, Any] = {
        "best": {},
        "above": {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": len(names), "borderaxespad": 0},
        "below": {"loc": "upper left", "bbox_to_anchor": (0, -0.13), "ncols": 2, "borderaxespad": 0},
    }[place]
    legend = axes.legend(handles, ["x"] * len(handles), fontsize=7.5, frameon=False, labelcolor=_INK, **where)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(_short(name))


def _confusion(axes: "Axes", frame: pd.DataFrame) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    counts = frame.to_numpy(dtype=float)
    shares = np.divide(counts, counts.sum(axis=1, keepdims=True), out=np.zeros_like(counts), where=counts > 0)
    blue = (0.18, 0.49, 0.85)
    # From transparent to blue, so that an empty cell has the page's colour; the root keeps rare mistakes visible.
    colours = LinearSegmentedColormap.from_list("shares", [(*blue, 0.0), (*blue, 1.0)])
    axes.imshow(np.sqrt(shares), cmap=colours, vmin=0, vmax=1, interpolation="none", aspect="auto")
    _tick_names(axes, list(frame.index), list(frame.columns))
    axes.set(xlabel=f"{frame.columns.name or ''} (colour: share of the row)", ylabel=str(frame.index.name or ""))
    if counts.size <= 15 * 15:
        for (i, j), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[i, j] > 0.35 else _INK
                axes.text(j, i, _brief(count), ha="center", va="center", fontsize=7.5, color=colour)


def _brief(count: float) -> str:
    """Return a count in at most six characters, as pixels are many and cells are small; 999,999 is 1M."""
    from matplotlib.ticker import EngFormatter

    return f"{count:.0f}" if count < 1e5 else EngFormatter(places=0 if count < 1e6 else 1, sep="")(count)


def _tick_names(axes: "Axes", rows: list[Any], columns: list[Any]) -> None:
    for axis, names in ((axes.xaxis, columns), (axes.yaxis, rows)):
        shown = range(0, len(names), max(1, math.ceil(len(names) / 25)))
        axis.set_ticks(list(shown), [_short(names[i]) for i in shown], parse_math=False)
    if max(len(str(name)) for name in columns) > 2:
        axes.tick_params(axis="x", rotation=90 if len(columns) > 6 else 45)


def _short(name: Any, most: int = _NAME) -> str:
    text = "".join(character if character.isprintable() else "?" for character in str(name))
    return text if len(text) <= most else f"{text[: most - 1]}…"


_CURVES: dict[str, Draw] = {
    "roc": _roc,
    "pr": _pr,
    "reliability": _reliability,
    "horizon": _horizon,
    "coverage": _coverage,
    "forecast": _forecast,
    "series": _series,
    "clips_by_wer": _bars,
    "wer_by_length": _bars,
    "wer_by_group": _bars,
    "dice_by_case": _dice_by_case,
}
_MULTIPLES = ("forecast", "series")
_TABLES: dict[str, Draw] = {"confusion": _confusion}
