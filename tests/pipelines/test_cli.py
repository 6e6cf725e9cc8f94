"""The `pipelines` command: JSON on stdout, the log on stderr, exit codes 0, 1 and 2."""

import contextlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import pipelines
from pipelines import cli, cli_data, data, registry

from ..conftest import ROOT

QUICK = ["--epochs", "1", "--batch-size", "8", "--verbose", "0"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("cli") / "photos"
    rng = np.random.default_rng(0)
    for i in range(32):
        label = ("red", "blue")[i % 2]
        pixels = rng.integers(0, 60, (8, 8, 3), dtype=np.uint8)
        pixels[:, :, 0 if label == "red" else 2] += 180
        (root / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / label / f"{i:02d}.png")
    return root


@pytest.fixture(scope="module")
def table(photos):
    """The same pictures as a table beside them."""
    X, y = pipelines.data.folder(photos)
    frame = pd.DataFrame(
        {"file": [os.path.relpath(x, photos.parent) for x in X], "colour": y, "camera": [i // 4 for i in range(32)]}
    )
    frame.to_csv(photos.parent / "photos.csv", index=False)
    return photos.parent / "photos.csv"


@pytest.fixture(scope="module")
def fitted(photos, tmp_path_factory):
    """Return the saved folder and the printed result of one `fit`."""
    out = tmp_path_factory.mktemp("fitted") / "model"
    command = [sys.executable, "-m", "pipelines", "fit", "image-classification", "--data", str(photos), "--out", str(out)]
    done = subprocess.run(
        [*command, "--epochs", "3", "--batch-size=8", "--test", "0.25", "--report", str(out.parent / "r.html")],
        capture_output=True,
        text=True,
        check=False,
        cwd=out.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return out, json.loads(done.stdout), done.stderr


def run(capsys, *arguments):
    """Run one command; return exit code, stdout and stderr."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as end:  # argparse's own way out
        code = end.code
    return code, *capsys.readouterr()


def strict_json(text):
    """Parse JSON and refuse NaN, which JSON does not have."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


# --- asking -----------------------------------------------------------------------------------------------------------


def test_list_names_every_task(capsys):
    code, out, err = run(capsys, "list")
    assert (code, err) == (0, "")
    assert [row["task"] for row in json.loads(out)] == sorted(registry.TASKS)


def test_info_of_a_task_gives_its_parameters(capsys):
    code, out, _ = run(capsys, "info", "image-classification")
    found = json.loads(out)
    assert code == 0
    assert found["class"] == "vision.classification.ImageClassifier"
    assert found["parameters"] == pipelines.create("image-classification").get_params()
    assert found["about"].endswith(".")


def test_info_of_a_folder_gives_what_it_holds(capsys, fitted):
    code, out, _ = run(capsys, "info", fitted[0])
    found = strict_json(out)
    assert code == 0
    assert found["task"] == "image-classification"
    assert found["params"]["epochs"] == 3
    assert found["arrays"]["classes_"] == [2]
    assert found["report"]["accuracy"] == 1.0


def test_demos_are_listed(capsys):
    code, out, _ = run(capsys, "demo", "--list")
    assert code == 0
    assert json.loads(out).keys() == registry.DEMOS.keys()


@pytest.mark.slow
def test_doctor_speaks_text_and_json(capsys):
    code, out, _ = run(capsys, "doctor", "--json")
    assert code == 0
    assert isinstance(strict_json(out), dict)
    assert run(capsys, "doctor")[1].strip()


def test_listing_imports_no_framework(run_python):
    code = (
        "import sys; from pipelines.cli import main; main(['list']); print([m for m in ('keras', 'torch') if m in sys.modules])"
    )
    done = run_python(code)
    assert done.stdout.endswith("[]\n"), done.stderr


# --- fitting, predicting, judging -------------------------------------------------------------------------------------


def test_fit_saves_reports_and_prints_json(fitted):
    out, result, err = fitted
    assert result["task"] == "image-classification"
    assert result["model"] == str(out)
    assert len(result["history"]) == 3
    assert result["report"]["n"] == 8
    assert "epoch 1/3" in err
    assert "accuracy" in err
    assert (out.parent / "r.html").read_text().startswith("<!")
    assert pipelines.load(out).epochs == 3


def test_predict_takes_files_and_folders(capsys, fitted, photos):
    file = photos / "red" / "00.png"
    code, out, _ = run(capsys, "predict", fitted[0], file, photos / "blue")
    rows = strict_json(out)
    assert code == 0
    assert [row["sample"] for row in rows] == [str(file), *pipelines.data.files(photos / "blue")]
    assert [row["prediction"] for row in rows] == ["red"] + ["blue"] * 16
    assert all(sum(row["proba"].values()) == pytest.approx(1, abs=1e-5) for row in rows)


def test_predict_takes_a_table_with_the_files(capsys, fitted, table):
    code, out, err = run(capsys, "predict", fitted[0], table, "--x", "file")
    assert code == 0, err
    rows = strict_json(out)
    assert [row["prediction"] for row in rows] == pd.read_csv(table)["colour"].tolist()
    assert strict_json(run(capsys, "predict", fitted[0], "--data", table, "--x", "file")[1]) == rows


def test_several_label_columns_mean_several_labels(capsys, table, tmp_path):
    frame = pd.read_csv(table)
    path = table.parent / "several.csv"
    frame.assign(red=(frame["colour"] == "red") * 1, odd=np.arange(32) % 4 // 2).to_csv(path, index=False)
    named = ["--data", path, "--x", "file", "--y", "red,odd", "--group", "camera"]
    code, _, err = run(capsys, "fit", "image-classification", *named, "--out", tmp_path / "m", *QUICK)
    assert code == 0, err
    model = pipelines.load(tmp_path / "m")
    assert model.classes_.tolist() == ["red", "odd"]
    rows = strict_json(run(capsys, "predict", tmp_path / "m", *named[:4])[1])
    said = model.predict(data.table(path, x="file")[0])
    assert [[name in row["prediction"] for name in ("red", "odd")] for row in rows] == said.astype(bool).tolist()


def test_evaluate_prints_the_report(capsys, fitted, photos, tmp_path):
    code, out, err = run(capsys, "evaluate", fitted[0], "--data", photos, "--report", tmp_path / "r.json")
    assert code == 0
    assert strict_json(out) == json.loads((tmp_path / "r.json").read_text())
    assert strict_json(out)["n"] == 32
    assert "accuracy" in err


def test_fit_from_a_table_with_groups_and_resume(capsys, table, tmp_path):
    arguments = ["fit", "image-classification", "--data", table, "--x", "file", "--y", "colour", "--group", "camera", *QUICK]
    arguments += ["--out", tmp_path / "m", "--resume", tmp_path / "c"]
    code, out, err = run(capsys, *arguments)
    assert code == 0, err
    assert strict_json(out)["report"]["n"] in range(4, 13, 4)  # whole cameras
    assert any((tmp_path / "c").iterdir())
    assert run(capsys, *arguments)[0] == 0  # goes on from the checkpoint, and replaces the model


def test_fit_without_a_test_part_has_no_report(capsys, photos, tmp_path):
    code, out, _ = run(capsys, "fit", "image-classification", "--data", photos, "--out", tmp_path / "m", "--test", "0", *QUICK)
    assert code == 0
    assert "report" not in json.loads(out)


# --- time series ------------------------------------------------------------------------------------------------------

SMALL = [
    "--horizon",
    "6",
    "--lookback",
    "24",
    "--units",
    "8",
    "--batch-size",
    "32",
    "--quantiles",
    "0.1,0.9",
    *QUICK[:2],
    *QUICK[4:],
]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Write a table of 300 hours with two variables and a remark."""
    hours = np.arange(300)
    noise = np.random.default_rng(0).normal(size=(300, 2))
    columns = {"OT": np.sin(hours / 4) + 0.1 * noise[:, 0], "HUFL": np.cos(hours / 4) + 0.1 * noise[:, 1], "note": "fine"}
    table = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=300, freq="h"), **columns})
    path = tmp_path_factory.mktemp("series") / "load.csv"
    table.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def forecaster(load):
    """Return the saved folder and the printed result of one `fit`."""
    out = load.parent / "model"
    arguments = ["fit", "forecasting", "--data", load, "--time", "date", "--value", "OT, HUFL", "--out", out, *SMALL]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main([*map(str, arguments), "--report", str(out.parent / "r.html")]) == 0
    return out, strict_json(printed.getvalue())


def test_fit_of_series_judges_every_window_of_the_end(forecaster):
    out, result = forecaster
    assert result["report"]["n"] == 60 - 6 + 1  # the rows before the test part serve as context
    assert result["report"]["headline"] == "mase"
    assert pipelines.load(out).form_["variables"] == ["OT", "HUFL"]
    assert (out.parent / "r.html").read_text().startswith("<!")


def test_evaluate_reads_the_columns_of_the_fit(capsys, forecaster, load):
    code, out, err = run(capsys, "evaluate", forecaster[0], "--data", load, "--time", "date")
    assert code == 0
    assert strict_json(out)["n"] == 300 - 24 - 6 + 1
    assert "mase" in err


def test_predict_goes_on_after_the_training_or_after_a_file(capsys, forecaster, load, tmp_path):
    code, out, _ = run(capsys, "predict", forecaster[0])
    rows = strict_json(out)
    assert code == 0
    assert [row["date"] for row in rows] == [f"2024-01-11T0{hour}:00:00" for hour in range(6)]  # 240 rows were fitted on
    assert list(rows[0]) == ["date", "OT", "OT_q0.1", "OT_q0.9", "HUFL", "HUFL_q0.1", "HUFL_q0.9"]
    pd.read_csv(load)[200:240].to_csv(tmp_path / "history.csv", index=False)
    for named in ([tmp_path / "history.csv"], ["--data", tmp_path / "history.csv"]):
        assert strict_json(run(capsys, "predict", forecaster[0], *named, "--time", "date")[1]) == rows


def test_long_tables_and_columns_known_in_advance(capsys, load, tmp_path):
    table = pd.read_csv(load).drop(columns="note")
    many = pd.concat([table.assign(store=name, price=float(i)) for i, name in enumerate("xy")])
    many.to_csv(tmp_path / "many.csv", index=False)
    named = ["--data", tmp_path / "many.csv", "--time", "date"]
    options = ["--series-id", "store", "--known", "price", "--out", tmp_path / "m", *SMALL]
    code, out, err = run(capsys, "fit", "forecasting", *named, *options)
    assert code == 0, err
    assert strict_json(out)["report"]["n"] == 2 * 55
    assert list(pipelines.load(tmp_path / "m").report_.tables["groups"].index) == ["x", "y"]
    coming = pd.DataFrame({"date": pd.date_range("2024-01-11", periods=6, freq="h"), "price": 0.0})
    pd.concat([coming.assign(store=name) for name in "xy"]).to_csv(tmp_path / "coming.csv", index=False)
    code, out, err = run(capsys, "predict", tmp_path / "m", "--future", tmp_path / "coming.csv", "--time", "date")
    assert code == 0, err
    assert [row["store"] for row in strict_json(out)] == ["x"] * 6 + ["y"] * 6


@pytest.mark.parametrize(
    "forecast",
    [
        np.zeros(2),
        [np.zeros((2, 3))],
        {"a": pd.Series([1.0, 2.0])},
        pd.Series([1.0], pd.period_range("2024-01", periods=1, freq="M")),
    ],
)
def test_every_kind_of_forecast_is_json(forecast):
    assert strict_json(cli._json(cli_data._rows(forecast)))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--data", "{load}"], 2, "needs --time COLUMN"),
        (["fit", "--data", "{load}", "--time", "day"], 1, "no column 'day'. Choose one of: 'date'"),
        (["fit", "--data", "{load}", "--time", "OT"], 1, "holds numbers"),
        (["fit", "--data", "{load}", "--time", "date", "--value", "OTT"], 1, "no column 'OTT'. Did you mean 'OT'"),
        (["fit", "--data", "{load}", "--time", "date", "--x", "OT"], 2, "--x is for tasks that read a folder"),
        (["fit", "--data", "{load}", "--time", "date"], 1, "cannot be forecast as numbers: 'note'"),
        (["fit", "--data", "{load}", "--time", "date", "--value", "OT", "--test", "0.01"], 1, "fewer than the horizon of 24"),
        (["fit", "--data", "{load}", "--time", "date", "--series-id", "stor"], 1, "no column 'stor'"),
        (["fit", "--data", "{load}", "--time", "date", "--quantiles", "low"], 2, "--quantiles 'low' does not fit"),
        (["predict", "{load}", "{load}"], 2, "One table with the series is enough"),
        (["predict", "{load}"], 2, "needs --time COLUMN"),
        (["predict", "{load}", "--time", "day"], 1, "no column 'day'"),
        (["predict", "--future", "{load}", "--time", "date"], 1, "takes no `future`"),
        (["predict", "{load}", "--time", "date", "--events"], 2, "Its options are --time, --value, --future."),
        (["evaluate", "--data", "nowhere.csv", "--time", "date"], 1, "nowhere.csv does not exist"),
        (
            ["evaluate", "--data", "{load}", "--time", "date", "--label", "note"],
            2,
            "but forecasting reads a table of time series",
        ),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_errors_with_series_are_sentences(capsys, load, forecaster, tmp_path, arguments, code, message):
    command, *rest = (argument.format(load=load) for argument in arguments)
    where = ["forecasting", "--out", tmp_path / "m"] if command == "fit" else [forecaster[0]]
    found, out, err = run(capsys, command, *where, *rest)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "m").exists()


# --- monitored series --------------------------------------------------------------------------------------------------

WATCHING = ["--window", "12", "--units", "8", "--epochs", "1", "--verbose", "0"]


@pytest.fixture(scope="module")
def sensor(tmp_path_factory):
    """Write a table of 300 hours of two sensors, of which one stands still for half a day near the end, and a remark."""
    hours = np.arange(300)
    noise = np.random.default_rng(0).normal(size=(300, 2))
    flow, oil = np.sin(hours / 2) + 0.1 * noise[:, 0], np.cos(hours / 2) + 0.1 * noise[:, 1]
    fault = ((hours >= 270) & (hours < 282)).astype(int)
    flow[fault == 1] = 2.0
    times = pd.date_range("2024-01-01", periods=300, freq="h")
    path = tmp_path_factory.mktemp("sensor") / "sensor.csv"
    pd.DataFrame({"stamp": times, "flow": flow, "oil": oil, "fault": fault, "note": "fine"}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def detector(sensor):
    """Return the saved folder and the printed result of one `fit` with labels."""
    out = sensor.parent / "model"
    arguments = ["fit", "anomaly-detection", "--data", sensor, "--time", "stamp", "--value", "flow, oil", "--label", "fault"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main([*map(str, arguments), "--out", str(out), "--report", str(out.parent / "r.html"), *WATCHING]) == 0
    return out, strict_json(printed.getvalue())


def test_fit_with_labels_judges_the_end(detector):
    out, result = detector
    assert result["report"]["n"] == 60
    assert result["report"]["headline"] == "vus_pr"
    assert result["threshold"] == pipelines.load(out).threshold_
    assert pipelines.load(out).form_["variables"] == ["flow", "oil"]  # the labels are no input
    assert (out.parent / "r.html").read_text().startswith("<!")


def test_fit_without_labels_learns_from_all_and_judges_nothing(capsys, sensor, detector, tmp_path):
    named = ["--data", sensor, "--time", "stamp", "--value", "flow,oil", "--out", tmp_path / "m"]
    code, out, err = run(capsys, "fit", "anomaly-detection", *named, *WATCHING)
    result = strict_json(out)
    assert code == 0, err
    assert "report" not in result
    assert result["threshold"] != detector[1]["threshold"]
    assert sum(pipelines.load(tmp_path / "m").training_rows_) > 240
    code, out, err = run(capsys, "fit", "anomaly-detection", *named, *WATCHING, "--label", "fault", "--test", "0")
    assert code == 0, err
    assert strict_json(out)["threshold"] == result["threshold"]  # no label ever moves it


def test_evaluate_of_monitored_series_needs_the_columns_of_the_fit_and_labels(capsys, sensor, detector):
    code, out, err = run(capsys, "evaluate", detector[0], "--data", sensor, "--time", "stamp", "--label", "fault")
    assert code == 0, err
    assert strict_json(out)["n"] == 300
    assert "vus_pr" in err


def test_predict_says_of_each_time_how_strange_it_is(capsys, sensor, detector, tmp_path):
    table = pd.read_csv(sensor)
    table.loc[100, ["flow", "oil"]] = np.nan
    table.to_csv(tmp_path / "new.csv", index=False)
    code, out, err = run(capsys, "predict", detector[0], tmp_path / "new.csv", "--time", "stamp")
    rows = strict_json(out)
    assert code == 0, err
    assert [row["stamp"] for row in rows[:2]] == ["2024-01-01T00:00:00", "2024-01-01T01:00:00"]
    assert list(rows[0]) == ["stamp", "score", "anomaly"]
    assert rows[100] == {"stamp": "2024-01-05T04:00:00", "score": None, "anomaly": 0}
    scores = pipelines.load(detector[0]).score_samples(table.set_index(pd.to_datetime(table["stamp"]))[["flow", "oil"]])
    assert rows[50]["score"] == pytest.approx(scores.iloc[50], rel=1e-5)
    threshold = detector[1]["threshold"]
    assert [row["anomaly"] for row in rows] == [int(row["score"] is not None and row["score"] > threshold) for row in rows]
    assert rows[275]["anomaly"] == 1


def test_predict_lists_events_with_the_variables_to_blame(capsys, sensor, detector, tmp_path):
    code, out, err = run(capsys, "predict", detector[0], sensor, "--time", "stamp", "--events")
    events = strict_json(out)
    assert code == 0, err
    assert list(events[0]) == ["start", "end", "rows", "peak", "score", "variables"]
    strangest = max(events, key=lambda event: event["score"])
    assert strangest["start"] <= "2024-01-12T12:00:00" <= strangest["end"]
    assert strangest["variables"][0] == "flow"
    pd.read_csv(sensor)[:200].to_csv(tmp_path / "fine.csv", index=False)
    assert strict_json(run(capsys, "predict", detector[0], tmp_path / "fine.csv", "--time", "stamp", "--events")[1]) == []


def test_long_tables_of_monitored_series(capsys, sensor, tmp_path):
    table = pd.read_csv(sensor).drop(columns="note")
    table["stamp"] = pd.date_range("2024-01-01", periods=300, freq="D").strftime("%Y-%m-%d")
    many = pd.concat([table.assign(pump="x"), table.assign(pump="y", fault=0)]).sort_values("stamp", kind="stable")
    many.to_csv(tmp_path / "many.csv", index=False)
    named = ["--data", tmp_path / "many.csv", "--time", "stamp", "--label", "fault"]
    code, out, err = run(capsys, "fit", "anomaly-detection", *named, "--series-id", "pump", "--out", tmp_path / "m", *WATCHING)
    assert code == 0, err
    assert strict_json(out)["report"]["n"] == 120
    assert pipelines.load(tmp_path / "m").report_.tables["series"]["events"].to_dict() == {"x": 1, "y": 0}
    rows = strict_json(run(capsys, "predict", tmp_path / "m", tmp_path / "many.csv", "--time", "stamp")[1])
    assert rows[1].keys() == {"stamp", "pump", "score", "anomaly"}
    assert [(row["stamp"], row["pump"]) for row in rows[:3]] == [("2024-01-01", "x"), ("2024-01-01", "y"), ("2024-01-02", "x")]
    events = strict_json(run(capsys, "predict", tmp_path / "m", tmp_path / "many.csv", "--time", "stamp", "--events")[1])
    assert max(events, key=lambda event: event["score"])["series"] == "x"
    assert all(len(event[name]) == len("2024-01-01") for event in events for name in ("start", "end", "peak"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "--data", "{sensor}"], 2, "needs --time COLUMN"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--label", "falt"], 1, "no column 'falt'. Did you mean 'fault'"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--value", "oil", "--label", "falt"], 1, "Did you mean 'fault'"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--label", "oil"], 1, "Row 0 of {sensor} has 0.9"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--label", "note"], 1, "'fine' in the column 'note'; expected 1"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--value", "oil,fault", "--label", "fault"], 2, "is an input"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--report", "r.html"], 2, "--report needs a test part"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--label", "fault", "--series-id", "pum"], 1, "no column 'pum'"),
        (["fit", "--data", "{sensor}", "--time", "stamp", "--x", "flow"], 2, "--x is for tasks that read a folder"),
        (["predict"], 2, "There is nothing to look at"),
        (["predict", "{sensor}", "{sensor}"], 2, "One table with the series is enough"),
        (["predict", "{sensor}"], 2, "needs --time COLUMN"),
        (["predict", "{sensor}", "--time", "stamp", "--future", "{sensor}"], 2, "Its options are --time, --value, --events."),
        (["evaluate", "--data", "{sensor}", "--time", "stamp"], 2, "name the column that marks the anomalies with --label"),
        (["evaluate", "--data", "{sensor}", "--time", "stamp", "--label", "flow"], 2, "--label 'flow' is an input of the model"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_errors_with_monitored_series_are_sentences(capsys, sensor, detector, tmp_path, arguments, code, message):
    command, *rest = (argument.format(sensor=sensor) for argument in arguments)
    where = ["anomaly-detection", "--out", tmp_path / "m"] if command == "fit" else [detector[0]]
    found, out, err = run(capsys, command, *where, *rest)
    assert (found, out) == (code, "")
    assert message.format(sensor=sensor) in err
    assert "Traceback" not in err
    assert not (tmp_path / "m").exists()


# --- options from the constructor -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--epochs", "5"], {"epochs": 5}),
        (["--epochs=5", "--lr", "1e-4"], {"epochs": 5, "lr": 1e-4}),
        (["--batch-size", "8", "--batch_size", "9"], {"batch_size": 9}),
        (["--freeze", "true", "--weights", "a=b.h5"], {"freeze": True, "weights": "a=b.h5"}),
        (["--freeze", "False", "--weights", "none"], {"freeze": False, "weights": None}),
        (["--weights=a=b.h5"], {"weights": "a=b.h5"}),
        (["--image-size", "32"], {"image_size": 32}),
        (["--image-size", "[32, 48]"], {"image_size": [32, 48]}),
        (["--class-weight", '{"a": 2}'], {"class_weight": {"a": 2}}),
        (["--class-weight", "balanced"], {"class_weight": "balanced"}),
        (["--lr", "1"], {"lr": 1.0}),
        (["--image-size", "32,48"], {"image_size": [32, 48]}),
        ([], {}),
    ],
)
def test_options_become_parameters(words, expected):
    found = cli._options(registry.pipeline_class("image-classification"), words)
    assert found == expected
    assert all(type(found[name]) is type(value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epoch", "5"], "no option '--epoch'. Did you mean 'epochs'"),
        (["--epochs"], "The option --epochs needs a value"),
        (["--epochs", "many"], "--epochs 'many' does not fit"),
        (["--epochs", "2.5"], "--epochs '2.5' does not fit"),
        (["--freeze", "maybe"], "--freeze 'maybe' does not fit"),
        (["--image-size", "[32"], "is not valid JSON"),
        (["stray"], "no option 'stray'"),
        (["-e", "5"], "no option '-e'"),
        (["--out-put", "x"], "no option '--out-put'"),
    ],
)
def test_options_that_do_not_fit_are_wrong_calls(capsys, photos, tmp_path, words, message):
    code, out, err = run(capsys, "fit", "image-classification", "--data", photos, "--out", tmp_path / "m", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "m").exists()


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "required"),
        (["fitt"], 2, "invalid choice"),
        (["list", "more"], 2, "unrecognized arguments: more"),
        (["info", "image-clasification"], 2, "Did you mean 'image-classification'"),
        (["fit", "image-clasification", "--data", "{photos}", "--out", "m"], 2, "Did you mean 'image-classification'"),
        (["fit", "image-classification", "--out", "m"], 2, "--data"),
        (["fit", "image-classification", "--data", "nowhere", "--out", "m"], 2, "which needs --x COLUMN and --y COLUMN"),
        (["fit", "image-classification", "--data", "t.csv", "--x", "a", "--y", "b", "--out", "m"], 1, "t.csv does not exist"),
        (["fit", "image-classification", "--data", "{photos}", "--out", "m", "--test", "2"], 2, "test must be a number"),
        (["fit", "image-classification", "--data", "{photos}", "--out", "m", "--test", "x"], 2, "invalid float"),
        (["fit", "image-classification", "--data", "{photos}", "--out", "m", "--epochs", "0"], 2, "epochs must be"),
        (["fit", "image-classification", "--data", "{photos}", "--out", "m", "--device", "gpu:7"], 1, "gpu:7"),
        (["fit", "image-classification", "--data", "{photos}/red", "--out", "m"], 1, "has no sub-folders"),
        (["predict", "nowhere", "a.png"], 1, "is no saved pipeline"),
        (["predict", "{model}", "nowhere.png"], 1, "Sample 0 (nowhere.png) does not exist"),
        (["predict", "{model}", "{empty}"], 1, "X is empty"),
        (["predict", "{model}"], 2, "inputs"),
        (["predict", "{model}", "a.png", "--future", "b.csv"], 2, "--future is for tasks that read a table of time series"),
        (["predict", "{model}", "a.png", "--x", "file"], 2, "--x file names a column, but no table was named"),
        (["predict", "{model}", "--data", "t.csv"], 2, "t.csv is read as a table, which needs --x COLUMN"),
        (["evaluate", "{model}", "--data", "{photos}", "--y", "a"], 2, "--y names a table's column, but {photos} is a folder"),
        (["predict", "{model}", "a.png", "--events"], 2, "--events is for tasks that read a table of monitored series"),
        (
            ["evaluate", "{model}", "--data", "{photos}", "--label", "fault"],
            2,
            "--label is for tasks that read a table of monitored",
        ),
        (["predict", "{model}", "a.png", "--time", "day"], 2, "--time is for tasks that read a table of time series"),
        (["predict", "{model}", "a.png", "--device", "gpuu"], 2, "gpu"),
        (["evaluate", "{model}", "--data", "{empty}"], 1, "has no sub-folders"),
        (["demo", "digit"], 2, "Did you mean 'digits'"),
        (["demo", "--out", "{photos}/red/00.png/below"], 1, "Not a directory"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_errors_are_sentences_with_their_exit_code(
    capsys, monkeypatch, photos, fitted, tmp_path, tmp_path_factory, arguments, code, message
):
    monkeypatch.chdir(tmp_path)
    places = {"photos": photos, "model": fitted[0], "empty": tmp_path_factory.mktemp("empty")}
    found, out, err = run(capsys, *(argument.format(**places) for argument in arguments))
    assert (found, out) == (code, "")
    assert message.format(**places) in err
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == []


def test_place_that_is_taken_is_refused_before_training(capsys, photos, monkeypatch, tmp_path):
    monkeypatch.setattr(registry.pipeline_class("image-classification"), "fit", lambda *a, **k: pytest.fail("training started"))
    (tmp_path / "mine.txt").write_text("mine")
    code, _, err = run(capsys, "fit", "image-classification", "--data", photos, "--out", tmp_path, *QUICK)
    assert code == 1
    assert "left alone" in err


@pytest.mark.parametrize("report", ["r.xyz", "file/r.html"])
def test_report_that_cannot_be_written_does_not_cost_the_model(capsys, photos, tmp_path, report):
    (tmp_path / "file").write_text("")
    arguments = ["fit", "image-classification", "--data", photos, "--out", tmp_path / "m", "--report", tmp_path / report, *QUICK]
    code, _, err = run(capsys, *arguments)
    assert code in (1, 2)
    assert "Traceback" not in err
    assert pipelines.load(tmp_path / "m").report_.n == 6


def test_interruption_before_anything_was_learned_is_said(capsys, photos, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry.pipeline_class("image-classification"), "fit", interrupted)
    code, out, err = run(capsys, "fit", "image-classification", "--data", photos, "--out", tmp_path / "m", *QUICK)
    assert (code, out) == (1, "")
    assert "interrupted: nothing was saved" in err
