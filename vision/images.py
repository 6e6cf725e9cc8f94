"""Reading images: paths, PIL images and arrays of any usual kind become pixel batches of one size.

A decoded sample is an array `(height, width, channels)`: uint8 where the source has eight bits, float32 with the source's own
values otherwise (16-bit files, float arrays). `Reader` learns from the training images which size, channels and value range to
bring them to; pixels handed to a network are float32 from 0 to 255.
"""

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipelines import checks
from pipelines.errors import DataError, ParameterError

from . import registration

__all__ = [
    "CACHE_BYTES",
    "THREADS",
    "Reader",
    "WholeReader",
    "asked_size",
    "check",
    "decode",
    "decoded",
    "learn",
    "learn_whole",
    "load",
    "open_file",
    "png",
    "resize",
    "size_of",
]

CACHE_BYTES = 2**30  # training images that fit are decoded once; more are read again every epoch
_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright, 5 to 8 lie on a side
_WIDE = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_LAZY = threading.Lock()
THREADS = min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


@dataclass(frozen=True)
class Reader:
    """How any accepted sample becomes pixels: the learned size `(height, width)`, channels and value range.

    Examples
    --------
    >>> Reader((1, 2), 1, (0.0, 1.0))(np.array([[[[0.0], [1.0]]]], dtype=np.float32), np.array([0])).tolist()
    [[[[0.0], [255.0]]]]
    """

    size: tuple[int, int]
    channels: int
    values: tuple[float, float] = (0.0, 255.0)

    def __call__(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Return the pixels `(len(rows), height, width, channels)` of the samples `X[rows]`."""
        if isinstance(X, np.ndarray) and X.shape[1:] == (*self.size, self.channels):
            return self.pixels(X[rows], rows)
        images = [load(X[i], int(i), self.size, self.channels) for i in rows]
        if all(image.dtype == np.uint8 for image in images):
            return np.stack(images, dtype=np.float32)
        return np.concatenate([self.pixels(image[None], rows[k : k + 1]) for k, image in enumerate(images)])

    def pixels(self, images: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Map the values of the samples `rows` to 0–255 as float32; eight-bit images are there already."""
        return _pixels(images, rows, self.values)


@dataclass(frozen=True)
class WholeReader:
    """How any accepted sample becomes pixels at its own size: the learned channels and value range, and how far it is moved.

    Examples
    --------
    >>> WholeReader(1, (0.0, 1.0))([np.array([[0.0, 1.0]])], 0)[0, 1]
    array([255.], dtype=float32)
    """

    channels: int
    values: tuple[float, float] = (0.0, 255.0)
    displacement: tuple[float, float] = (0.0, 0.0)

    def __call__(self, X: Any, i: int) -> np.ndarray:
        """Return the pixels `(height, width, channels)` of the sample `X[i]`, unmoved ones of eight bits as uint8."""
        image = load(X[i], i, None, self.channels)
        image = image if image.dtype == np.uint8 else _pixels(image[None], np.array([i]), self.values)[0]
        return registration.moved(image, self.displacement) if any(self.displacement) else image


def _pixels(images: np.ndarray, rows: np.ndarray, values: tuple[float, float]) -> np.ndarray:
    """Map the values of the samples `rows` from the range `values` to 0–255."""
    if images.dtype == np.uint8:
        return images.astype(np.float32)
    low, high = values
    lows, highs = (edge(images, axis=(1, 2, 3)) for edge in (np.min, np.max))
    odd = (lows < low - (high - low)) | (highs > high + (high - low))  # more than one range away: other units
    if values == (0.0, 255.0) and highs.max() <= 1:  # from 0 to 1: in other units, too, unless all is black
        odd |= highs > 0
    if odd.any():
        k = int(np.argmax(odd))
        raise DataError(
            f"Sample {rows[k]} has values from {lows[k]:g} to {highs[k]:g}, but the training images had {low:g} to {high:g}. "
            "Scale it as the training images were scaled."
        )
    return (images.astype(np.float32) - low) * (255 / (high - low))


# ---------------------------------------------------------------- one image
def load(sample: Any, index: int, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """Decode one sample, bring it to a number of channels and, if one is given, to a size; errors name both index and file."""
    return _grey_or_colour(_guarded(decode, sample, index, size), channels)


def decode(sample: Any, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decode one sample upright, transparency on white.

    Parameters
    ----------
    sample : path, PIL image or array
        An array is `(height, width)` or `(height, width, channels)` with 1, 3 or 4 channels.
    size : (height, width), optional
        What to resize it to. JPEG files much larger than this are decoded at a fraction of their size, which is quicker.

    Returns
    -------
    ndarray, (height, width, 1 or 3)
        uint8, or float32 with the source's values where it has more than eight bits.

    Raises
    ------
    DataError
        If the sample cannot be read as an image; the message does not know the index yet.

    Examples
    --------
    >>> decode(Image.new("RGBA", (4, 2), (0, 0, 0, 0)))[0, 0]
    array([255, 255, 255], dtype=uint8)
    """
    if isinstance(sample, Image.Image):
        with _LAZY:  # one image opened but not yet read may stand for several samples
            sample.load()
        return _from_pil(sample, size)
    if isinstance(sample, (str, os.PathLike)):
        with open_file(sample) as image:
            if size is not None and image.format == "JPEG":
                image.draft(None, (max(size), max(size)))  # a square, as the picture may be turned later
            return _from_pil(image, size)
    array = _from_array(sample)
    return array if size is None or size == array.shape[:2] else resize(array, size)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize `(height, width, channels)` bilinearly, smoothing where it shrinks."""
    planes = [image] if image.dtype == np.uint8 and image.shape[2] == 3 else np.moveaxis(image, 2, 0)
    resized = [np.asarray(Image.fromarray(np.ascontiguousarray(p)).resize(size[::-1], Image.Resampling.BILINEAR)) for p in planes]
    return resized[0] if resized[0].ndim == 3 else np.stack(resized, axis=2)


def png(image: np.ndarray) -> bytes:
    """Encode a decoded image as PNG, its values stretched to eight bits where it has more."""
    if image.dtype != np.uint8:
        span = float(np.ptp(image)) or 1.0
        image = np.rint((image - image.min()) * (255 / span)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def open_file(path: str | os.PathLike[str]) -> Image.Image:
    """Open an image file without decoding it; DataError, which says what is wrong with "it", if that cannot be done."""
    if os.path.isdir(path):  # not pathlib, which interns the parts of each of many paths
        raise DataError("is a folder, not an image file")
    try:
        if os.path.getsize(path) == 0:
            raise DataError("is an empty file")
        image = Image.open(path)
    except FileNotFoundError as error:
        raise DataError("does not exist") from error
    except UnidentifiedImageError as error:
        raise DataError("is no image Pillow can read (`pipelines doctor` lists the formats)") from error
    limit = Image.MAX_IMAGE_PIXELS
    if limit and image.width * image.height > limit:
        image.close()
        raise DataError(
            f"has {image.width} x {image.height} pixels, more than the limit of {limit:,} that guards against decompression "
            "bombs (raise PIL.Image.MAX_IMAGE_PIXELS if it is meant)"
        )
    return image


def _from_pil(image: Image.Image, size: tuple[int, int] | None) -> np.ndarray:
    if 0 in image.size:
        raise DataError(f"has no pixels: its size is {image.width} x {image.height}")
    plain = image.format == "JPEG" and "exif" not in image.info  # asking Pillow takes time, too
    if not plain and image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode in _WIDE:
        wide = np.asarray(image, dtype=np.float32)[:, :, None]
        return wide if size is None or size == wide.shape[:2] else resize(wide, size)
    image = _grey_or_rgb(image)
    if size is not None and size[::-1] != image.size:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    array = np.asarray(image)
    return array[:, :, None] if array.ndim == 2 else array


def _grey_or_rgb(image: Image.Image) -> Image.Image:
    mode = "L" if image.mode in ("1", "L") else "RGB"
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    return image if image.mode == mode else image.convert(mode)


def _from_array(sample: Any) -> np.ndarray:
    if not hasattr(sample, "__array__"):
        raise DataError(f"is of type {type(sample).__name__}; expected a path, a PIL image or an array")
    array = np.asarray(sample)
    _check_dtype(array)
    if array.ndim not in (2, 3):
        raise DataError(f"is an array of {array.ndim} dimensions, shape {array.shape}; expected (H, W) or (H, W, C)")
    array = array[:, :, None] if array.ndim == 2 else array
    _check_shape(array.shape)
    values = _values(array)
    if values.shape[2] != 4:
        return values
    full = 255.0 if values.dtype == np.uint8 else _full_scale(array)
    alpha = values[:, :, 3:] / full
    mixed = values[:, :, :3] * alpha + full * (1 - alpha)
    return np.rint(mixed).astype(np.uint8) if values.dtype == np.uint8 else mixed.astype(np.float32)


def _full_scale(array: np.ndarray) -> float:
    if array.dtype == np.uint16:
        return 65535.0
    return 1.0 if array.max() <= 1 else 255.0


def _values(array: np.ndarray) -> np.ndarray:
    """Return uint8 as it is, booleans as black and white, everything else as finite float32."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes inf and is named below
        values = array.astype(np.float32)
    if not np.isfinite(values).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise DataError(f"has the value {values[where]} at position {where}; every pixel must be finite")
    return values


def _check_dtype(array: np.ndarray) -> None:
    if array.dtype.kind not in "buif":
        raise DataError(f"has the dtype {array.dtype}; expected whole numbers, floats or booleans")


def _check_shape(shape: tuple[int, ...]) -> None:
    height, _, channels = shape
    if 0 in shape:
        raise DataError(f"has no pixels: its shape is {shape}")
    if channels not in (1, 3, 4):
        hint = " (move the channels last with np.moveaxis(image, 0, -1))" if height in (1, 3, 4) else ""
        raise DataError(f"has {channels} channels (shape {shape}); expected 1, 3 or 4 in the last place{hint}")


def _grey_or_colour(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    grey = image @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32)  # ITU-R 601, as Pillow does
    return np.rint(grey).astype(np.uint8) if image.dtype == np.uint8 else grey


def _guarded(action: Callable[..., Any], sample: Any, index: int, *options: Any) -> Any:
    """Run `action(sample)`, turning whatever Pillow raises into a DataError that names the sample."""
    try:
        return action(sample, *options)
    except DataError as error:
        raise DataError(f"{_name(sample, index)} {error}.") from error
    except Exception as error:  # Pillow's plug-ins raise nearly anything for damaged files, struct.error and TypeError among it
        raise DataError(f"{_name(sample, index)} cannot be decoded: {str(error).rstrip('.')}.") from error


def _name(sample: Any, index: int) -> str:
    return f"Sample {index} ({sample})" if isinstance(sample, (str, os.PathLike)) else f"Sample {index}"


# ---------------------------------------------------------------- all images
def check(X: Any) -> Any:
    """Check every sample quickly: arrays whole, files by header and end, and wholly only where the end looks cut off.

    Returns
    -------
    list or ndarray
        `X`, an array as `(n, height, width, channels)`.

    Raises
    ------
    DataError
        Naming the first unreadable samples and how many there are.
    """
    if isinstance(X, np.ndarray):
        return _check_block(X)
    _check_column(X)
    _raise_first(_in_threads(lambda i: _attempt(_guarded, _probe, X[i], i), len(X)), len(X))
    return X


def _probe(sample: Any) -> np.ndarray:
    if not isinstance(sample, (str, os.PathLike)):
        return decode(sample)
    with open_file(sample) as image:
        whole = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "")
    with open(sample, "rb") as file:
        file.seek(-min(32, os.path.getsize(sample)), os.SEEK_END)
        if whole is None or whole not in file.read():
            decode(sample)
    return np.empty(0)


def learn(X: Any, size: tuple[int, int] | None, channels: int | None, choose: Callable[[list], tuple]) -> tuple[Any, Reader]:
    """Decode all training images once, and learn from them how to read others.

    Parameters
    ----------
    X : list or ndarray
        Samples.
    size : (height, width), optional
        Given, or None to ask `choose`.
    channels : int, optional
        Given, or None for 1 where every image is grey and 3 otherwise.
    choose : callable
        Takes the list of the images' (height, width) and returns the size to use.

    Returns
    -------
    X, reader : tuple
        The decoded images as one array where they fit into `CACHE_BYTES`, else `X` itself; and the reader.

    Raises
    ------
    DataError
        Naming the first unreadable samples and how many there are.
    """
    X, shapes = _surveyed(X)
    size = size or choose([shape[:2] for shape in shapes])
    channels = channels or _channels(shapes)
    images, low, high = _decode_all(X, size, channels)
    return images, Reader(size, channels, _range(low, high))


def learn_whole(X: Any, channels: int | None) -> tuple[Any, WholeReader, list[tuple[int, int]]]:
    """Decode all training images once, each at its own size, and learn from them how to read others.

    Parameters
    ----------
    X : list or ndarray
        Samples.
    channels : int, optional
        Given, or None for 1 where every image is grey and 3 otherwise.

    Returns
    -------
    X, reader, sizes : tuple
        The decoded images where they fit into `CACHE_BYTES`, else `X` itself; the reader; and each image's (height, width).

    Raises
    ------
    DataError
        Naming the first unreadable samples and how many there are.
    """
    X, shapes = _surveyed(X)
    channels = channels or _channels(shapes)
    images, low, high = _decode_all(X, None, channels)
    return images, WholeReader(channels, _range(low, high)), [shape[:2] for shape in shapes]


def asked_size(image_size: Any) -> tuple[int, int] | None:
    """Return (height, width) of the parameter `image_size`, a side or a pair; ParameterError if it is neither.

    Examples
    --------
    >>> asked_size(28), asked_size([28, 32]), asked_size(None)
    ((28, 28), (28, 32), None)
    """
    if image_size is None:
        return None
    pair = image_size if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if len(pair) != 2:
        raise ParameterError(f"image_size must be a side or (height, width), but received {image_size!r}.")
    for side in pair:
        checks.number("image_size", side, 1, 10_000, integer=True)
    return int(pair[0]), int(pair[1])


def size_of(sample: Any, index: int) -> tuple[int, int]:
    """Return a sample's (height, width) upright, from the header where it is a file.

    Examples
    --------
    >>> size_of(np.zeros((2, 3)), 0)
    (2, 3)
    """
    height, width = _guarded(_shape, sample, index)[:2]
    return height, width


def _surveyed(X: Any) -> tuple[Any, list[Any]]:
    """Return the samples, an array of them as `(n, height, width, channels)`, and the shape of each."""
    if isinstance(X, np.ndarray):
        X = _check_block(X)
        return X, [X.shape[1:]] * len(X)
    _check_column(X)
    return X, list(_survey(X))


def _channels(shapes: list[Any]) -> int:
    return 1 if all(shape[2] == 1 for shape in shapes) else 3


def decoded(X: Any, reader: Reader) -> Any:
    """Return samples decoded once, where they fit into `CACHE_BYTES`; else `X` itself."""
    return _decode_all(X, reader.size, reader.channels)[0]


def _survey(X: list[Any]) -> Iterator[tuple[int, ...]]:
    """Yield the shape of every sample, from the header where it is a file."""
    shapes = list(_in_threads(lambda i: _attempt(_guarded, _shape, X[i], i), len(X)))
    _raise_first(shapes, len(X))
    return iter(shapes)


def _shape(sample: Any) -> Any:
    if not isinstance(sample, (str, os.PathLike)):
        return decode(sample).shape
    with open_file(sample) as image:
        tags = getattr(image, "tag_v2", {})  # newer versions of Pillow turn the size of TIFF files already
        width, height = tags.get(256, image.width), tags.get(257, image.height)
        if image.getexif().get(_ORIENTATION) in (5, 6, 7, 8):
            width, height = height, width
        if 0 in image.size:
            raise DataError(f"has no pixels: its size is {width} x {height}")
        return height, width, 1 if image.mode in ("1", "L", *_WIDE) else 3


def _decode_all(X: Any, size: tuple[int, int] | None, channels: int) -> tuple[Any, float, float]:
    """Decode everything once; keep it if it fits; return the extreme values of what has more than eight bits."""
    if isinstance(X, np.ndarray) and X.shape[1:] == (*(size or X.shape[1:3]), channels):
        wide = X.dtype != np.uint8
        return X, *((float(X.min()), float(X.max())) if wide else (np.inf, -np.inf))
    keep: list[np.ndarray] | None = []
    low, high, used = np.inf, -np.inf, 0
    problems: list[DataError] = []
    for image in _in_threads(lambda i: _attempt(load, X[i], i, size, channels), len(X)):
        if isinstance(image, DataError):
            problems.append(image)
            continue
        if image.dtype != np.uint8:
            low, high = min(low, float(image.min())), max(high, float(image.max()))
        used += image.nbytes
        if keep is not None:
            keep.append(image)
            keep = keep if used <= CACHE_BYTES else None
    _raise_first(problems, len(X))
    if keep is None:
        return X, low, high
    one_kind = len({(image.dtype, image.shape) for image in keep}) == 1
    return np.stack(keep) if one_kind else keep, low, high


def _range(low: float, high: float) -> tuple[float, float]:
    """Name the scale that values between `low` and `high` were most likely written in."""
    if low > high:  # eight-bit images only
        return 0.0, 255.0
    for scale in ((0.0, 1.0), (-1.0, 1.0)):
        if scale[0] <= low and high <= scale[1]:
            return scale
    if low >= 0 and 128 <= high <= 255:
        return 0.0, 255.0
    return (low, high) if high > low else (low, low + 1.0)


def _check_column(X: Any) -> None:
    if hasattr(X, "columns"):
        raise DataError(
            f"X is a table with the columns {list(X.columns)}. Pass the column that holds the images: X[{X.columns[0]!r}]."
        )


def _check_block(X: np.ndarray) -> np.ndarray:
    """Check an array of images as a whole and return it as `(n, height, width, channels)`, uint8 or float32."""
    if X.ndim not in (3, 4):
        hint = " Reshape the rows to images first." if X.ndim == 2 else ""
        hint = " Pass one image as a list: [image]." if X.ndim == 2 and min(X.shape) > 1 else hint
        raise DataError(f"X is an array of shape {X.shape}; expected (n, H, W) or (n, H, W, C).{hint}")
    if X.ndim == 3 and X.shape[2] in (3, 4) and X.shape[1] > 4:
        raise DataError(f"X, an array of shape {X.shape}, looks like one colour image. Pass it as a list: [image].")
    block = X[..., None] if X.ndim == 3 else X
    try:
        _check_dtype(block)
        _check_shape(block.shape[1:])
    except DataError as error:
        raise DataError(f"Every image of X {error}.") from error
    if block.dtype == np.uint8 and block.shape[3] != 4:
        return block
    if block.shape[3] == 4:
        return np.stack([_guarded(decode, image, i) for i, image in enumerate(block)])
    return np.stack([_guarded(_values, image, i) for i, image in enumerate(block)])


def _attempt(action: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result or the DataError, so that one bad file does not hide the others."""
    try:
        return action(*arguments)
    except DataError as error:
        return error


def _raise_first(results: Iterable[Any], n: int) -> None:
    problems = [result for result in results if isinstance(result, DataError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        shown = "\n  ".join(str(problem) for problem in problems[:5])
        more = f"\n  … and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise DataError(f"{len(problems)} of {n} samples cannot be used:\n  {shown}{more}")


def _in_threads(action: Callable[[int], Any], n: int) -> Iterator[Any]:
    """Yield `action(i)` in order; Pillow decodes outside the interpreter lock, so threads do help."""

    def portion(start: int) -> list[Any]:
        return [action(i) for i in range(start, min(start + 32, n))]

    with ThreadPoolExecutor(THREADS, thread_name_prefix="images") as pool:
        for start in range(0, n, 1024):  # results of many files do not pile up
            for results in pool.map(portion, range(start, min(start + 1024, n), 32)):
                yield from results
