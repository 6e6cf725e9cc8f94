"""Our decoding of whole batches says what openai-whisper says clip by clip."""

import warnings

import numpy as np
import pytest

from pipelines.engines import load_framework

torch = load_framework("torch")
whisper = load_framework("whisper")

from speech import features, networks  # noqa: E402  (after the gate)
from speech.decoding import decode, hear  # noqa: E402
from speech.vocabulary import Vocabulary, learn  # noqa: E402

DIMS = {**networks.small(64, 2), "n_text_layer": 2}


@pytest.fixture(scope="module")
def network():
    """A random network whose choices differ clearly from clip to clip."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = networks.build(DIMS).eval()
        with torch.no_grad():
            found.decoder.token_embedding.weight.mul_(10)
            found.decoder.positional_embedding.mul_(15)
            for block in found.decoder.blocks:
                block.cross_attn.out.weight.mul_(40)
                block.cross_attn.query.weight.mul_(6)
    return found


@pytest.fixture(scope="module")
def mel():
    waves = torch.randn(4, 32_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.5], [0.1], [0.02], [0.3]])
    return torch.nn.functional.pad(features.log_mel(waves), (0, features.FULL - 200))


def _quietly(call, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # openai-whisper's beam search sorts a tensor with NumPy
        return call(*arguments)


def said(results):
    return [one.tokens for one in results]


def test_encoder_at_thirty_seconds_is_whispers(network, mel):
    with torch.inference_mode():
        torch.testing.assert_close(networks.encode(network, mel), network.encoder(mel))


@pytest.mark.parametrize("timestamps", [False, True])
@pytest.mark.parametrize("beam_size", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_tokens_and_scores_are_openai_whispers(network, mel, beam_size, timestamps):
    options = whisper.DecodingOptions(
        language="en", fp16=False, without_timestamps=not timestamps, beam_size=beam_size if beam_size > 1 else None
    )
    vocabulary = Vocabulary(DIMS, None, "en", may_be_empty=False)
    theirs = [_quietly(whisper.decode, network, one, options) for one in mel]
    ours = decode(network, hear(network, mel), vocabulary, beam_size=beam_size, timestamps=timestamps)
    assert said(ours) == [one.tokens for one in theirs]
    assert len({tuple(tokens) for tokens in said(ours)}) > 1  # or it would say nothing about mixing clips up
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.logprob == pytest.approx(other.avg_logprob, abs=1e-4)
        assert mine.no_speech == pytest.approx(other.no_speech_prob, rel=1e-3)


def test_language_is_found_as_openai_whisper_finds_it(network, mel):
    vocabulary = Vocabulary(DIMS, None, None, may_be_empty=False)
    theirs = [whisper.decode(network, one, whisper.DecodingOptions(fp16=False)).language for one in mel]
    assert [one.language for one in decode(network, hear(network, mel), vocabulary)] == theirs


@pytest.mark.parametrize("beam_size", [1, 4])
def test_a_clip_alone_is_the_clip_in_a_batch(network, mel, beam_size):
    vocabulary = Vocabulary(DIMS, None, "en", may_be_empty=False)
    together = decode(network, hear(network, mel[:, :, :200]), vocabulary, beam_size=beam_size)
    alone = [decode(network, hear(network, one[None, :, :200]), vocabulary, beam_size=beam_size)[0] for one in mel]
    assert said(together) == said(alone)


TEXTS = ("yes no", "no yes maybe")


@pytest.fixture(scope="module")
def kept():
    return learn(TEXTS, networks.small(32, 1), "en")


@pytest.fixture(scope="module")
def pair(kept):
    """A network with rows for some tokens only, and the same with a row for every token."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        few = networks.build(networks.small(32, 1), kept).eval()
        whole = networks.build(networks.small(32, 1)).eval()
    state = few.state_dict()
    rows = state["decoder.token_embedding.weight"]
    every = rows[-1].repeat(51865, 1)
    every[torch.from_numpy(kept)] = rows[:-1]
    whole.load_state_dict({**state, "decoder.token_embedding.weight": every})
    return few, whole


class TestFewTokens:
    def test_its_softmax_is_that_of_the_whole_network(self, pair, kept, mel):
        few, whole = pair
        words = Vocabulary(networks.small(32, 1), kept, "en")
        rows = torch.tensor([words.prompt("en") + words.encode("no yes")])
        with torch.inference_mode():
            encoded = networks.encode(few, mel[:1, :, :200])
            ours = networks.logits(few, rows, encoded, words.others).softmax(-1)
            theirs = networks.logits(whole, torch.tensor([words.ids(rows[0])]), encoded).softmax(-1)
        torch.testing.assert_close(ours[0, :, :-1], theirs[0][:, torch.from_numpy(kept)], rtol=1e-4, atol=1e-7)

    def test_it_writes_only_words_it_has_seen(self, pair, kept, mel):
        words = Vocabulary(networks.small(32, 1), kept, "en")
        known = {token for text in TEXTS for token in words.encode(text)}
        for one in decode(pair[0], hear(pair[0], mel[:, :, :200]), words):
            assert set(one.tokens) <= known

    def test_texts_come_back_and_unknown_tokens_share_a_row(self, kept):
        words = Vocabulary(networks.small(32, 1), kept, "en")
        assert words.decode(words.encode("no maybe yes")) == " no maybe yes"
        assert words.encode("perhaps") == [len(kept)] * len(words.encode("perhaps"))
        assert words.size == len(kept) + 1
        assert words.others == 51865 - len(kept)

    def test_what_looks_like_a_special_token_is_plain_text(self, kept):
        every = Vocabulary(networks.small(32, 1), None, "en")
        assert every.decode(every.encode("a <|endoftext|> b")) == " a <|endoftext|> b"
        assert every.end not in every.encode("a <|endoftext|> b")

    def test_no_text_has_no_tokens(self, kept):
        assert Vocabulary(networks.small(32, 1), kept, "en").encode("  ") == []


def test_english_only_and_large_v3_vocabularies():
    english, large = Vocabulary({"n_vocab": 51864}, None, None), Vocabulary({"n_vocab": 51866}, None, None)
    assert english.languages == {}
    assert len(english.prompt(None)) == 2
    assert len(large.languages) == 100
    assert np.diff(sorted(large.languages)).min() >= 1
