"""Pixels of DICOM files: decoded by the plug-ins of pydicom that survive damaged data, and turned into what they mean.

GDCM ends the whole process where some bytes of a compressed picture are damaged (SIGABRT, SIGSEGV: one in 150 pictures with three
damaged bytes near the beginning). So it is asked last: only for lossless JPEG, which nothing else reads under a licence as free,
and only after the beginning of each picture has been found to agree with the header (then none of 20,000 ended it).
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.errors import DataError

__all__ = ["decode", "rescaled", "top"]

_JPEG = "1.2.840.10008.1.2.4."
_LOSSLESS = (_JPEG + "57", _JPEG + "70")
_DECODERS = {  # transfer syntaxes -> pydicom's plug-ins, the first that is there and works; and what to install where none does
    (_JPEG + "50",): (("pillow", "pylibjpeg"), "pillow"),
    (_JPEG + "51",): (("pillow", "pylibjpeg"), "pylibjpeg pylibjpeg-libjpeg"),  # the latter under the GPL: no dependency of ours
    _LOSSLESS: (("pylibjpeg", "gdcm"), "python-gdcm"),
    (_JPEG + "80", _JPEG + "81"): (("pyjpegls", "pylibjpeg"), "pyjpegls"),
    (_JPEG + "90", _JPEG + "91"): (("pylibjpeg", "pillow"), "pylibjpeg pylibjpeg-openjpeg"),
    (_JPEG + "201", _JPEG + "202", _JPEG + "203"): (("pylibjpeg",), "pylibjpeg pylibjpeg-openjpeg"),
}


def decode(pydicom: Any, path: Path, header: Any) -> np.ndarray:
    """Decode the pixels of a file: as stored, colours as RGB, tables applied.

    Parameters
    ----------
    pydicom : module
        As `dicom` has it, silent.
    path : Path
        The file, for messages.
    header : pydicom.Dataset
        Of a file with pixels.

    Returns
    -------
    ndarray
        `([frames,] rows, columns[, 3])`.

    Raises
    ------
    DataError
        If the pixels are damaged, or a package is missing; the message has the pip line.
    """
    syntax = header.file_meta.TransferSyntaxUID
    try:
        if syntax in _LOSSLESS:
            _check_lossless(pydicom, header)
        array = _unpacked(pydicom, syntax, header)
        if header.get("PhotometricInterpretation") == "PALETTE COLOR":
            array = pydicom.pixels.apply_color_lut(array, header)
        elif "ModalityLUTSequence" in header:
            array = pydicom.pixels.apply_modality_lut(array, header)
    except MemoryError:
        raise
    except Exception as error:  # the plug-ins raise nearly anything
        raise DataError(f"{path} {_refusal(pydicom, syntax, error)}") from error
    native: np.ndarray = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native


def _unpacked(pydicom: Any, syntax: Any, header: Any) -> np.ndarray:
    plugins = [plugin for plugin in _asked(syntax) if plugin in _available(pydicom, syntax)]
    if not plugins:  # not compressed, run lengths, or of a kind pydicom does not know; or nothing is installed
        plugins = [] if _asked(syntax) else [""]
    failed: Exception = ModuleNotFoundError("no package is installed that can decompress them")
    for plugin in plugins:
        try:
            array: np.ndarray = pydicom.pixels.pixel_array(header, decoding_plugin=plugin)
        except MemoryError:
            raise
        except Exception as error:  # what one cannot read another may
            failed = error
        else:
            return array
    raise failed


def _asked(syntax: Any) -> tuple[str, ...]:
    return next((plugins for uids, (plugins, _) in _DECODERS.items() if syntax in uids), ())


def _available(pydicom: Any, syntax: Any) -> tuple[str, ...]:
    plugins: tuple[str, ...] = pydicom.pixels.get_decoder(syntax).available_plugins if _asked(syntax) else ()
    return plugins


def _refusal(pydicom: Any, syntax: Any, error: Exception) -> str:
    if isinstance(error, NotImplementedError):
        return f"is compressed as {syntax.name}, which pydicom has no decoder for. Convert it first: gdcmconv --raw."
    package = next((package for uids, (_, package) in _DECODERS.items() if syntax in uids), "")
    unfit = "does not support" in str(error) and "pylibjpeg" not in _available(pydicom, syntax)  # Pillow, for more than 8 bits
    if package and (isinstance(error, ModuleNotFoundError) or unfit):
        return f"is compressed as {syntax.name}, for which a package is missing. Install it with: pip install {package}"
    reason = re.sub(r"\s+", " ", str(error))[:200].rstrip(". ")
    return f"has pixels that cannot be decoded ({syntax.name}): {reason}. It is damaged or cut off: get it again."


# ---------------------------------------------------------------- lossless JPEG
def _check_lossless(pydicom: Any, header: Any) -> None:
    count = int(header.get("NumberOfFrames") or 1)
    for stream in pydicom.encaps.generate_frames(header.PixelData, number_of_frames=count):
        if not _is_sound(stream, int(header.BitsStored), int(header.Rows), int(header.Columns), int(header.SamplesPerPixel)):
            raise ValueError("the beginning of its JPEG picture is damaged, or does not agree with the header")


def _is_sound(stream: bytes, bits: int, rows: int, columns: int, samples: int) -> bool:
    """Walk through the markers of a JPEG picture up to its data; True if they are whole and its frame is as announced."""
    place, framed = 2, False
    while stream[:2] == b"\xff\xd8" and place + 4 <= len(stream) and stream[place] == 0xFF:
        marker, length = stream[place + 1], int.from_bytes(stream[place + 2 : place + 4], "big")
        body = stream[place + 4 : place + 2 + length]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if length < 2 or place + 2 + length > len(stream):
            return False
        if marker == 0xDA:  # the data
            return framed
        if marker == 0xC3:
            if framed or not _is_frame(body, bits, rows, columns, samples):
                return False
            framed = True
        elif marker == 0xEE and body[:5] == b"Adobe":
            if len(body) != 12 or body[11] > 1:  # a colour space of four colours, which ends GDCM
                return False
        elif marker not in (0xC4, 0xDB, 0xDD, 0xFE) and not 0xE0 <= marker <= 0xEF:
            return False
        place += 2 + length
    return False


def _is_frame(body: bytes, bits: int, rows: int, columns: int, samples: int) -> bool:
    size = (int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big"), *body[5:6])
    whole = len(body) == 6 + 3 * samples and size == (rows, columns, samples) and 2 <= body[0] <= bits
    components, sampling = body[6::3], body[7::3]
    return whole and len(set(components)) == samples and set(sampling) == {0x11}


# ---------------------------------------------------------------- values
def top(stored: np.ndarray, header: Any) -> Any:
    """Return the value that mirrors the stored ones within their type: what 0 becomes."""
    if stored.dtype.kind == "f":
        return stored.dtype.type(stored.max())
    if stored.dtype.kind == "i":
        return stored.dtype.type(-1)
    bits = int(header.get("BitsStored") or 8 * stored.dtype.itemsize)
    return stored.dtype.type(max(2 ** min(bits, 8 * stored.dtype.itemsize) - 1, int(stored.max())))


def rescaled(stored: np.ndarray, rescale: list[tuple[float, float]]) -> np.ndarray:
    """Apply slope and intercept, slice by slice; whole numbers stay whole where they can."""
    slope, intercept = rescale[0]
    if len(set(rescale)) == 1 and slope == 1 and float(intercept).is_integer() and stored.dtype.kind in "iu":
        if intercept == 0:
            return stored
        low, high = int(stored.min()) + int(intercept), int(stored.max()) + int(intercept)
        kind = next((t for t in (np.int16, np.int32, np.int64) if np.iinfo(t).min <= low and high <= np.iinfo(t).max), None)
        if kind is not None and abs(intercept) < 2**62:  # what wraps on the way wraps back: the sums are in range
            return np.add(stored, np.array(int(intercept)).astype(kind), dtype=kind, casting="unsafe")
    values = np.empty_like(stored, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite values are refused later
        for k, (slope, intercept) in enumerate(rescale):
            values[:, :, k] = stored[:, :, k] * np.float64(slope) + np.float64(intercept)
    return values
