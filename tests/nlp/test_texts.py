import numpy as np
import pandas as pd
import pytest

from nlp import texts
from pipelines import DataError


def test_texts_of_every_container():
    for X in (["a", "b"], ("a", "b"), np.array(["a", "b"]), pd.Series(["a", "b"]), pd.DataFrame({"t": ["a", "b"]})):
        assert texts.read(X) == ["a", "b"]
    assert type(texts.read(np.array(["a"]))[0]) is str


def test_pairs_of_every_container():
    pairs = [("a", "b"), ("c", "d")]
    for X in (pairs, [["a", "b"], ["c", "d"]], np.array(pairs), pd.DataFrame(pairs), [np.array(pair) for pair in pairs]):
        assert texts.read(X) == pairs


@pytest.mark.parametrize("bad", [None, float("nan"), pd.NA, b"bytes", 3, ["one"], ("a", "b", "c"), {"a": 1}])
def test_what_is_no_text_is_named(bad):
    with pytest.raises(DataError, match=r"Sample 1 is .*Expected a text"):
        texts.read(["a", bad])


def test_bytes_come_with_the_cure():
    with pytest.raises(DataError, match="decode"):
        texts.read([b"a"])


def test_pairs_and_single_texts_are_not_mixed():
    with pytest.raises(DataError, match="Sample 1 is a pair of texts, but sample 0 is a single text"):
        texts.read(["a", ("b", "c")])
    with pytest.raises(DataError, match="Sample 1 is a single text, but sample 0 is a pair"):
        texts.read([("b", "c"), "a"])
    with pytest.raises(DataError, match="The second text of sample 1 is missing"):
        texts.read([("b", "c"), ("d", None)])


def test_tables_of_other_widths_are_refused():
    with pytest.raises(DataError, match=r"shape \(1, 3\)"):
        texts.read(pd.DataFrame([["a", "b", "c"]]))


def test_a_long_value_is_shown_short():
    with pytest.raises(DataError) as said:
        texts.read([list(range(10_000))])
    assert len(str(said.value)) < 300
