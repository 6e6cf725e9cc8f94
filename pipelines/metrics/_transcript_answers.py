"""The arguments of `metrics.transcription`, checked, normalised and aligned."""

import functools
import importlib
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd

from pipelines.checks import choice
from pipelines.engines import load_framework
from pipelines.errors import DataError
from pipelines.metrics._answers import _listed

__all__ = ["NORMALIZERS", "Alignment", "Transcripts", "check_durations", "check_texts", "compare", "same_for_all"]

NORMALIZERS = {"basic": "BasicTextNormalizer", "english": "EnglishTextNormalizer"}
"""Name -> the class of `whisper.normalizers`."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Alignment:
    """What was true and what was said, unit by unit (words, or characters).

    Parameters
    ----------
    truth, said : list of list of str
        The units of each clip.
    chunks : list of list of jiwer.AlignmentChunk
        Which of them belong together.
    counts : ndarray of float, shape (4, n)
        Hits, substitutions, deletions and insertions of each clip.
    """

    truth: list[list[str]]
    said: list[list[str]]
    chunks: list[list[Any]]
    counts: np.ndarray

    @property
    def true(self) -> np.ndarray:
        """Units of the truth of each clip."""
        return self.counts[:3].sum(axis=0)

    @property
    def wrong(self) -> np.ndarray:
        """Errors of each clip."""
        return self.counts[1:].sum(axis=0)

    def pairs(self, clip: int) -> Pairs:
        """Return what was true beside what was said; one of them is empty where a unit is missing or added."""
        found: list[tuple[str, str]] = []
        for chunk in self.chunks[clip]:
            truth = self.truth[clip][chunk.ref_start_idx : chunk.ref_end_idx]
            said = self.said[clip][chunk.hyp_start_idx : chunk.hyp_end_idx]
            found += zip(truth or repeat(""), said or repeat(""), strict=False)  # chunks are of one kind each
        return tuple(found)


@dataclass(frozen=True, eq=False)
class Transcripts:
    """Texts that were true and that were said, as they are and after the normaliser.

    Parameters
    ----------
    truth, said : list of str
        As they are.
    words, characters : Alignment
        After the normaliser.
    raw : (Alignment, Alignment) or None
        Words and characters of the texts as they are, where there is a normaliser.
    """

    truth: list[str]
    said: list[str]
    words: Alignment
    characters: Alignment
    raw: tuple[Alignment, Alignment] | None

    @property
    def n(self) -> int:
        """Number of clips."""
        return len(self.truth)

    @property
    def units(self) -> dict[str, Alignment]:
        """Every alignment by its name."""
        found = {"words": self.words, "characters": self.characters}
        return found if self.raw is None else found | {"words_raw": self.raw[0], "characters_raw": self.raw[1]}


def check_texts(y_true: Any, y_pred: Any) -> tuple[list[str], list[str]]:
    """Return both as lists of texts, one a clip.

    Raises
    ------
    DataError
        Naming the first that cannot be used.

    Examples
    --------
    >>> check_texts(np.array(["a", "b"]), ("a", ""))
    (['a', 'b'], ['a', ''])
    """
    truth, said = _listed(y_true, "y_true"), _listed(y_pred, "y_pred")
    if not truth:
        raise DataError("y_true is empty: there is nothing to evaluate.")
    if len(truth) != len(said):
        raise DataError(f"y_true has {len(truth)} texts, but y_pred has {len(said)}; they must be of the same clips.")
    for i, text in enumerate(truth):
        if not isinstance(text, str):
            swapped = _speaks(text) and all(isinstance(other, str) for other in said)
            hint = "Are y_true and y_pred swapped?" if swapped else _cure(text)
            raise DataError(f"y_true[{i}] is {_shown(text)}; expected the text that was spoken. {hint}")
    return [str(text) for text in truth], _spoken(said, "y_pred")


def same_for_all(said: Any, n: int, name: str) -> list[str]:
    """Return one text a clip: a baseline's, which may be the same for all."""
    if isinstance(said, str):
        return [said] * n
    texts = _spoken(_listed(said, name), name)
    if len(texts) != n:
        raise DataError(f"{name} has {len(texts)} texts, but there are {n} clips.")
    return texts


def compare(truth: Sequence[str], said: Sequence[str], normalizer: str | None, *, raw: bool = True) -> Transcripts:
    """Align what was said with what was true.

    Parameters
    ----------
    truth, said : sequences of str
        One text a clip.
    normalizer : "basic", "english" or None
        What both go through first.
    raw : bool
        Whether to align them as they are, too.
    """
    choice("normalizer", normalizer, [*NORMALIZERS, None])
    plain = [_spaced(text) for text in truth], [_spaced(text) for text in said]
    if normalizer is None:
        return Transcripts(list(truth), list(said), _align(*plain, "words"), _align(*plain, "characters"), None)
    normalise = functools.cache(_normaliser(normalizer))  # many clips say the same
    clean = [_spaced(normalise(text)) for text in truth], [_spaced(normalise(text)) for text in said]
    as_they_are = (_align(*plain, "words"), _align(*plain, "characters")) if raw else None
    return Transcripts(list(truth), list(said), _align(*clean, "words"), _align(*clean, "characters"), as_they_are)


def check_durations(durations: Any, predict_seconds: Any, n: int) -> tuple[np.ndarray | None, float | None]:
    """Return the seconds of each clip, and those it took to transcribe them all.

    Raises
    ------
    DataError
        If they are no such numbers, or there is no duration to compare the time with.
    """
    if predict_seconds is not None and not _is_seconds(predict_seconds):
        raise DataError(f"predict_seconds must be the time in seconds that all clips took together, not {predict_seconds!r}.")
    if durations is None:
        if predict_seconds is not None:
            raise DataError("predict_seconds says nothing by itself; give durations as well, the seconds of each clip.")
        return None, None
    seconds = _listed(durations, "durations")
    if len(seconds) != n:
        raise DataError(f"durations has {len(seconds)} entries, but there are {n} clips; give the seconds of each.")
    for i, value in enumerate(seconds):
        if not _is_seconds(value):
            raise DataError(f"durations[{i}] is {value!r}; expected the clip's length in seconds.")
    return np.array(seconds, dtype=float), None if predict_seconds is None else float(predict_seconds)


def _is_seconds(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and 0 <= float(value) < math.inf


def _spoken(said: list[Any], name: str) -> list[str]:
    for i, text in enumerate(said):
        if not isinstance(text, str) and not _speaks(text):
            raise DataError(f"{name}[{i}] is {_shown(text)}; expected a text, or a transcript. {_cure(text)}")
    return [str(text) for text in said]


def _speaks(value: Any) -> bool:
    """Tell what has a text of its own, such as a transcript, from what only has a description."""
    if isinstance(value, Number | bytes | type) or hasattr(value, "__fspath__") or value is pd.NA or value is pd.NaT:
        return False
    return type(value).__str__ is not object.__str__


def _shown(value: Any) -> str:
    missing = value is None or value is pd.NA or (isinstance(value, float) and value != value)
    return "missing" if missing else f"{str(value)[:60]!r}, a {type(value).__name__}"


def _cure(value: Any) -> str:
    if isinstance(value, Mapping):
        return "Pass the text in it."
    if isinstance(value, list | tuple):
        return 'Join its words: " ".join(words).'
    return "A clip on which nobody speaks has the empty text."


def _spaced(text: str) -> str:
    """Leave one space between words, whatever was there."""
    return " ".join(text.split())


@functools.cache
def _normaliser(name: str) -> Callable[[str], str]:
    load_framework("whisper")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the English one leaves its list of spellings open
        made: Callable[[str], str] = getattr(importlib.import_module("whisper.normalizers"), NORMALIZERS[name])()
    return made


def _align(truth: list[str], said: list[str], unit: str) -> Alignment:
    jiwer = load_framework("jiwer")
    found = (jiwer.process_words if unit == "words" else jiwer.process_characters)(truth, said)
    counts = np.zeros((4, len(truth)))
    row = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}
    for i, chunks in enumerate(found.alignments):
        for chunk in chunks:
            size = max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
            counts[row[chunk.type], i] += size
    return Alignment(found.references, found.hypotheses, found.alignments, counts)
