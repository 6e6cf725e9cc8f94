"""Pictures (PNG, JPEG, TIFF and their kin), with Pillow: values as stored, colours kept, the text beside them never looked at."""

import importlib
import io
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.errors import DataError

from . import files
from .grids import Volume, affine_of

__all__ = ["encode", "from_pillow", "read"]

_FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "JPEG2000", "WEBP")  # no others: some of Pillow's readers start programs
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N")


def read(path: Path, *, indices: bool = False) -> Volume:
    """Read a picture; the pages of a TIFF file become the slices of a volume.

    Parameters
    ----------
    path : Path
        The file; its content counts, not its ending.
    indices : bool
        Return the numbers of the colours of a palette, which in masks are the labels, instead of the colours.

    Returns
    -------
    Volume
        uint8, uint16 for 16 bits, else what the file holds; not placed. Turned upright where a camera's note (EXIF) asks for it.

    Raises
    ------
    DataError
        If Pillow cannot read it.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "a.png")
    >>> _ = path.write_bytes(encode(np.eye(3, 4, dtype=np.uint8)))
    >>> read(path)
    Volume(2d, 3 x 4, uint8, 1 x 1 mm)
    """
    Image = _pillow("Image")
    try:
        with files.hushed("PIL"), Image.open(path, formats=_FORMATS) as image:
            _check_size(str(path), image)
            return from_pillow(image, indices=indices)
    except DataError as error:
        raise error if str(error).startswith(str(path)) else DataError(f"{path} {error}") from error
    except Exception as error:  # Pillow's plug-ins raise nearly anything for damaged files, struct.error and TypeError among it
        raise DataError(_unread(path, error)) from error


def from_pillow(image: Any, *, indices: bool = False) -> Volume:
    """Return the volume of an open Pillow image.

    Examples
    --------
    >>> from PIL import Image
    >>> from_pillow(Image.new("RGB", (4, 3)))
    Volume(2d, 3 x 4 x 3, uint8, 1 x 1 mm)
    """
    pages = int(getattr(image, "n_frames", 1))
    if pages == 1:
        array, notes = _values(image, indices)
        return Volume(
            array, affine_of([1, 1]), "2d", placed=False, notes=("The picture does not say how large a pixel is.", *notes)
        )
    if image.format != "TIFF":
        raise DataError(f"is an animation of {pages} pictures. Save the one that is meant as PNG.")
    array, notes = _stack(image, pages, indices)
    told = f"The {pages} pages were taken as slices, 1 mm apart: the file does not say where they lie."
    return Volume(array, affine_of([1, 1, 1]), "3d", placed=False, notes=(told, *notes))


def encode(array: np.ndarray) -> bytes:
    """Return a PNG file of grey values, uint8 or uint16."""
    stream = io.BytesIO()
    _pillow("Image").fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def _pillow(module: str) -> ModuleType:
    load_framework("PIL")
    return importlib.import_module(f"PIL.{module}")


def _unread(path: Path, error: Exception) -> str:
    kind = type(error).__name__
    if kind.startswith("DecompressionBomb"):  # an error, or a warning that the user turned into one
        return f"{path} {_too_large()}"
    reason = str(error).rstrip(".") if isinstance(error, OSError) and "cannot identify" not in str(error) else kind
    return f"{path} is damaged or cut off, or no picture that Pillow can read: {reason}. Get it again."


def _too_large() -> str:
    limit = _pillow("Image").MAX_IMAGE_PIXELS
    return (
        f"has more than {limit:,} pixels, the limit that guards against decompression bombs. "
        "Raise PIL.Image.MAX_IMAGE_PIXELS if they are meant."
    )


def _check_size(name: str, image: Any) -> None:
    limit = _pillow("Image").MAX_IMAGE_PIXELS
    if limit and image.width * image.height > limit:
        raise DataError(f"{name} {_too_large()}")


def _stack(image: Any, pages: int, indices: bool) -> tuple[np.ndarray, list[str]]:
    files.check_memory("The picture", (image.height, image.width, pages), 4)
    planes: list[np.ndarray] = []
    notes: list[str] = []
    for page in range(pages):
        image.seek(page)
        array, notes = _values(image, indices)
        planes.append(array)
        if array.shape != planes[0].shape or array.dtype != planes[0].dtype:
            raise DataError(
                f"has pages of different kinds: {planes[0].shape} {planes[0].dtype}, and page {page} {array.shape} {array.dtype}."
            )
    return np.moveaxis(np.stack(planes, axis=2), 0, 1), notes  # as the slices of DICOM: (columns, rows, slices)


def _values(image: Any, indices: bool) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    if image.format in ("JPEG", "TIFF", "PNG", "WEBP") and image.getexif().get(0x0112, 1) != 1:
        image = _pillow("ImageOps").exif_transpose(image)
        notes.append("The picture was turned upright, as it asks for.")
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8), notes
    if image.mode in _WIDE:
        return np.asarray(image).astype(np.uint16), notes
    if image.mode in ("L", "I", "F") or (image.mode == "P" and indices):
        array = np.array(image)
        return array.astype(array.dtype.newbyteorder("="), copy=False), notes
    if image.has_transparency_data:
        image, more = _opaque(image)
        notes += more
    if image.mode in ("LA", "La"):
        return np.array(image.convert("L")), notes
    return np.array(image.convert("RGB")), notes


def _opaque(image: Any) -> tuple[Any, list[str]]:
    Image = _pillow("Image")
    grey = image.mode in ("LA", "La")
    clear = image.convert("RGBA")
    notes = [] if clear.getextrema()[3][0] == 255 else ["Transparent pixels were laid on black."]
    flat = Image.alpha_composite(Image.new("RGBA", clear.size, "black"), clear)
    return flat.convert("L" if grey else "RGB"), notes
