"""Text to speech with eSpeak NG, which `espeakng-loader` brings along: robot voices for examples and tests, not for listeners.

The engine keeps what it has said in global variables, which let the same text sound different the second time. So its library is
loaded anew for each text, which takes three milliseconds, and only one thread speaks at a time.
"""

import ctypes
import numbers
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.checks import did_you_mean
from pipelines.engines import load_framework
from pipelines.errors import DataError, ParameterError

from .audio import resampled

__all__ = ["speak", "voices"]

_lock = threading.Lock()

# from speak_lib.h
_SYNCHRONOUS = 2  # samples go to the callback, from the calling thread; the retrieval mode sleeps 20 ms a text
_DONT_EXIT = 0x8000  # where the data cannot be read, an error instead of the end of the process
_RATE, _PITCH = 1, 3
_BY_CHARACTER, _UTF8 = 1, 1
_Heard = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


def speak(text: str, *, voice: str = "en", rate: int = 175, pitch: int = 50) -> np.ndarray:
    """Speak a text.

    Parameters
    ----------
    text : str
        In the language of the voice.
    voice : str
        A language, alone or with one of the voices in it: "en", "en-us", "de", "en+f3", "en-us+whisper"; `voices` lists them.
    rate : int
        Words a minute, from 80 to 450.
    pitch : int
        From 0 to 99.

    Returns
    -------
    ndarray, (samples,)
        float32 from -1 to 1 at 16 kHz; the same for the same arguments, whatever was spoken before.

    Raises
    ------
    DataError
        If there is nothing to speak in the text.
    ParameterError
        If there is no such voice, or a number is out of its range.

    References
    ----------
    https://github.com/espeak-ng/espeak-ng

    Examples
    --------
    >>> 0.3 < len(speak("seven", voice="en+f3")) / 16_000 < 1
    True
    """
    _check_number("rate", rate, 80, 450)
    _check_number("pitch", pitch, 0, 99)
    if not isinstance(text, str):
        raise DataError(f"The text to speak must be a str, but is {text!r}, a {type(text).__name__}.")
    _check_voice(voice)
    samples, heard_at = _spoken(text.replace("\0", " ").encode("utf-8", "replace"), voice, int(rate), int(pitch))
    if not samples.any():
        raise DataError(f"There is nothing to speak in the text {text!r}. Give it at least one word.")
    return np.clip(resampled(samples.astype(np.float32) / 2**15, heard_at), -1, 1)


def voices() -> tuple[list[str], list[str]]:
    """Return the languages there are, and the voices each of them can be spoken with.

    Examples
    --------
    >>> languages, variants = voices()
    >>> "en-us" in languages, "f3" in variants
    (True, True)
    """
    data = _data()
    languages = {file.name.lower() for file in (data / "lang").rglob("*") if file.is_file()}
    spoken = [name for name in languages if (data / f"{name.partition('-')[0]}_dict").exists()]  # three have no dictionary
    return sorted(spoken), sorted(file.name for file in (data / "voices" / "!v").iterdir())


def _data() -> Path:
    return Path(load_framework("espeakng_loader").get_data_path())


def _check_voice(voice: str) -> None:
    languages, variants = voices()
    language, plus, variant = voice.partition("+") if isinstance(voice, str) else (voice, "", "")
    if language not in languages:
        hint = did_you_mean(language, languages) if isinstance(voice, str) else ""
        raise ParameterError(f"There is no language {language!r} to speak in.{hint} speech.synthesis.voices() lists them.")
    if plus and variant not in variants:
        raise ParameterError(
            f"There is no voice {variant!r}.{did_you_mean(variant, variants)} speech.synthesis.voices() lists them."
        )


def _check_number(name: str, value: Any, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not least <= float(value) <= most:
        raise ParameterError(f"{name} must be a number from {least} to {most}, but is {value!r}.")


def _spoken(text: bytes, voice: str, rate: int, pitch: int) -> tuple[np.ndarray, int]:
    """Return the samples as int16, and how many of them make a second."""
    parts = [np.zeros(0, dtype=np.int16)]

    def heard(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            parts.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0  # go on

    callback = _Heard(heard)  # to be kept alive as long as the library may call it
    with _lock, _library() as (library, samples_a_second):
        library.espeak_SetSynthCallback(callback)
        library.espeak_ng_SetRandSeed(ctypes.c_long(0))
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ParameterError(f"eSpeak NG cannot speak with the voice {voice!r}. Choose another of speech.synthesis.voices().")
        library.espeak_SetParameter(_RATE, rate, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        size = ctypes.c_size_t(len(text) + 1)
        if library.espeak_Synth(text, size, 0, _BY_CHARACTER, 0, _UTF8, None, None) != 0:
            raise DataError(f"eSpeak NG cannot speak the text {text.decode()!r}. Shorten it.")
        library.espeak_Synchronize()
    return np.concatenate(parts), samples_a_second


@contextmanager
def _library() -> Iterator[tuple[Any, int]]:
    """Load the library, with its global variables as they are at the beginning, and unload it."""
    path, data = load_framework("espeakng_loader").get_library_path(), _data()
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise ImportError(
            f"eSpeak NG cannot be loaded: {error}. Repair it: pip install --force-reinstall espeakng-loader."
        ) from error
    try:
        samples_a_second = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DONT_EXIT)
        if samples_a_second <= 0:
            raise ImportError(f"eSpeak NG cannot read its data in {data}; paths longer than 150 characters are too long for it.")
        try:
            yield library, samples_a_second
        finally:
            library.espeak_Terminate()
    finally:
        _unload(library)


def _unload(library: Any) -> None:
    import _ctypes  # ctypes itself has no public way

    close = getattr(_ctypes, "dlclose", None) or _ctypes.FreeLibrary  # type: ignore[attr-defined]
    close(library._handle)
