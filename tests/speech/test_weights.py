import hashlib
import json
import os
import pickle
import shutil
import urllib.error

import numpy as np
import pytest
from safetensors.torch import save_file

from pipelines import store
from pipelines.errors import DataError, FormatError, ParameterError
from speech import weights

from .whispers import ENGLISH, LARGE, dims, kept, network, torch, whisper, write


@pytest.fixture(scope="module")
def small():
    of = dims()
    return of, network(of)


@pytest.fixture
def file(tmp_path, small):
    return write(tmp_path / "mine.pt", *small)


def same(found, model):
    expected = model.state_dict()
    return found.keys() == expected.keys() and all(torch.equal(found[name], value) for name, value in expected.items())


# ---------------------------------------------------------------- a file of openai-whisper
def test_a_file_gives_dimensions_and_weights(file, small):
    of, model = small
    found = weights.load(file)
    assert found.dims == of
    assert same(found.state, model)
    assert found.heads is None
    assert found.kept is None
    assert found.facts == {}


def test_half_precision_becomes_single(tmp_path, small):
    of, model = small
    halves = {name: value.half() for name, value in model.state_dict().items()}
    torch.save({"dims": of, "model_state_dict": halves}, tmp_path / "half.pt")
    found = weights.load(str(tmp_path / "half.pt"))
    assert all(value.dtype == torch.float32 for value in found.state.values())
    assert torch.equal(found.state["encoder.ln_post.bias"], halves["encoder.ln_post.bias"].float())


def test_what_is_read_fills_a_network(file, small):
    found = weights.load(file)
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**found.dims))
    model.load_state_dict(found.state)
    with torch.no_grad():
        mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[50258, 50259, 50359, 50363]])
        assert torch.equal(model(mel, tokens), small[1](mel, tokens))


class _Trap:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (str(self.target), "w")


@pytest.mark.parametrize("inside", ["alone", "beside the weights", "zipped"])
def test_a_pickle_that_would_run_something_is_refused_and_nothing_run(tmp_path, small, inside):
    mark, trap = tmp_path / "was-run", tmp_path / "trap.pt"
    if inside == "alone":
        trap.write_bytes(pickle.dumps({"dims": _Trap(mark), "model_state_dict": {}}))
    elif inside == "beside the weights":
        torch.save({"dims": small[0], "model_state_dict": small[1].state_dict(), "more": _Trap(mark)}, trap)
    else:
        torch.save(_Trap(mark), trap)
    with pytest.raises(DataError, match="nothing in it was run"):
        weights.load(trap)
    assert not mark.exists()


def test_other_files_are_refused_with_a_sentence(tmp_path, file):
    whole = file.read_bytes()
    for name, content, message in (
        ("empty.pt", b"", "is empty"),
        ("cut.pt", whole[: len(whole) // 2], "is damaged, or no file of openai-whisper"),
        ("text.pt", b"not found", "is damaged, or no file of openai-whisper"),
        ("model.safetensors", b"x", "Pass its folder"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            weights.load(tmp_path / name)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # such files are still about
def test_torchscript_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pt")
    with pytest.raises(DataError, match="nothing in it was run"):
        weights.load(tmp_path / "script.pt")


def test_other_contents_are_refused_with_what_is_there(tmp_path, small):
    of, model = small
    state = model.state_dict()
    cut = {name: value for name, value in state.items() if name != "decoder.ln.bias"}
    wide = {**state, "decoder.ln.bias": torch.zeros(7)}
    for content, message in (
        ([1, 2], "a list, which is no Whisper"),
        ({"epoch": 1, "optimizer": {}}, "epoch, optimizer"),
        ({"dims": {"n_mels": 80}, "model_state_dict": state}, "other dimensions than a Whisper"),
        ({"dims": of, "model_state_dict": [1]}, "no dictionary of tensors"),
        ({"dims": of, "model_state_dict": {"a": 1}}, "no dictionary of tensors"),
        ({"dims": of, "model_state_dict": cut}, r"lacks weights 'decoder\.ln\.bias'"),
        ({"dims": of, "model_state_dict": {**state, "head.weight": torch.zeros(1)}}, r"the unknown weights 'head\.weight'"),
        ({"dims": of, "model_state_dict": wide}, r"'decoder\.ln\.bias' is float32 \(7,\)"),
        ({"dims": {**of, "n_text_layer": 2}, "model_state_dict": state}, "lacks weights 'decoder.blocks.1"),
        ({"dims": {**of, "n_text_layer": 10**9}, "model_state_dict": state}, "n_text_layer=1000000000"),
        ({"dims": {**of, "n_mels": "80"}, "model_state_dict": state}, "n_mels='80'"),
        ({"dims": {**of, "n_vocab": 1000}, "model_state_dict": state}, "1000 tokens"),
        ({"dims": {**of, "n_mels": 64}, "model_state_dict": state}, "64 mel bands"),
        ({"dims": {**of, "n_text_head": 3}, "model_state_dict": state}, "3 heads"),
        ({"dims": of, "model_state_dict": {**state, "decoder.ln.bias": torch.zeros(1).expand(10**9)}}, "more than its own size"),
    ):
        torch.save(content, tmp_path / "other.pt")
        with pytest.raises(DataError, match=message):
            weights.load(tmp_path / "other.pt")


# ---------------------------------------------------------------- heads
def test_heads_are_those_openai_found():
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**dims(384, 4, 6)))
    model.set_alignment_heads(whisper._ALIGNMENT_HEADS["tiny"])
    assert weights._known_heads("tiny") == model.alignment_heads.indices().T.tolist()
    assert weights._known_heads("tiny") == [[2, 2], [3, 0], [3, 2], [3, 3], [3, 4], [3, 5]]
    assert all(len(weights._known_heads(name)) > 4 for name in whisper._MODELS)


def test_heads_of_a_file_are_those_of_the_model_it_was_made_from():
    base = {**dims(512, 6, 8)}
    assert weights._guessed_heads("mine", base) == weights._known_heads("base")
    assert weights._guessed_heads("mine", {**base, "n_vocab": ENGLISH}) == weights._known_heads("base.en")
    turbo = {**dims(1280, 4, 20, LARGE, 128)}
    assert weights._guessed_heads("mine", turbo) == weights._known_heads("turbo")
    large = dims(1280, 32, 20)
    assert weights._guessed_heads("mine", large) is None  # large-v1 or large-v2
    assert weights._guessed_heads("large-v2", large) == weights._known_heads("large-v2")
    assert weights._guessed_heads("tiny", dims()) is None


def test_heads_that_a_file_names_count_if_it_has_them(tmp_path, small):
    assert weights.load(write(tmp_path / "a.pt", *small, alignment_heads=[[0, 1]])).heads == [[0, 1]]
    for wrong in ([[5, 0]], [[0]], [["0", 1]], "all", []):
        assert weights.load(write(tmp_path / "a.pt", *small, alignment_heads=wrong)).heads is None


# ---------------------------------------------------------------- by name
@pytest.fixture
def served(tmp_path, monkeypatch, file):
    """Let openai-whisper have one model, in a place that needs no network, and an empty cache."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    place = tmp_path / "web" / digest / "tiny.pt"
    place.parent.mkdir(parents=True)
    shutil.copy(file, place)
    monkeypatch.setitem(whisper._MODELS, "tiny", place.as_uri())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(weights, "_known_heads", lambda name: [[0, 0]])
    return place


def test_a_name_is_fetched_once_into_the_cache_of_openai_whisper(tmp_path, served, small):
    cached = tmp_path / "cache" / "whisper" / "tiny.pt"
    assert same(weights.load("tiny").state, small[1])
    assert cached.read_bytes() == served.read_bytes()
    assert os.listdir(cached.parent) == ["tiny.pt"]
    served.unlink()
    found = weights.load("tiny")
    assert found.heads == [[0, 0]]
    assert whisper._download(whisper._MODELS["tiny"], str(cached.parent), False) == str(cached)  # whisper finds it there, too


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path, served, small):
    cached = tmp_path / "cache" / "whisper" / "tiny.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"half a file")
    assert same(weights.load("tiny").state, small[1])
    cached.write_bytes(b"half a file")
    served.unlink()
    with pytest.raises(DataError, match="damaged in openai-whisper's cache"):
        weights.load("tiny")


def test_without_a_network_the_error_says_which_file_to_put_where(tmp_path, served, monkeypatch):
    def unreachable(url, timeout):
        assert timeout <= 10
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", unreachable)
    with pytest.raises(DataError) as caught:
        weights.load("tiny")
    message = str(caught.value)
    digest = served.parent.name
    for part in ("no route to host", str(tmp_path / "cache" / "whisper" / "tiny.pt"), digest, served.as_uri(), "path/to/tiny.pt"):
        assert part in message
    assert not (tmp_path / "cache").exists()


def test_what_is_not_the_file_is_not_kept(tmp_path, served):
    served.write_bytes(b"a page that asks for a password")
    with pytest.raises(DataError, match="what came is not the file"):
        weights.load("tiny")
    assert os.listdir(tmp_path / "cache" / "whisper") == []


def test_unknown_names_and_places():
    for name, kind, message in (
        ("tinny", ParameterError, "Did you mean 'tiny'"),
        ("large-v4", ParameterError, "Did you mean 'large-v"),
        ("openai/whisper-base.en", ParameterError, r"Write weights='base\.en'"),
        ("someone/their-whisper", DataError, "downloaded into a folder first"),
        ("nowhere/at/all.pt", DataError, "looks like a path"),
        ("./tiny", DataError, "looks like a path"),
        ("model.pt", DataError, "looks like a path"),
        ("", ParameterError, "received ''"),
        (None, ParameterError, "received None"),
        (3, ParameterError, "received 3"),
    ):
        with pytest.raises(kind, match=message):
            weights.load(name)


# ---------------------------------------------------------------- a folder of transformers
def hugging_face(folder, of, model, *, shards=1, dtype=None, prefix="", **settings):
    """Write a folder as transformers does, without transformers."""
    folder.mkdir(exist_ok=True)
    config = {
        "model_type": "whisper",
        "encoder_attention_heads": of["n_audio_head"],
        "decoder_attention_heads": of["n_text_head"],
        "encoder_ffn_dim": 4 * of["n_audio_state"],
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config))
    tensors = {
        prefix + weights.transformers_name(name).removeprefix("model."): value.to(dtype or value.dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names, index = sorted(tensors), {}
    for i in range(shards):
        file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
        save_file({name: tensors[name] for name in names[i::shards]}, folder / file)
        index |= dict.fromkeys(names[i::shards], file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    return folder


def test_names_go_there_and_back(small):
    for name in small[1].state_dict():
        assert weights.openai_name(weights.transformers_name(name)) == name


@pytest.mark.parametrize("options", [{}, {"shards": 3}, {"prefix": "model."}, {"dtype": torch.float16}], ids=str)
def test_a_folder_of_transformers(tmp_path, small, options):
    of, model = small
    found = weights.load(hugging_face(tmp_path / "hf", of, model, **options))
    assert found.dims == of
    assert found.heads is None
    if "dtype" not in options:
        assert same(found.state, model)


def test_transformers_own_folder(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = transformers.WhisperConfig(
        d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=4,
        encoder_ffn_dim=128, decoder_ffn_dim=128, vocab_size=ENGLISH,
    )  # fmt: skip
    theirs = transformers.WhisperForConditionalGeneration(config).eval()
    theirs.generation_config.alignment_heads = [[1, 3]]
    theirs.save_pretrained(tmp_path)
    found = weights.load(tmp_path)
    assert found.dims == {**dims(n_vocab=ENGLISH), "n_text_layer": 2, "n_text_head": 4}
    assert found.heads == [[1, 3]]
    ours = whisper.model.Whisper(whisper.model.ModelDimensions(**found.dims)).eval()
    ours.load_state_dict(found.state)
    mel, tokens = torch.randn(1, 80, 3000), torch.tensor([[50257, 50362, 11, 12]])
    with torch.no_grad():
        expected = theirs(input_features=mel, decoder_input_ids=tokens).logits
        assert torch.allclose(ours(mel, tokens), expected, atol=1e-5)


def test_heads_of_another_model_are_left_out(tmp_path, small):
    folder = hugging_face(tmp_path / "hf", *small)
    for heads, expected in (([[0, 1]], [[0, 1]]), ([[31, 19]], None), (None, None)):
        (folder / "generation_config.json").write_text(json.dumps({"alignment_heads": heads}))
        assert weights.load(folder).heads == expected


def test_folders_of_something_else_are_refused(tmp_path, small):
    def folder(name, **settings):
        return hugging_face(tmp_path / name, *small, **settings)

    empty, pickled, shards = tmp_path / "empty", folder("pickled"), folder("shards", shards=2)
    empty.mkdir()
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    (shards / "model-00002-of-00002.safetensors").unlink()
    broken, cut, headless, adapter, ct2 = map(folder, ("broken", "cut", "headless", "adapter", "ct2"))
    (broken / "config.json").write_text("{")
    (cut / "model.safetensors").write_bytes((cut / "model.safetensors").read_bytes()[:1000])
    (headless / "config.json").write_text('{"model_type": "whisper"}')
    (adapter / "adapter_config.json").touch()
    (ct2 / "config.json").write_text('{"lang_ids": []}')
    (ct2 / "model.bin").touch()
    for place, message in (
        (empty, "no config.json"),
        (folder("bert", model_type="bert"), "holds a 'bert' model"),
        (pickled, r"only pytorch_model\.bin, which can run code"),
        (shards, r"lacks model-00002-of-00002\.safetensors"),
        (broken, "cannot be read"),
        (cut, "damaged, or no safetensors file"),
        (headless, "n_audio_head=None"),
        (adapter, "an adapter only"),
        (ct2, "a model of CTranslate2"),
        (folder("relu", activation_function="relu"), "activation_function='relu'"),
        (folder("narrow", decoder_ffn_dim=7), "decoder_ffn_dim=7"),
    ):
        with pytest.raises(DataError, match=message):
            weights.load(place)


def test_a_folder_with_a_file_of_openai_whisper_says_to_pass_the_file(file):
    with pytest.raises(DataError, match=r"Pass the file: weights='.*mine\.pt'"):
        weights.load(file.parent)


def test_an_output_layer_of_its_own_is_refused(tmp_path, small):
    of, model = small
    folder = hugging_face(tmp_path / "hf", of, model)
    tensors = {weights.transformers_name(name): value for name, value in model.state_dict().items()}
    embedding = tensors["model.decoder.embed_tokens.weight"]
    save_file({**tensors, "proj_out.weight": embedding.clone()}, folder / "model.safetensors")
    assert same(weights.load(folder).state, model)
    save_file({**tensors, "proj_out.weight": embedding + 1}, folder / "model.safetensors")
    with pytest.raises(DataError, match="proj_out"):
        weights.load(folder)


# ---------------------------------------------------------------- a saved pipeline
def saved(folder, of, model, tokens, task="speech-transcription", prefix="", **facts):
    known = {"dims_": of, "context_": "trimmed", "language_": "en", "timestamps_": False, "longest_": 30.0, "heads_": [[0, 1]]}
    manifest = {"task": task, "params": {}, "facts": {**known, **facts}}
    arrays = {"kept_": tokens}
    if tokens is None:
        manifest["facts"]["kept_"], arrays = None, {}
    tensors = {prefix + name: value for name, value in model.state_dict().items()}
    return store.write(folder, manifest, arrays, lambda file: save_file(tensors, file))


@pytest.mark.parametrize("prefix", ["", "network."])
def test_a_saved_pipeline_with_few_tokens(tmp_path, prefix):
    of, tokens = dims(), kept()
    model = network(of, tokens)
    found = weights.load(saved(tmp_path / "p", of, model, tokens, prefix=prefix))
    assert same(found.state, model)
    assert found.dims == of
    assert found.heads == [[0, 1]]
    np.testing.assert_array_equal(found.kept, tokens)
    assert found.facts == {"context": "trimmed", "language": "en", "timestamps": False, "longest": 30.0}


def test_a_saved_pipeline_with_all_tokens(tmp_path, small):
    found = weights.load(str(saved(tmp_path / "p", *small, None, heads_=[], limits_={"loops": 3})))
    assert found.kept is None
    assert found.heads is None
    assert found.facts["limits"] == {"loops": 3}
    assert same(found.state, small[1])


def test_saved_pipelines_that_do_not_fit_are_refused(tmp_path, small):
    of, model = small
    for name, error, message, options in (
        ("a", DataError, "a pipeline for text-classification", {"task": "text-classification"}),
        ("b", FormatError, "how large", {"dims_": None}),
        ("c", FormatError, "which tokens", {"tokens": np.array([3, 2])}),
        ("d", DataError, "does not fit its dimensions", {"tokens": np.arange(5)}),
    ):
        options = {"tokens": None, **options}
        with pytest.raises(error, match=message):
            weights.load(saved(tmp_path / name, of, model, **options))


def test_an_altered_pipeline_is_refused(tmp_path, small):
    folder = saved(tmp_path / "p", *small, None)
    with open(folder / "weights.safetensors", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(FormatError, match="was changed"):
        weights.load(folder)
