"""The docstrings demo: what is read and how it is split, and the whole of it run as a user runs it."""

import inspect
import json
import os
import subprocess
import sys

import pytest

from nlp import demo
from pipelines import Report, data, load

from ..conftest import ROOT

PACKAGES = ["numpy", "pandas", "scipy", "sklearn"]


@pytest.fixture(scope="module")
def table():
    return demo.read_docstrings()


@pytest.mark.slow
def test_docstrings_give_no_name_away(table):
    assert sorted(set(table["package"])) == PACKAGES
    assert table["package"].value_counts().min() > 500
    assert table["name"].is_unique
    for word in ("numpy", "scipy", "pandas", "sklearn", "scikit", ">>>", "`"):
        assert not table["text"].str.contains(word, case=False, regex=False).any(), word
    assert not table["text"].str.contains(r"\b(?:np|pd)\b", case=False).any()


@pytest.mark.slow
def test_parts_share_no_home_and_no_near_copy(table):
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, test = demo._apart(table, 0.2)
    assert not set(train["home"]) & set(test["home"])
    assert len(test) / len(table) == pytest.approx(0.2, abs=0.03)
    assert sorted(set(test["package"])) == PACKAGES
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(table["text"])
    alike = vectors.transform(test["text"]) @ vectors.transform(train["text"]).T
    assert alike.max() < 0.8  # of the texts that were left, words weigh a little otherwise


def test_markup_is_taken_out():
    doc = """sort(a, axis=-1)

    Sort an array, as :func:`numpy.sort` or :meth:`~pandas.Series.sort` and `np.sort` do.

    .. versionadded:: 1.2
       It is new.

    Read more in the :ref:`User Guide <sorting>`.

    >>> sort([2, 1])

    With NumPy-like arrays.

    Parameters
    ----------
    a : array
    """
    assert demo._plain(inspect.cleandoc(doc)) == "Sort an array, as sort or Series.sort and sort do. With -like arrays."


@pytest.mark.slow
def test_docstrings_reports_saves_and_predicts_again(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pipelines", "demo", "docstrings"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "TF-IDF" in done.stdout
    report = Report.from_dict(json.loads((tmp_path / "demo" / "model" / "report.json").read_text()))
    assert report.metrics["accuracy"] > 2 * report.tables["baselines"].loc["majority class", "accuracy"]
    assert report.metrics["roc_auc"] > 0.9
    assert "<svg" in (tmp_path / "demo" / "report.html").read_text()
    samples = data.files(tmp_path / "demo" / "samples")
    assert len(samples) == 8
    predicted = load(tmp_path / "demo" / "model").predict(list(map(data.read_text, samples)))
    told = [line.rpartition(" ")[2] for line in done.stdout.splitlines() if line.startswith("predict  sample demo/samples/")]
    assert told == predicted.tolist()
