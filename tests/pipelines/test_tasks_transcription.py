"""What the transcriber mixin makes of recordings, texts and transcripts."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from pipelines import metrics
from pipelines.errors import DataError, ParameterError

from .fake_transcriber import FakeTranscriber


@pytest.fixture
def clips(tmp_path):
    """Forty recordings of eight sentences, each with something of its own, and four of silence."""
    sentences = [f"{what} the {where} number" for what in ("open", "close") for where in ("door", "window", "gate", "lid")]
    texts = ["" if i % 10 == 9 else f"{sentences[i % 8]} {i}" for i in range(40)]
    texts[:3] = ["stop", "stop", "go"]
    X = []
    for i, text in enumerate(texts):
        path = tmp_path / f"{i}.wav"
        path.write_text(text)
        X.append(str(path))
    return X, texts


def fitted(X, y, valid=None, **params):
    return FakeTranscriber(**params).fit(X, y, valid=valid)


# --- reports and scores -----------------------------------------------------------------------------------------------


def test_the_report_is_that_of_the_metric(clips):
    X, y = clips
    model = fitted(X, y, deaf="o")
    report = model.evaluate(X, y, groups=["a", "b"] * 20)
    said = [text.replace("o", "") for text in y]
    alone = metrics.transcription(y, said, groups=["a", "b"] * 20)
    assert report.task == "fake-transcription"
    assert {name: report.metrics[name] for name in alone.metrics} == alone.metrics
    pd.testing.assert_frame_equal(report.tables["groups"].drop(columns="seconds"), alone.tables["groups"])
    assert report.tables["baselines"].index.tolist() == ["this model", "empty transcript", "most frequent text"]
    assert report.metrics["real_time_factor"] == pytest.approx(report.context["predict_seconds"] / 60)
    assert model.report_ is report
    assert "Left out, no speech: 6.0 seconds in 4 stretches." in report.notes
    assert any("None of these 4 silent clips" in note for note in report.notes)
    assert any(note.startswith("4 of ") and "silence is" in note for note in report.notes)


def test_the_normaliser_can_be_chosen(clips):
    X, y = clips
    model = fitted(X, y)
    loud = [text.upper() for text in y]
    assert model.evaluate(X, loud).metrics["wer"] == 0
    assert model.evaluate(X, loud, normalizer=None).metrics["wer"] > 0.5
    assert model.evaluate(X, y, normalizer="english").context["normalizer"] == "english"
    with pytest.raises(ParameterError, match="Did you mean 'english'"):
        model.evaluate(X, y, normalizer="englisch")


def test_the_score_is_larger_where_it_is_better(clips):
    X, y = clips
    assert fitted(X, y).score(X, [text.upper() for text in y]) == 1
    deaf = fitted(X, y, deaf="o")
    assert deaf.score(X, y) == pytest.approx(1 - deaf.evaluate(X, y).metrics["wer"])
    assert cross_val_score(FakeTranscriber(), X, y, cv=2).tolist() == [1, 1]
    assert clone(deaf).get_params() == deaf.get_params()


def test_predictions_are_transcripts(clips):
    X, y = clips
    found = fitted(X, y).predict(X)
    assert [str(transcript) for transcript in found] == y
    assert found[9].skipped[0].reason == "no speech"


def test_the_most_frequent_text_is_learned(clips):
    X, y = clips
    assert fitted(X, y, valid=0).most_frequent_text_ == "stop"
    unique = fitted(X[2:], y[2:], valid=0)
    assert unique.most_frequent_text_ == ""
    assert list(unique.evaluate(X, y).tables["baselines"].index) == ["this model", "empty transcript"]


def test_nothing_is_predicted_before_fit(clips):
    X, y = clips
    for call in (FakeTranscriber().evaluate, FakeTranscriber().score):
        with pytest.raises(NotFittedError):
            call(X, y)


# --- validation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "held"), [(4, 0), (7, 0), (8, 2), (12, 3), (16, 4), (31, 4), (40, 4), (100, 10)])
def test_of_few_recordings_more_than_a_tenth_judge_the_epochs(n, held):
    X = [np.array([i, i + 1]) for i in range(n)]
    model = fitted(X, [f"text {i}" for i in range(n)])
    assert model.parts_ == [n - held, held]
    assert any("No validation part" in note for note in model.notes_) == (held == 0)


def test_the_split_depends_on_the_seed_alone(clips):
    one, same, other = (fitted(*clips, seed=seed) for seed in (0, 0, 1))
    assert one.held_ == same.held_ != other.held_


def test_silence_is_in_both_parts():
    X, y = [np.array([i, 2 * i]) for i in range(60)], [f"text {i}" if i % 2 else "" for i in range(60)]
    for seed in range(5):
        held = fitted(X, y, seed=seed).held_
        assert len(held) == 6
        assert held.count("") == 3


@pytest.mark.parametrize("wrap", ["array", "pair", "dict", "list"])
def test_copies_stay_on_one_side(wrap):
    waves = [np.full(2000, i % 10, dtype=np.float32) for i in range(40)]  # ten different ones, whose text says which
    for i, wave in enumerate(waves):
        wave[1000] += 0.25 if i % 10 < 5 else 0  # alike at both ends
    X = {
        "array": waves,
        "pair": [(wave, 16_000) for wave in waves],
        "dict": [{"array": wave, "sampling_rate": 16_000} for wave in waves],
        "list": [wave.tolist() for wave in waves],
    }[wrap]
    model = FakeTranscriber()
    model.notes_ = []
    for seed in range(5):
        X_train, train, (X_valid, valid) = model.set_params(seed=seed)._hold_out(X, [f"w{i % 10}" for i in range(40)], None)
        assert not set(train) & set(valid)
        assert (len(train), len(X_train)) == (36, 36)
        assert len(X_valid) == len(valid) == 4


def test_validation_can_be_given(clips):
    X, y = clips
    assert fitted(X, y, valid=(X[:5], pd.Series(y[:5]))).parts_ == [40, 5]
    assert fitted(X, y, valid=0.25).parts_ == [30, 10]
    assert fitted(X, y, valid=0).parts_ == [40, 0]
    assert fitted(X, y, valid=0).notes_ == ["4 of 40 recordings have an empty text; they teach what silence is."]
    with pytest.raises(ParameterError, match=r"valid must be a pair \(X, y\) or a share"):
        fitted(X, y, valid="10 %")
    with pytest.raises(ParameterError, match="valid must be a number from 0 to"):
        fitted(X, y, valid=1.5)
    with pytest.raises(DataError, match="The text of sample 0 is missing"):
        fitted(X, y, valid=(X[:1], [None]))


# --- what cannot be used ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("X", "what"),
    [
        (np.zeros(16_000, dtype=np.float32), "an array of 16,000 numbers"),
        (np.zeros((16_000, 2), dtype=np.int16), r"an array of shape \(16000, 2\): samples by channels"),
        ((np.zeros(16_000), 16_000), r"a pair \(array, rate\)"),
        ([np.zeros(16_000), np.int64(8000)], r"a pair \(array, rate\)"),
        ({"array": np.zeros(9), "sampling_rate": 16_000}, "a dict with an array"),
        ([0.0, 0.1, 0.2], "a list of numbers"),
    ],
)
def test_one_recording_by_itself_is_refused(X, what):
    with pytest.raises(DataError, match=rf"looks like one, {what}.*\[X\]"):
        FakeTranscriber().fit(X, ["a"])


def test_one_path_is_refused():
    with pytest.raises(DataError, match="one path or text"):
        FakeTranscriber().fit("talk.mp3", ["a"])


def test_arrays_of_equal_length_are_many_recordings():
    model = fitted(np.arange(800.0).reshape(20, 40), [f"text {i}" for i in range(20)])
    assert model.parts_ == [16, 4]


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "y is missing"),
        (["a"], "X has 40 and y has 1"),
        ("a text", "y must be a sequence parallel to X"),
        (["a"] * 3 + [None] * 37, "The text of sample 3 is missing.*nobody speaks"),
        (["a", float("nan")] * 20, "The text of sample 1 is missing"),
        (pd.Series(["a", None] * 20), "The text of sample 1 is missing"),
        (pd.Series(["a", pd.NA] * 20, dtype=object), "The text of sample 1 is missing"),
        (list(range(40)), "The text of sample 0 is '0', no text but of the type int. Pass texts"),
        ([["a", "b"]] * 40, "The text of sample 0 is .* of the type list. Join the words"),
        ([" "] * 40, "All texts in y are empty"),
    ],
)
def test_what_is_no_text_is_named(clips, y, message):
    with pytest.raises(DataError, match=message):
        FakeTranscriber().fit(clips[0], y)


def test_names_of_text_files_are_no_texts(clips, tmp_path):
    (tmp_path / "0.txt").write_text("hello")
    with pytest.raises(DataError, match="y holds names of files"):
        FakeTranscriber().fit(clips[0], [str(tmp_path / "0.txt")] * 40)


def test_texts_come_in_any_sequence(clips):
    X, y = clips
    for texts in (tuple(y), np.array(y), pd.Series(y, index=range(40, 0, -1)), np.array(y, dtype=object)):
        assert fitted(X, texts, valid=0).score(X, texts) == 1
