"""What counts as a text, or a pair of texts, and what is said where a sample is none."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np

from pipelines.errors import DataError

__all__ = ["Text", "joined", "plain", "read"]

Text = str | tuple[str, str]

_FORMS = "Expected a text (str), or a pair of texts"


def read(X: Any, *, pairs: bool | None = None) -> list[Text]:
    """Return the samples as plain texts, or as pairs of them.

    Parameters
    ----------
    X : sequence
        Texts; or pairs of texts: tuples or lists of two, an array `(n, 2)`, or a DataFrame with two columns. A DataFrame or an
        array with one column counts as texts.
    pairs : bool, optional
        Whether training had pairs; None takes what the first sample is.

    Returns
    -------
    list of str, or list of pairs of str

    Raises
    ------
    DataError
        If a sample is neither, or of the other form than the first one; the message names it.

    Examples
    --------
    >>> read([("Is it late?", "It is noon.")])
    [('Is it late?', 'It is noon.')]
    """
    rows, others = _rows(X), "training had pairs" if pairs else "training had single texts"
    if pairs is None:
        pairs = not isinstance(rows[0], str) and _is_pair(rows[0])
        others = "sample 0 is a pair" if pairs else "sample 0 is a single text"
    return [_pair(row, i, others) if pairs else _text(row, i, others) for i, row in enumerate(rows)]


def joined(texts: Sequence[Text]) -> list[str]:
    r"""Write each pair as one text, for models that know no pairs; plain texts stay as they are.

    Examples
    --------
    >>> joined([("a", "b"), "c"])
    ['a\nb', 'c']
    """
    return [text if isinstance(text, str) else "\n".join(text) for text in texts]


@overload
def plain(text: str) -> str: ...
@overload
def plain(text: Text) -> Text: ...
def plain(text: Text) -> Text:
    r"""Replace half characters (lone surrogates), which no tokenizer takes, by question marks.

    Examples
    --------
    >>> plain("a\ud800b")
    'a?b'
    """
    if isinstance(text, str):
        return text.encode("utf-8", "replace").decode("utf-8")
    return plain(text[0]), plain(text[1])


def _rows(X: Any) -> list[Any]:
    if getattr(X, "ndim", 1) < 2:
        return list(X)
    columns = X.shape[1] if X.ndim == 2 else 0
    if columns not in (1, 2):
        raise DataError(f"X has the shape {X.shape}. {_FORMS}: one or two columns.")
    table = np.asarray(X, dtype=object)
    return list(table[:, 0]) if columns == 1 else [tuple(row) for row in table]


def _is_pair(row: Any) -> bool:
    return isinstance(row, (tuple, list, np.ndarray)) and len(row) == 2


def _text(row: Any, i: int, others: str) -> str:
    if isinstance(row, str):
        return str(row)  # numpy.str_ is one too
    if _is_pair(row) and all(isinstance(part, str) for part in row):
        raise DataError(f"Sample {i} is a pair of texts, but {others}. Write it as one text.")
    raise DataError(f"Sample {i} is {_described(row)}. {_FORMS}. Drop the sample, or turn it into a text.")


def _pair(row: Any, i: int, others: str) -> tuple[str, str]:
    if not _is_pair(row):
        what = "a single text" if isinstance(row, str) else _described(row)
        raise DataError(f"Sample {i} is {what}, but {others}. Give it two texts.")
    for place, part in zip(("first", "second"), row, strict=True):
        if not isinstance(part, str):
            raise DataError(f"The {place} text of sample {i} is {_described(part)}. Expected a text (str).")
    return str(row[0]), str(row[1])


def _described(value: Any) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return f"missing ({value!r})"
    shown = repr(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    hint = "; decode it first, as in value.decode('utf-8')" if isinstance(value, (bytes, bytearray)) else ""
    return f"{shown}, a {type(value).__name__}{hint}"
