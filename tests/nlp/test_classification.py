import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, cross_val_score

import pipelines
from nlp import TextClassifier
from pipelines import DataError, ParameterError, data


def quick(**params):
    return TextClassifier(**{"epochs": 1, "verbose": 0, **params})


@pytest.fixture(scope="module")
def fitted(docstrings):
    return quick(epochs=3).fit(*docstrings)


# ---------------------------------------------------------------- learning
@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["bert", "lstm"])
def test_it_learns_what_can_be_learned(encoder):
    rng = np.random.default_rng(0)
    words = ["film", "music", "book", "scene", "plot", "song", "voice", "line"]
    y = rng.choice(["good", "bad"], 400)
    X = [" ".join(rng.permutation([*rng.choice(words, 5), {"good": "fine", "bad": "dull"}[label]])) for label in y]
    model = TextClassifier(encoder=encoder, verbose=0).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.95


@pytest.mark.parametrize("params", [{}, {"encoder": "lstm"}, {"long_texts": "head+tail", "max_length": 12}])
def test_one_seed_gives_one_model(params, docstrings):
    one, other = (quick(**params).fit(*docstrings).predict_proba(docstrings[0]) for _ in range(2))
    assert np.array_equal(one, other)


def test_frozen_encoder_learns_from_its_vectors(checkpoint, docstrings, tmp_path):
    X, y = docstrings
    model = quick(weights=checkpoint("bert"), freeze=True).fit(X, y)
    vectors = model.embed(X)
    logits = vectors @ model.model_.head.weight.detach().numpy().T + model.model_.head.bias.detach().numpy()
    assert np.array_equal(model.predict(X), model.classes_[logits.argmax(1)])
    assert model.score(X, y) > 0.7
    assert len(model.history_) == 1
    np.testing.assert_allclose(pipelines.load(model.save(tmp_path / "m")).predict_proba(X), model.predict_proba(X), atol=1e-6)


@pytest.mark.slow
def test_a_real_pretrained_encoder_is_of_use_frozen(minilm, docstrings):
    X, X_test, y, y_test = data.split(*docstrings, test=0.4, seed=0)
    report = quick(weights=minilm, freeze=True).fit(X, y).evaluate(X_test, y_test)
    rows = report.tables["baselines"]["log_loss"]
    assert rows["this model"] < rows["majority class"]


def test_balanced_class_weights_raise_the_rare_class(docstrings):
    X, y = docstrings
    keep = [*range(40), *range(40, 46)]
    X, y = [X[i] for i in keep], [y[i] for i in keep]
    plain, balanced = (quick(class_weight=weight).fit(X, y).predict_proba(X)[:, 1].mean() for weight in (None, "balanced"))
    assert balanced > plain


def test_uneven_classes_are_said(docstrings):
    X, y = docstrings
    model = quick().fit(X[:46], y[:46])
    assert any("'numpy'" in note and "class_weight='balanced'" in note for note in model.notes_)
    assert not any("class_weight" in note for note in quick(class_weight="balanced").fit(X[:46], y[:46]).notes_)
    assert not any("class_weight" in note for note in quick().fit(X, y).notes_)


# ---------------------------------------------------------------- labels
def test_several_labels_a_text_as_sets_and_as_an_indicator(docstrings, tmp_path):
    X, y = docstrings
    sets = [{label, "array"} if "array" in text else {label} for text, label in zip(X, y, strict=True)]
    model = quick(epochs=4).fit(X, sets)
    assert model.classes_.tolist() == ["array", "numpy", "pandas"]
    assert model.predict_proba(X).shape == (len(X), 3)
    assert model.predict(X).shape == (len(X), 3)
    report = model.evaluate(X, sets)
    assert "TF-IDF + logistic regression" in report.tables["baselines"].index
    table = pd.DataFrame([[int(name in labels) for name in model.classes_] for labels in sets], columns=model.classes_)
    again = quick(epochs=4).fit(X, table)
    np.testing.assert_allclose(again.predict_proba(X), model.predict_proba(X), atol=1e-6)
    loaded = pipelines.load(model.save(tmp_path / "m"))
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_several_labels_with_a_frozen_encoder(checkpoint, docstrings):
    X, y = docstrings
    sets = [{label, "array"} if "array" in text else {label} for text, label in zip(X, y, strict=True)]
    model = quick(weights=checkpoint("bert"), freeze=True).fit(X, sets)
    assert model.score(X, sets) > 0.5


def test_rows_without_any_label_are_allowed(docstrings):
    X, y = docstrings
    sets = [{"array"} if "array" in text else set() for text in X]
    with pytest.raises(DataError, match="at least two"):
        quick().fit(X, sets)
    sets = [labels | ({"numpy"} if label == "numpy" else set()) for labels, label in zip(sets, y, strict=True)]
    assert quick().fit(X, sets).predict_proba(X).shape == (len(X), 2)


def test_one_class_is_refused(docstrings):
    with pytest.raises(DataError, match="one class only, 'numpy'"):
        quick().fit(docstrings[0], ["numpy"] * len(docstrings[0]))


# ---------------------------------------------------------------- pairs
def test_pairs_are_told_apart_by_their_order(docstrings):
    X = [(text, "question") if i % 2 else ("question", text) for i, text in enumerate(docstrings[0])]
    y = ["second" if i % 2 else "first" for i in range(len(X))]
    model = TextClassifier(epochs=8, verbose=0).fit(X, y)
    assert model.score(X, y) > 0.9
    frame = pd.DataFrame(X, columns=["a", "b"])
    assert np.array_equal(model.predict(frame), model.predict(X))
    assert model.embed(X).shape == (len(X), 256)
    assert "TF-IDF + logistic regression" in model.evaluate(X, y).tables["baselines"].index


def test_pairs_and_texts_are_not_mixed_up(fitted):
    with pytest.raises(DataError, match="Sample 0 is a pair of texts, but training had single texts"):
        fitted.predict([("a", "b")])


# ---------------------------------------------------------------- long texts, and strange ones
def test_long_texts_are_read_in_windows_and_counted(docstrings):
    X, y = docstrings
    long = [*X[:-1], " ".join(X)]
    model = quick(max_length=32).fit(long, y)
    assert any("longer than 32 tokens and were read in windows" in note for note in model.notes_)
    tokens = model._tokenizer.encode(long)
    windows = model._engine.infer(model.model_, batches := model._batches(long), device=model.device_)
    order = np.argsort(batches.order)
    logits = windows[order][tokens.owners == len(long) - 1].mean(0)
    np.testing.assert_allclose(model._infer(long)[-1], logits, atol=1e-5)


@pytest.mark.parametrize(("mode", "said"), [("head+tail", "lost their middle"), ("truncate", "lost their end")])
def test_what_long_texts_lose_is_said(mode, said, docstrings):
    X, y = docstrings
    model = quick(max_length=16, long_texts=mode).fit(X, y)
    assert any(said in note for note in model.notes_)
    report = model.evaluate([*X[:5], " ".join(X)], y[:6])
    assert any("1 of 6 texts" in note and said in note for note in report.notes)


def test_a_text_of_a_megabyte_takes_its_time_and_no_more(fitted):
    text = "array of numbers " * 60_000
    proba = fitted.predict_proba([text, "array of numbers"])
    assert np.isfinite(proba).all()


def test_empty_blank_and_strange_texts_are_allowed_and_counted(docstrings):
    X, y = docstrings
    strange = ["", "  \n", "🙂🙃", "مرحبا بالعالم", "\ud800", "\x00", "a" * 5000, *X[7:]]
    model = quick().fit(strange, y)
    assert any("2 of 80 texts are empty or blank" in note for note in model.notes_)
    assert np.isfinite(model.predict_proba(strange)).all()


def test_texts_without_any_word_have_no_baseline_to_lose_to():
    model = quick().fit(["!", "?"] * 20, [0, 1] * 20)
    assert model.evaluate(["!", "?"], [0, 1]).n == 2


def test_copies_in_a_given_validation_part_are_left_out(docstrings):
    X, y = docstrings
    model = quick().fit(X, y, valid=([X[0], "a new text"], [y[0], y[0]]))
    assert any("1 of 2 validation texts are also in the training part" in note for note in model.notes_)
    model = quick().fit(X, y, valid=(X[:2], y[:2]))
    assert "val_loss" not in model.history_[0]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"encoder": "lsmt"}, "Did you mean 'lstm'"),
        ({"long_texts": "windows"}, "Did you mean 'window'"),
        ({"max_length": "automatic"}, "auto"),
        ({"max_length": 3}, "at least 8"),
        ({"freeze": True}, "Give weights"),
        ({"encoder": "lstm", "weights": "x"}, "trained from scratch"),
        ({"class_weight": "blanced"}, "balanced"),
    ],
)
def test_impossible_parameters_are_refused(params, said, docstrings):
    with pytest.raises(ParameterError, match=said):
        quick(**params).fit(*docstrings)


# ---------------------------------------------------------------- scikit-learn, resume, report
def test_plain_lists_of_texts_in_scikit_learns_tools(docstrings):
    X, y = docstrings
    assert cross_val_score(quick(), X, y, cv=2).shape == (2,)
    search = GridSearchCV(quick(), {"max_length": [16, 32]}, cv=2).fit(X, y)
    assert search.predict(X[:2]).shape == (2,)


def test_an_interrupted_fit_goes_on_where_it_stopped(docstrings, tmp_path, monkeypatch):
    X, y = docstrings
    whole = quick(epochs=4).fit(X, y)
    from pipelines.engines import conduct

    class StoppedError(Exception):
        pass

    kept = conduct.Course._checkpoint

    def stop(self, epochs):
        kept(self, epochs)
        if epochs == 2:
            raise StoppedError

    monkeypatch.setattr(conduct.Course, "_checkpoint", stop)
    with pytest.raises(StoppedError):
        quick(epochs=4).fit(X, y, resume=tmp_path)
    monkeypatch.undo()
    resumed = quick(epochs=4).fit(X, y, resume=tmp_path)
    assert np.array_equal(resumed.predict_proba(X), whole.predict_proba(X))
    with pytest.raises(DataError, match="other parameters or data"):
        quick(epochs=4).fit(X[::-1], y[::-1], resume=tmp_path)


def test_the_report_shows_mistakes_with_their_texts(fitted, docstrings):
    X, y = docstrings
    wrong = ["pandas" if label == "numpy" else "numpy" for label in y]
    report = fitted.evaluate(X, wrong)
    assert report.examples
    assert all(example.text in X for example in report.examples)
