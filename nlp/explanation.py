"""Why a text got its label: what each word adds to the score, printed and as coloured HTML."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import checks, store
from pipelines.engines import load_framework
from pipelines.errors import DataError
from pipelines.report_text import clean, shortened, wrapped

from .attribution import MOST_STEPS, Attribution, Word, attribute
from .texts import Text, joined, plain

__all__ = ["Explanation", "Explanations", "Word", "explain"]

_PRINTED_WORDS, _PRINTED_LETTERS, _BAR = 12, 600, 20


@dataclass(frozen=True, repr=False)
class Explanation:
    """What the words of one text add to the score of one label.

    Parameters
    ----------
    text : str or pair of str
        The sample.
    label : str, int or bool
        What is explained.
    probability : float
        The label's, as `predict_proba` has it.
    score, reference : float
        How far the label leads: the network's score (logit) of it, less the mean of those of the other labels; with two labels
        that is the logarithm of the odds. Where texts have several labels, the score alone. For the text; and for the same text
        with every word masked, against which the words are measured.
    words : tuple of Word
        In the order of the text; none where it is empty.
    error : float
        What the attributions add up to, less the difference of the two scores; they would be equal with infinitely many steps.
    steps : int
        Steps from the masked text to the text.
    notes : tuple of str
        What a reader must know.

    Examples
    --------
    >>> words = (Word("good", 0, 4, 0.75), Word("grief", 5, 10, -0.25))
    >>> print(Explanation("good grief", "praise", 0.62, 0.6, 0.1, words, 0.0, 32))
    praise, probability 0.62: score +0.600, with every word masked +0.100
      good grief
        +0.750 ████████████████████ good
        -0.250 ▒▒▒▒▒▒▒ grief
      The words add up to +0.500, the scores differ by +0.500 (32 steps).
    """

    text: Text
    label: Any
    probability: float
    score: float
    reference: float
    words: tuple[Word, ...]
    error: float
    steps: int
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Explanation({self.label!r}, {shortened(joined([self.text])[0], 60)!r}, {len(self.words)} words)"

    def __str__(self) -> str:
        first = f"{self.label}, probability {self.probability:.2f}: score {self.score:+.3f}"
        text = clean(shortened(" / ".join(" ".join(part.split()) for part in self.parts), _PRINTED_LETTERS))
        lines = [clean(f"{first}, with every word masked {self.reference:+.3f}"), *_indented(text), *self._bars()]
        return "\n".join([*lines, *_indented(self.summary), *(line for note in self.notes for line in _indented(note))])

    @property
    def parts(self) -> tuple[str, ...]:
        """The text; or both texts of a pair."""
        return (self.text,) if isinstance(self.text, str) else self.text

    @property
    def summary(self) -> str:
        """Whether the attributions add up."""
        if not self.words:
            return "The text has no words, so there is nothing to explain."
        total, difference = sum(word.attribution for word in self.words), self.score - self.reference
        return f"The words add up to {total:+.3f}, the scores differ by {difference:+.3f} ({self.steps} steps)."

    def to_html(self) -> str:
        """Return a piece of HTML: the text with its words coloured, blue for the label and orange against it."""
        return Explanations([self]).to_html()

    def _repr_html_(self) -> str:
        return self.to_html()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write an HTML page, see `Explanations.save`."""
        return Explanations([self]).save(path)

    def _bars(self) -> Iterator[str]:
        words = sorted(self.words, key=lambda word: -abs(word.attribution))
        for word in words[:_PRINTED_WORDS]:
            length = round(_BAR * abs(word.attribution) / (abs(words[0].attribution) or 1))
            bar = ("█" if word.attribution > 0 else "▒") * max(bool(word.attribution), length)
            yield f"    {word.attribution:+.3f} {bar} {clean(shortened(word.text, 40))}"
        if len(words) > _PRINTED_WORDS:
            yield f"    … and {len(words) - _PRINTED_WORDS} more that count less"


class Explanations(tuple[Explanation, ...]):
    """Several explanations, in the order of their texts: a tuple that prints itself, and shows itself as coloured HTML."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    def to_html(self) -> str:
        """Return a piece of HTML to put into a page or a notebook."""
        from . import explanation_html

        return explanation_html.fragment(self)

    def _repr_html_(self) -> str:
        return self.to_html()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one self-contained HTML page.

        Parameters
        ----------
        path : path
            A file that ends in `.html`.

        Returns
        -------
        Path
            Where it is.

        Raises
        ------
        DataError
            If the name ends otherwise, the folder does not exist or the file cannot be written.
        """
        from . import explanation_html

        path = Path(path)
        if path.suffix.lower() != ".html":
            raise DataError(f"An explanation is saved as .html, which {str(path)!r} is not.")
        if not path.parent.is_dir():
            raise DataError(f"The folder {str(path.parent)!r} does not exist; create it before saving {path.name!r}.")
        try:
            with store.replacing(path) as temporary:
                temporary.write_text(explanation_html.page(self), encoding="utf-8")
        except OSError as error:
            raise DataError(f"The explanation cannot be written to {str(path)!r}: {error.strerror or error}.") from error
        return path


def explain(pipeline: Any, texts: Sequence[Text], target: Any = None) -> Explanations:
    """Explain the label of each text by what its words add to the score.

    From the text with every word masked to the text itself, the words' vectors go in steps along a straight line; the gradients
    of the score on the way, times the way, add up to the difference of the scores at both ends [1]_. As many steps are taken as
    that needs: 32, then twice as many, up to 512, until at most 1 % of the difference is missed, or 0.001 where that is more.
    A pretrained encoder's own mask stands for a word that is masked; its `[UNK]`, the unknown word, in one trained from scratch.
    In long texts the windows are averaged.

    Parameters
    ----------
    pipeline : TextClassifier
        A fitted one.
    texts : list of str, or of pairs
        As `texts.read` returns them.
    target : label, optional
        What to explain for all texts; by default each text's most probable label.

    Returns
    -------
    Explanations

    Raises
    ------
    ParameterError
        If `target` is no label of the pipeline.
    ImportError
        If captum is missing, with the pip line.

    References
    ----------
    .. [1] Sundararajan, Taly, Yan (2017), "Axiomatic Attribution for Deep Networks", arXiv:1703.01365.
    """
    load_framework("captum", extra="nlp")  # before minutes of work
    code = None if target is None else checks.target_code(pipeline.classes_, target)
    proba = pipeline._proba(pipeline._infer(texts))
    codes = proba.argmax(axis=1) if code is None else np.full(len(texts), code)
    clean_texts = [plain(text) for text in texts]
    found = attribute(pipeline, clean_texts, codes)
    return Explanations(
        Explanation(
            text, pipeline.classes_[k].item(), float(shares[k]), one.score, one.reference, one.words, one.error, one.steps,
            notes=tuple(_notes(one)),
        )
        for text, k, shares, one in zip(clean_texts, codes, proba, found, strict=True)
    )  # fmt: skip


def _notes(found: Attribution) -> Iterator[str]:
    if not found.whole:
        yield "The text is longer than what the network reads of it; the rest counts for nothing."
    if not found.settled:
        yield f"Even {MOST_STEPS} steps miss the difference of the scores by {found.error:+.4f}: read the words with care."


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in wrapped(text).splitlines()]
