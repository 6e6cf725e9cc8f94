"""What training does to clips: other speeds, gains, rooms and noises, SpecAugment, sounds that are no speech, words cut out."""

from collections.abc import Callable

import numpy as np
from scipy import signal

from .audio import SAMPLE_RATE

__all__ = ["at_speed", "in_room", "loudness", "masks", "noise", "no_speech", "spoiled", "words"]

_OCTAVES = 0.3  # the most that speed changes: 0.81 to 1.23 of what it was
_IN_ROOM, _IN_NOISE = 0.2, 0.5  # share of the clips
_HOP = 160  # samples between two looks for pauses: 10 ms
_PAUSE, _WORD = 10, 6  # the shortest ones, in these
_CONTRAST = 6.0  # decibels at least from pauses to words: even noise has louder and softer stretches


def spoiled(wave: np.ndarray, rng: np.random.Generator, level: float) -> np.ndarray:
    """Return a clip as another room, noise and gain would have left it.

    Parameters
    ----------
    wave : ndarray, (n,)
        Samples at 16 kHz.
    rng : numpy.random.Generator
        What decides.
    level : float
        How loud the speech is, as `loudness` says: noise is 10 to 45 dB below it.

    Returns
    -------
    ndarray, (n,)
        As many samples, in float32.

    Examples
    --------
    >>> wave = np.ones(800, np.float32)
    >>> spoiled(wave, np.random.default_rng(0), 1.0).shape
    (800,)
    """
    if rng.random() < _IN_ROOM:
        wave = in_room(wave, rng)
    if rng.random() < _IN_NOISE:
        wave = wave + np.float32(level * 10 ** (-rng.uniform(10, 45) / 20)) * noise(len(wave), rng)
    return wave * np.float32(10 ** rng.uniform(-1, 0.3))


def loudness(wave: np.ndarray) -> float:
    """Return the root mean square of a clip, never quite zero.

    Examples
    --------
    >>> loudness(np.full(4, -0.5))
    0.5
    """
    return max(float(np.sqrt(np.mean(np.square(wave, dtype=np.float64)))), 1e-6)


def at_speed(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a clip played up to 0.3 octaves faster or slower, higher or lower with it.

    Examples
    --------
    >>> 810 < len(at_speed(np.zeros(1000, np.float32), np.random.default_rng(0))) < 1235
    True
    """
    n = max(1, round(len(wave) * 2 ** rng.uniform(-_OCTAVES, _OCTAVES)))
    return np.interp(np.linspace(0, len(wave) - 1, n), np.arange(len(wave)), wave).astype(np.float32)


def in_room(wave: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a clip with the reverberation of a made-up room: noise that dies away in 0.05 to 0.35 s.

    Examples
    --------
    >>> in_room(np.ones(100, np.float32), np.random.default_rng(0)).shape
    (100,)
    """
    n = int(rng.uniform(0.05, 0.35) * SAMPLE_RATE)
    response = rng.standard_normal(n) * np.exp(np.linspace(0, -6.9, n))  # 60 dB
    response *= rng.uniform(0.1, 0.5) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return signal.oaconvolve(wave, response)[: len(wave)].astype(np.float32)


def noise(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise between white and brown, now and then mostly of one band, with a root mean square of one.

    Examples
    --------
    >>> sound = noise(1000, np.random.default_rng(0))
    >>> len(sound), round(loudness(sound), 3)
    (1000, 1.0)
    """
    size = 1 << max(8, (n - 1).bit_length())
    spectrum = np.fft.rfft(rng.standard_normal(size))
    place = np.arange(1, len(spectrum) + 1)
    spectrum *= place ** -rng.uniform(0.0, 1.2)
    if rng.random() < 0.5:
        low, high = np.sort(rng.random(2)) * len(place)
        spectrum[(place < low) | (place > high + 0.1 * len(place))] *= 0.1
    return _even(np.fft.irfft(spectrum, size)[:n])


def no_speech(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a sound without speech: silence, noise that stays or swells, tones as of music, hum, clicks.

    Examples
    --------
    >>> [len(no_speech(500, np.random.default_rng(seed))) for seed in range(8)]
    [500, 500, 500, 500, 500, 500, 500, 500]
    """
    kinds: tuple[Callable[[int, np.random.Generator], np.ndarray], ...] = (_silence, noise, _swelling, _tones, _hum, _clicks)
    sound = kinds[rng.integers(len(kinds))](n, rng)
    level = 10 ** rng.uniform(-4, -0.7)
    return (level * sound + 10 ** rng.uniform(-6, -3.5) * rng.standard_normal(n)).astype(np.float32)


def masks(rng: np.random.Generator, frames: int, bands: int) -> np.ndarray:
    """Draw what SpecAugment hides: two stretches of time, an eighth of it and 0.2 s at most, and two of up to 0.15 of the bands.

    Parameters
    ----------
    rng : numpy.random.Generator
        What decides.
    frames, bands : int
        Length and height of the log-mel spectrogram.

    Returns
    -------
    ndarray, (4, 2)
        Start and stop, twice of time and twice of bands.

    References
    ----------
    .. [1] Park et al. (2019), "SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition",
       arXiv:1904.08779.

    Examples
    --------
    >>> found = masks(np.random.default_rng(0), 100, 80)
    >>> bool((found[:, 0] <= found[:, 1]).all()), found.shape
    (True, (4, 2))
    """
    sizes = np.array([frames, frames, bands, bands])
    most = np.array([min(20, frames // 8)] * 2 + [3 * bands // 20] * 2)
    widths = rng.integers(0, most + 1)
    starts = rng.integers(0, sizes - widths + 1)
    return np.stack([starts, starts + widths], axis=1)


def words(wave: np.ndarray, count: int) -> list[tuple[int, int]] | None:
    """Find the words of a clip by the pauses between them.

    A loudness is looked for over which there are exactly as many stretches as words; where several do, the middle one counts.

    Parameters
    ----------
    wave : ndarray, (n,)
        Samples at 16 kHz.
    count : int
        Words that are said.

    Returns
    -------
    list of tuple, or None
        First and last sample of each word; None where no loudness tells so many apart.

    Examples
    --------
    >>> sound = np.tile(np.r_[np.zeros(4000), np.random.default_rng(0).normal(size=4800)], 3)
    >>> [(round(start / 16_000, 1), round(stop / 16_000, 1)) for start, stop in words(sound, 3)]
    [(0.2, 0.6), (0.8, 1.1), (1.4, 1.6)]
    >>> words(sound, 4)
    """
    steps = len(wave) // _HOP
    if steps < count * (_WORD + _PAUSE):
        return None
    power = np.mean(np.square(wave[: steps * _HOP], dtype=np.float64).reshape(steps, _HOP), axis=1)
    decibels = np.convolve(10 * np.log10(power + 1e-10), np.ones(3) / 3, "same")
    low, high = np.percentile(decibels, [5, 98])
    if not high - low >= _CONTRAST:
        return None
    found = [runs for share in np.linspace(0.2, 0.7, 26) if len(runs := _runs(decibels > low + share * (high - low))) == count]
    if not found:
        return None
    return [(start * _HOP, stop * _HOP) for start, stop in found[len(found) // 2]]


# ---------------------------------------------------------------- pieces
def _runs(loud: np.ndarray) -> list[tuple[int, int]]:
    """Return start and stop of the stretches that are loud, without gaps that are no pauses and bits that are no words."""
    edges = np.flatnonzero(np.diff(np.r_[0, loud.astype(np.int8), 0])).reshape(-1, 2).tolist()
    merged: list[list[int]] = []
    for start, stop in edges:
        if merged and start - merged[-1][1] < _PAUSE:
            merged[-1][1] = stop
        else:
            merged.append([start, stop])
    return [(start, stop) for start, stop in merged if stop - start >= _WORD]


def _even(sound: np.ndarray) -> np.ndarray:
    return (sound / loudness(sound)).astype(np.float32)


def _silence(n: int, _: np.random.Generator) -> np.ndarray:
    return np.zeros(n, np.float32)


def _swelling(n: int, rng: np.random.Generator) -> np.ndarray:
    return noise(n, rng) * (0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.2, 4) * np.arange(n) / SAMPLE_RATE))


def _tones(n: int, rng: np.random.Generator) -> np.ndarray:
    """One to three notes at a time, with overtones, that last 0.1 to 1 s and die away."""
    time, sound, start = np.arange(n) / SAMPLE_RATE, np.zeros(n), 0
    while start < n:
        stop = min(n, start + int(rng.uniform(0.1, 1.0) * SAMPLE_RATE))
        for _ in range(rng.integers(1, 4)):
            sound[start:stop] += _note(time[start:stop], 55 * 2 ** rng.uniform(0, 5), int(rng.integers(1, 8)), rng)
        sound[start:stop] *= np.exp(np.linspace(0, -rng.uniform(0, 4), stop - start))
        start = stop
    return _even(sound)


def _hum(n: int, rng: np.random.Generator) -> np.ndarray:
    return _even(_note(np.arange(n) / SAMPLE_RATE, rng.choice([50, 60, 100, 120]) * rng.uniform(0.98, 1.02), 8, rng))


def _note(time: np.ndarray, pitch: float, overtones: int, rng: np.random.Generator) -> np.ndarray:
    softer = rng.uniform(0.5, 2)
    parts = (k for k in range(1, overtones + 1) if k * pitch < SAMPLE_RATE / 2)
    return sum((np.sin(2 * np.pi * (pitch * k * time + rng.random())) / k**softer for k in parts), np.zeros(len(time)))


def _clicks(n: int, rng: np.random.Generator) -> np.ndarray:
    sound = np.zeros(n)
    for start in rng.integers(0, n, rng.integers(1, 6)):
        length = min(n - start, int(rng.uniform(0.002, 0.03) * SAMPLE_RATE))
        sound[start : start + length] += rng.standard_normal(length) * np.exp(np.linspace(0, -5, length))
    return sound
