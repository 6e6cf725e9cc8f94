"""From texts to tokens: tokenizers read or learned, texts longer than the limit, and batches of texts of like length."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from pipelines import data
from pipelines.engines import load_framework
from pipelines.errors import DataError

from .texts import Text, plain

__all__ = ["LONG_TEXTS", "MARKS", "LengthBatches", "Tokenizer", "Tokens", "by_length", "learn_wordpiece", "learn_words"]

LONG_TEXTS = ("window", "head+tail", "truncate")
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
"""Of a vocabulary that is learned; their numbers are their places."""

_AT_ONCE = 2048  # texts tokenized together; a library object a text is too much for all of them
_TOKENS_TOGETHER = 8192  # of a batch in prediction
_POOL = 64  # batches whose texts are sorted by length together in training: long enough to sort well, short enough to mix


@dataclass(frozen=True)
class Tokens:
    """The tokens of texts, cut into windows where a text is longer than the limit.

    Parameters
    ----------
    ids : ndarray, (total,)
        Numbers of all tokens, one window after the other, with the marks of begin and end.
    second : ndarray, (total,), optional
        1 in the second text of a pair, 0 in the first one.
    starts : ndarray, (windows + 1,)
        Where each window begins in `ids`.
    owners : ndarray, (windows,)
        The text each window is from, ascending.
    n : int
        Number of texts.
    long : int
        How many of them were longer than the limit.
    pad : int
        The number of the token that fills up.
    """

    ids: np.ndarray
    second: np.ndarray | None
    starts: np.ndarray
    owners: np.ndarray
    n: int
    long: int
    pad: int

    @classmethod
    def of(cls, found: Iterable[tuple[list[Any], bool]], *, pairs: bool, pad: int) -> "Tokens":
        """Gather what `Tokenizer.windows` yields."""
        ids: list[np.ndarray] = []
        second: list[np.ndarray] = []
        counts, long = [], 0
        for windows, whole in found:
            counts.append(len(windows))
            long += len(windows) > 1 or not whole
            ids += [np.array(window.ids, dtype=np.int32) for window in windows]
            if pairs:
                second += [np.array(window.type_ids, dtype=np.int32) for window in windows]
        return cls(
            np.concatenate(ids),
            np.concatenate(second) if pairs else None,
            np.cumsum([0, *map(len, ids)]),
            np.repeat(np.arange(len(counts)), counts),
            len(counts),
            long,
            pad,
        )

    def __len__(self) -> int:
        return len(self.owners)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Tokens of each window."""
        return np.diff(self.starts)

    @cached_property
    def counts(self) -> np.ndarray:
        """Windows of each text."""
        return np.bincount(self.owners, minlength=self.n)

    def padded(self, windows: np.ndarray) -> dict[str, np.ndarray]:
        """Return `ids` and `mask` (windows, length), and `second` for pairs, filled up to the longest one of these windows."""
        lengths = self.lengths[windows]
        mask = np.arange(int(lengths.max())) < lengths[:, None]
        places = np.where(mask, self.starts[windows][:, None] + np.arange(mask.shape[1]), 0)
        found = {"ids": np.where(mask, self.ids[places], self.pad), "mask": mask}
        if self.second is not None:
            found["second"] = np.where(mask, self.second[places], 0)
        return found

    def per_text(self, outputs: np.ndarray) -> np.ndarray:
        """Average what was computed for each window (windows, …) over the windows of each text."""
        if len(self) == self.n:
            return outputs
        sums = np.add.reduceat(outputs, np.searchsorted(self.owners, np.arange(self.n)), axis=0)
        return sums / self.counts.reshape(-1, *[1] * (outputs.ndim - 1)).astype(outputs.dtype)

    def at_most(self, windows: int) -> "Tokens":
        """Keep so many windows of each text, spread evenly over it: one text must not be most of an epoch."""
        if self.counts.max() <= windows:
            return self
        firsts = np.searchsorted(self.owners, np.arange(self.n))
        kept = np.concatenate(
            [
                first + (np.arange(count) if count <= windows else np.linspace(0, count - 1, windows).round().astype(int))
                for first, count in zip(firsts, self.counts, strict=True)
            ]
        )
        lengths = self.lengths[kept]
        places = np.repeat(self.starts[kept], lengths) + _ramps(lengths)
        return replace(
            self,
            ids=self.ids[places],
            second=None if self.second is None else self.second[places],
            starts=np.concatenate([[0], np.cumsum(lengths)]),
            owners=self.owners[kept],
        )


@dataclass(frozen=True)
class Tokenizer:
    """A tokenizer of the `tokenizers` library, and what to do with texts longer than the limit.

    Parameters
    ----------
    stored : str
        The tokenizer as JSON, as in a `tokenizer.json`.
    limit : int
        The most tokens of a window, marks of begin and end included.
    long_texts : str
        `"window"`: windows that overlap by a quarter, of two long texts each of the one with each of the other; `"head+tail"`:
        the first quarter of the limit and the end; `"truncate"`: the begin.
    pad : int
        The number of the token that fills up.

    References
    ----------
    .. [1] Sun, Qiu, Xu, Huang (2019), "How to Fine-Tune BERT for Text Classification?", arXiv:1905.05583: head and tail.

    Examples
    --------
    >>> stored = learn_wordpiece(["the cat sat", "the dog sat"], size=50)
    >>> tokens = Tokenizer(stored, limit=4, long_texts="window").encode(["the cat", "the cat sat"])
    >>> tokens.n, tokens.counts.tolist(), tokens.long
    (2, [1, 2], 1)
    """

    stored: str
    limit: int
    long_texts: str = "window"
    pad: int = 0

    _library: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_library", _library(self.stored))
        if self.long_texts != "head+tail":
            room = max(1, self.limit - self._library.num_special_tokens_to_add(is_pair=True))
            stride = room // 4 if self.long_texts == "window" else 0
            self._library.enable_truncation(self.limit, stride=stride, strategy="longest_first")

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary."""
        return int(self._library.get_vocab_size())

    def encode(self, texts: Sequence[Text]) -> Tokens:
        """Return the tokens of texts, or of pairs of texts."""
        portions = (texts[first : first + _AT_ONCE] for first in range(0, len(texts), _AT_ONCE))
        found = chain.from_iterable(map(self.windows, portions))
        return Tokens.of(found, pairs=not isinstance(texts[0], str), pad=self.pad)

    def windows(self, texts: Sequence[Text], *, places: bool = False) -> Iterator[tuple[list[Any], bool]]:
        """Yield the windows of each text as the library records them, and whether they hold all of it.

        With `places` they say where each token stands in the text, which takes longer.
        """
        clean = [plain(text) for text in texts]
        if self.long_texts == "head+tail":
            yield from map(self._head_and_tail, clean)
            return
        # of pairs the quick way numbers the texts wrongly in all windows but the first
        quick = isinstance(clean[0], str) and not places
        for encoding in (self._library.encode_batch_fast if quick else self._library.encode_batch)(clean):
            rest = encoding.overflowing
            yield ([encoding, *rest], True) if self.long_texts == "window" else ([encoding], not rest)

    def _head_and_tail(self, text: Text) -> tuple[list[Any], bool]:
        merge = _tokenizers().Encoding.merge
        parts = [text] if isinstance(text, str) else list(text)
        found = [self._library.encode(part, add_special_tokens=False) for part in parts]
        room = self.limit - self._library.num_special_tokens_to_add(is_pair=len(parts) > 1)
        if sum(map(len, found)) <= room:
            return [self._library.post_process(*found)], True
        shares = _shares([len(part) for part in found], room)
        cut = []
        for part, share in zip(found, shares, strict=True):
            if len(part) > share:
                head, tail = merge([part]), merge([part])  # copies
                head.truncate(share // 4)
                tail.truncate(share - share // 4, direction="left")
                part = merge([head, tail], growing_offsets=False)
            cut.append(part)
        return [self._library.post_process(*cut)], False


class LengthBatches(data.Batches):
    """Batches of windows of like length, so that little is filled up.

    Training mixes anew every epoch: the windows of 64 batches drawn at random are sorted by length and cut into batches, which
    come in random order. Prediction sorts all windows, the longest first, and takes the more of them the shorter they are.

    Parameters
    ----------
    tokens : Tokens
        The windows.
    batch_size : int
        Windows a batch in training.
    targets : optional
        One row a window.
    seed : int, optional
        Mix with this seed; None is for prediction.
    """

    together = 1  # batches are already as large as is good

    def __init__(self, tokens: Tokens, batch_size: int, *, targets: Any = None, seed: int | None = None) -> None:
        self.tokens = tokens
        super().__init__(tokens.padded, len(tokens), batch_size, targets=targets, seed=seed)
        if seed is None:
            self.groups = by_length(tokens.lengths, _TOKENS_TOGETHER)
            self.order = np.concatenate(self.groups)

    def __len__(self) -> int:
        return super().__len__() if self.seed is not None else len(self.groups)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        if self.seed is not None:
            return super().__getitem__(i)
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        rows = self.groups[i]
        return self.read(rows), None if self.targets is None else self.targets[rows]

    def in_order(self, outputs: np.ndarray) -> np.ndarray:
        """Bring what `infer` computed of all windows into the order of the texts, one row a text."""
        places = np.empty_like(self.order)
        places[self.order] = np.arange(self.n)
        return self.tokens.per_text(outputs[places])

    def start_epoch(self, epoch: int) -> None:
        """Mix for `epoch`."""
        super().start_epoch(epoch)
        if self.seed is None:
            return
        size, rng = self.batch_size, np.random.default_rng([self.seed, epoch, 1])
        pools = np.split(self.order, range(_POOL * size, self.n, _POOL * size))
        order = np.concatenate([pool[np.argsort(self.tokens.lengths[pool], kind="stable")] for pool in pools])
        whole = len(order) // size * size  # a smaller batch stays the last one
        start = rng.integers(0, whole + 1)  # which windows it has changes, or it would always be the longest
        rest = order[start : start + self.n - whole]
        order = np.delete(order, np.s_[start : start + len(rest)]).reshape(-1, size)
        self.order = np.concatenate([rng.permutation(order).ravel(), rest])


def learn_words(texts: Sequence[str], size: int) -> str:
    """Learn a vocabulary from texts, lower-cased: the words that are there at least twice.

    A rare word is unknown then, which says less than it could, but nothing wrong: its pieces would be learned by heart. Where
    more than a fifth of all words would be unknown, as in languages with long words, pieces are learned all the same.

    Parameters
    ----------
    texts : sequence of str
        What to learn from.
    size : int
        The most entries of the vocabulary.

    Returns
    -------
    str
        A tokenizer of the `tokenizers` library as JSON, with BERT's marks `[CLS]` and `[SEP]`; `[PAD]` is number 0.
    """
    normalizer, splitter = _bert()
    words = Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(plain(text))))
    known = [
        word for word, count in sorted(words.items(), key=lambda item: (-item[1], item[0])) if count > 1 and word not in MARKS
    ]
    known = known[: size - len(MARKS)]
    if sum(words[word] for word in known) < 0.8 * words.total():
        return learn_wordpiece(texts, size)
    return _stored({word: i for i, word in enumerate([*MARKS, *known])})


def learn_wordpiece(texts: Sequence[str], size: int) -> str:
    """Learn a vocabulary of whole words and pieces of words from texts, lower-cased, and return it as JSON.

    Parameters
    ----------
    texts : sequence of str
        What to learn from.
    size : int
        The most entries of the vocabulary.

    Returns
    -------
    str
        A tokenizer of the `tokenizers` library, with BERT's marks `[CLS]` and `[SEP]`; `[PAD]` is number 0.

    References
    ----------
    .. [1] Wu et al. (2016), "Google's Neural Machine Translation System", arXiv:1609.08144: word pieces.
    """
    library = _tokenizers()
    normalizer, splitter = _bert()
    clean = [normalizer.normalize_str(plain(text)) for text in texts]
    counts = Counter(chain.from_iterable(clean))
    letters = sorted(sorted(counts, key=lambda letter: (-counts[letter], letter))[: size // 4])
    rare = dict.fromkeys(map(ord, counts.keys() - set(letters)))
    # Pieces that begin within a word are named, too: the trainer would number them in the order of a hash table, and by these
    # numbers choose among pairs that are equally frequent.
    trainer = library.trainers.WordPieceTrainer(
        vocab_size=size, special_tokens=[*MARKS, *letters, *(f"##{letter}" for letter in letters)], show_progress=False
    )
    trained = library.Tokenizer(library.models.WordPiece(unk_token="[UNK]"))
    trained.pre_tokenizer = splitter
    trained.train_from_iterator((text.translate(rare) for text in clean), trainer)
    return _stored(trained.get_vocab())


def _bert() -> tuple[Any, Any]:
    """Return what cleans texts and what cuts them into words, as BERT does."""
    library = _tokenizers()
    return library.normalizers.BertNormalizer(lowercase=True, strip_accents=False), library.pre_tokenizers.BertPreTokenizer()


def _stored(vocabulary: dict[str, int]) -> str:
    """Return BERT's tokenizer with a vocabulary, as JSON."""
    library = _tokenizers()
    made = library.Tokenizer(library.models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer, made.pre_tokenizer = _bert()
    made.decoder = library.decoders.WordPiece()
    made.add_special_tokens(list(MARKS))
    ends = ((mark, vocabulary[mark]) for mark in ("[SEP]", "[CLS]"))
    made.post_processor = library.processors.BertProcessing(*ends)
    return made.to_str()


def _tokenizers() -> Any:
    return load_framework("tokenizers")


def _library(stored: str) -> Any:
    try:
        found = _tokenizers().Tokenizer.from_str(stored)
    except Exception as error:  # the library raises a bare Exception
        raise DataError(f"The tokenizer cannot be read: {error}.") from error
    found.no_truncation()
    found.no_padding()
    return found


def _shares(lengths: list[int], room: int) -> list[int]:
    """Divide the room between the texts of a pair: a short one keeps its length, the other gets the rest."""
    if len(lengths) == 1:
        return [room]
    first = min(lengths[0], max(room // 2, room - lengths[1]))
    return [first, room - first]


def by_length(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Sort windows, the longest first, into groups of about so many tokens each.

    Examples
    --------
    >>> [group.tolist() for group in by_length(np.array([2, 9, 4, 4]), 9)]
    [[1], [2, 3], [0]]
    """
    order = np.argsort(-lengths, kind="stable")
    cuts = [0]
    while cuts[-1] < len(order):
        cuts.append(cuts[-1] + max(1, tokens // int(lengths[order[cuts[-1]]])))
    return np.split(order, cuts[1:-1]) if len(order) else []


def _ramps(lengths: np.ndarray) -> np.ndarray:
    """Return 0 … length - 1 for each length, one after the other."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
