"""The list of mistakes in a report: of arrays, of texts and of images, in every form a report has."""

import json

import numpy as np
import pandas as pd
import pytest

from nlp import TextClassifier
from pipelines import metrics
from pipelines.errors import DataError
from pipelines.report import Example, Report
from vision import ImageClassifier

from .test_report import Page

NASTY = "<script>alert(1)</script> שלום\n\x1b[31m half \ud800 letter"


def wrong_ones(y, proba, classes, **options):
    return metrics.classification(y, proba, classes, n_bootstrap=0, **options).errors()


# --- from arrays ------------------------------------------------------------------------------------------------------


def test_the_surest_mistakes_come_first():
    proba = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.0, 0.1, 0.9], [0.5, 0.4, 0.1]]
    found = wrong_ones(["b", "b", "a", "a", "c"], proba, ["a", "b", "c"])
    assert list(found.columns) == ["sample", "truth", "prediction", "confidence"]
    assert found.index.tolist() == [1, 2, 3, 4]
    assert found["sample"].tolist() == [0, 3, 4, 2]
    assert found["truth"].tolist() == ["b", "a", "c", "a"]
    assert found["prediction"].tolist() == ["a", "c", "a", "c"]
    assert found["confidence"].tolist() == [0.9, 0.9, 0.5, 0.4]


def test_a_threshold_decides_what_is_a_mistake():
    found = wrong_ones([0, 1, 1], [0.6, 0.7, 0.95], [0, 1], threshold=0.9)
    assert found.drop(columns="confidence").to_dict("records") == [{"sample": 1, "truth": 1, "prediction": 0}]
    assert found["confidence"].tolist() == pytest.approx([0.3])


def test_several_labels_have_a_row_a_label():
    y = np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    proba = np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.65], [0.9, 0.9, 0.9]])
    found = wrong_ones(y, proba, ["a", "b", "c"], threshold=[0.5, 0.5, 0.6])
    assert list(found.columns) == ["sample", "label", "truth", "prediction", "confidence"]
    assert found["sample"].tolist() == [0, 0, 1]
    assert found["label"].tolist() == ["c", "b", "c"]
    assert found["truth"].tolist() == ["present", "absent", "absent"]
    assert found["prediction"].tolist() == ["absent", "present", "present"]
    assert found["confidence"].tolist() == pytest.approx([0.9, 0.8, 0.65])


def test_at_most_a_hundred_are_kept():
    found = wrong_ones([0, 1] * 300, np.linspace(0.51, 0.99, 600), [0, 1])
    assert len(found) == 100
    assert found["confidence"].is_monotonic_decreasing
    assert found["sample"].iloc[0] == 598


def test_no_mistake_gives_no_row():
    report = metrics.classification([0, 1], [0.1, 0.9], [0, 1], n_bootstrap=0)
    assert report.errors().empty
    assert "confidence" in report.errors()
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert ">errors<" not in report._render(".html")
    assert "mistakes" not in str(report)


@pytest.mark.parametrize("classes", [["a", "b"], [3, 4], [False, True], [1, "one"]])
def test_the_list_survives_json(classes):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40)
    report = metrics.classification([classes[i] for i in y], rng.random(40), classes, n_bootstrap=0)
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    pd.testing.assert_frame_equal(again.errors(), report.errors())
    assert set(again.errors()["truth"]) <= set(classes)


def test_the_list_can_be_changed_without_changing_the_report():
    report = metrics.classification([0, 1], [0.9, 0.9], [0, 1], n_bootstrap=0)
    found = report.errors()
    found["truth"] = 7
    assert report.errors()["truth"].tolist() == [0]


def test_a_report_without_a_list_says_so():
    report = Report("forecasting", "mae", {"mae": 1.0}, {}, {}, 3, (), {})
    with pytest.raises(DataError, match=r"report on forecasting has no list of errors.*model.evaluate\(X, y\)"):
        report.errors()


# --- from pipelines ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def texts():
    """A classifier of texts, and its report on texts whose labels are all wrong, which are long and nasty."""
    X, y = ["good film", "fine film", "bad film", "dull film"] * 8, ["yes", "yes", "no", "no"] * 8
    model = TextClassifier(encoder="lstm", epochs=4, verbose=0).fit(X, y)
    X = [NASTY, "word " * 1000, *X]
    wrong = ["no" if label == "yes" else "yes" for label in model.predict(X)]
    return X, model.evaluate(X, wrong)


def test_mistakes_of_texts_come_with_their_texts(texts):
    X, report = texts
    found = report.errors()
    assert list(found.columns) == ["sample", "text", "truth", "prediction", "confidence"]
    assert len(found) == len(X) == 34
    assert set(found["truth"]) <= {"yes", "no"}
    by_sample = dict(zip(found["sample"], found["text"], strict=True))
    assert by_sample[0] == NASTY.replace("\ud800", "?")
    assert by_sample[1] == ("word " * 1000)[:1999] + "…"
    assert by_sample[2] == X[2]
    assert [example.text for example in report.examples] == found["text"].head(12).tolist()
    assert "taken for" in report.examples[0].caption
    again = Report.from_dict(json.loads(json.dumps(report.to_dict())))
    pd.testing.assert_frame_equal(again.errors(), found)


@pytest.mark.parametrize("suffix", [".html", ".md", ".json", ".csv"])
def test_every_file_can_be_written(texts, suffix, tmp_path):
    path = texts[1].save(tmp_path / f"report{suffix}")
    assert path.stat().st_size < 500_000
    path.read_text(encoding="utf-8")


def test_html_shows_texts_escaped_and_shortened(texts):
    page = texts[1]._render(".html")
    parsed = Page(page)
    assert parsed.open == []
    assert "script" not in parsed.tags
    assert "<script>alert(1)</script> שלום" in " ".join(parsed.texts)
    assert page.count('dir="auto"') == 34 + 12
    assert "word " * 100 not in page
    assert "word word" in page
    assert ("dp-texts", True) in [(value.split()[-1], name == "class") for name, value in parsed.attributes if value]


def test_text_names_the_list_and_markdown_shortens_it(texts):
    text, markdown = str(texts[1]), texts[1]._render(".md")
    assert "The surest of the mistakes (34) are listed by report.errors() and in the HTML report." in text
    assert "script" not in text
    assert all(line.isprintable() for line in text.splitlines())
    assert "## errors" in markdown
    assert "word " * 50 not in markdown
    assert "examples are shown" not in text


def test_mistakes_of_several_labels_come_with_their_texts():
    X = ["good film", "fine film", "bad film", "dull film"] * 8
    y = [{"praise"}, {"praise", "film"}, {"film"}, set()] * 8
    model = TextClassifier(encoder="lstm", epochs=1, verbose=0).fit(X, y)
    report = model.evaluate(X, [{"praise", "film"} - labels for labels in y])
    found = report.errors()
    assert list(found.columns) == ["sample", "text", "label", "truth", "prediction", "confidence"]
    assert set(found["label"]) <= {"film", "praise"}
    assert all(row.text == X[row.sample] for row in found.itertuples())
    assert any(word in report.examples[0].caption for word in ("wrongly given", "missed"))


def test_no_mistake_of_texts_still_has_the_columns():
    X, y = ["good film", "fine film", "bad film", "dull film"] * 8, ["yes", "yes", "no", "no"] * 8
    model = TextClassifier(encoder="lstm", epochs=1, verbose=0).fit(X, y)
    report = model.evaluate(X, model.predict(X))
    assert report.errors().empty
    assert "text" in report.errors()
    assert report.examples == ()


def test_mistakes_of_images_have_no_text():
    rng = np.random.default_rng(0)
    X, y = list(rng.random((40, 8, 8))), ["a", "b"] * 20
    report = ImageClassifier(epochs=1, verbose=0).fit(X, y).evaluate(X, y)
    found = report.errors()
    assert list(found.columns) == ["sample", "truth", "prediction", "confidence"]
    assert len(found) == round((1 - report.metrics["accuracy"]) * 40)
    assert len(report.examples) == min(12, len(found))
    assert all(example.image and example.text is None for example in report.examples)


def test_examples_without_a_list_are_still_announced():
    report = Report("t", "m", {"m": 1.0}, {}, {}, 3, (), {}, (Example("x", text="y"),))
    assert "1 examples are shown in the HTML report." in str(report)
