import itertools
import string

import numpy as np
import pytest

from nlp.tokens import LengthBatches, Tokenizer, learn_wordpiece

WORDS = list(string.ascii_lowercase)
STORED = learn_wordpiece([" ".join(WORDS), *map(str, range(100))] * 3, 200)


def shown(tokenizer, tokens):
    return [tokenizer._library.decode(tokens.ids[a:b]) for a, b in itertools.pairwise(tokens.starts)]


def test_a_learned_vocabulary_is_the_same_every_time():
    texts = [f"{a}{b} {b}{c}{a}" for a in WORDS[:9] for b in WORDS[3:12] for c in WORDS[5:9]]
    assert len({learn_wordpiece(texts, 150) for _ in range(4)}) == 1


def test_a_learned_vocabulary_keeps_to_its_size_with_many_letters():
    texts = ["".join(map(chr, range(0x4E00, 0x4E00 + 3000))), "the cat"]
    assert Tokenizer(learn_wordpiece(texts, 400), 512).size <= 400


def test_windows_overlap_by_a_quarter_and_cover_the_text():
    tokenizer = Tokenizer(STORED, 10)
    tokens = tokenizer.encode([" ".join(WORDS), "a b"])
    windows = [text.split() for text in shown(tokenizer, tokens)[:-1]]
    assert tokens.long == 1
    assert set().union(*map(set, windows)) == set(WORDS)
    for one, other in itertools.pairwise(windows):
        assert 0 < len(set(one) & set(other)) <= 2


def test_head_and_tail_keeps_begin_and_end():
    tokenizer = Tokenizer(STORED, 10, "head+tail")
    tokens = tokenizer.encode([" ".join(WORDS), "a b"])
    assert shown(tokenizer, tokens) == ["a b u v w x y z", "a b"]
    assert (tokens.long, tokens.lengths.tolist()) == (1, [10, 4])


def test_truncate_keeps_the_begin():
    tokenizer = Tokenizer(STORED, 10, "truncate")
    tokens = tokenizer.encode([" ".join(WORDS), "a b"])
    assert shown(tokenizer, tokens) == ["a b c d e f g h", "a b"]
    assert tokens.long == 1


@pytest.mark.parametrize("mode", ["window", "head+tail", "truncate"])
def test_pairs_say_which_text_is_the_second(mode):
    tokenizer = Tokenizer(STORED, 16, mode)
    tokens = tokenizer.encode([("a b", "c"), (" ".join(WORDS), "1 2 3"), ("1 2 3", " ".join(WORDS))])
    padded = tokens.padded(np.arange(len(tokens)))
    assert padded["second"][0, :7].tolist() == [0, 0, 0, 0, 1, 1, 0]
    assert tokens.long == 2
    assert tokens.lengths.max() <= 16
    assert (padded["second"].max(1) == 1).all()


def test_padding_is_marked():
    tokens = Tokenizer(STORED, 32).encode(["a", "a b c"])
    padded = tokens.padded(np.array([1, 0]))
    assert padded["mask"].tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert padded["ids"][1, 3:].tolist() == [0, 0]


def test_outputs_are_averaged_over_a_texts_windows():
    tokens = Tokenizer(STORED, 10).encode(["a", " ".join(WORDS), "b"])
    outputs = np.arange(len(tokens), dtype=np.float32)[:, None]
    assert tokens.per_text(outputs).ravel().tolist() == [0, outputs[1:-1].mean(), len(tokens) - 1]


def test_at_most_spreads_the_windows_it_keeps():
    tokens = Tokenizer(STORED, 10).encode(["a", " ".join(WORDS * 10), "b"])
    few = tokens.at_most(3)
    assert few.counts.tolist() == [1, 3, 1]
    last = tokens.owners.tolist().index(2) - 1
    a, b = few.starts[3:5]
    assert few.ids[a:b].tolist() == tokens.ids[tokens.starts[last] : tokens.starts[last + 1]].tolist()
    assert few.at_most(3) is few


def test_special_characters_and_empty_texts_have_tokens():
    tokens = Tokenizer(STORED, 10).encode(["", "   ", "\ud800", "🙂", "مرحبا", "\x00"])
    assert (tokens.counts == 1).all()
    assert (tokens.lengths >= 2).all()


def batches(n=1000, size=8, seed=0):
    lengths = np.random.default_rng(1).integers(1, 60, n)
    tokens = Tokenizer(STORED, 128).encode([" ".join(["a"] * length) for length in lengths])
    return LengthBatches(tokens, size, targets=np.arange(n), seed=seed)


def test_training_batches_take_every_window_once_and_waste_little():
    found = batches()
    for epoch in (0, 1):
        found.start_epoch(epoch)
        parts = [found[i] for i in range(len(found))]
        assert sorted(np.concatenate([targets for _, targets in parts])) == list(range(1000))
        assert np.mean([inputs["mask"].mean() for inputs, _ in parts]) > 0.9
    one, other = batches(), batches()
    one.start_epoch(3)
    other.start_epoch(3)
    assert np.array_equal(one.order, other.order)
    other.start_epoch(4)
    assert not np.array_equal(one.order, other.order)


def test_the_smaller_batch_is_the_last_and_not_always_the_same():
    found, lasts = batches(n=1003), []
    for epoch in range(6):
        found.start_epoch(epoch)
        lasts.append(found[len(found) - 1][1].tolist())
    assert {len(last) for last in lasts} == {3}
    assert len({tuple(last) for last in lasts}) == 6


def test_fewer_windows_than_a_batch_are_one_batch():
    found = batches(n=5)
    assert len(found) == 1
    assert sorted(found[0][1]) == [0, 1, 2, 3, 4]


def test_prediction_takes_long_windows_first_and_returns_to_the_order():
    found = batches(seed=None)
    parts = [found[i] for i in range(len(found))]
    assert len(parts) < 10  # of about 8,192 tokens, whatever the batch size
    widths = [inputs["mask"].shape[1] for inputs, _ in parts]
    assert widths == sorted(widths, reverse=True)
    computed = np.concatenate([targets for _, targets in parts])
    assert found.in_order(computed).tolist() == list(range(1000))
    with pytest.raises(IndexError):
        found[len(found)]


def test_all_windows_of_a_pair_say_which_text_is_the_second():
    tokens = Tokenizer(STORED, 16).encode([(" ".join(WORDS), "1 2 3")])
    assert tokens.counts[0] > 1
    for window in range(len(tokens)):
        ids, second = (getattr(tokens, name)[tokens.starts[window] : tokens.starts[window + 1]] for name in ("ids", "second"))
        assert np.array_equal(second, (np.cumsum(ids == 3) - (ids == 3)).clip(0, 1))  # 3 ends each text
