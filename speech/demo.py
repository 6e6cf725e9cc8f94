"""A demo of the speech pipeline, on speech that the machine makes itself."""

import wave
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from . import audio
from .synthesis import speak
from .transcription import SpeechTranscriber

__all__ = ["COMMANDS", "VOICES", "commands", "say_commands", "write_wav"]

COMMANDS = (
    "lights on",
    "lights off",
    "play some music",
    "stop the music",
    "volume up",
    "volume down",
    "open the door",
    "close the door",
    "what time is it",
    "call home",
)
VOICES = ("en", "en-us", "en-gb-scotland", "en+f2", "en+f4", "en+m3", "en-us+f3", "en+m7", "en-us+m4", "en-gb-x-rp+f5")
_PAUSE = 0.7  # seconds between two commands of the long recording


def commands(out: Path) -> tuple[SpeechTranscriber, Any, Any, list[str]]:
    """Speech transcription: ten spoken commands, by a small Whisper trained from scratch on robot voices and judged on others.

    eSpeak NG speaks them in ten voices, at three speeds and two pitches; eight voices are learned from, two are judged. Then a
    longer recording, six commands of one of these with pauses, is transcribed to subtitles.

    Parameters
    ----------
    out : path
        An existing folder; the recording is written to it as `commands.wav`, with `commands.srt`.

    Returns
    -------
    model, X_test, y_test, inputs : tuple
        The fitted transcriber, recordings and texts of the held-out voices, and what to give to `pipelines predict`.
    """
    X, y, spoken_by = say_commands()
    X, X_test, y, y_test = _apart(X, y, spoken_by)
    model = SpeechTranscriber(weights=None, word_times=True).fit(X, y)
    pause = np.zeros(int(_PAUSE * audio.SAMPLE_RATE), dtype=np.float32)
    parts = [part for text in COMMANDS[:6] for part in (pause, speak(text, voice=VOICES[-1]))]
    write_wav(out / "commands.wav", np.concatenate([*parts, pause]))
    model.predict([out / "commands.wav"])[0].save(out / "commands.srt")
    return model, X_test, y_test, [str(out / "commands.wav")]


def _apart(X: list[Any], y: list[str], spoken_by: list[str]) -> tuple[list[Any], list[Any], list[str], list[str]]:
    """Keep the last two voices for the test."""
    held = [voice in VOICES[-2:] for voice in spoken_by]
    rows = [[i for i, test in enumerate(held) if test is part] for part in (False, True)]
    return [X[i] for i in rows[0]], [X[i] for i in rows[1]], [y[i] for i in rows[0]], [y[i] for i in rows[1]]


def say_commands(
    rates: Sequence[int] = (140, 175, 210), pitches: Sequence[int] = (40, 60)
) -> tuple[list[np.ndarray], list[str], list[str]]:
    """Speak every command in every voice, speed and pitch.

    Parameters
    ----------
    rates, pitches : sequence of int
        Words a minute, and pitches from 0 to 99.

    Returns
    -------
    waves, texts, spoken_by : tuple of list
        Recordings at 16 kHz, what is said in them, and by which voice.
    """
    said = list(product(COMMANDS, VOICES, rates, pitches))
    waves = [speak(text, voice=voice, rate=rate, pitch=pitch) for text, voice, rate, pitch in said]
    return waves, [text for text, *_ in said], [voice for _, voice, *_ in said]


def write_wav(path: Path, samples: np.ndarray) -> None:
    """Write a recording at 16 kHz as a WAV file of 16 bits."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(audio.SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
