"""What a network learns from: the same examples whenever they are asked for, and texts that belong to their sounds."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from speech import features
from speech.examples import FURTHER, IGNORED, Joined, Plan, Whole, pieces, strings
from speech.vocabulary import Vocabulary, learn

RATE = 16_000
DIMS = {"n_vocab": 51865}
WORDS = ("yes", "no", "stop", "go")
PLAIN = Plan(2.0, groups=6, size=6, begin=-1.0, grown=0.0, most_altered=0.0, silent=0.0, past=0.0)
ALTERED = dataclasses.replace(PLAIN, clean=-1.0, altered=0.0, most_altered=1.0)


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


CLIPS = [(noise(0.2 + 0.05 * k, k), word) for k, word in enumerate(WORDS)]
VOCABULARY = Vocabulary(DIMS, learn(WORDS, DIMS, "en"), "en")
PROMPT = VOCABULARY.prompt("en")
BEGIN = len(PROMPT)


def joined(plan=PLAIN, clips=CLIPS, *, seed=0, epochs=4, epoch=0, vocabulary=VOCABULARY):
    found = Joined(clips, vocabulary, plan, epochs=epochs, seed=seed)
    found.start_epoch(epoch)
    return found


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def texts(targets):
    """Return the rows of each example's text, up to the first end."""
    ends = [row.tolist().index(VOCABULARY.end) for row in targets]
    return [row[BEGIN - 1 : end].tolist() for row, end in zip(targets, ends, strict=True)]


def similarity(window, clip):
    """Return how alike a clip and the most similar stretch of a window are, whatever their loudness."""
    products = np.correlate(window, clip, "valid").astype(np.float64)
    energy = np.convolve(window.astype(np.float64) ** 2, np.ones(len(clip)), "valid")
    return float((products / np.sqrt(energy.clip(1e-6) * np.sum(clip.astype(np.float64) ** 2))).max())


# ---------------------------------------------------------------- the same whenever asked for
@pytest.mark.parametrize("plan", [PLAIN, ALTERED, Plan(2.0, groups=6, size=6, silent=0.3)])
def test_an_example_depends_on_seed_epoch_and_number_alone(plan):
    forward, backward = joined(plan, epoch=0), joined(plan, epoch=3)
    for epoch in (0, 3):
        forward.start_epoch(epoch)
    back = {i: backward[i] for i in reversed(range(len(backward)))}
    for i, (inputs, targets) in enumerate(forward):
        assert same(inputs, back[i][0])
        assert np.array_equal(targets, back[i][1])


@pytest.mark.parametrize("other", [{"epoch": 2}, {"seed": 1}])
def test_other_epochs_and_seeds_have_other_examples(other):
    usual = {"epoch": 1, "seed": 0}
    assert not any(same(a[0], b[0]) for a, b in zip(joined(**usual), joined(**{**usual, **other}), strict=True))


def test_batches_end_and_none_is_before_the_first():
    batches = joined()
    for i in (-1, len(batches)):
        with pytest.raises(IndexError, match=f"batch {i} of 6"):
            batches[i]


def test_every_clip_begins_equally_many_examples():
    batches = joined()
    count = Counter(batches.firsts[: batches.starts[-1]].tolist())
    assert len(count) == len(CLIPS)
    assert max(count.values()) - min(count.values()) <= 1


# ---------------------------------------------------------------- lengths
@pytest.mark.parametrize("longest", [2.0, 9.0, 30.0])
def test_examples_are_as_long_as_planned(longest):
    plan = dataclasses.replace(PLAIN, longest=longest, gap=0.0)
    batches = joined(plan, clips=[(wave + 1, word) for wave, word in CLIPS])
    seconds = [np.flatnonzero(wave)[-1] / RATE for inputs, _ in batches for wave in inputs["waves"]]
    assert max(seconds) <= longest + 0.2
    assert max(seconds) > 0.7 * longest
    assert min(seconds) <= 0.36
    sizes = [len(inputs["waves"]) for inputs, _ in batches]
    assert all(min(plan.size, 6) <= size <= plan.size for size in sizes)


def test_groups_of_long_examples_are_smaller():
    plan = dataclasses.replace(PLAIN, longest=15.0, size=16)
    found = [(inputs["waves"].shape[1], len(inputs["waves"])) for inputs, _ in joined(plan)]
    assert max(found)[1] == 6
    assert min(found)[1] == 16


def test_before_strings_begin_each_example_is_one_clip():
    for _, targets in joined(dataclasses.replace(PLAIN, begin=0.5)):
        assert all(len(rows) == 1 for rows in texts(targets))


def test_examples_grow_and_more_of_them_are_altered():
    plan = Plan(9.0)
    done = np.linspace(0, 1, 21)
    for values, last in [([plan.reach(d) for d in done], 9.0), ([plan.strength(d) for d in done], 0.5)]:
        assert values[0] == 0
        assert values[-1] == last
        assert sorted(values) == values
    assert Plan(1.0).reach(1.0) == 1.0


# ---------------------------------------------------------------- sounds, spans, texts
def test_spans_are_where_clips_are():
    for inputs, targets in joined(dataclasses.replace(PLAIN, longest=4.0)):
        for k, rows in enumerate(texts(targets)):
            for (first, last), row in zip(inputs["spans"][k, BEGIN - 1 :], rows, strict=False):
                clip = CLIPS[WORDS.index(VOCABULARY.decode([row]).strip())][0]
                assert last - first <= len(clip) / 320 + 2
                assert similarity(inputs["waves"][k, first * 320 : last * 320], clip) > 0.99


def test_the_end_is_where_nothing_is_left_and_nothing_else_has_a_span():
    for inputs, targets in joined():
        for k, rows in enumerate(texts(targets)):
            spans, end = inputs["spans"][k], BEGIN - 1 + len(rows)
            assert spans[end - 1, 1] - spans[end, 0] in (0, 1)
            assert spans[end, 1] == inputs["waves"].shape[1] // 320
            assert not spans[: BEGIN - 1].any()
            assert not spans[end + 1 :].any()


def test_targets_are_the_tokens_that_follow():
    read = wrong = 0
    for inputs, targets in joined(dataclasses.replace(PLAIN, longest=4.0, past=1.0)):
        tokens = inputs["tokens"]
        assert tokens[:, :BEGIN].tolist() == [PROMPT] * len(tokens)
        assert (targets[:, 0] == PROMPT[1]).all()
        assert (targets[:, 1 : BEGIN - 1] == IGNORED).all()
        for row, following, rows in zip(tokens, targets, texts(targets), strict=True):
            read, wrong = read + len(rows), wrong + int((row[BEGIN : BEGIN + len(rows)] != rows).sum())
            after = following[BEGIN - 1 + len(rows) :]
            past = int((after == VOCABULARY.end).sum())
            assert 2 <= past <= 1 + FURTHER
            assert (after[past:] == IGNORED).all()
    assert 0 < wrong < 0.15 * read


def test_silence_is_told_by_the_first_token_and_has_no_text():
    for inputs, targets in joined(dataclasses.replace(PLAIN, silent=1.0)):
        assert (targets[:, 0] == VOCABULARY.no_speech).all()
        assert (targets[:, BEGIN - 1] == VOCABULARY.end).all()
        assert not inputs["spans"].any()


def test_clips_without_text_are_silence():
    for _, targets in joined(clips=[(noise(0.3), "")]):
        assert (targets[:, 0] == VOCABULARY.no_speech).all()
        assert set(targets[:, BEGIN - 1 :].ravel().tolist()) == {VOCABULARY.end}


def test_an_english_only_network_has_no_language_to_tell():
    dims = {"n_vocab": 51864}
    english = Vocabulary(dims, None, None)
    inputs, targets = joined(vocabulary=english)[0]
    prompt = english.prompt(None)
    assert len(prompt) == 2
    assert inputs["tokens"][:, :2].tolist() == [prompt] * len(targets)
    assert (targets[:, 0] == prompt[1]).all()
    assert not (targets[:, 1] == IGNORED).any()


def test_altered_examples_are_masked_and_others_are_not():
    assert any(inputs["masks"].any() for inputs, _ in joined(ALTERED))
    assert not any(inputs["masks"].any() for inputs, _ in joined(PLAIN))


def test_joined_texts_stay_far_from_the_decoders_limit():
    many = " ".join(WORDS * 12)
    plan = dataclasses.replace(PLAIN, longest=30.0, groups=3)
    for _, targets in joined(plan, clips=[(noise(0.4), many)]):
        assert max(map(len, texts(targets))) <= 200


@pytest.mark.parametrize("plan", [PLAIN, ALTERED], ids=["plain", "altered"])
@pytest.mark.parametrize("seconds", [16.0, 29.0, 29.95, 30.0])
def test_long_clips_are_heard_to_their_end(plan, seconds):
    batches = joined(dataclasses.replace(plan, longest=30.0, groups=1), clips=[(noise(seconds), "yes"), (noise(5), "no")])
    inputs, targets = batches[0]
    assert inputs["waves"].shape[1] <= 30 * RATE
    for spans, rows in zip(inputs["spans"], texts(targets), strict=True):
        assert spans[BEGIN - 1 : BEGIN - 1 + len(rows)].max() <= 1500


@pytest.mark.parametrize("samples", [1, 10])
def test_clips_of_a_few_samples_do_no_harm(samples):
    for inputs, _ in joined(dataclasses.replace(ALTERED, groups=2), clips=[(noise(1)[:samples], "yes")]):
        assert np.isfinite(inputs["waves"]).all()


def test_whole_windows_are_padded_in_either_way():
    plan = dataclasses.replace(PLAIN, full=True, groups=12, size=2)
    modes = set()
    for inputs, _ in joined(plan):
        assert len(set(inputs["full"].tolist())) == 1
        mode = int(inputs["full"][0])
        modes.add(mode)
        assert (inputs["waves"].shape[1] == 30 * RATE) == (mode == 1)
    assert modes == {0, 1, 2}


# ---------------------------------------------------------------- pieces
def spoken(count, seed=0):
    return np.concatenate([part for k in range(count) for part in (np.zeros(4000, np.float32), noise(0.3, seed + k))])


def test_clips_are_cut_at_their_pauses_and_no_word_is_lost():
    wave = spoken(4)
    found = pieces([wave], ["one two three four"], 1.2)
    assert [text for _, text in found[:4]] == ["one", "two", "three", "four"]
    for k, (part, _) in enumerate(found[:4]):
        assert similarity(part, noise(0.3, k)[800:-800]) > 0.99
    runs = [text.split() for _, text in found[4:]]
    assert all(len(run) > 1 for run in runs)
    assert all(len(part) <= 1.2 * RATE for part, _ in found)


def test_what_cannot_be_cut_stays_as_it_is():
    whole, one, empty = noise(2), noise(0.5), np.zeros(RATE, np.float32)
    found = pieces([whole, one, empty], ["one two", "three", ""], 3.0)
    assert [text for _, text in found] == ["one two", "three", ""]
    assert all(part is wave for (part, _), wave in zip(found, [whole, one, empty], strict=True))


def test_long_clips_that_cannot_be_cut_are_left_out_only_where_others_hold_most_words():
    long = (noise(5), "five six")
    few, many = [(spoken(2), "one two")], [(spoken(5), "one two three four five")] * 2
    for others, kept in [(few, True), (many, False)]:
        waves, texts = zip(*others, long, strict=True)
        assert (("five six") in [text for _, text in pieces(waves, texts, 3.0)]) is kept


@pytest.mark.parametrize("wave", [np.zeros(RATE, np.float32), np.zeros(1, np.float32), np.full(3 * RATE, np.nan, np.float32)])
def test_pieces_of_nothing_are_the_clip(wave):
    assert pieces([wave], ["one two"], 3.0)[0][0] is wave


# ---------------------------------------------------------------- strings
def test_strings_are_no_longer_than_asked_and_tell_where_clips_begin():
    found = strings(CLIPS, 1.5, np.random.default_rng(0), 20)
    assert len(found) == 20
    for wave, text, starts in found:
        assert len(wave) <= 1.5 * RATE
        for word, start in zip(text.split(), starts, strict=True):
            clip = CLIPS[WORDS.index(word)][0]
            at = round(start * RATE)
            np.testing.assert_array_equal(wave[at : at + len(clip)], clip)


@pytest.mark.parametrize(
    ("clips", "count"),
    [
        ([(noise(2), "long")], 0),
        ([(noise(0.6), "one")], 0),
        ([(noise(0.3), "one")], 5),
        ([(noise(1)[:1], "one")], 5),
    ],
    ids=["too long", "no two fit", "one clip", "one sample"],
)
def test_strings_end(clips, count):
    found = strings(clips, 1.0, np.random.default_rng(0), 5)
    assert len(found) == count
    assert all(len(wave) <= RATE for wave, *_ in found)


def test_empty_texts_leave_no_gaps_in_strings():
    found = strings([(noise(0.1), " one "), (noise(0.1), "")], 1.0, np.random.default_rng(0), 10)
    assert found
    assert all(text == " ".join(text.split()) for _, text, _ in found)


# ---------------------------------------------------------------- for judging
def test_clips_of_one_context_are_judged_together_and_found_again():
    seconds = [3.0, 0.2, 12.0, 0.3, 29.0, *[1.0] * 40]
    batches = Whole([np.full(round(s * RATE), s, np.float32) for s in seconds], ["yes no"] + ["no"] * 44, VOCABULARY)
    seen = []
    for inputs, _ in batches:
        contexts = {features.context(int((wave != 0).sum())) for wave in inputs["waves"]}
        assert contexts == {inputs["waves"].shape[1] // features.HOP}
        assert len(inputs["waves"]) <= 32
        seen += inputs["waves"].max(axis=1).tolist()
    assert batches.in_order(np.array(seen)[:, None])[:, 0].tolist() == pytest.approx(seconds)
    assert len({inputs["tokens"].shape[1] for inputs, _ in batches}) == 1


@pytest.mark.parametrize("text", ["yes stop", "go", ""])
def test_judged_targets_are_the_tokens_that_follow(text):
    inputs, _ = Whole([noise(1), noise(1)], [text, "yes no stop"], VOCABULARY)[0]
    rows = VOCABULARY.encode(text)
    assert inputs["tokens"][0].tolist() == [*PROMPT, *rows, *[VOCABULARY.end] * (3 - len(rows))]
    following = [*[IGNORED] * (BEGIN - 1), *rows, VOCABULARY.end]
    assert inputs["targets"][0].tolist() == following + [IGNORED] * (BEGIN + 3 - len(following))
