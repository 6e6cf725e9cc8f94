"""The `pipelines` command on tables of records."""

import numpy as np
import pandas as pd
import pytest

import pipelines
from pipelines import DataError, data

from .test_cli import run, strict_json

QUICK = ["--epochs", "20", "--verbose", "0"]


@pytest.fixture(scope="module")
def people():
    """Sixty patients with two visits each; the old and those with a cough are ill."""
    rng = np.random.default_rng(0)
    age, cough = rng.integers(20, 90, 120).astype(float), rng.choice(["yes", "no"], 120)
    sick = np.where((age > 60) | ((cough == "yes") & (age > 40)), "ill", "well")
    age[::10], ward = np.nan, rng.integers(1, 4, 120)
    return pd.DataFrame({"patient": [f"P{i // 2}" for i in range(120)], "age": age, "cough": cough, "ward": ward, "state": sick})


@pytest.fixture(scope="module")
def table(people, tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "people.csv"
    people.to_csv(path, index=False)
    return path


def test_fit_evaluate_and_predict(capsys, people, table, tmp_path):
    named = ["--data", table, "--y", "state", "--group", "patient"]
    options = ["--codes", "ward", "--missing", '{"age": [0]}']
    code, out, err = run(capsys, "fit", "record-classification", *named, "--out", tmp_path / "m", *QUICK, *options)
    assert code == 0, err
    assert strict_json(out)["report"]["n"] % 2 == 0  # whole patients
    model = pipelines.load(tmp_path / "m")
    assert list(model.columns_) == ["age", "cough", "ward"]
    assert (model.codes, model.missing) == (["ward"], {"age": [0]})
    assert "P7" not in (tmp_path / "m" / "pipeline.json").read_text()

    code, out, err = run(capsys, "evaluate", tmp_path / "m", *named)
    assert code == 0, err
    assert strict_json(out)["n"] == 120
    assert "groups" not in strict_json(out)["tables"]  # intervals are by patients, who are not named

    people[["cough", "age", "ward"]].head(9).to_csv(tmp_path / "new.csv", index=False)
    for arguments in ([tmp_path / "new.csv"], ["--data", tmp_path / "new.csv"]):
        code, out, err = run(capsys, "predict", tmp_path / "m", *arguments)
        assert code == 0, err
        rows = strict_json(out)
        assert [row["sample"] for row in rows] == list(range(9))
        assert [row["proba"]["ill"] for row in rows] == pytest.approx(model.predict_proba(people.head(9))[:, 0], abs=1e-5)


def test_x_names_the_inputs(capsys, table, tmp_path):
    named = ["--data", table, "--y", "state", "--x", "age, cough", "--test", "0"]
    code, _, err = run(capsys, "fit", "record-classification", *named, "--out", tmp_path / "m", *QUICK)
    assert code == 0, err
    assert list(pipelines.load(tmp_path / "m").columns_) == ["age", "cough"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--y", "state", "--x", "agee"], 1, "no column 'agee'. Did you mean 'age'"),
        (["--y", "stat"], 1, "no column 'stat'. Did you mean 'state'"),
        (["--y", "state", "--x", "age,state"], 1, "the column 'state' holds labels"),
        (["--y", "state", "--time", "age"], 2, "--time is for tasks that read"),
        ([], 2, "needs --y COLUMN"),
    ],
)
def test_wrong_calls_are_explained(capsys, table, tmp_path, arguments, code, said):
    found, _, err = run(capsys, "fit", "record-classification", "--data", table, "--out", tmp_path / "m", *QUICK, *arguments)
    assert found == code
    assert said in err
    assert not (tmp_path / "m").exists()


def test_records_need_all_labels(people, tmp_path):
    people.assign(state=[None, *people["state"][1:]]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match=r"Row 0 of .* has no label in the column 'state'"):
        data.records(tmp_path / "t.csv", y="state")
    people[["state"]].to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="no column besides the labels"):
        data.records(tmp_path / "t.csv", y="state")


def test_predict_takes_one_table(capsys, table, tmp_path):
    named = ["--data", table, "--y", "state", "--x", "age", "--test", "0"]
    assert run(capsys, "fit", "record-classification", *named, "--out", tmp_path / "m", *QUICK)[0] == 0
    for given in ([], [table, table]):
        code, _, err = run(capsys, "predict", tmp_path / "m", *given)
        assert code == 2
        assert "Name one table" in err
