"""Recordings with what is said in them: the reader, and the `pipelines` command."""

import json

import pandas as pd
import pytest

import pipelines
from pipelines import cli_data, data, registry
from pipelines.errors import DataError, ParameterError
from speech.transcript import FORMATS, Transcript

from . import fake_transcriber
from .test_cli import run, strict_json

TEXTS = ["open the door", "007", "NA", "", "close the door, please", 'say "no"']


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(registry.TASKS, fake_transcriber.TASK, fake_transcriber.HOME)


@pytest.fixture
def root(tmp_path):
    """Write thirty recordings, in which their text stands, and a table of them in the folder above."""
    (tmp_path / "clips").mkdir()
    rows = []
    for i in range(30):
        name, text = f"{i:02d}.wav", f"{TEXTS[i % 6]} {i}" if TEXTS[i % 6] else ""
        (tmp_path / "clips" / name).write_text(text or " " * i)  # no two alike
        rows.append({"file": f"clips/{name}", "text": text, "speaker": f"s{i // 6}", "accent": ["x", "NA"][i % 2]})
    pd.DataFrame(rows).to_csv(tmp_path / "clips.csv", index=False)
    return tmp_path


@pytest.fixture
def model(root):
    X, y = data.recordings(root / "clips.csv")
    return fake_transcriber.FakeTranscriber().fit(X, y).save(root / "model")


def write(root, name, rows):
    frame = pd.DataFrame(rows)
    path = root / name
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    elif path.suffix == ".tsv":
        frame.to_csv(path, index=False, sep="\t")
    else:
        frame.to_json(path, orient="records", lines=path.suffix == ".jsonl")
    return path


# --- the reader -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl"])
def test_texts_stay_as_they_are_written(root, name):
    files = [f"clips/{i:02d}.wav" for i in range(6)]
    X, y = data.recordings(write(root, name, {"audio": files, "sentence": TEXTS}))
    assert y == TEXTS
    assert [str(root / file) for file in files] == X


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        (("path", "sentence"), {}),
        (("Filename", "Transcript"), {}),
        (("AUDIO_FILEPATH", "TEXT"), {}),
        (("recording", "said"), {"audio": "recording", "text": "said"}),
    ],
)
def test_columns_are_found_by_usual_names_or_named(root, columns, named):
    frame = {"text_id": ["1", "2"], columns[0]: ["00.wav", "clips/01.wav"], columns[1]: ["007", "1e3"]}
    X, y = data.recordings(write(root, "a.csv", frame), **named)  # the first is in the sub-folder called clips
    assert (X, y) == ([str(root / "clips" / name) for name in ("00.wav", "01.wav")], ["007", "1e3"])


def test_paths_from_elsewhere_are_taken(root, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    X, y = data.recordings(write(other, "a.csv", {"file": [str(root / "clips" / "00.wav")]}))
    assert (X, y) == ([str(root / "clips" / "00.wav")], None)


def test_a_folder_has_its_texts_beside_the_recordings(root):
    folder = root / "clips"
    X, y = data.recordings(folder)
    assert (len(X), y) == (30, None)
    for i in range(30):
        (folder / f"{i:02d}.txt").write_text(f"{i}\none more line\n" if i else "")
    assert data.recordings(folder)[1][:2] == ["", "1 one more line"]
    (folder / "03.txt").unlink()
    with pytest.raises(DataError, match=r"1 of 30 recordings in .* have no text beside them, 03.wav for one.*03.txt"):
        data.recordings(folder)
    with pytest.raises(ParameterError, match="is a folder"):
        data.recordings(folder, text="text")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"sound": ["a"], "text": ["b"]}, r"called audio, file or path.*'sound', 'text'"),
        ({"file": ["clips/99.wav"], "text": ["b"]}, r"recording of row 0 .*'clips/99.wav', does not exist"),
        ({"file": ["clips/00.wav", ""], "text": ["a", "b"]}, "The path of row 1 .* is empty"),
        ({"file": ["clips/00.wav", "a" * 5000], "text": ["a", "b"]}, "recording of row 1"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(root, rows, message):
    with pytest.raises(DataError, match=message):
        data.recordings(write(root, "a.csv", rows))


def test_a_missing_text_is_silence_only_where_it_must_be(root):
    path = root / "a.jsonl"
    path.write_text('{"file": "clips/00.wav", "text": "a"}\n{"file": "clips/01.wav", "text": null}\n')
    with pytest.raises(DataError, match=r"The text of row 1 .* is empty"):
        data.recordings(path)
    with pytest.raises(DataError, match="has no column 'said'"):
        data.recordings(root / "clips.csv", text="said")
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="holds no recording"):
        data.recordings(root / "empty")


# --- the command ------------------------------------------------------------------------------------------------------


def test_fit_evaluate_and_predict(capsys, root):
    named = ["--data", root / "clips.csv"]
    code, out, err = run(capsys, "fit", fake_transcriber.TASK, *named, "--deaf", "o", "--out", root / "m", "--test", "0.3")
    assert code == 0, err
    result = strict_json(out)
    assert result["report"]["n"] == 9
    assert 0 < result["report"]["metrics"]["wer"] < 1
    assert "wer" in err
    code, out, err = run(capsys, "evaluate", root / "m", *named, "--group", "accent", "--report", root / "r.html")
    assert code == 0, err
    assert strict_json(out)["tables"]["groups"]["index"]["values"] == ["NA", "x"]
    assert 'class="dp-aligned"' in (root / "r.html").read_text()
    code, out, err = run(capsys, "predict", root / "m", root / "clips" / "00.wav", root / "clips.csv")
    rows = strict_json(out)
    assert code == 0, err
    assert len(rows) == 31
    assert rows[0]["sample"] == str(root / "clips" / "00.wav")
    assert rows[0]["text"] == "pen the dr 0"
    assert Transcript.from_dict(rows[0]) == pipelines.load(root / "m").predict([rows[0]["sample"]])[0]


def test_texts_are_compared_as_asked(capsys, root):
    rows = [{"file": f"clips/{i:02d}.wav", "text": f"STAY {i}"} for i in range(30)]
    data = ["--data", write(root, "loud.csv", rows)]
    for i in range(30):
        (root / "clips" / f"{i:02d}.wav").write_text(f"stay {i}")
    fit = ["fit", fake_transcriber.TASK, *data, "--out", root / "m"]
    assert strict_json(run(capsys, *fit)[1])["report"]["metrics"]["wer"] == 0
    assert strict_json(run(capsys, *fit, "--normalizer", "none")[1])["report"]["metrics"]["wer"] == 0.5
    errors = [
        strict_json(run(capsys, "evaluate", root / "m", *data, "--normalizer", name)[1])["metrics"]["wer"]
        for name in ("basic", "english", "none")
    ]
    assert errors == [0, 0, 0.5]
    code, _, err = run(capsys, *fit, "--normalizer", "englsh")
    assert code == 2
    assert "--normalizer='englsh' is not known. Did you mean 'english'?" in err


def test_groups_stay_on_one_side(capsys, root):
    named = ["--data", root / "clips.csv", "--group", "speaker", "--x", "file", "--y", "text"]
    code, out, err = run(capsys, "fit", fake_transcriber.TASK, *named, "--out", root / "m", "--test", "0.2")
    assert code == 0, err
    assert strict_json(out)["report"]["n"] == 6
    assert pipelines.load(root / "m").parts_ == [18, 6]


def test_folders_with_texts_can_be_fitted_on(capsys, root):
    for i in range(30):
        (root / "clips" / f"{i:02d}.txt").write_text(f"text {i}")
    code, out, err = run(capsys, "fit", fake_transcriber.TASK, "--data", root / "clips", "--out", root / "m", "--test", "0")
    assert code == 0, err
    code, out, err = run(capsys, "predict", root / "m", root / "clips")
    assert (code, len(strict_json(out))) == (0, 30)


@pytest.mark.parametrize("form", FORMATS)
def test_one_recording_is_printed_in_any_form(capsys, root, model, form):
    code, out, err = run(capsys, "predict", model, root / "clips" / "00.wav", "--format", form)
    assert (code, err) == (0, "")
    transcript = pipelines.load(model).predict([str(root / "clips" / "00.wav")])[0]
    if form == "json":
        assert strict_json(out) == [{"sample": str(root / "clips" / "00.wav"), **transcript.to_dict()}]
    else:
        assert out == transcript.render(form)


def test_several_recordings_have_a_file_each(capsys, root, model):
    code, out, err = run(capsys, "predict", model, root / "clips", "--format", "srt", "--out", root / "made" / "here")
    assert code == 0, err
    rows = strict_json(out)
    assert len(rows) == 30
    assert rows[3] == {"sample": str(root / "clips" / "03.wav"), "file": str(root / "made" / "here" / "03.srt")}
    assert (root / "made" / "here" / "00.srt").read_text() == "1\n00:00:00,000 --> 00:00:01,000\nopen the door 0\n\n"
    assert (root / "made" / "here" / "03.srt").read_text() == ""
    code, out, err = run(capsys, "predict", model, root / "clips" / "00.wav", "--out", root / "made")
    assert json.loads((root / "made" / "00.json").read_text())["text"] == "open the door 0"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["clips", "--format", "srt"], 2, "30 recordings make as many .srt files. Name a folder for them: --out"),
        (["clips", "clips/00.wav", "--format", "srt", "--out", "o"], 2, "would both become"),
        (["clips/00.wav", "--format", "doc"], 2, "invalid choice: 'doc'"),
        (["clips/00.wav", "--x", "file"], 2, "no table was named"),
        ([], 2, "nothing to predict"),
        (["empty"], 1, "holds no audio or video file"),
        (["clips/00.wav", "--events"], 2, "--events is for tasks that read a table of monitored series"),
    ],
)
def test_calls_that_cannot_be_answered(capsys, root, model, monkeypatch, words, code, message):
    monkeypatch.chdir(root)
    (root / "empty").mkdir()
    found = run(capsys, "predict", model, *words)
    assert found[0] == code
    assert message in found[2]
    assert not (root / "o").exists()


def test_a_table_without_texts_cannot_be_fitted_on(capsys, root):
    write(root, "a.csv", {"file": ["clips/00.wav"]})
    code, _, err = run(capsys, "fit", fake_transcriber.TASK, "--data", root / "a.csv", "--out", root / "m")
    assert (code, "Name the column with --y" in err) == (2, True)
    code, _, err = run(capsys, "fit", fake_transcriber.TASK, "--data", root / "clips", "--out", root / "m")
    assert (code, "Put a .txt file beside each" in err) == (2, True)
    code, _, err = run(capsys, "fit", fake_transcriber.TASK, "--data", root / "clips.csv", "--time", "t", "--out", root / "m")
    assert (code, "--time is for tasks that read" in err) == (2, True)


def test_forms_are_those_of_transcripts():
    from pipelines import cli

    text = cli._parser().format_help()
    assert "predict" in text
    assert isinstance(cli_data.READERS["recordings"], cli_data.Recordings)
    for form in FORMATS:
        assert cli._parser().parse_args(["predict", "m", "--format", form]).format == form
