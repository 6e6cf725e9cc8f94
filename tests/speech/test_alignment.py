"""Times of words are openai-whisper's, for whole batches and for contexts shorter than 30 seconds."""

import pytest

from pipelines.engines import load_framework

torch = load_framework("torch")
whisper = load_framework("whisper")

from speech import features, networks  # noqa: E402  (after the gate)
from speech.alignment import align  # noqa: E402
from speech.vocabulary import Vocabulary  # noqa: E402

TEXTS = ["Hello there, world!", "one", "", "a rather longer text, with several words"]
SAMPLES = [48_000, 20_000, 48_000, 40_000]
HEADS = [[2, 0], [2, 1], [3, 0], [3, 1]]


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary(networks.small(64, 2), None, "en")


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        found = networks.build(networks.small(64, 2)).eval()
        with torch.no_grad():
            for block in found.decoder.blocks:
                block.cross_attn.query.weight.mul_(20)
    return found


@pytest.fixture(scope="module")
def mel():
    return features.log_mel(torch.randn(4, 48_000, generator=torch.Generator().manual_seed(0)))


def found(network, vocabulary, mel, clips=(0, 1, 2, 3)):
    rows = [vocabulary.encode(TEXTS[i]) for i in clips]
    samples = [SAMPLES[i] for i in clips]
    return align(network, mel[list(clips)], rows, ["en"] * len(clips), samples, vocabulary=vocabulary, heads=HEADS)


def test_times_and_probabilities_are_openai_whispers(network, vocabulary, mel):
    full = torch.nn.functional.pad(mel, (0, features.FULL - mel.shape[2]))
    for i, words in enumerate(found(network, vocabulary, full)):
        theirs = whisper.timing.find_alignment(
            network, whisper.tokenizer.get_tokenizer(True), vocabulary.encode(TEXTS[i]), full[i], SAMPLES[i] // 160
        )
        whisper.timing.merge_punctuations(theirs, "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、")
        theirs = [one for one in theirs if one.word]
        assert [word.text for word in words] == [one.word for one in theirs]
        assert [word.start for word in words] == pytest.approx([one.start for one in theirs], abs=1e-6)
        assert [word.end for word in words] == pytest.approx([one.end for one in theirs], abs=1e-6)
        assert [word.probability for word in words] == pytest.approx([one.probability for one in theirs], rel=0.05)


def test_a_clip_alone_has_the_times_it_has_in_a_batch(network, vocabulary, mel):
    together = found(network, vocabulary, mel)
    for i in range(4):
        alone = found(network, vocabulary, mel, [i])[0]
        assert [(word.text, word.start, word.end) for word in alone] == [(w.text, w.start, w.end) for w in together[i]]


def test_words_make_up_the_text_in_order_and_within_the_clip(network, vocabulary, mel):
    for i, words in enumerate(found(network, vocabulary, mel)):
        assert "".join(word.text for word in words).strip() == TEXTS[i]
        times = [time for word in words for time in (word.start, word.end)]
        assert times == sorted(times)
        assert all(0 <= time <= SAMPLES[i] / 16_000 for time in times)


def test_the_network_is_as_it_was(network, vocabulary, mel):
    found(network, vocabulary, mel)
    assert whisper.model.MultiHeadAttention.use_sdpa
    assert not any(block.cross_attn._forward_hooks for block in network.decoder.blocks)


def test_no_texts_have_no_words(network, vocabulary, mel):
    assert found(network, vocabulary, mel, [2]) == [()]
