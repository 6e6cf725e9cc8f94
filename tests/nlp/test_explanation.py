import re

import numpy as np
import pytest
from scipy.special import logit
from sklearn.exceptions import NotFittedError

from nlp import TextClassifier, attribution
from nlp.explanation import Explanation, Explanations, Word
from pipelines import DataError, ParameterError

KINDS = ["bert", "distilbert", "roberta", "electra", "mpnet", "deberta-v2", "modernbert", "albert"]


def quick(**params):
    return TextClassifier(**{"epochs": 3, "verbose": 0, **params})


@pytest.fixture(scope="module")
def fitted(docstrings):
    return quick().fit(*docstrings)


def check(found, texts, model):
    """Check that words stand where they are said to stand and add up, and that scores are those of the probabilities."""
    assert len(found) == len(texts)
    for explanation, text, proba in zip(found, texts, model.predict_proba(texts), strict=True):
        assert explanation.text == text
        assert explanation.probability == pytest.approx(proba[model.classes_.tolist().index(explanation.label)], abs=1e-5)
        assert explanation.score == pytest.approx(logit(explanation.probability) * model.temperature_, abs=1e-3)
        for word in explanation.words:
            assert explanation.parts[word.part][word.start : word.end] == word.text
            assert not any(letter.isspace() for letter in word.text)
        total = sum(word.attribution for word in explanation.words)
        assert total - (explanation.score - explanation.reference) == pytest.approx(explanation.error, abs=1e-5)
        assert explanation.notes or abs(explanation.error) <= max(0.01 * abs(explanation.score - explanation.reference), 0.001)


# ---------------------------------------------------------------- what it says
@pytest.mark.parametrize("params", [{}, {"encoder": "lstm"}], ids=["bert", "lstm"])
def test_words_add_up_to_the_difference_of_scores(params, docstrings):
    X, y = docstrings
    model = quick(**params).fit(X, y)
    found = model.explain(X[:12])
    check(found, X[:12], model)
    assert [explanation.label for explanation in found] == model.predict(X[:12]).tolist()
    assert found == model.explain(X[:12])  # the same twice
    assert [len(explanation.words) for explanation in found] == [len(re.findall(r"\w+|[^\w\s]", text)) for text in X[:12]]


@pytest.mark.parametrize("kind", KINDS)
def test_any_encoder_is_explained(kind, checkpoint, docstrings):
    X, y = docstrings
    model = quick(weights=checkpoint(kind), epochs=1, max_length=24).fit(X, y)
    texts = [X[0], "", " ".join(X[:8]), X[1]]
    check(model.explain(texts), texts, model)


@pytest.mark.slow
def test_a_real_encoder_says_which_words_matter(minilm):
    praise, blame = ("good", "great", "fine", "lovely"), ("bad", "awful", "poor", "dull")
    nouns = ("film", "music", "book", "scene", "plot", "song", "voice", "story")
    texts = [f"the {noun} was {word}" for noun in nouns for word in (*praise, *blame)]
    model = quick(weights=minilm, epochs=6).fit(texts, (["praise"] * 4 + ["blame"] * 4) * 8)
    for word, label in [("superb", "praise"), ("terrible", "blame")]:
        (found,) = model.explain([f"a {word} performance"])
        assert found.label == label
        assert max(found.words, key=lambda each: each.attribution).text == word
    check(model.explain(texts[:4]), texts[:4], model)


def test_the_word_that_decides_counts_most():
    rng = np.random.default_rng(0)
    words, y = ["film", "music", "book", "scene", "plot", "song"], ["good", "bad"] * 100
    X = [" ".join(rng.permutation([*rng.choice(words, 4), {"good": "fine", "bad": "dull"}[label]])) for label in y]
    model = quick(encoder="lstm", epochs=6).fit(X, y)
    for explanation, label in zip(model.explain(X[:10]), y[:10], strict=True):
        strongest = max(explanation.words, key=lambda word: word.attribution)
        assert (explanation.label, strongest.text) == (label, {"good": "fine", "bad": "dull"}[label])


def test_a_target_is_explained_for_all_texts(fitted, docstrings):
    X, _ = docstrings
    one, other = fitted.explain(X[:5], target="numpy"), fitted.explain(X[:5], target=np.str_("pandas"))
    assert {explanation.label for explanation in one} == {"numpy"}
    for a, b in zip(one, other, strict=True):
        assert a.probability + b.probability == pytest.approx(1)
        assert [word.attribution for word in a.words] == pytest.approx([-word.attribution for word in b.words], abs=0.02)


def test_texts_that_are_alike_get_the_same_words_alone_and_in_a_batch(fitted, docstrings):
    X, _ = docstrings
    together = fitted.explain(X[:9])
    for i in (0, 8):
        (alone,) = fitted.explain(X[i : i + 1])
        assert alone.score == pytest.approx(together[i].score, abs=1e-5)
        assert [word.text for word in alone.words] == [word.text for word in together[i].words]


# ---------------------------------------------------------------- texts of every kind
def test_empty_texts_have_no_words(fitted):
    found = fitted.explain(["", "   ", "\n"])
    assert all(explanation.words == () and explanation.score == explanation.reference for explanation in found)
    assert "nothing to explain" in str(found[0])
    assert "(no text)" in found.to_html()


def test_letters_of_every_kind_keep_their_places(fitted):
    texts = ["élan <b>&amp;\n\tGOOD  שלום 中文 😀👍🏽 don't", "[SEP] half \ud800 letters"]
    found = fitted.explain(texts)
    assert {"élan", "GOOD", "שלום", "中", "文"} <= {word.text for word in found[0].words}
    assert found[1].text == "[SEP] half ? letters"
    check([found[0]], texts[:1], fitted)


@pytest.mark.parametrize("long_texts", ["window", "head+tail", "truncate"])
def test_long_texts_are_explained_as_they_are_read(long_texts, docstrings):
    X, y = docstrings
    model = quick(max_length=10, long_texts=long_texts).fit(X, y)
    text = " ".join(X[:6])
    (found,) = model.explain([text])
    check([found], [text], model)
    places = [word.start for word in found.words]
    assert places == sorted(set(places))
    whole = len(re.findall(r"\w+|[^\w\s]", text))
    assert (len(found.words) == whole) == (long_texts == "window")
    assert any("longer than what the network reads" in note for note in found.notes) == (long_texts != "window")
    ends = {"head+tail": (0, len(text)), "truncate": (0, found.words[-1].end), "window": (0, len(text))}[long_texts]
    assert (found.words[0].start, found.words[-1].end) == ends


@pytest.mark.parametrize("params", [{}, {"encoder": "lstm"}, {"max_length": 12}, {"max_length": 12, "long_texts": "head+tail"}])
def test_pairs_are_explained(params, docstrings):
    X, y = docstrings
    pairs = list(zip(X, X[::-1], strict=True))
    model = quick(**params).fit(pairs, y)
    texts = [pairs[0], ("", ""), ("only the first", ""), (X[0], " ".join(X[:3]))]
    found = model.explain(texts)
    check(found, texts, model)
    assert {word.part for word in found[0].words} == {0, 1}
    assert found[0].to_html().count("<blockquote") == 2
    assert " / " in str(found[0])


def test_several_labels_are_explained_one_at_a_time(docstrings):
    X, y = docstrings
    labels = [{package, "short"} if len(text) < 60 else {package} for text, package in zip(X, y, strict=True)]
    model = quick().fit(X, labels)
    check(model.explain(X[:4], target="short"), X[:4], model)
    best = model.classes_[model.predict_proba(X[:4]).argmax(1)].tolist()
    assert [explanation.label for explanation in model.explain(X[:4])] == best


@pytest.mark.parametrize("labels", [[0, 1], [False, True], [7, 8, 9]])
def test_labels_keep_their_kind(labels, docstrings):
    X, _ = docstrings
    model = quick(epochs=1).fit(X, [labels[i % len(labels)] for i in range(len(X))])
    (found,) = model.explain(X[:1], target=labels[0])
    assert found.label is labels[0]
    total = sum(word.attribution for word in found.words)
    assert total == pytest.approx(found.score - found.reference, abs=0.01)


# ---------------------------------------------------------------- steps
def test_more_steps_are_taken_where_words_do_not_add_up(fitted, docstrings, monkeypatch):
    X, _ = docstrings
    monkeypatch.setattr(attribution, "_TOLERANCE", 1e-5)
    monkeypatch.setattr(attribution, "_NEAR_ZERO", 1e-5)
    found = fitted.explain(X[:6])
    assert max(explanation.steps for explanation in found) > 32
    assert all(abs(explanation.error) < 1e-3 for explanation in found)


def test_what_is_missed_after_all_steps_is_said(fitted, docstrings, monkeypatch):
    monkeypatch.setattr(attribution, "_TOLERANCE", 0)
    monkeypatch.setattr(attribution, "_NEAR_ZERO", 0)
    (found,) = fitted.explain(docstrings[0][:1])
    assert found.steps == 512
    assert "Even 512 steps miss the difference of the scores" in found.notes[0]
    assert found.notes[0][:20] in str(found)
    assert found.notes[0] in found.to_html()


# ---------------------------------------------------------------- wrong use
def test_unfitted(docstrings):
    with pytest.raises(NotFittedError):
        TextClassifier().explain(docstrings[0])


def test_an_unknown_target_is_named(fitted, docstrings):
    with pytest.raises(ParameterError, match=r"target='panda' is no label of this pipeline. Did you mean 'pandas'"):
        fitted.explain(docstrings[0][:1], target="panda")
    with pytest.raises(ParameterError, match=r"is no label of this pipeline. Choose one of: 'numpy', 'pandas'"):
        fitted.explain(docstrings[0][:1], target=["x"])


def test_what_is_no_text_is_named(fitted):
    with pytest.raises(DataError, match="Sample 1 is missing"):
        fitted.explain(["a", None])
    with pytest.raises(DataError, match=r"one path or text, 'a'. Pass it as a list"):
        fitted.explain("a")
    with pytest.raises(DataError, match="empty"):
        fitted.explain([])


def test_without_captum_the_pip_line_is_given(run_python):
    code = """
import sys
sys.modules["captum"] = None
from nlp import TextClassifier
model = TextClassifier(encoder="lstm", epochs=1, verbose=0).fit(["good", "bad"] * 10, ["yes", "no"] * 10)
try:
    model.explain(["good"])
except ImportError as error:
    print(error)
"""
    done = run_python(code)
    assert 'pip install "domain-pipelines[nlp]"' in done.stdout, done.stderr


def test_nothing_is_written_to_the_screen(fitted, docstrings, capfd):
    fitted.explain(docstrings[0][:2])
    assert capfd.readouterr() == ("", "")


def test_the_network_is_left_as_it_was(fitted, docstrings):
    X, _ = docstrings
    before = fitted.predict_proba(X)
    fitted.explain(X[:3])
    assert np.array_equal(fitted.predict_proba(X), before)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in fitted.model_.parameters())


# ---------------------------------------------------------------- values, text and HTML
WORDS = (Word("good", 0, 4, 0.75), Word("<b>", 5, 8, -0.25))
MADE = Explanation("good <b>", "praise", 0.62, 0.6, 0.1, WORDS, 0.0, 32)


def test_an_explanation_is_a_small_frozen_value():
    assert repr(MADE) == "Explanation('praise', 'good <b>', 2 words)"
    assert Explanation("good <b>", "praise", 0.62, 0.6, 0.1, WORDS, 0.0, 32) == MADE
    assert hash(MADE)
    with pytest.raises(AttributeError):
        MADE.label = "blame"


def test_print_shows_the_strongest_words_first_and_cannot_steer_the_terminal():
    words = tuple(Word(f"w{i}", 0, 0, i - 10.0) for i in range(30))
    text = str(Explanation("\x1b[31m" + "long " * 500, "a\nb", 0.5, 1.0, 0.0, words, 0.0, 64, ("A note.",)))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line.isprintable() for line in lines)
    bars = [line for line in lines if "█" in line or "▒" in line]
    assert bars[0].split() == ["+19.000", "█" * 20, "w29"]
    assert len(bars) == 12
    assert "… and 18 more that count less" in text
    assert lines[-1] == "  A note."


def test_html_colours_words_and_escapes_the_rest():
    html = MADE.to_html()
    assert html == MADE._repr_html_()
    assert html.count("<mark") == 4  # two of them are the key
    assert "&lt;b&gt;</mark>" in html
    assert "<b>" not in html
    assert 'title="+0.7500"' in html
    assert "<script" not in html


def test_several_explanations_are_one_page(tmp_path):
    both = Explanations([MADE, MADE])
    path = both.save(tmp_path / "why.html")
    page = path.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert both._repr_html_() in page
    assert page.count("<figure>") == 2
    assert MADE.save(str(tmp_path / "one.HTML")).is_file()
    assert str(both).count("The words add up to") == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "folder.html").mkdir()
    for name, said in [
        ("why.txt", "saved as .html"),
        ("nowhere/why.html", "does not exist"),
        ("folder.html", "cannot be written"),
        (f"{'x' * 300}.html", "cannot be written"),
    ]:
        with pytest.raises(DataError, match=said):
            MADE.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]
