"""Transcription: texts to learn from, transcripts, and how far they are from what was said."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from numbers import Number
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import _safe_indexing

from .. import checks, data, metrics
from ..errors import DataError
from ..metrics._transcript_answers import NORMALIZERS
from ..metrics._transcription import word_error_rate
from ..report import Report

__all__ = ["TranscriberMixin"]

_SHARE = 0.1
_FEW = 4  # recordings that judge the epochs, even where a tenth is fewer
_FEWEST = 8  # recordings that can be split at all
_MOST_CHANNELS = 32


class TranscriberMixin:
    """One text a recording, "" where nobody speaks; what is learned and judged are texts, what is predicted are transcripts.

    A domain supplies `_infer(X)`, the list of transcripts: anything whose `str()` is its text; where they have a `duration` and
    `skipped` stretches (with `start`, `end` and `reason`), the report tells the real-time factor and what was left out.

    Attributes
    ----------
    most_frequent_text_ : str
        The text that most recordings of the training part have, if any two have the same; "" otherwise. It is a baseline.
    """

    most_frequent_text_: str

    def evaluate(self, X: Any, y: Any = None, *, groups: Any = None, normalizer: str | None = "basic") -> Report:
        """Compare transcripts with what was said.

        Parameters
        ----------
        X : sequence
            Recordings, not used in `fit`.
        y : sequence of str
            What is said in each; "" where nobody speaks.
        groups : sequence, optional
            One name a recording (its speaker, accent, noise); the report gets a row a group.
        normalizer : "basic", "english" or None
            What both texts go through before they are compared, see `pipelines.metrics.transcription`.

        Returns
        -------
        Report
            Word and character error rates with intervals, baselines, the words most often confused and the worst recordings.

        Raises
        ------
        DataError
            If recordings or texts cannot be used; the message names the first.
        """
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)
        y = self._targets(y)
        checks.choice("normalizer", normalizer, [*NORMALIZERS, None])  # before an hour of work, not after it
        started = time.perf_counter()
        outputs = self._outputs(X)  # type: ignore[attr-defined]
        context = self._context(time.perf_counter() - started)  # type: ignore[attr-defined]
        self.report_ = self._report(X, y, outputs, groups, context, normalizer)
        return self.report_

    def score(self, X: Any, y: Any = None) -> float:
        """Return 1 - the word error rate after the "basic" normaliser, as scikit-learn's tools expect; it may be negative."""
        self._ready()  # type: ignore[attr-defined]
        X, y = self._samples(X, y)
        y = self._targets(y)
        return 1 - word_error_rate(y, self._outputs(X))  # type: ignore[attr-defined]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.target_tags.required = True
        return tags

    # ---------------------------------------------------------------- recordings and texts
    def _samples(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """Check the outer form; one recording by itself, which could be taken for many, is refused."""
        if alone := _alone(X):
            raise DataError(f"X must be a sequence of recordings, but looks like one, {alone}. Pass it as a list: [X].")
        return checks.samples(X, y)

    def _targets(self, y: Any) -> list[str]:
        """Return the texts; the first that is none is named."""
        if y is None:
            raise DataError('y is missing: give the text of each recording, "" where nobody speaks.')
        texts = y.tolist() if hasattr(y, "tolist") else list(y)
        for i, text in enumerate(texts):
            if not isinstance(text, str):
                raise DataError(f"The text of sample {i} is {_shown(text)}. {_cure(text)}")
        if texts and texts[0].lower().endswith(".txt") and os.path.isfile(texts[0]):
            raise DataError(
                f"y holds names of files, {texts[0]!r} for one; expected the texts in them. Read them: data.read_text."
            )
        return [str(text) for text in texts]

    def _hold_out(self, X: Any, y: Any, valid: Any) -> tuple[Any, list[str], Any]:
        """Split the validation part off: a tenth, of few recordings more; copies stay together, and silence is in both parts."""
        texts = self._targets(y)
        if not any(text.strip() for text in texts):
            raise DataError("All texts in y are empty, so there is nothing to learn. Give recordings in which somebody speaks.")
        if checks.is_share(valid):
            return self._split_off(X, texts, valid)
        X_valid, y_valid = self._samples(*valid)
        y_valid = self._targets(y_valid)
        return X, texts, (self._inspect(X_valid, train=True), y_valid)  # type: ignore[attr-defined]

    def _split_off(self, X: Any, texts: list[str], share: float | None) -> tuple[Any, list[str], Any]:
        if share is not None:
            checks.number("valid", share, 0, 0.9)
        n = len(texts)
        count = max(round(_SHARE * n), min(_FEW, n // 4)) if share is None else round(share * n)
        if share == 0:
            return X, texts, None
        if n < _FEWEST or not count:
            self._note(f"No validation part: {n} recordings are too few to split, so the last epoch's weights are kept.")
            return X, texts, None
        try:
            silent = [not text.strip() for text in texts]
            held = data.stratified([_content(x) for x in X], silent, count, self.seed)  # type: ignore[attr-defined]
        except DataError as error:
            self._note(f"No validation part, so the last epoch's weights are kept. {error}")
            return X, texts, None
        train, valid = np.flatnonzero(~held), np.flatnonzero(held)
        halves = [(_safe_indexing(X, part), [texts[i] for i in part]) for part in (train, valid)]
        return *halves[0], halves[1]

    def _learn(self, X: Any, y: Sequence[str]) -> None:
        counts = Counter(text.strip() for text in y if text.strip())
        text, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
        self.most_frequent_text_ = text if count > 1 else ""
        if silent := sum(not text.strip() for text in y):
            self._note(f"{silent} of {len(y)} recordings have an empty text; they teach what silence is.")

    def _note(self, sentence: str) -> None:
        self.notes_.append(sentence)  # type: ignore[attr-defined]

    # ---------------------------------------------------------------- outputs
    def _decide(self, outputs: Any) -> Any:
        return outputs

    def _report(
        self, X: Any, y: list[str], outputs: Any, groups: Any, context: dict[str, Any], normalizer: str | None = "basic"
    ) -> Report:
        durations: list[Any] = [getattr(output, "duration", None) for output in outputs]
        timed = all(duration is not None for duration in durations)
        report = metrics.transcription(
            y,
            outputs,
            normalizer=normalizer,
            groups=groups,
            baselines=self._baselines(X),
            durations=durations if timed else None,
            predict_seconds=context.get("predict_seconds") if timed else None,
            seed=self.seed,  # type: ignore[attr-defined]
            context=context,
        )
        notes = (*report.notes, *_skipped_notes(outputs), *self.notes_)  # type: ignore[attr-defined]
        return replace(report, task=self.task, notes=notes)  # type: ignore[attr-defined]

    def _baselines(self, X: Any) -> dict[str, Any]:
        """Return what simple models say of the same recordings; a domain adds its own."""
        frequent = {"most frequent text": self.most_frequent_text_} if self.most_frequent_text_ else {}
        return {"empty transcript": "", **frequent}


def _alone(X: Any) -> str | None:
    """Describe what is one recording and no sequence of them."""
    if isinstance(X, dict) and "array" in X:
        return "a dict with an array"
    if isinstance(X, np.ndarray) and X.dtype.kind in "fiu":
        if X.ndim == 1:
            return f"an array of {len(X):,} numbers"
        if X.ndim == 2 and 0 < X.shape[1] <= _MOST_CHANNELS:
            return f"an array of shape {X.shape}: samples by channels"
    if isinstance(X, (list, tuple)) and len(X):
        if len(X) == 2 and isinstance(X[1], Number) and np.ndim(X[0]) > 0:
            return "a pair (array, rate)"
        if isinstance(X[0], Number):
            return f"a {type(X).__name__} of numbers"
    return None


def _content(sample: Any) -> Any:
    """Return what tells copies of a recording: its array, whatever it is wrapped in."""
    if isinstance(sample, dict):
        sample = sample.get("array", sample.get("path"))
    elif isinstance(sample, tuple) and len(sample) == 2:
        sample = sample[0]
    return np.asarray(sample) if isinstance(sample, list) else sample


def _shown(text: Any) -> str:
    if text is None or text is pd.NA or (isinstance(text, float) and text != text):
        return "missing"
    return f"{str(text)[:60]!r}, no text but of the type {type(text).__name__}"


def _cure(text: Any) -> str:
    if isinstance(text, (list, tuple)):
        return 'Join the words of each: " ".join(words).'
    if isinstance(text, Number) and text == text:
        return "Pass texts, numbers as they are spoken."
    return 'Expected what is said in the recording, or "" where nobody speaks.'


def _skipped_notes(outputs: Sequence[Any]) -> list[str]:
    """Say how much was left out, reason by reason."""
    found: dict[str, list[float]] = defaultdict(list)
    for output in outputs:
        for gap in getattr(output, "skipped", ()):
            found[gap.reason].append(gap.end - gap.start)
    return [
        f"Left out, {reason}: {sum(seconds):.1f} seconds in {len(seconds)} stretch{'es' if len(seconds) > 1 else ''}."
        for reason, seconds in found.items()
    ]
