"""DICOM files with pydicom: one picture, one file of many frames, or a folder of slices, sorted by where they lie.

Only the elements listed here are ever read, so that names, numbers and birthdays of patients are not in memory, much less in a
message; and pydicom's own warnings, which may quote values, are silent. Messages do name the files, as the user gave them.
"""

import contextlib
import dataclasses
import math
import os
import re
import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.errors import DataError

from . import files, pixels
from .grids import Volume, affine_of, check_affine
from .slices import Plane, arranged, as_ras, check_alike

__all__ = ["read", "read_series"]

_GEOMETRY = [
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing",
    "SliceThickness", "SpacingBetweenSlices", "GridFrameOffsetVector",
]  # fmt: skip
_PIXELS = [
    "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter",
    "WindowWidth", "RedPaletteColorLookupTableDescriptor", "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor", "RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData", "SegmentedRedPaletteColorLookupTableData", "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData", "DoseGridScaling", "SegmentSequence",
]  # fmt: skip
_FRAMES = ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"]
_TAGS = ["SOPClassUID", "SeriesInstanceUID", "Modality", *_GEOMETRY, *_PIXELS, *_FRAMES]
_DATA = ["PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"]

_MODALITY = re.compile(r"[A-Z]{2,16}")  # a code; anything else could be free text
_UID = re.compile(r"[0-9.]{1,64}")
_ENDINGS = (".dcm", ".dicom", ".ima")
_LOCK = threading.RLock()  # warning filters and pydicom's settings belong to the whole process

_NO_IMAGE = {
    "SR": "a structured report", "RTPLAN": "a treatment plan", "RTSTRUCT": "contours of structures", "PR": "a presentation state",
    "KO": "a selection of key objects", "ECG": "a waveform", "HD": "a waveform", "EPS": "a waveform", "AU": "sound",
    "REG": "a registration", "DOC": "a document", "RTRECORD": "a treatment record",
}  # fmt: skip


# ---------------------------------------------------------------- what there is to read
def read(path: Path) -> Volume:
    """Read one DICOM file: a picture, or a volume where it has several frames.

    Parameters
    ----------
    path : Path
        The file, with or without DICOM's preamble.

    Returns
    -------
    Volume
        "2d" `(rows, columns)` or "3d" `(columns, rows, slices)`; colour last. Values are rescaled (for CT to Hounsfield units),
        and MONOCHROME1 is inverted.

    Raises
    ------
    DataError
        If it holds no image, is damaged, or cannot be decompressed with the packages that are installed.

    Examples
    --------
    >>> from pydicom.data import get_testdata_file
    >>> read(Path(get_testdata_file("CT_small.dcm", download=False)))
    Volume(2d, 128 x 128, int16, 0.6615 x 0.6615 mm, PLS, CT)
    """
    header = _header(path)
    if not _has_image(header):
        raise DataError(_no_image(path, header))
    count = _frame_count(str(path), header)
    _check_size(path, header, count)
    if count == 1:
        return _picture(path, _planes(path, header, 1)[0])
    return _frames(path, header, count)


def read_series(paths: Sequence[Path], name: str, series: str | None = None) -> Volume:
    """Read one series from files, each with one slice, in any order and among others.

    Parameters
    ----------
    paths : sequence of Path
        Files of any kind; what is no image is left out with a note.
    name : str
        What to call them together, in messages: the folder.
    series : str, optional
        The UID of the series to take, needed where there are several.

    Returns
    -------
    Volume
        "3d" `(columns, rows, slices)`, the slices by their position in the patient; "2d" if there is but one.

    Raises
    ------
    DataError
        If there is no series or more than one, or if slices are missing, double, or do not belong together.
    """
    chosen, notes = _chosen(paths, name, series)
    if len(chosen) == 1:
        volume = read(chosen[0][0])
        return dataclasses.replace(volume, notes=(*notes, *volume.notes))
    several = [path for path, header in chosen if _frame_count(str(path), header) > 1]
    if several:
        raise DataError(
            f"{name} holds {len(chosen)} files of one series, of which {several[0]} alone has many frames. Read them one by one."
        )
    planes = [_planes(path, header, 1)[0] for path, header in chosen]
    check_alike(name, planes)
    order, affine, more = arranged(name, planes)
    planes = [planes[k] for k in order]
    volume = _filled(name, planes, (_stored(chosen[k][0]) for k in order), affine, placed=True)
    return dataclasses.replace(volume, modality=_modality(chosen[0][1]), notes=(*notes, *more, *volume.notes))


def _picture(path: Path, plane: Plane) -> Volume:
    stored, header = _stored(path)
    values, window, notes = _meant(stored[:, :, None], [plane], header)
    affine, placed, more = _picture_affine(plane, header)
    return Volume(values[:, :, 0], affine, "2d", placed, _modality(header), window, (*more, *notes))


def _frames(path: Path, header: Any, count: int) -> Volume:
    name, planes = str(path), _planes(path, header, count)
    if "SegmentSequence" in header and len(header.SegmentSequence) > 1:
        raise DataError(
            f"{name} is a DICOM segmentation of {len(header.SegmentSequence)} structures, whose frames are masks of one each. "
            "Expected one structure. Convert it to a NIfTI label map first, for instance with dcmqi."
        )
    placed = all(plane.position is not None and plane.orientation is not None and plane.spacing for plane in planes)
    if placed:
        check_alike(name, planes)
        order, affine, notes = arranged(name, planes)
    else:
        order, (affine, notes) = list(range(count)), _loose(planes[0], header, count)
    stored, header = _stored(path)
    volume = _filled(name, [planes[k] for k in order], ((stored[k], header) for k in order), affine, placed=placed)
    return dataclasses.replace(volume, modality=_modality(header), notes=(*notes, *volume.notes))


def _filled(
    name: str, planes: list[Plane], slices: Iterator[tuple[np.ndarray, Any]], affine: np.ndarray, *, placed: bool
) -> Volume:
    """Gather slices that are decoded one after another."""
    stack, header = np.empty(0), None
    for k, (stored, last) in enumerate(slices):
        header = last
        sheet = np.swapaxes(stored, 0, 1)
        if k == 0:
            shape = (*sheet.shape[:2], len(planes), *sheet.shape[2:])
            files.check_memory(name, shape, 2 * sheet.dtype.itemsize)
            stack = np.empty(shape, dtype=sheet.dtype, order="F")
        stack = stack.astype(np.result_type(stack, sheet), copy=False)  # compressed slices may differ in their types
        stack[:, :, k] = sheet
    values, window, notes = _meant(stack, planes, header)
    return Volume(values, affine, "3d", placed, "", window, tuple(notes))


# ---------------------------------------------------------------- a folder
def _chosen(paths: Sequence[Path], name: str, series: str | None) -> tuple[list[tuple[Path, Any]], list[str]]:
    """Return the files of one series with their headers, and notes on what was left out."""
    found: dict[str, list[tuple[Path, Any]]] = {}
    others: Counter[str] = Counter()
    strangers = 0
    for path in paths:
        if path.name == "DICOMDIR":
            continue
        if os.path.getsize(path) == 0 or files.sniff(path) != "dicom":
            if path.suffix.lower() in _ENDINGS:
                raise DataError(
                    f"{path} is called like a DICOM file, but is none: empty, or damaged. Get it again, or take it away."
                )
            strangers += 1
            continue
        header = _header(path)
        if _has_image(header):
            found.setdefault(str(header.get("SeriesInstanceUID", "") or ""), []).append((path, header))
        else:
            others[_modality(header) or "unknown"] += 1
    notes = [f"{strangers} files that are no DICOM were left out."] if strangers else []
    if others:
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(others.items()))
        notes.append(f"DICOM files without an image were left out: {kinds}.")
    return _one_series(found, name, series, notes), notes


def _one_series(
    found: dict[str, list[tuple[Path, Any]]], name: str, series: str | None, notes: list[str]
) -> list[tuple[Path, Any]]:
    if not found:
        raise DataError(f"{name} holds no DICOM image. {' '.join(notes)} Expected the files of one series.".replace("  ", " "))
    if series is None and len(found) == 1:
        return next(iter(found.values()))
    if series in found:
        return found[str(series)]
    listed = "; ".join(f"{uid if _UID.fullmatch(uid) else '(no UID)'}: {_told(group)}" for uid, group in sorted(found.items()))
    happened = f"{name} holds {len(found)} series" if series is None else f"{name} holds no series {series!r}"
    raise DataError(f"{happened}. Choose one of them with series=…: {listed}.")


def _told(group: list[tuple[Path, Any]]) -> str:
    header = group[0][1]
    return f"{len(group)} files, {_modality(header) or 'unknown'}, {header.Columns} x {header.Rows} pixels"


def _modality(header: Any) -> str:
    code = str(header.get("Modality", "") or "")
    return code if _MODALITY.fullmatch(code) else ""


# ---------------------------------------------------------------- headers
@contextlib.contextmanager
def _silent() -> Iterator[Any]:
    """Give pydicom, with its checks of values off: what they find is quoted in warnings and in its log."""
    pydicom = load_framework("pydicom")
    with _LOCK, files.hushed("pydicom"), warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        yield pydicom


@contextlib.contextmanager
def _understood(name: str) -> Iterator[None]:
    """Turn what a damaged header makes pydicom raise into DataError, without its words and the chain: they may quote the file."""
    try:
        yield
    except (DataError, ImportError, MemoryError):
        raise
    except Exception as error:
        kind = type(error).__name__
        raise DataError(f"{name} is damaged or cut off: its DICOM header cannot be read ({kind}). Get it again.") from None


def _header(path: Path, *, whole: bool = False) -> Any:
    tags = [*_TAGS, *_DATA] if whole else _TAGS
    with _silent() as pydicom, _understood(str(path)):
        header = pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=not whole, force=True)
        for keyword in tags:
            header.get(keyword)  # turns bytes into values, which may fail
        _complete(pydicom, header)
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel"):
        if not isinstance(header.get(keyword) or 0, int):
            raise DataError(f"{path} has a damaged header: its {keyword} is no number. Get it again.")
    return header


def _complete(pydicom: Any, header: Any) -> None:
    """Name the transfer syntax of a file that has lost the beginning where it stands."""
    meta = getattr(header, "file_meta", None)
    if meta is None:
        meta = header.file_meta = pydicom.dataset.FileMetaDataset()
    if not meta.get("TransferSyntaxUID"):
        implicit, little = header.original_encoding
        uid = pydicom.uid
        known = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        meta.TransferSyntaxUID = known
    if not isinstance(meta.TransferSyntaxUID, pydicom.uid.UID):
        raise ValueError("there are several transfer syntaxes")


def _has_image(header: Any) -> bool:
    return bool(header.get("Rows") and header.get("Columns") and header.get("BitsAllocated"))


def _no_image(path: Path, header: Any) -> str:
    code = _modality(header)
    what = f"its modality is {code}, {_NO_IMAGE[code]}" if code in _NO_IMAGE else f"its modality is {code or 'not told'}"
    return f"{path} is a DICOM file without an image: {what}. Expected a file with pixels. Leave it out."


def _frame_count(name: str, header: Any) -> int:
    count = header.get("NumberOfFrames") or 1
    try:
        whole = int(count)
    except (TypeError, ValueError):
        whole = 0
    if not 1 <= whole <= 2**24:
        raise DataError(f"{name} does not say in a number how many frames it has. Its header is damaged: get it again.")
    return whole


def _planes(path: Path, header: Any, count: int) -> list[Plane]:
    """Return what the header says of each frame; what it says once counts for all."""
    name = str(path)
    with _silent(), _understood(name):
        shared = _first(header, "SharedFunctionalGroupsSequence")
        each = header.get("PerFrameFunctionalGroupsSequence") or []
        if len(each) != count:  # frames were taken out of the file: which of the descriptions are left is not to be known
            each = [None] * count
        names = [name] if count == 1 else [f"{name}, frame {k + 1}" for k in range(count)]
        offsets = _offsets(name, header, count)
        return [_plane(names[k], header, shared, each[k], offsets[k]) for k in range(count)]


def _plane(name: str, header: Any, shared: Any, own: Any, offset: float | None) -> Plane:
    def group(keyword: str) -> Any:
        return _first(own, keyword) or _first(shared, keyword) or header

    measures, values, view = (
        group("PixelMeasuresSequence"),
        group("PixelValueTransformationSequence"),
        group("FrameVOILUTSequence"),
    )
    orientation = _numbers(name, group("PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    position = _numbers(name, group("PlanePositionSequence"), "ImagePositionPatient", 3)
    if (
        position is not None
        and group("PlanePositionSequence") is header
        and "NumberOfFrames" in header
        and int(header.NumberOfFrames or 1) > 1
    ):
        position = (
            None if offset is None or orientation is None else position + offset * np.cross(orientation[:3], orientation[3:])
        )
    spacing = _spacing(name, measures)
    thickness = _number(name, measures, "SliceThickness")
    slope, intercept = _number(name, values, "RescaleSlope"), _number(name, values, "RescaleIntercept")
    return Plane(
        name,
        (int(header.Rows), int(header.Columns)),
        (int(header.get("SamplesPerPixel") or 1), str(header.get("PhotometricInterpretation") or "")),
        position,
        None if orientation is None else _checked_orientation(name, orientation),
        spacing,
        thickness if thickness and thickness > 0 else None,
        (1.0 if slope is None else slope, 0.0 if intercept is None else intercept),
        _window(name, view),
    )


def _first(dataset: Any, keyword: str) -> Any:
    sequence = None if dataset is None else dataset.get(keyword)
    return sequence[0] if sequence else None


def _offsets(name: str, header: Any, count: int) -> list[float | None]:
    """Return how far the frames of a dose lie from the first, along the normal."""
    offsets = _numbers(name, header, "GridFrameOffsetVector", count) if count > 1 else None
    return [None] * count if offsets is None else [float(offset - offsets[0]) for offset in offsets]


def _numbers(name: str, dataset: Any, keyword: str, count: int) -> np.ndarray | None:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    try:
        numbers = np.atleast_1d(np.asarray(value, dtype=float))
    except (TypeError, ValueError):
        numbers = np.full(0, np.nan)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise DataError(f"{name} has a damaged {keyword}: expected {count} numbers. Get it again, or leave it out.")
    return numbers


def _number(name: str, dataset: Any, keyword: str) -> float | None:
    numbers = _numbers(name, dataset, keyword, 1)
    return None if numbers is None else float(numbers[0])


def _spacing(name: str, dataset: Any, keyword: str = "PixelSpacing") -> tuple[float, float] | None:
    numbers = _numbers(name, dataset, keyword, 2)
    if numbers is None:
        return None
    if numbers.min() <= 0:
        raise DataError(
            f"{name} gives a pixel the size {numbers[0]:g} x {numbers[1]:g} mm ({keyword}). Expected numbers above 0. Correct "
            "the header."
        )
    return float(numbers[0]), float(numbers[1])


def _window(name: str, dataset: Any) -> tuple[float, float] | None:
    """Return the first centre and width, if there are any one can look with."""
    pair = []
    for keyword in ("WindowCenter", "WindowWidth"):
        value = dataset.get(keyword)
        first = value[0] if isinstance(value, Sequence) and not isinstance(value, str) and len(value) else value
        try:
            pair.append(float(first))
        except (TypeError, ValueError):
            return None
    return (pair[0], pair[1]) if math.isfinite(pair[0]) and 0 < pair[1] < math.inf else None


def _checked_orientation(name: str, orientation: np.ndarray) -> np.ndarray:
    along, down = orientation[:3], orientation[3:]
    if abs(np.linalg.norm(along) - 1) > 0.01 or abs(np.linalg.norm(down) - 1) > 0.01 or abs(along @ down) > 0.01:
        raise DataError(
            f"{name} has a damaged ImageOrientationPatient: expected two directions of length 1 at a right angle. Correct the "
            "header."
        )
    return orientation


# ---------------------------------------------------------------- slices in their places
def _picture_affine(plane: Plane, header: Any) -> tuple[np.ndarray, bool, list[str]]:
    """Return the affine of one picture `(rows, columns)`, whether it is placed, and notes."""
    if plane.position is not None and plane.orientation is not None and plane.spacing is not None:
        along, down = np.split(plane.orientation, 2)
        across = np.cross(along, down) * (plane.thickness or 1.0)
        lps = np.column_stack([down * plane.spacing[0], along * plane.spacing[1], across, plane.position])
        return check_affine(plane.name, as_ras(lps)), True, []
    if plane.spacing is not None:
        return affine_of(plane.spacing), False, ["The file does not say where the picture lies in the patient."]
    for keyword, where in (("ImagerPixelSpacing", "at the detector"), ("NominalScannedPixelSpacing", "of the scanned film")):
        spacing = _spacing(plane.name, header, keyword)
        if spacing is not None:
            return affine_of(spacing), False, [f"The size of a pixel is that {where} ({keyword}), not in the patient."]
    return affine_of([1, 1]), False, ["The file does not say how large a pixel is, nor where the picture lies in the patient."]


def _loose(plane: Plane, header: Any, count: int) -> tuple[np.ndarray, list[str]]:
    between = _number(plane.name, header, "SpacingBetweenSlices")
    rows, columns = plane.spacing or (1.0, 1.0)
    note = f"The {count} frames do not say where they lie; they were taken in their order, and may be moments rather than slices."
    return affine_of([columns, rows, between if between and between > 0 else 1.0]), [note]


# ---------------------------------------------------------------- pixels
def _stored(path: Path) -> tuple[np.ndarray, Any]:
    """Decode the pixels of a file: as stored, colours as RGB; return the header, too."""
    header = _header(path, whole=True)
    if not any(keyword in header for keyword in _DATA[:3]):
        raise DataError(f"{path} is a DICOM file whose pixels are missing. Get it again.")
    _check_size(path, header, _frame_count(str(path), header))
    with _silent() as pydicom:
        return pixels.decode(pydicom, path, header), header


def _check_size(path: Path, header: Any, count: int) -> None:
    """Refuse what cannot be, before room is made for it."""
    if count > files.size(path):
        raise DataError(f"{path} announces {count:,} frames, more than it has bytes. Its header is damaged: get it again.")
    shape = (count, int(header.Rows), int(header.Columns), int(header.get("SamplesPerPixel") or 1))
    files.check_memory(str(path), shape, max(1, int(header.BitsAllocated) // 8))


def _meant(stored: np.ndarray, planes: list[Plane], header: Any) -> tuple[np.ndarray, tuple[float, float] | None, list[str]]:
    """Turn stored values `(…, …, slices)` into what they mean: more is brighter, and units are the modality's."""
    if stored.ndim == 4:  # colours
        return stored, None, []
    notes, window = [], planes[len(planes) // 2].window
    if planes[0].colours[1] == "MONOCHROME1":
        top = pixels.top(stored, header)
        stored = np.subtract(top, stored, dtype=stored.dtype, casting="unsafe")
        slope, intercept = planes[0].rescale
        window = None if window is None else (slope * float(top) + 2 * intercept - window[0], window[1])
        notes.append("The values were inverted, so that more is brighter (MONOCHROME1).")
    scaling = _number(planes[0].name, header, "DoseGridScaling")
    if scaling is not None:
        notes.append(f"The values are stored doses; times {scaling:g} they are in the units the file declares.")
    rescale = [(1.0, 0.0)] * len(planes) if "ModalityLUTSequence" in header else [plane.rescale for plane in planes]
    return pixels.rescaled(stored, rescale), window, notes
