"""Texts to token rows and back, for networks that know all of Whisper's tokens or only those of their training texts."""

import functools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines import checks
from pipelines.engines import load_framework
from pipelines.errors import ParameterError

_tokenizer: Any = load_framework("whisper").tokenizer

__all__ = ["MULTILINGUAL", "Vocabulary", "language_code", "learn", "unusual"]

MULTILINGUAL = 51865  # tokens: models with fewer write English only
_BLANK = " "


class Vocabulary:
    """The tokens a network has rows for.

    Parameters
    ----------
    dims : dict
        The network's dimensions as openai-whisper names them; `n_vocab` is the number of all tokens, whatever is kept.
    kept : ndarray, optional
        Ids of the tokens with a row of their own; all others share one more row at the end. None: every token has its own.
    language : str, optional
        Code of the language spoken, such as "en"; None where it is to be found out, or the network writes English only.
    translate : bool
        Write English whatever is spoken.
    taught : sequence of int
        Tokens that texts of the user hold, to be written although Whisper by itself suppresses them, such as brackets.
    may_be_empty : bool
        Whether the network has learned to write nothing where nothing is said; Whisper by itself must begin a text.

    Attributes
    ----------
    start, end, no_speech : int
        Rows of the tokens that begin and end a text, and stand for silence.
    others : int
        How many tokens share the last row.
    suppressed : list of int
        Rows never written.
    first_timestamp : int or None
        Row of the first timestamp; the others follow. None where the network writes none.

    Examples
    --------
    >>> dims = {"n_vocab": 51865}
    >>> words = Vocabulary(dims, learn(["yes no yes"], dims, "en"), "en")
    >>> words.encode("no yes"), words.decode(words.encode("no yes")), len(words.prompt("en"))
    ([0, 1], ' no yes', 4)
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        kept: np.ndarray | None,
        language: str | None,
        *,
        translate: bool = False,
        taught: Sequence[int] = (),
        may_be_empty: bool = True,
    ) -> None:
        self.tokenizer = _tokens(dims["n_vocab"])
        self.kept, self.language, self.may_be_empty = kept, language, may_be_empty
        self.multilingual = dims["n_vocab"] >= MULTILINGUAL
        self.task = self.tokenizer.translate if translate else self.tokenizer.transcribe
        self.others = 0 if kept is None else dims["n_vocab"] - len(kept)
        self.rows = None if kept is None else {int(token): row for row, token in enumerate(kept)}
        self.start, self.end, self.no_speech = self._rows([self.tokenizer.sot, self.tokenizer.eot, self.tokenizer.no_speech])
        self.suppressed = self._suppressed(set(taught))
        self.first_timestamp = self.tokenizer.timestamp_begin if kept is None else None

    @property
    def size(self) -> int:
        """Rows of the network's embedding."""
        return self.tokenizer.encoding.n_vocab if self.kept is None else len(self.kept) + 1

    @functools.cached_property
    def languages(self) -> dict[int, str]:
        """Row -> code of every language the network can tell apart; none where it writes English only."""
        if not self.multilingual:
            return {}
        codes = zip(self.tokenizer.all_language_tokens, self.tokenizer.all_language_codes, strict=True)
        return {self._rows([token])[0]: code for token, code in codes if self._own(token)}

    @functools.cached_property
    def blank(self) -> list[int]:
        """Rows that cannot begin a text."""
        spaces = self.tokenizer.encode(_BLANK)
        return [] if self.may_be_empty else [*(self._rows([t])[0] for t in spaces if self._own(t)), self.end]

    def prompt(self, language: str | None, *, timestamps: bool = False) -> list[int]:
        """Return the rows every text in a language begins with."""
        tokens = [self.tokenizer.sot]
        if self.multilingual:
            tokens += [self.tokenizer.to_language_token(language or "en"), self.task]
        return self._rows(tokens if timestamps else [*tokens, self.tokenizer.no_timestamps])

    def encode(self, text: str) -> list[int]:
        """Return a text's rows; tokens never seen share the last one."""
        return self._rows(_written(self.tokenizer, text))

    def ids(self, rows: Iterable[int]) -> list[int]:
        """Return the ids openai-whisper has for rows."""
        return [int(row) for row in rows] if self.kept is None else self.kept[list(rows)].tolist()

    def decode(self, rows: Iterable[int]) -> str:
        """Return the text of rows, without special tokens."""
        return str(self.tokenizer.decode([token for token in self.ids(rows) if token < self.tokenizer.eot]))

    def words(self, rows: Sequence[int], language: str | None) -> list[tuple[str, int]]:
        """Return the words of a text's rows, each with its number of rows."""
        splitter = self.tokenizer if language is None else _tokens(self.tokenizer.encoding.n_vocab, language)
        texts, tokens = splitter.split_to_word_tokens(self.ids(rows))
        return [(text, len(part)) for text, part in zip(texts, tokens, strict=True)]

    def _own(self, token: int) -> bool:
        return self.rows is None or token in self.rows

    def _rows(self, tokens: Iterable[int]) -> list[int]:
        if self.rows is None:
            return list(tokens)
        return [self.rows.get(token, len(self.rows)) for token in tokens]

    def _suppressed(self, taught: set[int]) -> list[int]:
        names = self.tokenizer
        special = [names.transcribe, names.translate, names.sot, names.sot_prev, names.sot_lm, names.no_speech]
        if self.kept is None:
            return sorted({*special, *(set(names.non_speech_tokens) - taught)})
        # what is left of the special tokens, and the shared row, which stands for no token in particular
        special += [names.no_timestamps, *names.all_language_tokens]
        return sorted({self.rows[token] for token in special if self._own(token)} | {len(self.kept)})  # type: ignore[index]


def learn(texts: Iterable[str], dims: Mapping[str, int], language: str) -> np.ndarray:
    """Return the ids of the tokens that texts are made of, and those around every text.

    Parameters
    ----------
    texts : iterable of str
        Training texts.
    dims : dict
        The network's dimensions; of them only `n_vocab` counts.
    language : str
        Code of the texts' language.

    Returns
    -------
    ndarray of int64
        Sorted ids.

    Examples
    --------
    >>> len(learn(["one two", "two three"], {"n_vocab": 51865}, "en"))
    9
    """
    names = _tokens(dims["n_vocab"])
    seen = {token for text in set(texts) for token in _written(names, text)}
    seen |= {names.sot, names.eot, names.no_speech, names.no_timestamps}
    if dims["n_vocab"] >= MULTILINGUAL:
        seen |= {names.to_language_token(language), names.transcribe}
    return np.array(sorted(seen), dtype=np.int64)


def unusual(texts: Iterable[str], dims: Mapping[str, int]) -> list[int]:
    """Return the ids in texts that Whisper by itself never writes, such as brackets and notes of music.

    Examples
    --------
    >>> len(unusual(["hello (laughter)"], {"n_vocab": 51865})), unusual(["hello"], {"n_vocab": 51865})
    (2, [])
    """
    names = _tokens(dims["n_vocab"])
    seen = {token for text in set(texts) for token in _written(names, text)}
    return sorted(seen & set(names.non_speech_tokens))


def language_code(language: str) -> str:
    """Return the code of a language given by code or English name.

    Raises
    ------
    ParameterError
        If Whisper does not know it, with the closest name it knows.

    Examples
    --------
    >>> language_code("German"), language_code("de")
    ('de', 'de')
    """
    asked = language.lower()
    names = {**_tokenizer.TO_LANGUAGE_CODE, **{code: code for code in _tokenizer.LANGUAGES}}
    if asked not in names:
        raise ParameterError(f"Whisper knows no language {language!r}.{checks.did_you_mean(asked, names)}")
    return str(names[asked])


def _written(tokenizer: Any, text: str) -> list[int]:
    """Return a text's ids; it begins with a space, as Whisper's texts do. What looks like a special token is plain text here."""
    text = text.strip()
    return list(tokenizer.encode(" " + text, disallowed_special=())) if text else []


@functools.cache
def _tokens(n_vocab: int, language: str | None = None) -> Any:
    multilingual = n_vocab >= MULTILINGUAL
    languages = n_vocab - 51765 - int(multilingual)  # openai-whisper's own count: large-v3 has one more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # openai-whisper leaves its file of tokens to the garbage collector
        return _tokenizer.get_tokenizer(multilingual, num_languages=languages, language=language if multilingual else None)
