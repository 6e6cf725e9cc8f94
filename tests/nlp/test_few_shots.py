import numpy as np
import pytest

import pipelines
from nlp import TextClassifier, few_shots
from nlp.tokens import Tokenizer, learn_words
from pipelines import ParameterError


def few(docstrings, count=8):
    X, y = docstrings
    return X[:count] + X[40 : 40 + count], y[:count] + y[40 : 40 + count]


@pytest.mark.parametrize("labels", [None, [0, 1]])
def test_a_handful_of_texts_is_noticed_and_said(labels, checkpoint, docstrings, tmp_path):
    X, y = few(docstrings)
    y = y if labels is None else [labels[label == "pandas"] for label in y]
    model = TextClassifier(weights=checkpoint("bert"), verbose=0).fit(X, y)
    assert any("Few texts a class (16 in all)" in note for note in model.notes_)
    assert any("Class names counted" in note for note in model.notes_) == (labels is None)
    assert any("names in words would have helped" in note for note in model.notes_) == (labels is not None)
    assert model.score(X, y) > 0.6  # the encoder knows nothing
    np.testing.assert_allclose(np.linalg.norm(model.embed(X), axis=1), 1, atol=1e-5)
    loaded = pipelines.load(model.save(tmp_path / "m"))
    np.testing.assert_allclose(loaded.predict_proba(X), model.predict_proba(X), atol=1e-6)
    again = TextClassifier(weights=checkpoint("bert"), verbose=0).fit(X, y)
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


def test_more_texts_and_several_labels_are_fine_tuned_as_usual(checkpoint, docstrings):
    X, y = docstrings
    folder = checkpoint("bert")
    assert TextClassifier(weights=folder, few_shot=False, epochs=1, verbose=0).fit(*few(docstrings)).head_["normalised"] is False
    assert TextClassifier(weights=folder, epochs=1, verbose=0).fit(X * 2, y * 2).head_["normalised"] is False
    sets = [{label} for label in y]
    assert TextClassifier(weights=folder, epochs=1, verbose=0).fit(X, sets).head_["normalised"] is False


def test_pairs_and_a_given_validation_part_work_with_few_texts(checkpoint, docstrings):
    X, y = few(docstrings)
    pairs = [(text, "of which package?") for text in X]
    model = TextClassifier(weights=checkpoint("bert"), verbose=0).fit(pairs, y, valid=([("a new text", "of which?")], ["numpy"]))
    assert model.predict(pairs).shape == (16,)


def test_few_shot_needs_weights(docstrings):
    with pytest.raises(ParameterError, match="Give weights"):
        TextClassifier(few_shot=True).fit(*few(docstrings))


def test_few_shot_is_for_one_label_a_text(checkpoint, docstrings):
    X, y = few(docstrings)
    with pytest.raises(ParameterError, match="one label a text"):
        TextClassifier(weights=checkpoint("bert"), few_shot=True).fit(X, [{label} for label in y])


@pytest.mark.parametrize("params", [{"freeze": True}, {"few_shot": True}])
def test_class_weights_count_without_fine_tuning(params, checkpoint, docstrings):
    X, y = docstrings
    model = TextClassifier(weights=checkpoint("bert"), class_weight={"pandas": 50.0}, verbose=0, **params).fit(X[:60], y[:60])
    plain = TextClassifier(weights=checkpoint("bert"), verbose=0, **params).fit(X[:60], y[:60])
    assert model.predict_proba(X)[:, 1].mean() > plain.predict_proba(X)[:, 1].mean() + 0.1


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["card_arrival", "lostCard"], ["card arrival", "lost Card"]),
        (["positive", "negative"], ["positive", "negative"]),
        (["1", "2"], None),
        (["a_b", "a b"], None),
        ([0, 1], None),
    ],
)
def test_names_of_classes(classes, words):
    assert few_shots.names(np.array(classes)) == words


def test_batches_have_several_texts_of_each_of_their_classes():
    texts = ["a b", "b c", "c d", "d e", "e f", "f a", "a a"]
    tokens = Tokenizer(learn_words(texts, 50), 16).encode(texts)
    y = np.array([0, 0, 0, 1, 1, 2, 2])
    batches = few_shots.ClassBatches(tokens, y, batch_size=6, steps=5, seed=0)
    assert len(batches) == 5
    for i in range(5):
        inputs, codes = batches[i]
        assert len(inputs["ids"]) == 6
        assert (np.bincount(codes, minlength=3) == 2).all()
    first = batches.order
    batches.start_epoch(1)
    assert not np.array_equal(first, batches.order)


def test_the_contrastive_loss_is_small_where_classes_are_apart():
    torch = few_shots.torch
    y = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    mixed = apart[[0, 2, 1, 3]]
    assert few_shots.Contrast()(apart, y) < 0.01 < few_shots.Contrast()(mixed, y)


def test_the_regression_equals_scikit_learns_without_a_prior():
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    coef, intercept = few_shots.regression(X, y, np.zeros((3, 3)), C=1.0)
    theirs = LogisticRegression(C=1.0, tol=1e-8).fit(X, y)
    ours = X @ coef.T + intercept
    np.testing.assert_allclose(ours - ours.mean(1, keepdims=True), theirs.decision_function(X), atol=0.02)


def test_without_texts_to_speak_of_the_prior_decides():
    prior = np.array([[5.0, 0.0], [0.0, 5.0]])
    coef, intercept = few_shots.regression(np.array([[0.7, 0.7], [0.7, 0.7]]), np.array([0, 1]), prior, C=1.0)
    assert (np.eye(2) @ coef.T + intercept).argmax(1).tolist() == [0, 1]
