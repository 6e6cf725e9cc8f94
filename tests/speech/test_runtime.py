import gc
import os
import tempfile
import time

import pytest

from pipelines.engines import usable_cores
from speech import decoding, networks, runtime
from speech.vocabulary import Vocabulary

from .whispers import ENGLISH, adds_up_exactly, clips, dims, kept, network, torch, whisper

pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")


def agree(found, expected, tolerance=1e-3):
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    assert [each.language for each in found] == [each.language for each in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.logprob == pytest.approx(theirs.logprob, abs=tolerance)
        assert ours.no_speech == pytest.approx(theirs.no_speech, abs=tolerance)


@pytest.fixture(scope="module")
def few():
    of, tokens = dims(), kept()
    return of, tokens, network(of, tokens), Vocabulary(of, tokens, "en")


# ---------------------------------------------------------------- CTranslate2
@pytest.mark.parametrize("frames", [50, 200, 1000])
def test_few_tokens_same_texts_and_scores(few, frames):
    _, _, model, words = few
    mel = clips(20, frames)
    expected = decoding.decode(model, decoding.hear(model, mel), words)
    agree(runtime.ctranslate2(model, words)((mel,), words, beam_size=1, timestamps=False), expected)
    assert len({len(each.tokens) for each in expected}) > 2  # texts of several lengths, or this would show little


@pytest.mark.parametrize("n_vocab", [51865, ENGLISH])
def test_all_tokens_same_texts_and_scores(n_vocab):
    of = dims(n_vocab=n_vocab)
    words = Vocabulary(of, None, "en", may_be_empty=False)
    model, mel = network(of, ends=4), clips(6)
    agree(runtime.ctranslate2(model, words)((mel,), words), decoding.decode(model, decoding.hear(model, mel), words))


def test_a_clip_alone_gets_the_text_it_gets_among_others(few):
    _, _, model, words = few
    mel, decode = clips(6), runtime.ctranslate2(model, words)
    alone = [decode((clip[None],), words)[0] for clip in mel]
    agree(alone, decode((mel,), words))


def test_languages_are_told_apart():
    of = dims()
    model, words, mel = network(of, hears=30), Vocabulary(of, None, None), clips(6)
    found = runtime.ctranslate2(model, words)((mel,), words)
    agree(found, decoding.decode(model, decoding.hear(model, mel), words))
    assert len({each.language for each in found}) > 1


def test_one_language_is_no_choice(few):
    of, tokens, model, words = few
    free = Vocabulary(of, tokens, None)
    found = runtime.ctranslate2(model, words)((clips(2),), free)
    agree(found, decoding.decode(model, decoding.hear(model, clips(2)), free))
    assert {each.language for each in found} == {"en"}


def test_timestamps():
    of = dims()
    model, words = network(of, ends=4), Vocabulary(of, None, "en", may_be_empty=False)
    mel = clips(2, 3000)
    found = runtime.ctranslate2(model, words)((mel,), words, timestamps=True)
    expected = decoding.decode(model, decoding.hear(model, mel), words, timestamps=True)
    agree(found, expected)
    assert found[0].tokens[0] >= words.tokenizer.timestamp_begin


def test_a_network_that_must_begin_a_text_does(few):
    of, tokens, _, _ = few
    silent = network(of, tokens)
    for may_be_empty in (True, False):
        words = Vocabulary(of, tokens, "en", may_be_empty=may_be_empty)
        with torch.no_grad():  # the end, whatever is heard
            silent.decoder.ln.bias.copy_(4 * silent.decoder.token_embedding.weight[words.end])
        found = runtime.ctranslate2(silent, words)((clips(2),), words)
        agree(found, decoding.decode(silent, decoding.hear(silent, clips(2)), words))
        assert [bool(each.tokens) for each in found] == [not may_be_empty] * 2


@pytest.mark.parametrize("size", [2, 5])
def test_beams(few, size):
    _, _, model, words = few
    mel = clips(12)
    greedy = decoding.decode(model, decoding.hear(model, mel), words)
    ours = decoding.decode(model, decoding.hear(model, mel), words, beam_size=size)
    found = runtime.ctranslate2(model, words)((mel,), words, beam_size=size)
    equal = sum(a.tokens == b.tokens for a, b in zip(found, ours, strict=True))
    assert equal >= 10  # both stop searching by rules of their own
    for a, b in zip(found, ours, strict=True):
        if a.tokens == b.tokens:
            assert a.logprob == pytest.approx(b.logprob, abs=1e-3)
    assert sum(each.logprob for each in found) >= sum(each.logprob for each in greedy) - 1e-3


def test_an_empty_text_among_the_beams(few):
    of, tokens, _, words = few
    silent = network(of, tokens)
    with torch.no_grad():
        silent.decoder.ln.bias.copy_(4 * silent.decoder.token_embedding.weight[words.end])
    found = runtime.ctranslate2(silent, words)((clips(2),), words, beam_size=3)
    agree(found, decoding.decode(silent, decoding.hear(silent, clips(2)), words, beam_size=3))
    assert found[0].tokens == []


def test_int8_says_nearly_the_same(few):
    _, _, model, words = few
    mel = clips(20, 100)
    expected = decoding.decode(model, decoding.hear(model, mel), words)
    found = runtime.ctranslate2(model, words, int8=True)((mel,), words)
    equal = [(a, b) for a, b in zip(found, expected, strict=True) if a.tokens == b.tokens]
    # of networks without training two tokens are often as good as equally likely
    fewest, apart = (15, 0.05) if adds_up_exactly() else (5, 0.25)
    assert len(equal) >= fewest
    assert max(abs(a.logprob - b.logprob) for a, b in equal) < apart


def test_converting_leaves_the_network_and_the_disk_alone(few, tmp_path, monkeypatch):
    _, _, model, words = few
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for int8 in (False, True):
        runtime.Converted(model, words, int8=int8)
    assert os.listdir(tmp_path) == []
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_network_is_converted_once_until_its_weights_change(few):
    of, tokens, _, words = few
    model = network(of, tokens, seed=5)
    first = runtime.ctranslate2(model, words)
    assert runtime.ctranslate2(model, words) is first
    assert runtime.ctranslate2(model, words, int8=True) is not first
    with torch.no_grad():
        model.decoder.ln.bias += 0.1
    assert runtime.ctranslate2(model, words) is not first
    before = len(runtime._remembered)
    del model
    gc.collect()
    assert len(runtime._remembered) < before


def test_threads_are_the_usable_cores_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert runtime.threads() == usable_cores()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert runtime.threads() == 0


# ---------------------------------------------------------------- 8-bit weights in PyTorch
def test_all_linear_layers_are_quantized_and_the_network_is_left_alone(few):
    _, _, model, _ = few
    small = runtime.quantized(model)
    kinds = [
        type(layer).__name__
        for name, layer in small.named_modules()
        if name.endswith(("query", "key", "value", "out", "mlp.0", "mlp.2"))
    ]
    assert len(kinds) == 6 + 10
    assert {type(layer).__module__ for layer in small.modules() if type(layer).__name__ == "Linear"} == {
        "torch.ao.nn.quantized.dynamic.modules.linear"
    }
    assert not any(isinstance(layer, torch.nn.Linear) for layer in small.modules())
    assert isinstance(model.encoder.blocks[0].attn.query, whisper.model.Linear)
    assert all(weight.requires_grad for name, weight in model.named_parameters() if "positional" not in name)
    assert not small.training
    assert runtime.quantized(model) is small


def test_quantized_says_nearly_the_same(few):
    _, _, model, words = few
    mel = clips(20, 100)
    expected = decoding.decode(model, decoding.hear(model, mel), words)
    found = decoding.decode(runtime.quantized(model), decoding.hear(runtime.quantized(model), mel), words)
    equal = [(a, b) for a, b in zip(found, expected, strict=True) if a.tokens == b.tokens]
    assert len(equal) >= 14
    assert all(a.logprob == pytest.approx(b.logprob, abs=0.1) for a, b in equal)


def test_half_the_precision_says_nearly_the_same(few):
    _, _, model, words = few
    mel = clips(20, 100)
    heard, halved = decoding.hear(model, mel), runtime.hear_in_bfloat16(model, mel)
    for single, half in zip(heard, halved, strict=True):
        assert half.dtype == torch.float32
        assert 1e-4 < (half - single).norm() / single.norm() < 0.02  # three digits, not seven
    expected, found = decoding.decode(model, heard, words), decoding.decode(model, halved, words)
    equal = [(a, b) for a, b in zip(found, expected, strict=True) if a.tokens == b.tokens]
    assert len(equal) >= 16
    assert all(a.logprob == pytest.approx(b.logprob, abs=0.1) for a, b in equal)


@pytest.mark.slow
def test_quicker_at_the_size_of_tiny():
    of = dims(384, 4, 6)
    tokens = kept()
    model, words, mel = network(of, tokens), Vocabulary(of, tokens, "en"), clips(8, 300)

    def seconds(run):
        run()
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    small = runtime.quantized(model)
    with torch.inference_mode():
        plain, quick = (min(seconds(lambda net=net: networks.encode(net, mel)) for _ in range(3)) for net in (model, small))
    assert quick < 0.9 * plain
    assert runtime.ctranslate2(model, words, int8=True)((mel,), words)
