"""Reading audio: files of any usual kind and arrays become one channel at 16 kHz.

Files are decoded by PyAV, which brings FFmpeg's libraries with it: no program has to be installed. Channels are averaged before
the rate is changed; libav's own way to one channel makes stereo 1.41 times too loud. What a coder puts before and after the sound
(mp3, aac, opus) is cut off where the file tells it, so that lengths are exact.
"""

import contextlib
import io
import itertools
import numbers
import os
import stat
import warnings
import wave
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.errors import DataError, ParameterError

__all__ = ["SAMPLE_RATE", "blocks", "read", "resampled"]

SAMPLE_RATE = 16_000
"""Samples a second of everything in this package."""

_LOUDEST = 4.0  # beyond it values are no overshoots of a full scale of 1, but of another scale
_RATES = (1_000, 1_000_000)  # outside, a rate is an error: kilohertz, or a length
_SHORT_FILE = 2**21  # bytes of a WAV file that is read at once
_PIECE = 2**18  # samples worked on together
_MOST_CHANNELS = 64
_TOO_MANY_PLANES = 8  # PyAV 18 looks for one plane more than there are, and crashes where libav's list ends without a mark

_SOURCES = (
    "Expected the path of an audio or video file, an array (samples,) or (samples, channels) at 16 kHz, "
    'a pair (array, sample_rate), or a dict {"array": …, "sampling_rate": …}'
)
_TO_FLOAT = "Turn the samples into float32 from -1 to 1, or int16"

Piece = tuple[np.ndarray, int]  # (samples,) float32 and their rate


def read(source: Any) -> np.ndarray:
    """Read audio as one channel at 16 kHz.

    Parameters
    ----------
    source : path, array, pair or dict
        An audio file, or a video file, whose default sound track is taken; an array `(samples,)` or `(samples, channels)` at
        16 kHz; a pair `(array, sample_rate)`; or a dict as the `datasets` library gives it. Floats are from -1 to 1; whole
        numbers (uint8, int8, int16, int32) are scaled by their type. Sound that starts later than the pictures of a video begins
        with silence, so that times are those of the video.

    Returns
    -------
    ndarray, (samples,)
        float32 from -1 to 1; what is slightly louder is clipped.

    Raises
    ------
    DataError
        If there is no sound to be had: no such file, not audio, no samples, NaN, an unknown scale; the message names the file.

    Warns
    -----
    UserWarning
        If a file is damaged or cut off; what can be decoded of it is returned.

    Examples
    --------
    >>> read((np.zeros((8000, 2), dtype=np.int16), 8000)).shape
    (16000,)
    """
    parts = list(_waves(source))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def blocks(source: Any, seconds: float) -> Iterator[np.ndarray]:
    """Read audio block by block, so that hours of it need little memory.

    Parameters
    ----------
    source : path, array, pair or dict
        As in `read`.
    seconds : float
        Length of a block; the last one may be shorter.

    Yields
    ------
    ndarray, (samples,)
        As in `read`: the blocks together are what it returns, bit for bit.

    Raises
    ------
    DataError
        As in `read`, when the place is reached.
    ParameterError
        If `seconds` is no positive number.

    Examples
    --------
    >>> [len(block) for block in blocks(np.zeros(40_000, dtype=np.float32), seconds=1)]
    [16000, 16000, 8000]
    """
    if isinstance(seconds, bool) or not isinstance(seconds, numbers.Real) or not 1 <= seconds * SAMPLE_RATE < float("inf"):
        raise ParameterError(f"seconds must be a positive number, the length of a block, but is {seconds!r}.")
    return _cut(_waves(source), round(seconds * SAMPLE_RATE))


def resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Bring one channel to 16 kHz.

    Parameters
    ----------
    samples : ndarray, (samples,)
        float32.
    rate : int
        Samples a second.

    Returns
    -------
    ndarray, (samples * 16000 / rate,)
        The length is rounded to the nearest.

    Examples
    --------
    >>> resampled(np.zeros(44_100, dtype=np.float32), 44_100).shape
    (16000,)
    """
    return np.concatenate(list(_at_rate([(samples, rate)])))


def _waves(source: Any) -> Iterator[np.ndarray]:
    """Yield the parts of the audio at 16 kHz, none of them empty."""
    name, pieces = _pieces(source)
    empty = True
    for part in _at_rate(_mono(name, pieces)):
        if len(part):
            empty = False
            yield np.clip(part, -1, 1)
    if empty:
        raise DataError(f"{name} holds no samples: there is nothing to hear. Leave it out.")


def _cut(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    count = 0
    for part in parts:
        held.append(part)
        count += len(part)
        if count >= size:
            whole = np.concatenate(held)
            for start in range(0, count - size + 1, size):
                yield whole[start : start + size].copy()  # a view would keep the whole alive
            held, count = [whole[count - count % size :]], count % size
    if count:
        yield np.concatenate(held)


def _pieces(source: Any) -> tuple[str, Iterator[Piece]]:
    """Return what to call the source, and an iterator over its pieces `(channels, samples)` of any type and rate."""
    if isinstance(source, (str, os.PathLike)):
        return str(source), _file(str(source))
    if isinstance(source, Mapping):
        return _from_dict(source)
    if hasattr(source, "get_all_samples"):  # torchcodec's AudioDecoder, which the datasets library gives since version 4
        found = source.get_all_samples()
        return _ARRAY, _array(np.asarray(found.data).T, found.sample_rate)
    if _is_pair(source):
        return _ARRAY, _array(*source)
    return _ARRAY, _array(source, SAMPLE_RATE)


# ---------------------------------------------------------------- arrays
_ARRAY = "The audio"


def _is_pair(source: Any) -> bool:
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        return False
    samples, rate = source
    return (isinstance(samples, (list, tuple)) or getattr(samples, "ndim", 0) > 0) and np.ndim(rate) == 0


def _from_dict(source: Mapping[str, Any]) -> tuple[str, Iterator[Piece]]:
    if source.get("array") is not None and "sampling_rate" in source:
        return _ARRAY, _array(source["array"], source["sampling_rate"])
    if source.get("bytes"):  # not decoded by the datasets library
        name = str(source.get("path") or _ARRAY)
        return name, _from_libav(name, io.BytesIO(source["bytes"]))
    if source.get("path"):
        return str(source["path"]), _file(str(source["path"]))
    raise DataError(f'A dict of audio needs "array" and "sampling_rate", but has {sorted(map(str, source))}. {_SOURCES}.')


def _array(samples: Any, rate: Any) -> Iterator[Piece]:
    array, rate = _checked(samples), _checked_rate(rate)
    return ((array[start : start + _PIECE].T, rate) for start in range(0, len(array), _PIECE))


def _checked(samples: Any) -> np.ndarray:
    """Return an array `(samples, channels)` of a type that has a scale."""
    try:
        array = np.asarray(samples)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged lists; tensors on a GPU or with gradients
        reason = str(error).partition("\n")[0].rstrip(".")
        raise DataError(f"A {type(samples).__name__} cannot be read as audio: {reason}. {_SOURCES}.") from error
    if array.ndim == 0 or array.dtype.kind not in "fiu":
        what = f"an array of {array.dtype}" if array.ndim else f"of the type {type(samples).__name__}"
        raise DataError(f"The audio is {what}, which holds no samples. {_SOURCES}.")
    if array.size == 0:
        raise DataError(f"{_ARRAY} holds no samples: its shape is {array.shape}. Leave it out.")
    if array.dtype.kind in "iu" and array.dtype not in _SCALES:
        raise DataError(f"The audio is of the type {array.dtype}, whose full scale is unknown. {_TO_FLOAT}.")
    if array.ndim > 2:
        raise DataError(f"The audio has the shape {array.shape}. Expected (samples,) or (samples, channels): one clip at a time.")
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        mistaken = f"The audio has the shape {array.shape}, which looks like (channels, samples)"
        raise DataError(f"{mistaken}. Expected (samples, channels): pass array.T.")
    if array.ndim == 2 and array.shape[1] > _MOST_CHANNELS:
        raise DataError(f"The audio has the shape {array.shape}: {array.shape[1]} channels. Expected (samples, channels).")
    return array.reshape(len(array), -1)


def _checked_rate(rate: Any) -> int:
    if isinstance(rate, np.ndarray) or hasattr(rate, "item"):  # of no dimensions: NumPy's and PyTorch's numbers
        rate = rate.item()
    whole = isinstance(rate, numbers.Real) and not isinstance(rate, bool) and float(rate).is_integer()
    if not whole or not _RATES[0] <= rate <= _RATES[1]:
        raise DataError(f"The sample rate is {rate!r}. Expected samples a second as a whole number, for instance 16000.")
    return int(rate)


_SCALES = {np.dtype(kind): 2.0 ** (np.dtype(kind).itemsize * 8 - 1) for kind in (np.uint8, np.int8, np.int16, np.int32)}
_SCALES_OF_FILES = {**_SCALES, np.dtype(np.int64): 2.0**63}  # from libav; arrays of int64 are mostly lists of numbers of 16 bits


def _mono(name: str, pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Average the channels of pieces `(channels, samples)`, as float32, and check their values."""
    seconds = 0.0
    for piece, rate in pieces:
        scale = _SCALES_OF_FILES.get(piece.dtype, 1.0)
        with np.errstate(over="ignore"):  # to infinity, which is refused
            values = piece.astype(np.float32)
        if piece.dtype == np.uint8:
            values -= scale
        mixed = values[0] if len(values) == 1 else values.mean(axis=0)
        if scale != 1:
            mixed *= np.float32(1 / scale)
        elif not -_LOUDEST <= values.min(initial=0) <= values.max(initial=0) <= _LOUDEST:  # a NaN compares to False
            raise DataError(_odd(name, values, rate, seconds))
        seconds += mixed.size / rate
        yield mixed, rate


def _odd(name: str, values: np.ndarray, rate: int, seconds: float) -> str:
    finite = np.isfinite(values).all(axis=0)
    if not finite.all():
        place = int(np.argmin(finite))
        bad = values[:, place][~np.isfinite(values[:, place])][0]
        where = f"{seconds + place / rate:.3f} s (sample {round(seconds * rate) + place})"
        return f"{name} holds {bad} at {where}. Replace such samples, or cut them out."
    most = f"{name} has values up to {np.abs(values).max():g}, but floats must be from -1 to 1"
    return f"{most}. Divide them by their full scale, for instance 32768 for 16 bits."


# ---------------------------------------------------------------- rates
def _at_rate(pieces: Iterable[Piece]) -> Iterator[np.ndarray]:
    """Bring pieces to 16 kHz; each run of pieces of one rate gets the length that is due to it."""
    for rate, run in itertools.groupby(pieces, key=lambda piece: piece[1]):
        waves = (samples for samples, _ in run)
        yield from waves if rate == SAMPLE_RATE else _resampled(waves, rate)


def _resampled(waves: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    av = load_framework("av")
    resample = _Filter("fltp", "mono", rate, "aresample", str(SAMPLE_RATE))
    taken = given = 0
    for samples in filter(len, waves):
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        taken += len(samples)
        for part in resample(frame):
            given += part.samples
            yield part.to_ndarray()[0]
    if taken:
        due = max(1, (2 * taken * SAMPLE_RATE + rate) // (2 * rate)) - given  # rounded to the nearest
        rest = [part.to_ndarray()[0] for part in resample(None)]
        yield np.concatenate([*rest, np.zeros(due, dtype=np.float32)])[:due]  # the filter gives a sample less or more


class _Filter:
    """One of libav's filters, in this thread: PyAV's `AudioResampler` starts two more, which takes longer than the filtering."""

    def __init__(self, kind: str, layout: str, rate: int, name: str, settings: str) -> None:
        av = load_framework("av")
        self.nothing_more = (av.error.BlockingIOError, av.error.EOFError)
        self.graph = av.filter.Graph()
        with contextlib.suppress(AttributeError):  # PyAV before 17.1 has no such setting
            self.graph.threads = 1
        source = self.graph.add_abuffer(format=kind, layout=layout, sample_rate=rate, time_base=Fraction(1, rate))
        self.graph.link_nodes(source, self.graph.add(name, settings), self.graph.add("abuffersink")).configure()

    def __call__(self, frame: Any) -> list[Any]:
        """Return what comes out for a frame, or, for None, what is left."""
        self.graph.push(frame)
        found = []
        with contextlib.suppress(*self.nothing_more):
            while True:
                found.append(self.graph.pull())
        return found


# ---------------------------------------------------------------- files
def _file(name: str) -> Iterator[Piece]:
    _check_file(name)
    yield from _plain_wav(Path(name)) or _from_libav(name, Path(name))


def _check_file(name: str) -> None:
    try:
        status = os.stat(name)
    except FileNotFoundError as error:
        address = "is an address on the network, not a file. Download it first."
        raise DataError(f"{name} {address if '://' in name else 'does not exist. Check the path.'}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL character
        raise DataError(f"{name!r} cannot be read: {getattr(error, 'strerror', error)}. Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{name} is a folder, not an audio file. Pass the files in it one by one.")
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{name} is a device or a pipe, not an audio file. Save what it gives as a file first.")
    if status.st_size == 0:
        raise DataError(f"{name} is an empty file. Leave it out, or get it again.")


def _plain_wav(path: Path) -> list[Piece] | None:
    """Read a short WAV file of 16 bits, four times quicker than libav does; None for any other file, and for a damaged one."""
    with contextlib.suppress(wave.Error, EOFError, OSError), open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > _SHORT_FILE or file.read(4) != b"RIFF":
            return None
        file.seek(0)
        with wave.open(file) as sound:
            frames, channels, rate = sound.getnframes(), sound.getnchannels(), sound.getframerate()
            if sound.getsampwidth() != 2 or not 0 < frames * channels * 2 < size or not _RATES[0] <= rate <= _RATES[1]:
                return None
            data = sound.readframes(frames)
            if len(data) == frames * channels * 2:
                return [(np.frombuffer(data, dtype="<i2").astype(np.int16, copy=False).reshape(frames, channels).T, rate)]
    return None


def _from_libav(name: str, file: Path | io.BytesIO) -> Iterator[Piece]:
    """Decode a file, its frames gathered to pieces; damaged places are left out, and told at the end."""
    with _opened(name, file) as container:
        sound = _Sound(name, container, piped=_unknown_length(_head(file)))
        for (rate, channels), frames in itertools.groupby(sound, key=lambda frame: (frame[1], len(frame[0]))):
            yield from ((piece, rate) for piece in _gathered((samples for samples, _ in frames), _PIECE // channels))
        sound.tell()


def _gathered(frames: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    count = 0
    for frame in frames:
        held.append(frame)
        count += frame.shape[1]
        if count >= size:
            yield np.concatenate(held, axis=1)
            held, count = [], 0
    if held:
        yield np.concatenate(held, axis=1)


@contextlib.contextmanager
def _opened(name: str, file: Path | io.BytesIO) -> Iterator[Any]:
    """Open a file with libav, which may read no other than files: a playlist must not make it go to the network."""
    av = load_framework("av")
    target = f"file:{file.absolute()}" if isinstance(file, Path) else file
    try:
        container = av.open(target, options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise DataError(f"{name} {_not_opened(file, error)}") from error
    with container:
        yield container


def _not_opened(file: Path | io.BytesIO, error: Exception) -> str:
    if isinstance(error, PermissionError) and isinstance(file, Path) and not os.access(file, os.R_OK):
        return "may not be read by this user. Change its permissions."
    if b"ftyp" in _head(file)[:16]:
        return "is damaged or cut off: it lacks its table of contents, as an unfinished recording or download does. Get it again."
    return "cannot be read as audio: it is damaged, or of no known format. Check that it plays, or save it as WAV."


def _head(file: Path | io.BytesIO) -> bytes:
    if isinstance(file, io.BytesIO):
        return file.getvalue()[:16]
    with open(file, "rb") as stream:
        return stream.read(16)


def _unknown_length(head: bytes) -> bool:
    """Tell a WAV file by its head whose writer could not go back to put the length in, as one that writes to a pipe."""
    length = int.from_bytes(head[4:8], "little")
    return head[:4] == b"RIFF" and (length == 0 or length >= 0x7FFFF000)


class _Sound:
    """The frames `(channels, samples)` of an open file's best sound track, with their rates, and what was wrong with them."""

    def __init__(self, name: str, container: Any, *, piped: bool) -> None:
        self.name, self.container, self.piped = name, container, piped
        self.track = container.streams.best("audio")
        if self.track is None or self.track.codec_context is None:
            what = "no sound" if self.track is None else "sound of an unknown kind"
            kind = container.format.long_name
            raise DataError(f"{name} holds {what} (its format: {kind}). Check that it is the right file, or leave it out.")
        self.seconds = 0.0
        self.damaged = False

    def __iter__(self) -> Iterator[Piece]:
        late, last = True, None
        for frame in self._frames():
            if late:
                yield from self._silence(frame)
                late = False
            if last is not None:
                yield _samples(last), last.sample_rate
            last = frame
            self.seconds += frame.samples / frame.sample_rate
        if last is not None:
            yield _samples(last)[:, : _length(last)], last.sample_rate

    def _frames(self) -> Iterator[Any]:
        av = load_framework("av")
        packets = self.container.demux(self.track)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                self.damaged |= packet.is_corrupt and not self.piped
                frames = packet.decode()
            except av.error.InvalidDataError:
                self.damaged = True
                frames = []
            except (av.FFmpegError, OSError) as error:
                raise DataError(
                    f"{self.name} cannot be decoded after {self.seconds:.1f} s: {error.strerror}. Check that it plays."
                ) from error
            yield from (frame for frame in frames if frame.samples and frame.sample_rate > 0)

    def _silence(self, first: Any) -> Iterator[Piece]:
        """Yield what lies between the first picture and the first sound, unless that is longer than the whole file."""
        starts = [float(track.start_time * track.time_base) for track in self._pictures() if track.start_time is not None]
        if not starts or first.time is None or not self.container.duration:
            return
        late, rate, channels = first.time - min(starts), first.sample_rate, first.layout.nb_channels
        if 0 < late <= self.container.duration / 1e6:  # the unit of containers is a microsecond
            for start in range(0, round(late * rate), rate):
                yield np.zeros((channels, min(rate, round(late * rate) - start)), dtype=np.float32), rate

    def _pictures(self) -> list[Any]:
        return [track for track in self.container.streams.video if not _is_cover(track)]

    def tell(self) -> None:
        """Refuse a file without sound, and warn of one that ended before its time."""
        if not self.seconds and self.damaged:
            raise DataError(f"{self.name} is damaged: none of its sound can be decoded. Get it again.")
        announced = self._announced()
        guessed = 0.5 + 0.02 * announced if self.container.format.name == "mp3" else 0.1
        if self.damaged or announced - self.seconds > guessed:
            of = f" of {announced:.1f}" if announced > self.seconds + 0.1 else ""
            said = f"{self.name} is damaged or cut off: {self.seconds:.1f}{of} seconds could be read, and are used."
            warnings.warn(said, UserWarning, stacklevel=2)

    def _announced(self) -> float:
        """Return the length the file says it has, in seconds; 0 where it does not."""
        if self.container.format.name == "aac":  # bare frames: libav's guess
            return 0.0
        if self.track.duration is not None:
            return float(self.track.duration * self.track.time_base)
        alone = len(self.container.streams) == 1
        return self.container.duration / 1e6 if alone and self.container.duration else 0.0


def _is_cover(track: Any) -> bool:
    return bool(track.disposition & type(track.disposition).attached_pic)


def _samples(frame: Any) -> np.ndarray:
    """Return a frame's samples, (channels, samples)."""
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels >= _TOO_MANY_PLANES:
        kind, layout, rate = frame.format.name, frame.layout.name, frame.sample_rate
        (frame,) = _Filter(kind, layout, rate, "aformat", f"sample_fmts={frame.format.packed.name}")(frame)
    samples: np.ndarray = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, channels).T


def _length(frame: Any) -> int:
    """Return how many samples of the last frame count: the decoder of aac fills it up, its packet knows the length."""
    known = frame.duration and frame.time_base is not None and frame.time_base * frame.sample_rate == 1
    return min(int(frame.samples), int(frame.duration)) if known else int(frame.samples)
