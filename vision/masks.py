"""Reading masks: arrays, palette and greyscale pictures, and pictures whose colours stand for classes, become whole numbers.

A mask is a picture, but nothing of it may be blended: it is never converted by brightness, laid on white or smoothed. What cannot
be read exactly is refused with a sentence.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipelines.errors import DataError, ParameterError

from . import images

__all__ = ["colour_table", "read"]

_ORIENTATION = 0x0112
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N")
_LOSSY = ("JPEG", "MPO")
_LIMIT = 2**31
_SHOWN = 5  # colours named in a sentence
_MANY = 20  # colours: more of them than anybody draws


def read(
    source: Any, index: int, colours: Mapping[str, Sequence[int]] | None = None, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Read one mask.

    Parameters
    ----------
    source : path, PIL image or array
        An array of whole numbers or booleans, `(height, width)` or `(height, width, 1)`, is the mask itself; floats must be
        whole. Of a greyscale picture the grey values are the numbers, exactly as stored (one of black and white holds 0 and 255,
        or 0 and 1 where it has one bit); of a picture with a palette the numbers of the palette.
    index : int
        Number of the sample, for messages.
    colours : dict of str to (red, green, blue), optional
        Name and colour, each channel from 0 to 255, of every class. Then pictures, and arrays `(height, width, 3)`, are read by
        colour, whatever way they store it, and a number is the place of its colour in the table. Arrays `(height, width)` hold
        such numbers already.
    size : (height, width), optional
        What its image has.

    Returns
    -------
    ndarray, (height, width)
        Whole numbers of at least 0. Of an array that is one already, a view.

    Raises
    ------
    DataError
        If it cannot be read exactly, has another size than its image or a colour that is not in the table; the message names the
        sample and the file.
    ParameterError
        If `colours` is no such table.

    Examples
    --------
    >>> read(np.array([[0, 1], [2, 2]]), 0).tolist()
    [[0, 1], [2, 2]]
    >>> street = np.array([[[128, 64, 128], [70, 130, 180]]], np.uint8)
    >>> read(street, 0, colours={"road": (128, 64, 128), "sky": (70, 130, 180)}).tolist()
    [[0, 1]]
    """
    table = None if colours is None else colour_table(colours)
    path = isinstance(source, (str, os.PathLike))
    name = f"The mask of sample {index} ({source})" if path else f"The mask of sample {index}"
    try:
        mask = _decode(source, table, list(colours or ()))
        if size is not None:
            _check_size(mask.shape, size)
    except DataError as error:
        raise DataError(f"{name} {error}.") from error
    except Exception as error:  # Pillow's plug-ins raise nearly anything for damaged files, struct.error and TypeError among it
        raise DataError(f"{name} cannot be decoded: {str(error).rstrip('.')}.") from error
    return mask


def colour_table(colours: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Check a colour table and return its colours.

    Parameters
    ----------
    colours : dict of str to (red, green, blue)
        Each channel from 0 to 255.

    Returns
    -------
    ndarray of uint8, (k, 3)
        In the order of the table.

    Raises
    ------
    ParameterError
        If a colour is none, or stands for two classes.

    Examples
    --------
    >>> colour_table({"road": (128, 64, 128), "sky": (70, 130, 180)}).tolist()
    [[128, 64, 128], [70, 130, 180]]
    """
    if not isinstance(colours, Mapping) or not colours:
        raise ParameterError(
            f"A colour table names a colour each class, such as {{'road': (128, 64, 128)}}; received {colours!r}."
        )
    rows: dict[tuple[int, ...], str] = {}
    for name, colour in colours.items():
        channels = _channels(colour)
        if channels is None:
            raise ParameterError(
                f"The colour of {name!r} must be three whole numbers from 0 to 255, such as (128, 64, 128), but it is {colour!r}."
            )
        if channels in rows:
            raise ParameterError(f"The colour {channels} stands for {rows[channels]!r} and {name!r}; give each class its own.")
        rows[channels] = name
    return np.array(list(rows), np.uint8)


def _channels(colour: Any) -> tuple[int, ...] | None:
    """Return a colour's channels; None if it is no colour."""
    array = np.asarray(colour)
    if array.shape != (3,) or array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        return None
    return tuple(array.tolist())


# ---------------------------------------------------------------- sources
def _decode(source: Any, table: np.ndarray | None, names: list[str]) -> np.ndarray:
    if isinstance(source, Image.Image):
        return _from_pil(source, table, names)
    if isinstance(source, (str, os.PathLike)):
        with images.open_file(source) as image:
            return _from_pil(image, table, names)
    return _from_array(source, table, names)


def _from_array(source: Any, table: np.ndarray | None, names: list[str]) -> np.ndarray:
    if not hasattr(source, "__array__"):
        raise DataError(f"is of type {type(source).__name__}; expected a path, a PIL image or an array")
    array = np.asarray(source)
    if array.dtype.kind not in "buif":
        raise DataError(f"has the dtype {array.dtype}; expected whole numbers or booleans")
    if array.ndim not in (2, 3):
        raise DataError(f"is an array of {array.ndim} dimensions, shape {array.shape}; expected (H, W), (H, W, 1) or (H, W, 3)")
    if 0 in array.shape:
        raise DataError(f"has no pixels: its shape is {array.shape}")
    if array.ndim == 2 or array.shape[2] == 1:
        return _whole(array.reshape(array.shape[:2]))
    if array.shape[2] not in (3, 4):
        hint = " (of a map a class, take mask.argmax(axis=2))" if array.shape[2] < min(array.shape[:2]) else ""
        raise DataError(f"has {array.shape[2]} channels (shape {array.shape}); expected one number a pixel, or 3 of colour{hint}")
    return _by_colour(_opaque(_bytes(array)), table, names)


def _bytes(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise DataError(
            f"has colours from {array.min():g} to {array.max():g} ({array.dtype}); expected whole numbers from 0 to 255"
        )
    return array.astype(np.uint8, copy=False)


def _from_pil(image: Image.Image, table: np.ndarray | None, names: list[str]) -> np.ndarray:
    if image.format in _LOSSY:
        raise DataError("is a JPEG file, which changes numbers and colours where classes meet; masks must be PNG")
    if (pages := getattr(image, "n_frames", 1)) > 1:
        raise DataError(f"holds {pages} pictures; expected one")
    if 0 in image.size:
        raise DataError(f"has no pixels: its size is {image.width} x {image.height}")
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if table is None:
        return _numbers(image)
    try:
        return _by_colour(_pixels(image), table, names)
    except DataError as error:
        if image.mode not in ("L", "P"):
            raise
        kind = "its palette" if image.mode == "P" else "grey values"
        raise DataError(f"{error}. Leave the colour table out to take the numbers of {kind} instead") from error


def _numbers(image: Image.Image) -> np.ndarray:
    """Return the grey values of a picture, or the numbers of its palette, as stored."""
    if image.mode == "LA":
        return np.ascontiguousarray(_opaque(np.asarray(image))[:, :, 0])
    if image.mode == "1":
        return np.array(image, np.uint8)
    if image.mode in ("L", "P", "I", "F"):
        return _whole(np.array(image))
    if image.mode in _WIDE:
        return np.array(image).astype(np.uint16)
    return _by_colour(_pixels(image), None, [])


def _pixels(image: Image.Image) -> np.ndarray:
    """Return the colours of a picture, (height, width, 3)."""
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        return _opaque(np.asarray(image.convert("RGBA")))
    if image.mode not in ("1", "L", "P", "RGB"):
        raise DataError(f"has the mode {image.mode} of Pillow; expected eight bits of grey, a palette, or red, green and blue")
    return np.asarray(image.convert("RGB"))


def _opaque(array: np.ndarray) -> np.ndarray:
    """Leave out the last channel of two or four, which must hide nothing."""
    if array.shape[2] == 3:
        return array
    clear = array[:, :, -1] != 255
    if clear.any():
        raise DataError(
            f"has {_counted(clear)} that are transparent, the first at {_place(clear)}; a mask must say what each pixel is"
        )
    return array[:, :, :-1]


def _whole(array: np.ndarray) -> np.ndarray:
    """Return numbers that may be those of classes, floats as integers."""
    if array.dtype == bool:
        return array.astype(np.uint8)
    if array.dtype.kind == "f":
        broken = ~((np.abs(array) < _LIMIT) & (array == np.rint(array)))  # of NaN both are false
        if broken.any():
            raise DataError(
                f"has {_counted(broken)} of no whole number, the first {array[broken][0]:g}, at {_place(broken)}; "
                "expected numbers of classes (was it resized with interpolation, or is it a map of probabilities?)"
            )
        array = array.astype(np.int64)
    negative = array < 0
    if negative.any():
        raise DataError(
            f"has {_counted(negative)} below 0, the first {array[negative][0]}, at {_place(negative)}; expected numbers from 0 on"
        )
    return array


# ---------------------------------------------------------------- colours
def _by_colour(pixels: np.ndarray, table: np.ndarray | None, names: list[str]) -> np.ndarray:
    """Return the place of each pixel's colour in the table."""
    codes = _codes(pixels)
    if table is None:
        raise DataError(_without_table(codes))
    known = _codes(table)
    order = np.argsort(known)
    places = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
    strange = known[order][places] != codes
    if strange.any():
        raise DataError(_unknown(codes, strange, table, names))
    return order.astype(np.min_scalar_type(len(known) - 1))[places]


def _codes(pixels: np.ndarray) -> np.ndarray:
    """Return colours as one number each, 0xRRGGBB."""
    red, green, blue = np.moveaxis(pixels.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _colour(code: int) -> tuple[int, int, int]:
    return code >> 16, code >> 8 & 255, code & 255


def _without_table(codes: np.ndarray) -> str:
    found = np.unique(codes).tolist()
    shown = ", ".join(str(_colour(code)) for code in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    count = "1 colour" if len(found) == 1 else f"{len(found):,} colours"
    return (
        f"has {count} ({shown}), and nothing says what they stand for; give a colour table, such as "
        "{'road': (128, 64, 128), …}, or save the mask with numbers as grey values"
    )


def _unknown(codes: np.ndarray, strange: np.ndarray, table: np.ndarray, names: list[str]) -> str:
    """Tell the most frequent of the colours that are not in the table, and which of it is the nearest."""
    found, counts = np.unique(codes[strange], return_counts=True)
    code = int(found[counts.argmax()])
    colour, here = _colour(code), codes == code
    nearest = int(np.argmin(((table.astype(int) - colour) ** 2).sum(axis=1)))
    said = (
        f"has {_counted(here)} of the colour {colour}, the first at {_place(here)}, but no class has it; the nearest is "
        f"{tuple(table[nearest].tolist())}, {names[nearest]!r}"
    )
    if len(found) == 1:
        return said
    others = "1 other colour is" if len(found) == 2 else f"{len(found) - 1:,} other colours are"
    blended = " (was the mask resized with interpolation, or saved as JPEG once?)" if len(found) > _MANY else ""
    return f"{said}. {others} not in the table, too{blended}"


# ---------------------------------------------------------------- sentences
def _counted(which: np.ndarray) -> str:
    count = int(np.count_nonzero(which))
    return "1 pixel" if count == 1 else f"{count:,} pixels"


def _place(which: np.ndarray) -> str:
    row, column = np.unravel_index(int(np.argmax(which)), which.shape)
    return f"row {row}, column {column}"


def _check_size(found: tuple[int, ...], expected: tuple[int, int]) -> None:
    if found == tuple(expected):
        return
    turned = " (is one of them turned by the orientation in its EXIF data?)" if found[::-1] == tuple(expected) else ""
    raise DataError(
        f"has {found[1]} x {found[0]} pixels, but its image has {expected[1]} x {expected[0]}; each pixel needs its own{turned}"
    )
