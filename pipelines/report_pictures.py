"""Pictures for reports: masks over an image, and heat maps beside it."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.errors import DataError

__all__ = ["heat", "overlay"]

_INCHES = 3.2  # the longer side of each of two pictures
_DPI = 110
_SIZES = (1.0, 0.8, 0.65, 0.5, 0.35)  # the first with which the file is small; only noise needs the last ones
_MOST_BYTES = 100_000
_LEVELS = 31  # steps from black to white
_INK = "#2f3640"
_COLOURS = (
    *("#e8743b", "#2f7ed8", "#3aa657", "#a05ad0", "#d9304c", "#17a2b8", "#b8860b", "#e377c2", "#7f7f7f", "#bcbd22"),
    *("#00e5a8", "#7b1e3b", "#ffd166", "#3f51b5", "#8d5524", "#ff8fab", "#1b5e20", "#c5cae9", "#ff1744", "#a5d6a7"),
)
_MOST_NAMES = 12  # in a legend
_EVERYWHERE = 0.8  # of the pixels are in a class: lines around one would hide its neighbours


def overlay(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, *, names: Sequence[Any], spacing: Sequence[float] | None = None
) -> bytes:
    r"""Draw an image twice, with the true mask and with the predicted one.

    Parameters
    ----------
    image : ndarray, (rows, columns) or (rows, columns, 3)
        Grey values of any range, or colours.
    truth, predicted : ndarray of int, (rows, columns)
        Positions in `names`; where it is 0, the image is left as it is.
    names : sequence
        What the classes are called, for the legend.
    spacing : (float, float), optional
        Millimetres from row to row and from column to column.

    Returns
    -------
    bytes
        A PNG file of less than 100 kB, the same each time.

    Raises
    ------
    DataError
        If image and masks differ in size, or a mask holds what has no name.

    Examples
    --------
    >>> overlay(np.eye(8), np.eye(8, dtype=int), np.zeros((8, 8), int), names=["background", "bone"])[:4]
    b'\x89PNG'
    """
    _check_image(image)
    if not image.shape[:2] == truth.shape == predicted.shape:
        raise DataError(f"An image of {image.shape[:2]} cannot be drawn with masks of {truth.shape} and {predicted.shape}.")
    present = sorted({int(v) for mask in (truth, predicted) for v in np.unique(mask)} - {0})
    if present and not 0 < present[0] <= present[-1] < len(names):
        raise DataError(f"The masks hold {present}, but there are names for 0 to {len(names) - 1} only.")
    figure, axes = _panels(image, spacing, ("truth", "prediction"))
    everywhere = ((truth > 0) | (predicted > 0)).mean() > _EVERYWHERE
    for panel, mask in zip(axes, (truth, predicted), strict=True):
        _colour(panel, mask, present, lines=not everywhere)
    _legend(figure, present, names)
    return _png(figure)


def heat(image: np.ndarray, heat: np.ndarray, *, spacing: Sequence[float] | None = None) -> bytes:
    r"""Draw an image, and beside it the same with a heat map over it.

    Parameters
    ----------
    image : ndarray, (rows, columns) or (rows, columns, 3)
        Grey values of any range, or colours.
    heat : ndarray, (rows, columns)
        What is hottest is drawn strongest.
    spacing : (float, float), optional
        Millimetres from row to row and from column to column.

    Returns
    -------
    bytes
        A PNG file of less than 100 kB, the same each time.

    Raises
    ------
    DataError
        If image and map differ in size.

    Examples
    --------
    >>> heat(np.eye(8), np.arange(64.0).reshape(8, 8))[:4]
    b'\x89PNG'
    """
    _check_image(image)
    if image.shape[:2] != heat.shape:
        raise DataError(f"An image of {image.shape[:2]} cannot be drawn with a heat map of {heat.shape}.")
    figure, axes = _panels(image, spacing, ("image", "heat map"))
    low, high = float(np.nanmin(heat)), float(np.nanmax(heat))
    strength = (heat - low) / (high - low) if high > low else np.zeros(heat.shape)
    shown = axes[1].imshow(heat, cmap="inferno", alpha=0.65 * np.nan_to_num(strength), aspect=axes[1].get_aspect())
    bar = figure.colorbar(shown, ax=axes[1], shrink=0.7, pad=0.03)
    bar.ax.tick_params(labelsize=7, colors=_INK)
    return _png(figure)


def _check_image(image: np.ndarray) -> None:
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[2] == 3):
        raise DataError(f"An image is drawn from (rows, columns) or (rows, columns, 3), but this one has shape {image.shape}.")


def _panels(image: np.ndarray, spacing: Sequence[float] | None, titles: Sequence[str]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    rows, columns = (1.0, 1.0) if spacing is None else map(float, spacing)
    height, width = image.shape[0] * rows, image.shape[1] * columns
    scale = _INCHES / max(height, width)
    figure = Figure(figsize=(max(2 * width * scale, 3.0) + 0.6, max(height * scale, 1.2) + 0.7), layout="constrained")
    axes = figure.subplots(1, len(titles))
    for panel, heading in zip(axes, titles, strict=True):
        panel.imshow(_shown(image), cmap="gray", vmin=0, vmax=1, aspect=rows / columns)
        panel.set_title(heading, fontsize=9, color=_INK)
        panel.set_axis_off()
    return figure, axes


def _shown(image: np.ndarray) -> np.ndarray:
    """Return colours as bytes, and other values within their 1st and 99th percentiles."""
    if image.ndim == 3 and image.dtype == np.uint8:
        return image
    values = image.astype(float)
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, [1, 99]) if len(known) else (0.0, 1.0)
    scaled = np.clip((values - low) / ((high - low) or 1.0), 0, 1)
    return np.nan_to_num(scaled)


def _colour(panel: Any, mask: np.ndarray, present: Sequence[int], *, lines: bool) -> None:
    """Tint what belongs to each class, and draw a line around it; without lines more strongly."""
    from matplotlib.colors import to_rgba

    tint = np.zeros((*mask.shape, 4))
    for v in present:
        tint[mask == v] = to_rgba(_colour_of(v), 0.3 if lines else 0.5)
    panel.imshow(tint, interpolation="nearest", aspect=panel.get_aspect())
    for v in present if lines else ():
        inside = mask == v
        if inside.any() and not inside.all() and min(mask.shape) > 1:
            panel.contour(inside, levels=[0.5], colors=[_colour_of(v)], linewidths=1.2)


def _legend(figure: Any, present: Sequence[int], names: Sequence[Any]) -> None:
    from matplotlib.patches import Patch

    named = present[:_MOST_NAMES]
    if not named:
        return
    handles = [Patch(color=_colour_of(v), label="x") for v in named]
    legend = figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=8)
    # Names are set afterwards: matplotlib drops labels that begin with "_" and reads "$" as mathematics.
    for text, v in zip(legend.get_texts(), named, strict=True):
        text.set(parse_math=False, text=str(names[v]), color=_INK)


def _colour_of(v: int) -> str:
    return _COLOURS[(v - 1) % len(_COLOURS)]


def _png(figure: Any) -> bytes:
    """Return the drawing as a file, of fewer shades than it has, and smaller where the file would be large."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image  # comes with matplotlib

    canvas, found = FigureCanvasAgg(figure), b""
    whole = figure.get_size_inches()
    figure.set_dpi(_DPI)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that matplotlib's font lacks is drawn as boxes
        for size in _SIZES:
            figure.set_size_inches(whole * size)
            canvas.draw()
            drawn = np.asarray(canvas.buffer_rgba())[..., :3]
            # Shades alike for every picture, and no palette of the frequent ones, in which a small structure would turn grey.
            fewer = np.round(np.round(drawn / 255 * _LEVELS) * (255 / _LEVELS)).astype(np.uint8)
            stream = io.BytesIO()
            Image.fromarray(fewer).save(stream, format="png", optimize=True)
            found = stream.getvalue()
            if len(found) < _MOST_BYTES:
                break
    return found
