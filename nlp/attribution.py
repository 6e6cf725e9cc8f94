"""What each word adds to a score: integrated gradients over the words' vectors, through captum."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pipelines.engines import load_framework

from .texts import Text
from .tokens import Tokenizer, Tokens, by_length

__all__ = ["MOST_STEPS", "Attribution", "Word", "attribute"]

MOST_STEPS = 512

_STEPS = 32
_TOLERANCE, _NEAR_ZERO = 0.01, 0.001  # of the difference of scores; and what counts as nothing where that is about zero
_TOKENS_TOGETHER = {"cpu": 2048, "gpu": 65536}  # of all steps in one pass

Place = tuple[int, int, int, int]  # of a token: part of a pair, begin, end, number of its word


@dataclass(frozen=True)
class Word:
    """A word and what it adds to the score of a label.

    Parameters
    ----------
    text : str
        As it stands in the sample.
    start, end : int
        Where it stands there, in letters.
    attribution : float
        What it adds; negative where it speaks against the label.
    part : int
        0; 1 in the second text of a pair.
    """

    text: str
    start: int
    end: int
    attribution: float
    part: int = 0


@dataclass(frozen=True)
class Attribution:
    """The words of one text, and the scores they are about.

    Parameters
    ----------
    words : tuple of Word
        In the order of the text.
    score, reference : float
        Of the text, and of the text with every word masked; over several windows, the mean.
    error : float
        What the words add up to, less the difference of the scores.
    steps : int
        The most that one of the windows took.
    settled : bool
        Whether the error is small enough in every window.
    whole : bool
        Whether the network reads all of the text.
    """

    words: tuple[Word, ...]
    score: float
    reference: float
    error: float
    steps: int
    settled: bool
    whole: bool


def attribute(pipeline: Any, texts: Sequence[Text], codes: np.ndarray) -> list[Attribution]:
    """Attribute the score of a class to the words of each text.

    Parameters
    ----------
    pipeline : TextClassifier
        A fitted one, its network on the device.
    texts : sequence of str, or of pairs
        Without half characters (lone surrogates).
    codes : ndarray, (n,)
        Which score of each text.

    Returns
    -------
    list of Attribution
    """
    windows = _Windows.of(texts, pipeline._tokenizer, pretrained=pipeline.weights is not None)
    found = _settled(_Gradients(pipeline, windows, codes[windows.tokens.owners]))
    firsts = np.searchsorted(windows.tokens.owners, np.arange(len(texts) + 1))
    return [
        _joined(text, windows.places[first:last], found[first:last], whole)
        for text, first, last, whole in zip(texts, firsts[:-1], firsts[1:], windows.whole, strict=True)
    ]


# ---------------------------------------------------------------- the windows of texts, with the places of their tokens
@dataclass(frozen=True)
class _Windows:
    """The windows of texts as the network reads them.

    Parameters
    ----------
    tokens, masked : Tokens
        As they are; and with every word masked.
    places : list
        Where each token of each window stands in the text; None for the marks of begin and end.
    whole : list of bool
        Whether all of a text is read.
    """

    tokens: Tokens
    masked: Tokens
    places: list[list[Place | None]]
    whole: list[bool]

    @classmethod
    def of(cls, texts: Sequence[Text], tokenizer: Tokenizer, *, pretrained: bool) -> "_Windows":
        """Read texts as `Tokenizer.encode` does."""
        found = list(tokenizer.windows(texts, places=True))
        tokens = Tokens.of(found, pairs=not isinstance(texts[0], str), pad=tokenizer.pad)
        places = [_places(window) for windows, _ in found for window in windows]
        words = np.array([place is not None for window in places for place in window])
        masked = replace(tokens, ids=np.where(words, _nothing(tokenizer, pretrained), tokens.ids))
        return cls(tokens, masked, places, [whole for _, whole in found])


def _places(window: Any) -> list[Place | None]:
    return [
        None if part is None else (part, start, end, -1 if word is None else word)
        for part, (start, end), word in zip(window.sequence_ids, window.offsets, window.word_ids, strict=True)
    ]


def _nothing(tokenizer: Tokenizer, pretrained: bool) -> int:
    """Return the token that says nothing: a pretrained encoder's mask; one from scratch has met unknown words, but no masks."""
    tokens = ("[MASK]", "<mask>") if pretrained else ("[UNK]",)
    found = [tokenizer._library.token_to_id(token) for token in tokens]
    return next((number for number in found if number is not None), tokenizer.pad)


# ---------------------------------------------------------------- from windows to what their tokens add
@dataclass(frozen=True)
class _Window:
    """What each token of a window adds, the scores of both ends of the way, and the steps it took."""

    adds: np.ndarray
    score: float
    reference: float
    steps: int

    @property
    def error(self) -> float:
        return float(self.adds.sum()) - (self.score - self.reference)

    @property
    def settled(self) -> bool:
        return abs(self.error) <= max(_TOLERANCE * abs(self.score - self.reference), _NEAR_ZERO)


class _Gradients:
    """Integrated gradients of some windows of a pipeline's network.

    Parameters
    ----------
    pipeline : TextClassifier
        Its network is on the device already.
    windows : _Windows
        What to explain.
    targets : ndarray, (windows,)
        Which score.
    """

    def __init__(self, pipeline: Any, windows: _Windows, targets: np.ndarray) -> None:
        self.torch = load_framework("torch")
        self.network, self.windows, self.targets = pipeline.model_, windows, targets
        self.device, self.multilabel = pipeline.device_, pipeline.multilabel_
        self.place = next(self.network.parameters()).device
        self.together = _TOKENS_TOGETHER["cpu" if self.place.type == "cpu" else "gpu"]
        encoder = self.network.encoder
        vectors = encoder.embed if hasattr(encoder, "embed") else encoder.model.get_input_embeddings()
        self.library = load_framework("captum", extra="nlp").attr.LayerIntegratedGradients(self._scores, vectors)

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """Switch dropout off; and the quick kernels of an LSTM, which then know no gradients."""
        self.network.eval()
        with self.device.scope(), self.torch.backends.cudnn.flags(enabled=False):
            yield

    def __call__(self, rows: np.ndarray, steps: int) -> list[_Window]:
        """Go from the masked windows to the windows in so many steps."""
        inputs, masked = self._tensors(self.windows.tokens, rows), self._tensors(self.windows.masked, rows)
        targets = self.torch.as_tensor(self.targets[rows], device=self.place)
        adds = self.library.attribute(
            inputs[0],
            masked[0],
            target=targets,
            additional_forward_args=inputs[1:],
            n_steps=steps,
            internal_batch_size=max(len(rows), self.together // inputs[0].shape[1]),
        )
        adds = adds.double().sum(-1).cpu().numpy()
        with self.torch.no_grad():
            ends = [self._scores(*each).gather(1, targets[:, None])[:, 0].double().tolist() for each in (inputs, masked)]
        lengths = self.windows.tokens.lengths[rows]
        return [
            _Window(add[:length], score, reference, steps)
            for add, length, score, reference in zip(adds, lengths, *ends, strict=True)
        ]

    def _scores(self, ids: Any, mask: Any, second: Any = None) -> Any:
        """Return how far each class leads: what is added to all scores alike changes no probability."""
        more = {} if second is None else {"second": second}
        scores = self.network({"ids": ids, "mask": mask, **more})
        if self.multilabel:
            return scores
        return scores - (scores.sum(1, keepdim=True) - scores) / (scores.shape[1] - 1)

    def _tensors(self, tokens: Tokens, rows: np.ndarray) -> tuple[Any, ...]:
        arrays = tokens.padded(rows)
        names = [name for name in ("ids", "mask", "second") if name in arrays]
        return tuple(self.torch.as_tensor(arrays[name].astype(np.int64), device=self.place) for name in names)


def _settled(gradients: _Gradients) -> list[_Window]:
    """Attribute every window, with twice the steps where what the tokens add misses the difference of the scores."""
    lengths, steps = gradients.windows.tokens.lengths, _STEPS
    pending, found = np.arange(len(lengths)), dict[int, _Window]()
    with gradients.ready():
        while len(pending) and steps <= MOST_STEPS:
            for rows in (pending[group] for group in by_length(lengths[pending], gradients.together // steps)):
                found.update(zip(rows.tolist(), gradients(rows, steps), strict=True))
            pending = pending[[not found[row].settled for row in pending.tolist()]]
            steps *= 2
    return [found[row] for row in range(len(lengths))]


# ---------------------------------------------------------------- from tokens to words
def _joined(text: Text, places: list[list[Place | None]], windows: list[_Window], whole: bool) -> Attribution:
    """Average over the windows of a text, as its score does, and join tokens to words."""
    tokens: dict[Place, float] = {}
    for window, spots in zip(windows, places, strict=True):
        for place, adds in zip(spots, (window.adds / len(windows)).tolist(), strict=True):
            if place is not None:
                tokens[place] = tokens.get(place, 0.0) + adds
    return Attribution(
        words=tuple(_words((text,) if isinstance(text, str) else text, sorted(tokens.items()))),
        score=float(np.mean([window.score for window in windows])),
        reference=float(np.mean([window.reference for window in windows])),
        error=float(np.mean([window.error for window in windows])),
        steps=max(window.steps for window in windows),
        settled=all(window.settled for window in windows),
        whole=whole,
    )


def _words(parts: Sequence[str], tokens: Iterable[tuple[Place, float]]) -> Iterator[Word]:
    """Join pieces of words; a token without letters, such as a blank of its own, goes with the next word."""
    current, number, adrift = None, -1, 0.0
    for (part, start, end, word), adds in tokens:
        start, end = _trimmed(parts[part], start, end)
        if start == end:
            adrift += adds
        elif current and current.part == part and (start < current.end or (start == current.end and number == word != -1)):
            end, adds = max(end, current.end), current.attribution + adds + adrift
            current, adrift = Word(parts[part][current.start : end], current.start, end, adds, part), 0.0
        else:
            if current:
                yield current
            current, number, adrift = Word(parts[part][start:end], start, end, adds + adrift, part), word, 0.0
    if current:
        yield replace(current, attribution=current.attribution + adrift)
    elif adrift:
        yield Word("", 0, 0, adrift)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Leave out the blanks at the ends of a token."""
    token = text[start:end]
    start += len(token) - len(token.lstrip())
    return start, max(start, start + len(token.strip()))
