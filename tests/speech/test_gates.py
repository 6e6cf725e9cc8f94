"""Texts that are not to be believed."""

import math

import pytest

from speech.gates import Limits, compression, doubt, loops


def said(text, *, logprob=-0.1, silence=0.0, most=224, limits=None):
    return doubt(text, text.split(), logprob, silence, most, limits or Limits())


def test_plain_speech_is_believed():
    assert said("the quick brown fox jumps over the lazy dog") is None


@pytest.mark.parametrize(
    ("text", "figures", "why"),
    [
        ("thank you", {"logprob": -1.2, "silence": 0.7}, "nothing is said"),
        ("thank you", {"logprob": -1.2}, "a guess"),
        ("go " * 9, {}, "repeats itself 9 times"),
        ("thanks for watching my friends " * 9, {}, "repeats itself 9 times"),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", {}, "compression"),
        ("a b c d", {"most": 4}, "no end within 4 tokens"),
    ],
)
def test_what_is_not_believed(text, figures, why):
    assert why in said(text, **figures)


def test_sure_silence_alone_does_not_hide_a_sure_text():
    assert said("stop", silence=0.99, logprob=-0.05) is None


def test_texts_to_learn_from_that_repeat_themselves_are_believed_later():
    limits = Limits.of(["yes " * 8, "no no no"], [2.0, 3.0])
    assert said("yes " * 16, limits=limits) is None
    assert "17 times" in said("yes " * 17, limits=limits)


def test_limits_never_become_narrower():
    assert Limits.of([], []) == Limits()
    assert Limits.of(["a"], [math.inf]) == Limits()


def test_loops_counts_phrases_that_follow_upon_themselves():
    assert loops(list("abababc")) == 3
    assert loops(list("abcabd")) == 1
    assert loops(["x"] * 5) == 5
    assert loops(range(9)) == 1
    assert loops([*range(8), *range(8)]) == 2
    assert loops([*range(9), *range(9)]) == 1  # phrases of more than eight are not looked for


def test_compression_of_half_characters_and_nothing():
    assert compression("\ud800" * 3) > 0
    assert compression("") == 0
