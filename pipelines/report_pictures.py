"""Pictures for reports: masks over an image, and heat maps beside it."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.errors import DataError

__all__ = ["heat", "overlay"]

_INCHES = 3.2  # the longer side of each of two pictures
_DPI = 96
_COLOURS = ("#e8743b", "#2f7ed8", "#3aa657", "#a05ad0", "#d9304c", "#17a2b8", "#b8860b", "#e377c2", "#7f7f7f", "#bcbd22")


def overlay(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, *, names: Sequence[Any], spacing: Sequence[float] | None = None
) -> bytes:
    r"""Draw an image twice, with the true mask and with the predicted one.

    Parameters
    ----------
    image : ndarray, (rows, columns) or (rows, columns, 3)
        Grey values of any range, or colours.
    truth, predicted : ndarray of int, (rows, columns)
        Positions in `names`; 0 is left as it is.
    names : sequence
        What the classes are called, for the legend.
    spacing : (float, float), optional
        Millimetres from row to row and from column to column.

    Returns
    -------
    bytes
        A PNG file.

    Raises
    ------
    DataError
        If image and masks differ in size.

    Examples
    --------
    >>> overlay(np.eye(8), np.eye(8, dtype=int), np.zeros((8, 8), int), names=["background", "bone"])[:4]
    b'\\x89PNG'
    """
    if not image.shape[:2] == truth.shape == predicted.shape:
        raise DataError(f"An image of {image.shape[:2]} cannot be drawn with masks of {truth.shape} and {predicted.shape}.")
    figure, axes = _panels(image, spacing, ("truth", "prediction"))
    present = sorted({int(v) for mask in (truth, predicted) for v in np.unique(mask)} - {0})
    for panel, mask in zip(axes, (truth, predicted), strict=True):
        for v in present:
            colour = _COLOURS[(v - 1) % len(_COLOURS)]
            layer = np.zeros((*mask.shape, 4), np.float32)
            layer[mask == v] = _rgba(colour, 0.3)
            panel.imshow(layer, interpolation="nearest", aspect=panel.get_aspect())
            if (mask == v).any() and not (mask == v).all() and min(mask.shape) > 1:
                panel.contour(mask == v, levels=[0.5], colors=[colour], linewidths=1.2)
    from matplotlib.patches import Patch

    handles = [Patch(color=_COLOURS[(v - 1) % len(_COLOURS)], label=str(names[v])) for v in present]
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=min(4, len(handles)), frameon=False, fontsize=8)
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
        A PNG file.

    Raises
    ------
    DataError
        If image and map differ in size.

    Examples
    --------
    >>> heat(np.eye(8), np.arange(64.0).reshape(8, 8))[:4]
    b'\\x89PNG'
    """
    if image.shape[:2] != heat.shape:
        raise DataError(f"An image of {image.shape[:2]} cannot be drawn with a heat map of {heat.shape}.")
    figure, axes = _panels(image, spacing, ("image", "what the model looked at"))
    low, high = float(np.nanmin(heat)), float(np.nanmax(heat))
    strength = (heat - low) / (high - low) if high > low else np.zeros_like(heat, dtype=float)
    shown = axes[1].imshow(heat, cmap="inferno", alpha=0.65 * strength, aspect=axes[1].get_aspect())
    figure.colorbar(shown, ax=axes, shrink=0.7, pad=0.02).ax.tick_params(labelsize=7)
    return _png(figure)


def _panels(image: np.ndarray, spacing: Sequence[float] | None, titles: Sequence[str]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    rows, columns = (1.0, 1.0) if spacing is None else map(float, spacing)
    height, width = image.shape[0] * rows, image.shape[1] * columns
    scale = _INCHES / max(height, width)
    figure = Figure(figsize=(max(2 * width * scale, 3.0) + 0.6, max(height * scale, 1.2) + 0.7), layout="constrained")
    axes = figure.subplots(1, len(titles))
    for panel, heading in zip(axes, titles, strict=True):
        panel.imshow(_shown(image), cmap="gray", aspect=rows / columns, interpolation="nearest")
        panel.set_title(heading, fontsize=9)
        panel.set_axis_off()
    return figure, axes


def _shown(image: np.ndarray) -> np.ndarray:
    """Return colours as bytes, and grey values within their 1st and 99th percentiles."""
    if image.ndim == 3 and image.dtype == np.uint8:
        return image
    low, high = np.percentile(image, [1, 99])
    return np.clip((image.astype(float) - low) / ((high - low) or 1.0), 0, 1)


def _rgba(colour: str, alpha: float) -> tuple[float, float, float, float]:
    from matplotlib.colors import to_rgba

    return to_rgba(colour, alpha)


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
