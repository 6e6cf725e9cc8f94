import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import pipelines
from nlp import TextClassifier
from pipelines import DataError, ParameterError

KINDS = ["bert", "distilbert", "roberta", "electra", "mpnet", "deberta-v2", "modernbert", "albert"]


def small(folder, **params):
    return TextClassifier(**{"weights": folder, "few_shot": False, "epochs": 1, "verbose": 0, **params})


@pytest.mark.parametrize("kind", KINDS)
def test_any_encoder_is_fine_tuned_saved_and_loaded(kind, checkpoint, docstrings, tmp_path):
    X, y = docstrings
    model = small(checkpoint(kind)).fit(X, y)
    proba = model.predict_proba(X)
    np.testing.assert_allclose(pipelines.load(model.save(tmp_path / "m")).predict_proba(X), proba, atol=1e-6)
    np.testing.assert_allclose(model.predict_proba(X[3:5]), proba[3:5], atol=1e-5)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_the_longest_text_fits_the_networks_positions(kind, checkpoint, docstrings):
    X, y = docstrings
    long = [" ".join([text] * 40) for text in X]
    model = small(checkpoint(kind)).fit(long, y)
    assert model.max_length_ == (65 if kind == "roberta" else 66)
    assert np.isfinite(model.predict_proba(long)).all()


def test_pretrained_weights_are_really_loaded(checkpoint, docstrings):
    folder = checkpoint("bert")
    vectors = small(folder, freeze=True).fit(*docstrings).embed(docstrings[0][:4])
    from pipelines.engines import load_framework

    transformers, torch = load_framework("transformers"), load_framework("torch")
    model, tokenizer = transformers.AutoModel.from_pretrained(folder).eval(), transformers.AutoTokenizer.from_pretrained(folder)
    for text, vector in zip(docstrings[0][:4], vectors, strict=True):
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        np.testing.assert_allclose(vector, states[0].mean(0).numpy(), atol=1e-5)


def test_a_saved_classifier_is_gone_on_from(checkpoint, docstrings, tmp_path):
    X, y = docstrings
    first = small(checkpoint("bert")).fit(X, y)
    folder = first.save(tmp_path / "first")
    again = small(str(folder), freeze=True).fit(X, [label.upper() for label in y])
    np.testing.assert_allclose(again.embed(X[:5]), first.embed(X[:5]), atol=1e-6)
    assert again.classes_.tolist() == ["NUMPY", "PANDAS"]


def test_a_saved_lstm_is_no_encoder_to_go_on_from(docstrings, tmp_path):
    folder = TextClassifier(encoder="lstm", epochs=1, verbose=0).fit(*docstrings).save(tmp_path / "lstm")
    with pytest.raises(DataError, match="without a BERT"):
        small(str(folder)).fit(*docstrings)


def test_a_saved_folder_needs_the_checkpoint_no_more(checkpoint, docstrings, tmp_path):
    folder = Path(checkpoint("bert"))
    model = small(str(folder)).fit(*docstrings)
    saved = model.save(tmp_path / "m")
    proba = model.predict_proba(docstrings[0])
    shutil.rmtree(folder)
    np.testing.assert_allclose(pipelines.load(saved).predict_proba(docstrings[0]), proba, atol=1e-6)
    assert str(folder) not in json.dumps(model.config_)


# ---------------------------------------------------------------- what is wrong with a folder
def test_a_pickle_file_alone_is_refused(checkpoint, docstrings):
    folder = Path(checkpoint("bert"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"only pytorch_model.bin, a pickle file.*Expected model.safetensors.*save_pretrained"):
        small(str(folder)).fit(*docstrings)


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no weights. Expected model.safetensors"),
        ("tokenizer.json", "has no tokenizer. Expected tokenizer.json"),
    ],
)
def test_a_missing_file_is_named(checkpoint, docstrings, gone, said):
    folder = Path(checkpoint("bert"))
    (folder / gone).unlink()
    with pytest.raises(DataError, match=said):
        small(str(folder)).fit(*docstrings)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_named_in_a_sentence(checkpoint, docstrings, file):
    folder = Path(checkpoint("bert"))
    (folder / file).write_bytes((folder / file).read_bytes()[:50])
    with pytest.raises(DataError, match=f"of {folder} cannot be read"):
        small(str(folder)).fit(*docstrings)


def test_weights_of_another_size_are_refused(checkpoint, docstrings):
    folder, other = Path(checkpoint("bert")), checkpoint("bert", num_hidden_layers=1)
    shutil.copy(Path(other) / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(DataError, match=r"do not fit its config.json: \d+ of the network's weights are missing"):
        small(str(folder)).fit(*docstrings)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_what_is_no_encoder_is_refused(kind, checkpoint, docstrings):
    folder = Path(checkpoint("bert"))
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(DataError, match=f"is a {kind} model. Expected an encoder of texts such as BERT"):
        small(str(folder)).fit(*docstrings)


def test_code_in_a_checkpoint_is_not_run(checkpoint, docstrings, tmp_path):
    folder, trace = Path(checkpoint("bert")), tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w')\nclass Model: pass\nclass Config: pass\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="cannot be read"):
        small(str(folder)).fit(*docstrings)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all", "a/b/c"])
def test_a_folder_that_is_not_there(name, docstrings):
    with pytest.raises(DataError, match="looks like a folder, but there is none"):
        small(name).fit(*docstrings)


def test_a_hub_name_without_network_says_which_files_to_put_where(docstrings, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"neither in the cache.*put config.json, model.safetensors and tokenizer.json"):
        small("nobody/no-such-model").fit(*docstrings)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", [3, ""])
def test_a_name_that_is_none(name, docstrings):
    with pytest.raises(ParameterError, match="weights must be"):
        small(name).fit(*docstrings)


def test_more_tokens_than_the_network_takes_are_refused(checkpoint, docstrings):
    with pytest.raises(ParameterError, match="max_length=500 is more than the 66 tokens"):
        small(checkpoint("bert"), max_length=500).fit(*docstrings)
