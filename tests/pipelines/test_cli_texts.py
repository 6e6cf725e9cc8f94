"""The `pipelines` command on texts: tables, folders, and what stands on the command line."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines import data

from ..conftest import ROOT
from .test_cli import run, strict_json

QUICK = ["--epochs", "1", "--verbose", "0"]
WORDS = {"praise": ["good", "fine", "great", "NA"], "blame": ["bad", "dull", "poor", "None"]}


@pytest.fixture(scope="module")
def reviews():
    """Eighty short reviews of films with a label, a rating, an author and a title."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(["praise", "blame"] * 40)
    texts = [f'a {rng.choice(WORDS[label])} "film", number {i}' for i, label in enumerate(labels)]
    authors = [f"author {i // 4}" for i in range(80)]
    late = (np.arange(80) > 39).astype(int)
    return pd.DataFrame(
        {"text": texts, "label": labels, "late": late, "liked": (labels == "praise").astype(int), "author": authors}
    )


@pytest.fixture(scope="module")
def table(reviews, tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "reviews.csv"
    reviews.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def fitted(table, tmp_path_factory):
    """Return the saved folder and the printed result of one `fit`."""
    out = tmp_path_factory.mktemp("fitted") / "model"
    command = [
        sys.executable,
        "-m",
        "pipelines",
        "fit",
        "text-classification",
        "--data",
        str(table),
        "--x",
        "text",
        "--y",
        "label",
    ]
    done = subprocess.run(
        [*command, "--out", str(out), "--test", "0.25", "--epochs", "8", "--report", str(out.parent / "r.html")],
        capture_output=True,
        text=True,
        check=False,
        cwd=out.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


# --- fitting and judging ----------------------------------------------------------------------------------------------


def test_fit_saves_reports_and_prints_json(fitted):
    out, result, err = fitted
    assert result["task"] == "text-classification"
    assert result["report"]["n"] == 20
    assert 1 < len(result["history"]) <= 8
    assert "TF-IDF" in err
    assert (out.parent / "r.html").read_text().startswith("<!")
    assert pipelines.load(out).classes_.tolist() == ["blame", "praise"]


@pytest.mark.parametrize("ending", ["tsv", "json", "jsonl"])
def test_evaluate_reads_every_table_alike(capsys, fitted, reviews, tmp_path, ending):
    writers = {
        "tsv": lambda path: reviews.to_csv(path, index=False, sep="\t"),
        "json": reviews.to_json,
        "jsonl": lambda path: reviews.to_json(path, orient="records", lines=True),
    }
    path = tmp_path / f"t.{ending}"
    writers[ending](path)
    named = ["--data", path, "--x", "text", "--y", "label", "--group", "author"]
    code, out, err = run(capsys, "evaluate", fitted[0], *named, "--report", tmp_path / "r.json")
    assert code == 0, err
    assert strict_json(out) == json.loads((tmp_path / "r.json").read_text())
    assert strict_json(out)["n"] == 80
    assert len(strict_json(out)["tables"]["groups"]["index"]["values"]) == 20


def test_folders_of_text_files_are_read_as_texts(capsys, reviews, tmp_path):
    for i, row in reviews.iterrows():
        (tmp_path / "films" / row["label"]).mkdir(parents=True, exist_ok=True)
        (tmp_path / "films" / row["label"] / f"{i}.txt").write_text(row["text"])
    code, out, err = run(capsys, "fit", "text-classification", "--data", tmp_path / "films", "--out", tmp_path / "m", *QUICK)
    assert code == 0, err
    assert strict_json(out)["report"]["n"] == 16
    code, out, _ = run(capsys, "evaluate", tmp_path / "m", "--data", tmp_path / "films")
    assert (code, strict_json(out)["n"]) == (0, 80)
    model = pipelines.load(tmp_path / "m")
    code, out, _ = run(capsys, "predict", tmp_path / "m", "--data", tmp_path / "films" / "praise")
    rows = strict_json(out)
    assert [row["sample"] for row in rows] == data.files(tmp_path / "films" / "praise")
    texts = [data.read_text(row["sample"]) for row in rows]
    assert [row["proba"]["praise"] for row in rows] == pytest.approx(model.predict_proba(texts)[:, 1], abs=1e-5)


def test_groups_stay_whole_in_every_part(capsys, monkeypatch, reviews, table, tmp_path):
    parts, classifier = {}, pipelines.registry.pipeline_class("text-classification")

    def fit(self, X, y, valid, resume):
        parts.update(train=X, valid=valid[0])
        raise KeyboardInterrupt

    monkeypatch.setattr(classifier, "_fit", fit)
    named = ["--data", table, "--x", "text", "--y", "label", "--group", "author"]
    assert run(capsys, "fit", "text-classification", *named, "--out", tmp_path / "m")[0] == 1
    authors = reviews.set_index("text")["author"]
    train, valid = (set(authors[part]) for part in (parts["train"], parts["valid"]))
    assert len(parts["train"]) == 4 * len(train)
    assert len(parts["valid"]) == 4 * len(valid)
    assert not train & valid


def test_pairs_come_from_two_columns(capsys, table, tmp_path):
    named = ["--data", table, "--x", "text, author", "--y", "label"]
    code, _, err = run(capsys, "fit", "text-classification", *named, "--out", tmp_path / "m", *QUICK)
    assert code == 0, err
    assert pipelines.load(tmp_path / "m").pairs_
    assert run(capsys, "evaluate", tmp_path / "m", *named)[0] == 0
    rows = strict_json(run(capsys, "predict", tmp_path / "m", *named[:4])[1])
    assert len(rows) == 80
    assert rows[0]["sample"][1] == "author 0"
    for arguments in (["predict", tmp_path / "m", "a film"], ["predict", tmp_path / "m", *named[:3], "text"]):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert "The model was fitted on pairs of texts" in err
        assert "--x FIRST,SECOND" in err


def test_several_label_columns_mean_several_labels(capsys, table, tmp_path):
    named = ["--data", table, "--x", "text", "--y", "late,liked"]
    code, _, err = run(capsys, "fit", "text-classification", *named, "--out", tmp_path / "m", *QUICK)
    assert code == 0, err
    model = pipelines.load(tmp_path / "m")
    assert model.multilabel_
    assert model.classes_.tolist() == ["late", "liked"]
    rows = strict_json(run(capsys, "predict", tmp_path / "m", *named[:4])[1])
    expected = [
        [name for name, there in zip(["late", "liked"], row, strict=True) if there]
        for row in model.predict(data.texts(table, x="text")[0])
    ]
    assert [row["prediction"] for row in rows] == expected
    assert run(capsys, "evaluate", tmp_path / "m", *named)[0] == 0


def test_labels_that_look_like_missing_values_stay_labels(capsys, reviews, tmp_path):
    reviews.assign(label=reviews["label"].map({"praise": "NA", "blame": "None"})).to_csv(tmp_path / "t.csv", index=False)
    named = ["--data", tmp_path / "t.csv", "--x", "text", "--y", "label", "--test", "0"]
    assert run(capsys, "fit", "text-classification", *named, "--out", tmp_path / "m", *QUICK)[0] == 0
    assert pipelines.load(tmp_path / "m").classes_.tolist() == ["NA", "None"]


# --- predicting -------------------------------------------------------------------------------------------------------


def test_arguments_are_texts_whatever_files_there_are(capsys, monkeypatch, fitted, tmp_path):
    (tmp_path / "good").write_text("bad bad bad")
    monkeypatch.chdir(tmp_path)
    texts = ["a good film", "good", "a bad film. see t.csv", "😀 שלום", "-1 of 5"]
    code, out, err = run(capsys, "predict", fitted[0], "--", *texts)
    rows = strict_json(out)
    assert (code, err) == (0, "")
    assert [row["sample"] for row in rows] == texts
    assert [row["prediction"] for row in rows] == pipelines.load(fitted[0]).predict(texts).tolist()
    assert all(sum(row["proba"].values()) == pytest.approx(1, abs=1e-5) for row in rows)
    proba = pipelines.load(fitted[0]).predict_proba(texts)
    assert [row["proba"]["praise"] for row in rows] == pytest.approx(proba[:, 1], abs=1e-5)


def test_texts_come_from_a_table_or_a_file_too(capsys, fitted, table, reviews, tmp_path):
    rows = strict_json(run(capsys, "predict", fitted[0], "--data", table, "--x", "text")[1])
    assert [row["sample"] for row in rows] == reviews["text"].tolist()
    assert np.mean([row["prediction"] == label for row, label in zip(rows, reviews["label"], strict=True)]) > 0.8
    (tmp_path / "note.txt").write_text("a good film\nand a great one\n")
    code, out, _ = run(capsys, "predict", fitted[0], "a bad film", "--data", tmp_path / "note.txt")
    assert code == 0
    assert [row["sample"] for row in strict_json(out)] == ["a bad film", str(tmp_path / "note.txt")]
    proba = pipelines.load(fitted[0]).predict_proba(["a bad film", "a good film\nand a great one\n"])
    assert [row["proba"]["praise"] for row in strict_json(out)] == pytest.approx(proba[:, 1], abs=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--data", "{table}"], 2, "which needs --x COLUMN and --y COLUMN"),
        (["fit", "--data", "{table}", "--x", "txt", "--y", "label"], 1, "no column 'txt'. Did you mean 'text'"),
        (["fit", "--data", "{table}", "--x", "text,label,late", "--y", "label"], 2, "or two for pairs"),
        (
            ["fit", "--data", "{table}", "--x", "text", "--y", "label", "--time", "late"],
            2,
            "but text-classification reads texts in",
        ),
        (["fit", "--data", "{folder}", "--group", "author"], 2, "--group names a table's column, but {folder} is a folder"),
        (["fit", "--data", "{folder}"], 1, "neg/2.txt is no text in UTF-8"),
        (
            ["fit", "--data", "{holes}", "--x", "text", "--y", "label"],
            1,
            "The text of row 2 of {holes}, in the column 'text', is empty",
        ),
        (["fit", "--data", "{holes}", "--x", "label", "--y", "text"], 1, "Row 2 of {holes} has no label in the column 'text'"),
        (["predict"], 2, "There is nothing to predict: write the texts, each in quotes, or name a file with --data"),
        (["predict", "reviews.csv"], 2, "'reviews.csv' would be classified as a text"),
        (
            ["predict", "no-such.txt"],
            2,
            "would be classified as a text. For the texts in a file or folder write: --data no-such.txt",
        ),
        (["predict", "{folder}"], 2, "{folder}' would be classified as a text"),
        (["predict", "--data", "{table}"], 2, "which needs --x COLUMN"),
        (["predict", "a film", "--x", "text"], 2, "--x text names a column, but no table was named"),
        (["predict", "--data", "no-such.txt"], 1, "no-such.txt cannot be read"),
        (["predict", "--data", "no-such.csv", "--x", "text"], 1, "no-such.csv does not exist"),
        (["predict", "--data", "{holes}", "--x", "text"], 1, "The text of row 2"),
        (["predict", "--data", "{table}", "--x", "text,label"], 2, "fitted on single texts. Name them"),
        (["predict", "a film", "--time", "late"], 2, "--time is for tasks that read a table of time series"),
        (["evaluate", "--data", "{table}", "--x", "text", "--y", "author"], 1, "was never seen in training"),
        (["evaluate", "--data", "{table}", "--x", "text,author", "--y", "label"], 2, "fitted on single texts"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_errors_with_texts_are_sentences(capsys, monkeypatch, table, fitted, tmp_path, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "films"
    for name, content in {"pos/1.txt": b"good", "neg/2.txt": b"schlecht f\xfcr mich"}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(content)
    (tmp_path / "holes.csv").write_text("text,label\ngood,1\nnan,0\n,1\n")
    places = {"table": table, "folder": folder, "holes": tmp_path / "holes.csv"}
    command, *rest = (argument.format(**places) for argument in arguments)
    where = ["text-classification", "--out", tmp_path / "m"] if command == "fit" else [fitted[0]]
    found, out, err = run(capsys, command, *where, *rest)
    assert (found, out) == (code, "")
    assert message.format(**places) in err
    assert "Traceback" not in err
    assert not (tmp_path / "m").exists()
