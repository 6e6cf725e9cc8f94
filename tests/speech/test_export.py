import dataclasses
import json
import os

import numpy as np
import pytest

from pipelines.errors import DataError, ParameterError
from speech import decoding, export, networks, weights
from speech.vocabulary import Vocabulary

from .whispers import ENGLISH, LARGE, MULTILINGUAL, clips, dims, kept, network, torch, whisper

FOLDERS = ("huggingface", "ctranslate2")


def needs(format):
    library = {"huggingface": "transformers", "ctranslate2": "ctranslate2"}.get(format)
    if library:
        pytest.importorskip("transformers", reason="transformers is not installed")
        return pytest.importorskip(library, reason=f"{library} is not installed")
    return whisper


def written(place, of, model, format, tokens=None, **options):
    path = place / ("model.pt" if format == "openai" else format)
    return export.export(of, model.state_dict(), path, format=format, kept=tokens, **options)


@pytest.fixture(scope="module")
def small():
    of = dims()
    return of, network(of)


@pytest.fixture(scope="module")
def few():
    """A network with rows for few tokens, and the same with a row for each."""
    of, tokens = dims(), kept()
    model = network(of, tokens)
    whole = whisper.model.Whisper(whisper.model.ModelDimensions(**of))
    whole.load_state_dict(export.expanded(model.state_dict(), of["n_vocab"], tokens))
    return of, tokens, model, whole.eval()


@pytest.fixture(scope="module")
def sample():
    """A spectrogram of 30 s, and a text of few tokens."""
    prompt = Vocabulary({"n_vocab": MULTILINGUAL}, None, "en").prompt("en")
    return torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1)), torch.tensor([[*prompt, 4018, 472, 11]])


# ---------------------------------------------------------------- rows for all tokens
def test_every_token_gets_a_row(few, sample):
    of, tokens, model, whole = few
    words = Vocabulary(of, tokens, "en")
    rows = torch.tensor([words._rows(sample[1][0].tolist())])
    with torch.no_grad():
        found = whole(*sample)[0]
        encoded = networks.encode(model, sample[0])
        expected = networks.logits(model, rows, encoded)[0]
        shared = networks.logits(model, rows, encoded, words.others)[0]
    assert torch.equal(found[:, tokens], expected[:, :-1])
    others = np.setdiff1d(np.arange(of["n_vocab"]), tokens)
    assert torch.equal(found[:, others], expected[:, -1:].expand(-1, len(others)))
    # and the shared row stands for all of them
    assert torch.allclose(found.log_softmax(-1)[:, tokens], shared.log_softmax(-1)[:, :-1], atol=1e-4)


# ---------------------------------------------------------------- read by others
def test_openai_whisper_reads_it(tmp_path, few, sample):
    of, tokens, model, whole = few
    done = written(tmp_path, of, model, "openai", tokens, heads=[(0, 1)])
    assert (done.format, done.path, os.fspath(done)) == ("openai", tmp_path / "model.pt", str(tmp_path / "model.pt"))
    assert done.difference <= 1e-5 <= done.tolerance
    read = whisper.load_model(str(done.path), device="cpu")
    assert dataclasses.asdict(read.dims) == of
    with torch.no_grad():
        assert (read(*sample) - whole(*sample)).abs().max() <= 1e-5
    assert os.listdir(tmp_path) == ["model.pt"]


def test_transformers_reads_it_and_writes_the_same(tmp_path, few, sample):
    transformers = needs("huggingface")
    of, tokens, model, whole = few
    done = written(tmp_path, of, model, "huggingface", tokens, heads=[(0, 1)], language="en", may_be_empty=True)
    assert done.difference <= 1e-5
    read = transformers.WhisperForConditionalGeneration.from_pretrained(done.path)
    with torch.no_grad():
        found = read(input_features=sample[0], decoder_input_ids=sample[1]).logits
        assert (found - whole(*sample)).abs().max() <= 1e-5
    assert read.generation_config.alignment_heads == [[0, 1]]
    words, mel = Vocabulary(of, tokens, "en"), clips(4, 3000)
    ours = [words.ids(found.tokens)[:4] for found in decoding.decode(model, decoding.hear(model, mel), words)]
    theirs = [text[: [*text, 50257].index(50257)][:4] for text in read.generate(mel, max_new_tokens=10).tolist()]
    assert theirs == ours
    assert len({*map(len, ours)}) > 1


@pytest.mark.parametrize("n_vocab", [MULTILINGUAL, ENGLISH, LARGE])
def test_transformers_tokenizer_is_openai_whispers(tmp_path, n_vocab):
    transformers = needs("huggingface")
    of = dims(n_vocab=n_vocab, n_mels=128 if n_vocab == LARGE else 80)
    done = written(tmp_path, of, network(of), "huggingface", language=None if n_vocab == ENGLISH else "de")
    processor = transformers.WhisperProcessor.from_pretrained(done.path)
    words = Vocabulary(of, None, "de")
    names, tokenizer = words.tokenizer, processor.tokenizer
    for text in (" Hello, world! It's 3.14 %", "   drei \n\n Größen naïve — “x”", "中文 עברית 😀👍🏽", ""):
        expected = names.encode(text)
        assert tokenizer.encode(text, add_special_tokens=False) == expected
        assert tokenizer.decode(expected) == text
    assert {name: tokenizer.convert_tokens_to_ids(name) for name in names.special_tokens} == names.special_tokens
    assert len(tokenizer) == n_vocab
    assert tokenizer("ja").input_ids == [*words.prompt("de"), *names.encode("ja"), names.eot]
    assert tokenizer.decode([*words.prompt("de"), *names.encode(" ja")], skip_special_tokens=True) == " ja"
    assert processor.feature_extractor.feature_size == of["n_mels"]
    assert tokenizer.normalize("Colour") == "color"
    auto = transformers.AutoProcessor.from_pretrained(done.path)
    assert auto.tokenizer.encode(" yes") == tokenizer.encode(" yes")


def test_transformers_is_told_what_openai_whisper_works_with(tmp_path, small):
    transformers = needs("huggingface")
    of, model = small
    words = Vocabulary(of, None, None, may_be_empty=False)
    done = written(tmp_path, of, model, "huggingface", taught=[7])
    found = transformers.GenerationConfig.from_pretrained(done.path)
    assert found.suppress_tokens == [token for token in words.suppressed if token != 7]
    assert found.begin_suppress_tokens == words.blank == [220, 50257]
    assert found.lang_to_id["<|en|>"] == words.tokenizer.to_language_token("en")
    assert len(found.lang_to_id) == 99
    assert found.task_to_id == {"transcribe": words.tokenizer.transcribe, "translate": words.tokenizer.translate}
    assert found.no_timestamps_token_id == words.tokenizer.no_timestamps
    assert found.alignment_heads == [[0, 0], [0, 1]]  # those openai-whisper takes where none are known
    assert found.language is None


def test_the_wave_becomes_the_same_spectrogram(tmp_path, small):
    transformers = needs("huggingface")
    done = written(tmp_path, *small, "huggingface")
    wave = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(done.path)
    found = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_features
    assert torch.allclose(found[0], whisper.log_mel_spectrogram(torch.from_numpy(wave)), atol=1e-3)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("quantization", [None, "float16", "int8"])
def test_faster_whisper_reads_it_and_writes_the_same(tmp_path, few, quantization):
    needs("ctranslate2")
    faster = pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    of, tokens, model, whole = few
    done = written(tmp_path, of, model, "ctranslate2", tokens, quantization=quantization, may_be_empty=True)
    assert done.quantization == (quantization or "float32")
    assert done.difference <= done.tolerance
    read = faster.WhisperModel(
        str(done.path), device="cpu", cpu_threads=1, compute_type="int8" if quantization == "int8" else "float32"
    )
    assert read.model.is_multilingual
    assert read.hf_tokenizer.get_vocab_size() == of["n_vocab"]
    wave = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)
    options = {"beam_size": 1, "temperature": 0, "language": "en", "without_timestamps": True, "max_new_tokens": 6}
    gates = {"log_prob_threshold": None, "no_speech_threshold": None, "compression_ratio_threshold": None}
    segments, _ = read.transcribe(wave, **options, **gates)
    mel = whisper.log_mel_spectrogram(torch.from_numpy(wave))[None]
    ours = decoding.decode(whole, decoding.hear(whole, mel), Vocabulary(of, None, "en"))[0].tokens[:5]
    assert next(segments).tokens == ours


def test_ctranslate2_weights_are_those_of_its_own_converter(tmp_path, small):
    library = needs("ctranslate2")
    folder = written(tmp_path, *small, "huggingface").path
    ours = written(tmp_path, *small, "ctranslate2").path
    library.converters.TransformersConverter(str(folder)).convert(str(tmp_path / "theirs"))
    for name in ("model.bin", "vocabulary.json", "config.json"):
        assert (ours / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()


def test_int8_takes_less_room_and_leaves_the_network_alone(tmp_path, small):
    needs("ctranslate2")
    of, model = small
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sizes = []
    for quantization in ("float32", "int8"):
        done = export.export(of, model.state_dict(), tmp_path / quantization, format="ctranslate2", quantization=quantization)
        sizes.append((done.path / "model.bin").stat().st_size)
    assert sizes[1] < 0.35 * sizes[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ---------------------------------------------------------------- and by ourselves
@pytest.mark.parametrize("format", ["openai", "huggingface"])
def test_what_is_exported_can_be_loaded_again(tmp_path, few, format):
    needs(format)
    of, tokens, model, whole = few
    found = weights.load(written(tmp_path, of, model, format, tokens, heads=[[0, 1]]).path)
    assert found.dims == of
    assert found.heads == [[0, 1]]
    assert all(torch.equal(found.state[name], value) for name, value in whole.state_dict().items())


def test_unknown_heads_stay_unknown_in_a_file(tmp_path):
    of = dims(384, 4, 6)  # as large as "tiny", but none of OpenAI's
    state = network(of).state_dict()
    assert weights.load(export.export(of, state, tmp_path / "a.pt", heads=[])).heads is None


# ---------------------------------------------------------------- the place
@pytest.mark.parametrize("format", export.FORMATS)
def test_an_earlier_export_is_replaced_and_nothing_is_left_beside_it(tmp_path, few, format):
    needs(format)
    of, tokens, model, _ = few
    first = written(tmp_path, of, model, format, tokens)
    again = written(tmp_path, of, model, format, tokens, heads=[[0, 1]])
    assert os.listdir(tmp_path) == [again.path.name]
    assert again.difference == first.difference


@pytest.mark.parametrize("format", FOLDERS)
def test_a_folder_says_who_wrote_it_and_how_well(tmp_path, small, format):
    needs(format)
    done = written(tmp_path, *small, format)
    note = json.loads((done.path / "export.json").read_text())
    assert note["compared"] == {"difference": done.difference, "tolerance": done.tolerance}
    assert {*note["files"], "export.json"} == set(os.listdir(done.path))
    modes = {file.stat().st_mode & 0o777 for file in done.path.iterdir()}
    assert modes == {0o666 & ~_umask()}


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_other_files_are_left_alone(tmp_path, small):
    of, model = small
    state = model.state_dict()
    torch.save({"dims": of, "model_state_dict": state}, tmp_path / "theirs.pt")
    (tmp_path / "text.pt").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("mine")
    (tmp_path / "link.pt").symlink_to("text.pt")
    for name, format, message in (
        ("theirs.pt", "openai", "is not an earlier export"),
        ("text.pt", "openai", "is not an earlier export"),
        ("link.pt", "openai", "is not an earlier export"),
        ("folder", "huggingface", "is not an earlier export"),
        ("text.pt", "huggingface", "is not an earlier export"),
        ("model.bin", "openai", r"ends in \.pt"),
        ("missing/model.pt", "openai", "does not exist"),
    ):
        before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        with pytest.raises(DataError, match=message):
            export.export(of, state, tmp_path / name, format=format)
        assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_an_export_with_something_added_is_left_alone(tmp_path, small):
    needs("huggingface")
    done = written(tmp_path, *small, "huggingface")
    (done.path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="left alone"):
        written(tmp_path, *small, "huggingface")
    (done.path / "notes.txt").unlink()
    written(tmp_path, *small, "huggingface")


@pytest.mark.parametrize("format", export.FORMATS)
def test_what_does_not_say_the_same_is_not_left_behind(tmp_path, small, monkeypatch, format):
    needs(format)
    of, model = small
    wrong = {**model.state_dict(), "decoder.ln.weight": model.state_dict()["decoder.ln.weight"] * 1.001}
    monkeypatch.setattr(export, "expanded", lambda state, n_vocab, kept: wrong)
    with pytest.raises(DataError, match="does not say the same"):
        written(tmp_path, of, model, format)
    assert os.listdir(tmp_path) == []


def test_what_another_library_refuses_is_said_in_a_sentence(tmp_path, small, monkeypatch):
    def refuse(*args):
        raise RuntimeError("no such\nlayer")

    monkeypatch.setattr(export.torch, "save", refuse)
    with pytest.raises(DataError, match=r"cannot be exported as 'openai' \(RuntimeError: no such layer\)"):
        written(tmp_path, *small, "openai")
    assert os.listdir(tmp_path) == []


def test_int8_in_wrong_places_is_seen(tmp_path, small, monkeypatch):
    needs("ctranslate2")
    of, model = small
    state = model.state_dict()
    swapped = {
        **state,
        "decoder.blocks.0.mlp.2.weight": -state["decoder.blocks.0.mlp.2.weight"],
        "decoder.ln.weight": -state["decoder.ln.weight"],
    }
    monkeypatch.setattr(export, "expanded", lambda state, n_vocab, kept: swapped)
    with pytest.raises(DataError, match="does not say the same"):
        written(tmp_path, of, model, "ctranslate2", quantization="int8")


def test_weights_that_are_no_numbers_are_refused(tmp_path, small):
    of, model = small
    state = {**model.state_dict(), "decoder.ln.weight": torch.full((32,), torch.nan)}
    with pytest.raises(DataError, match="does not say the same"):
        export.export(of, state, tmp_path / "model.pt")
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_the_earlier_export(tmp_path, small, monkeypatch):
    done = written(tmp_path, *small, "openai")
    before = done.path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export.torch, "save", full)
    with pytest.raises(DataError, match="No space left"):
        written(tmp_path, *small, "openai")
    assert done.path.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.pt"]


def test_unknown_formats_and_quantizations(tmp_path, small):
    for options, message in (
        ({"format": "hugginface"}, "Did you mean 'huggingface'"),
        ({"format": "ctranslate2", "quantization": "int4"}, "Did you mean 'int8'"),
        ({"format": "openai", "quantization": "int8"}, "for format='ctranslate2' only"),
    ):
        with pytest.raises(ParameterError, match=message):
            export.export(small[0], small[1].state_dict(), tmp_path / "model.pt", **options)
