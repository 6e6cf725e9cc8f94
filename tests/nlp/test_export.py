import json
import os

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from tokenizers import Tokenizer

from nlp import TextClassifier, export
from pipelines import DataError
from pipelines.engines import load_framework

KINDS = ["bert", "distilbert", "roberta", "electra", "mpnet", "deberta-v2", "modernbert", "albert"]
FILES = ["model.json", "model.onnx", "tokenizer.json"]


def quick(**params):
    return TextClassifier(**{"encoder": "lstm", "epochs": 1, "verbose": 0, **params})


@pytest.fixture(scope="module")
def fitted(docstrings):
    return quick().fit(*docstrings)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read(folder, text):
    """Return the probabilities of one text by nothing but the three files, as somebody without this library would."""
    settings = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.from_file(str(folder / settings["tokenizer"]))
    session = load_framework("onnxruntime").InferenceSession(str(folder / settings["onnx"]))
    first = tokenizer.encode(*([text] if isinstance(text, str) else text))
    windows = [first, *(first.overflowing if settings["long_texts"] == "window" else [])]
    columns = {
        "input_ids": [window.ids for window in windows],
        "attention_mask": [window.attention_mask for window in windows],
        "token_type_ids": [window.type_ids for window in windows],
    }
    feed = {name: np.array(columns[name], dtype=np.int64) for name in settings["inputs"]}
    scores, probabilities = session.run(settings["outputs"], feed)
    mean = scores.mean(axis=0)
    found = 1 / (1 + np.exp(-mean)) if settings["windows"]["then"] == "logistic" else np.exp(mean) / np.exp(mean).sum()
    if len(windows) == 1:
        np.testing.assert_allclose(probabilities[0], found, atol=1e-6)
    return found


# ---------------------------------------------------------------- equal output
@pytest.mark.parametrize("params", [{}, {"encoder": "bert"}], ids=["lstm", "bert"])
def test_the_files_alone_say_the_same(params, docstrings, folder):
    X, y = docstrings
    model = quick(**params).fit(X, y)
    done = model.export(folder / "model.onnx", samples=X)
    assert names(folder) == FILES
    assert [done.settings, done.model, done.tokenizer] == [folder / name for name in FILES]
    assert os.fspath(done) == str(done.model)
    assert done.difference <= 1e-5 < done.tolerance == 1e-4
    assert done.texts == len(X) + 5
    for text in (X[0], "", " ".join(X[:12]), "Ünïcödé, 中文, 😀"):
        np.testing.assert_allclose(read(folder, text), model.predict_proba([text])[0], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_any_encoder_is_exported(kind, checkpoint, docstrings, folder):
    X, y = docstrings
    model = quick(encoder="bert", weights=checkpoint(kind), max_length=24).fit(X, y)
    assert model.export(folder / "model.onnx", samples=X[:5]).difference <= 1e-5
    np.testing.assert_allclose(read(folder, X[0]), model.predict_proba(X[:1])[0], atol=1e-5)


@pytest.mark.slow
def test_a_real_encoder_is_exported(minilm, docstrings, folder):
    X, y = docstrings
    model = quick(encoder="bert", weights=minilm, freeze=True).fit(X, y)
    assert model.export(folder / "model.onnx", samples=X).difference <= 1e-5


@pytest.mark.parametrize("long_texts", ["window", "head+tail", "truncate"])
def test_long_texts_are_cut_alike(long_texts, docstrings, folder):
    X, y = docstrings
    model = quick(max_length=12, long_texts=long_texts).fit(X, y)
    text = " ".join(X[:12])
    model.export(folder / "model.onnx", samples=[text])
    settings = json.loads((folder / "model.json").read_text())
    assert (settings["long_texts"], settings["max_length"]) == (long_texts, 12)
    if long_texts != "head+tail":  # which the tokenizer cannot do by itself
        np.testing.assert_allclose(read(folder, text), model.predict_proba([text])[0], atol=1e-5)


@pytest.mark.parametrize("params", [{}, pytest.param({"encoder": "bert", "max_length": 16}, marks=pytest.mark.slow)])
def test_pairs_are_exported(params, docstrings, folder):
    X, y = docstrings
    pairs = list(zip(X, X[::-1], strict=True))
    model = quick(**params).fit(pairs, y)
    assert model.export(folder / "model.onnx", samples=pairs[:6]).difference <= 1e-5
    inputs = json.loads((folder / "model.json").read_text())["inputs"]
    assert ("token_type_ids" in inputs) == bool(params)
    np.testing.assert_allclose(read(folder, pairs[3]), model.predict_proba(pairs[3:4])[0], atol=1e-5)


def test_several_labels_and_their_thresholds_are_exported(docstrings, folder):
    X, y = docstrings
    labels = [{package, "short"} if len(text) < 60 else {package} for text, package in zip(X, y, strict=True)]
    model = quick().fit(X, labels)
    model.export(folder / "model.onnx", samples=X)
    settings = json.loads((folder / "model.json").read_text())
    assert settings["labels"] == ["numpy", "pandas", "short"]
    assert settings["thresholds"] == model.threshold_.tolist()
    assert settings["several_labels"]
    np.testing.assert_allclose(read(folder, X[0]), model.predict_proba(X[:1])[0], atol=1e-5)


def test_labels_keep_their_kind(docstrings, folder):
    model = quick().fit(docstrings[0], [i % 3 for i in range(len(docstrings[0]))])
    model.export(folder / "model.onnx")
    assert json.loads((folder / "model.json").read_text())["labels"] == [0, 1, 2]


def test_the_pipeline_is_left_as_it_was(fitted, docstrings, folder):
    before = fitted.predict_proba(docstrings[0])
    fitted.export(folder / "model.onnx")
    assert np.array_equal(fitted.predict_proba(docstrings[0]), before)


def test_weights_of_more_than_a_file_can_hold_stand_beside_it(fitted, docstrings, folder, monkeypatch):
    monkeypatch.setattr(export, "_ONE_FILE", 1000)
    assert fitted.export(folder / "model.onnx").difference <= 1e-5
    assert names(folder) == ["model.json", "model.onnx", "model.onnx.data", "tokenizer.json"]
    np.testing.assert_allclose(read(folder, docstrings[0][0]), fitted.predict_proba(docstrings[0][:1])[0], atol=1e-5)


# ---------------------------------------------------------------- the proof fails, or the writing
def test_what_says_something_else_is_removed(fitted, folder, monkeypatch):
    fitted.export(folder / "model.onnx")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real = TextClassifier.predict_proba
    monkeypatch.setattr(TextClassifier, "predict_proba", lambda self, X: real(self, X) + np.eye(2)[0] * 2e-4)
    with pytest.raises(DataError, match=r"a probability differs by 0.0002 .*at most 0.0001 is let through. The file was removed"):
        fitted.export(folder / "model.onnx")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before  # the earlier one is still there


def test_probabilities_that_are_no_numbers_are_no_proof(fitted, folder, monkeypatch):
    monkeypatch.setattr(TextClassifier, "predict_proba", lambda self, X: np.full((len(X), 2), np.nan))
    with pytest.raises(DataError, match="differs by nan"):
        fitted.export(folder / "model.onnx")
    assert names(folder) == []


def test_a_network_that_cannot_be_written_is_named(fitted, folder, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError("no such operation")

    monkeypatch.setattr(load_framework("torch").onnx, "export", broken)
    with pytest.raises(DataError, match=r"kind 'bi-lstm' cannot be written as ONNX.*RuntimeError: no such operation"):
        fitted.export(folder / "model.onnx")
    assert names(folder) == []


def test_a_full_disk_leaves_nothing(fitted, folder, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(load_framework("torch").onnx, "export", full)
    with pytest.raises(DataError, match=r"cannot be written to '.*model.onnx': No space left on device"):
        fitted.export(folder / "model.onnx")
    assert names(folder) == []


# ---------------------------------------------------------------- places and wrong use
def test_an_earlier_export_is_replaced(fitted, folder):
    (folder / "notes.txt").write_text("mine")
    fitted.export(folder / "model.onnx")
    (folder / "model.onnx").write_bytes(b"old")
    fitted.export(str(folder / "model.onnx"))
    assert (folder / "model.onnx").stat().st_size > 1000
    assert names(folder) == [*FILES[:2], "notes.txt", FILES[2]]


def test_one_folder_holds_one_export(fitted, folder):
    fitted.export(folder / "model.onnx")
    with pytest.raises(DataError, match=r"holds the export 'model.onnx' already, with its tokenizer. Choose a folder of its own"):
        fitted.export(folder / "other.onnx")


@pytest.mark.parametrize("name", ["tokenizer.json", "model.json"])
def test_files_of_others_are_left_alone(fitted, folder, name):
    (folder / name).write_text('{"format": "another"}')
    with pytest.raises(DataError, match=f"has a {name} of something else"):
        fitted.export(folder / "model.onnx")
    assert (folder / name).read_text() == '{"format": "another"}'
    assert names(folder) == [name]


def test_impossible_places_are_named(fitted, folder):
    (folder / "model.onnx").mkdir()
    for name, said in [
        ("model.pt", "ends in .onnx"),
        ("nowhere/model.onnx", "does not exist; create it"),
        ("model.onnx", "is a folder. Expected the name of a file"),
        (f"{'x' * 300}.onnx", "cannot be written"),
    ]:
        with pytest.raises(DataError, match=said):
            fitted.export(folder / name)
    assert names(folder) == ["model.onnx"]


def test_unfitted(folder):
    with pytest.raises(NotFittedError):
        TextClassifier().export(folder / "model.onnx")


def test_samples_that_are_no_texts_are_named(fitted, folder):
    with pytest.raises(DataError, match="Sample 1 is 3, a int"):
        fitted.export(folder / "model.onnx", samples=["a", 3])
    with pytest.raises(DataError, match="empty"):
        fitted.export(folder / "model.onnx", samples=[])
    assert names(folder) == []


@pytest.mark.parametrize("name", ["onnx", "onnxscript", "onnxruntime"])
def test_without_a_package_the_pip_line_is_given(fitted, folder, name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "domain-pipelines\[export\]"'):
        fitted.export(folder / "model.onnx")
    assert names(folder) == []


def test_nothing_is_written_to_the_screen(fitted, folder, capfd):
    fitted.export(folder / "model.onnx")
    assert capfd.readouterr() == ("", "")
    fitted.verbose = 1
    try:
        fitted.export(folder / "model.onnx")
    finally:
        fitted.verbose = 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("model.onnx says the same as the pipeline on 5 texts, within ")
