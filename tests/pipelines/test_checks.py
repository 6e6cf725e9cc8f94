"""Argument checks: what passes, and the sentence for what does not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipelines import DataError, ParameterError, checks


class Tool:
    def __init__(self, *, epochs=1, batch_size=2): ...


# --- names ------------------------------------------------------------------------------------------------------------


def test_closest_name_is_suggested_or_all_are_listed():
    assert checks.did_you_mean("epoch", ["epochs", "lr"]) == " Did you mean 'epochs'?"
    assert checks.did_you_mean("zzz", ["a", "b"]) == " Choose one of: 'a', 'b'."
    assert checks.did_you_mean("zzz", []) == ""
    assert checks.did_you_mean("zzz", range(30)).endswith("'19', ….")
    assert checks.did_you_mean(10, [100, 7]) == " Did you mean '100'?"


def test_constructor_names_are_checked():
    checks.parameter_names(Tool, [], ["epochs", "batch_size"])
    with pytest.raises(ParameterError, match=r"Tool has no parameter 'epoch'\. Did you mean 'epochs'\?"):
        checks.parameter_names(Tool, [], ["epoch"])
    with pytest.raises(ParameterError, match=r"by name only, but received the value 5 .*Tool\(epochs=5\)"):
        checks.parameter_names(Tool, [5], [])


def test_signature_leaves_self_out():
    assert list(checks.signature(Tool).parameters) == ["epochs", "batch_size"]


# --- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "options"), [("a", ["a", "b"]), (None, [None, "a"]), (True, (True, False)), (3, range(5)), (2.5, [2.5])]
)
def test_choice_passes(value, options):
    checks.choice("kind", value, options)


@pytest.mark.parametrize(
    ("value", "options"), [("c", ["a"]), (1, (True, False)), (0, [False]), (True, [1]), (None, ["None"]), ([], ["a"]), ("A", "a")]
)
def test_choice_refuses(value, options):
    with pytest.raises(ParameterError, match="kind="):
        checks.choice("kind", value, options)


def test_choice_of_an_array_is_refused_with_a_sentence():
    with pytest.raises(ParameterError, match="kind="):
        checks.choice("kind", np.array([1, 2]), ["a", "b"])


@pytest.mark.parametrize("value", [0, 5, 2.5, np.int64(3), np.float32(0.5), 10])
def test_number_passes(value):
    checks.number("lr", value, 0, 10)


@pytest.mark.parametrize("value", [-1, 11, float("nan"), float("inf"), "3", None, True, 1j, [1], np.array([1, 2]), 10**400])
def test_number_refuses(value):
    with pytest.raises(ParameterError, match="lr must be a number from 0 to 10"):
        checks.number("lr", value, 0, 10)


def test_number_without_upper_limit_must_still_be_finite():
    checks.number("lr", 1e300, 0)
    with pytest.raises(ParameterError, match="lr must be finite, but received inf"):
        checks.number("lr", float("inf"), 0)


def test_number_that_must_be_whole():
    checks.number("epochs", np.int32(3), 1, integer=True)
    for value in (1.0, 2.5, True, 0, "1"):
        with pytest.raises(ParameterError, match="epochs must be an integer of at least 1"):
            checks.number("epochs", value, 1, integer=True)


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "X",
    [
        ["a", "b"],
        ("a", "b"),
        pd.Series(["a", "b"], index=[5, 9]),
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        pd.Series(["a", "b"], dtype="category"),
        pd.Index(["a", "b"]),
    ],
    ids=lambda X: f"{type(X).__name__} {getattr(X, 'dtype', '')}",
)
def test_columns_of_texts_and_paths_become_a_list(X):
    found, _ = checks.samples(X)
    assert isinstance(found, list)
    assert found == ["a", "b"]


def test_numeric_arrays_and_frames_stay_what_they_are():
    for X in (np.zeros((3, 2, 2)), np.zeros((3, 2)), np.arange(3), pd.DataFrame({"a": [1, 2]})):
        assert checks.samples(X)[0] is X


def test_images_of_mixed_sizes_in_an_object_array_become_a_list():
    X = np.empty(2, dtype=object)
    X[:] = [np.zeros((2, 2)), np.zeros((3, 3))]
    assert [x.shape for x in checks.samples(X)[0]] == [(2, 2), (3, 3)]


@pytest.mark.parametrize("X", ["photo.jpg", b"photo", Path("photo.jpg"), {"a": 1}, {1, 2}, iter([1]), (i for i in [1]), 7, None])
def test_what_is_no_sequence_is_refused(X):
    with pytest.raises(DataError, match="X must be a sequence of samples"):
        checks.samples(X)


@pytest.mark.parametrize("X", [[], (), np.zeros((0, 8, 8)), pd.Series([], dtype=object), pd.DataFrame({"a": []})], ids=type)
def test_empty_input_is_refused(X):
    with pytest.raises(DataError, match="X is empty"):
        checks.samples(X)


def test_array_without_dimensions_is_refused():
    with pytest.raises(DataError, match="without dimensions"):
        checks.samples(np.array(3))


@pytest.mark.parametrize("y", ["ab", iter([1, 2]), 7, {1, 2}, {1: 2, 3: 4}, b"ab"])
def test_labels_that_are_no_sequence_are_refused(y):
    with pytest.raises(DataError, match="y must be a sequence parallel to X"):
        checks.samples([1, 2], y)


def test_lengths_must_agree():
    with pytest.raises(DataError, match="X has 3 and y has 2"):
        checks.samples([1, 2, 3], [1, 2])


def test_one_class_only_is_refused():
    checks.one_of_each(np.array(["a", "b"]), np.array(["a", "b"]))
    with pytest.raises(DataError, match=r"one class only, 'a' \(3 samples\)"):
        checks.one_of_each(np.array(["a"] * 3), np.array(["a"]))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT, "", "  "])
def test_a_missing_group_is_named(missing):
    with pytest.raises(DataError, match="no name for sample 1"):
        checks.groups(["a", missing], 2)


def test_groups_are_one_name_a_sample():
    assert checks.groups(pd.Series([1, 2], index=[5, 6]), 2) == ["1", "2"]
    for wrong in ("ab", {"a": 1}, np.zeros((2, 2)), 3):
        with pytest.raises(DataError, match="groups must be a sequence"):
            checks.groups(wrong, 2)
    with pytest.raises(DataError, match="has 1 for 2 samples"):
        checks.groups(["a"], 2)
