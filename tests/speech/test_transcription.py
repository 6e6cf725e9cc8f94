"""`SpeechTranscriber`: what it learns, what it refuses, and that its networks go in and out unchanged."""

import copy
import json
import pickle

import numpy as np
import pytest

from pipelines import DataError, ParameterError, load
from pipelines.engines import load_framework

torch = load_framework("torch")

from speech import SpeechTranscriber  # noqa: E402  (after the gate)
from speech.synthesis import speak  # noqa: E402

from .whispers import adds_up_exactly  # noqa: E402

WORDS = ("yes", "no", "stop", "go")
VOICES = ("en", "en-us", "en+f2", "en+f3", "en+m3", "en+m5", "en-us+f4", "en-us+m1")
SMALL = {"weights": None, "units": 48, "layers": 1, "epochs": 1, "batch_size": 8, "verbose": 0}


@pytest.fixture(scope="module")
def spoken():
    said = [(word, voice) for voice in VOICES for word in WORDS]
    return [speak(word, voice=voice) for word, voice in said], [word for word, _ in said]


@pytest.fixture(scope="module")
def model(spoken):
    """A network that has learned the four words."""
    return SpeechTranscriber(**{**SMALL, "units": 72, "epochs": 40, "lr": 2e-3, "word_times": True}).fit(*spoken)


def texts(model, X):
    return [str(one) for one in model.predict(X)]


# ---------------------------------------------------------------- what it does
@pytest.mark.slow
class TestLearned:
    """What a network that has learned something says."""

    def test_it_has_learned_the_words(self, model, spoken):
        assert model.score(*spoken) > 0.8

    def test_words_have_times_within_the_recording(self, model, spoken):
        for one in model.predict(spoken[0]):
            for segment in one.segments:
                assert "".join(word.text for word in segment.words) == segment.text
                assert all(0 <= word.start <= word.end <= one.duration for word in segment.words)

    def test_one_by_one_is_all_at_once(self, model, spoken):
        alone = [texts(model, [wave])[0] for wave in spoken[0]]
        assert texts(model, spoken[0]) == alone

    def test_batches_side_by_side_are_one_after_the_other(self, model, spoken):
        model = copy.copy(model).set_params(word_times=False)
        found, cores = [], torch.get_num_threads()
        try:
            for threads in (1, 3):
                torch.set_num_threads(threads)
                assert model._listener().threads == threads
                found.append(texts(model, spoken[0]))
        finally:
            torch.set_num_threads(cores)
        assert found[0] == found[1]

    @pytest.mark.parametrize("alone", [{"word_times": True}, {"runtime": "ctranslate2"}, {"context": "full"}])
    def test_one_batch_after_the_other_where_it_takes_that(self, model, alone):
        model = copy.copy(model).set_params(**{"word_times": False, **alone})
        model.context_ = alone.get("context", model.context_)
        assert model._threads == 1

    def test_silence_and_noise_have_no_text_and_are_told(self, model):
        rng = np.random.default_rng(0)
        quiet = [np.zeros(32_000, np.float32), rng.normal(0, 0.05, 32_000).astype(np.float32)]
        for one in model.predict(quiet):
            assert (str(one), one.segments) == ("", ())
            assert sum(skipped.end - skipped.start for skipped in one.skipped) == pytest.approx(one.duration, abs=0.2)

    def test_silence_before_speech_shifts_its_times(self, model, spoken):
        pad = np.zeros(5 * 16_000, np.float32)
        plain = model.predict(spoken[0])
        late = model.predict([np.concatenate([pad, wave]) for wave in spoken[0]])
        assert [str(one) for one in late] == [str(one) for one in plain]
        words = [[word for one in said for segment in one.segments for word in segment.words] for said in (plain, late)]
        assert len(words[0]) > 20
        assert np.array([b.start - a.start for a, b in zip(*words, strict=True)]) == pytest.approx(5, abs=1e-4)

    @pytest.mark.parametrize("runtime", ["torch-bf16", "torch-int8", "ctranslate2", "ctranslate2-int8"])
    def test_other_runtimes_say_the_same(self, model, spoken, runtime):
        if runtime.startswith("ctranslate2"):
            pytest.importorskip("ctranslate2", reason="the extra ctranslate2 is not installed")
        expected = texts(model, spoken[0])
        model.set_params(runtime=runtime)
        try:
            found = texts(model, spoken[0])
        finally:
            model.set_params(runtime="torch")
        equal = sum(a == b for a, b in zip(found, expected, strict=True))
        rough = runtime == "ctranslate2-int8" and not adds_up_exactly()
        assert equal >= len(expected) - (0 if runtime == "ctranslate2" else 8 if rough else 2)

    def test_a_runtime_it_does_not_have_is_refused_after_fit_too(self, model, spoken):
        with pytest.raises(ParameterError, match="torch-int8"):
            copy.copy(model).set_params(runtime="int8").predict(spoken[0])

    def test_beam_search_is_no_worse(self, model, spoken):
        greedy = model.score(*spoken)
        model.set_params(beam_size=3)
        try:
            assert model.score(*spoken) >= greedy - 0.1
        finally:
            model.set_params(beam_size=1)

    def test_report_has_baselines_groups_and_speed(self, model, spoken):
        report = model.evaluate(*spoken, groups=[voice for voice in VOICES for _ in WORDS])
        assert set(report.tables["baselines"].index) >= {"this model", "empty transcript"}
        assert list(report.tables["groups"].index) == sorted(VOICES)
        assert report.metrics["real_time_factor"] > 0
        assert report.metrics["wer"] == pytest.approx(1 - model.score(*spoken))

    def test_saved_is_trained(self, model, spoken, tmp_path):
        expected = model.predict(spoken[0])
        loaded = load(model.save(tmp_path / "model"))
        assert [one.to_dict() for one in loaded.predict(spoken[0])] == [one.to_dict() for one in expected]

    @pytest.mark.parametrize("form", ["openai", "huggingface", "saved"])
    def test_what_is_exported_can_be_taken_up_again(self, model, spoken, tmp_path, form):
        if form == "saved":
            path = model.save(tmp_path / "model")
        else:
            path = model.export(tmp_path / ("model.pt" if form == "openai" else "model"), format=form).path
        again = SpeechTranscriber(weights=str(path), language="en", context="trimmed", verbose=0)
        equal = sum(a == b for a, b in zip(texts(again, spoken[0]), texts(model, spoken[0]), strict=True))
        assert equal >= 0.9 * len(spoken[0])

    def test_openai_whisper_reads_the_export_and_says_the_same(self, model, spoken, tmp_path):
        whisper = load_framework("whisper")
        other = whisper.load_model(str(model.export(tmp_path / "model.pt").path))
        mel = [whisper.log_mel_spectrogram(whisper.pad_or_trim(torch.from_numpy(wave))) for wave in spoken[0]]
        options = whisper.DecodingOptions(language="en", fp16=False, without_timestamps=True)
        found = [one.text.strip() for one in whisper.decode(other, torch.stack(mel), options)]
        assert np.mean([a == b for a, b in zip(found, spoken[1], strict=True)]) > 0.6

    @pytest.mark.parametrize("freeze", [None, "encoder", "adapters"])
    def test_fine_tuning_goes_on_from_a_saved_pipeline(self, model, spoken, tmp_path, freeze):
        folder = model.save(tmp_path / "model")
        tuned = SpeechTranscriber(weights=str(folder), freeze=freeze, epochs=1, verbose=0).fit(*spoken)
        assert tuned.score(*spoken) > 0.6
        before, after = model.model_.state_dict(), tuned.model_.state_dict()
        assert before.keys() == after.keys()
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed
        if freeze == "encoder":
            assert not any(name.startswith("encoder") for name in changed)
        if freeze == "adapters":
            assert all(name.endswith((".query.weight", ".value.weight", ".out.weight")) for name in changed)


# ---------------------------------------------------------------- what it refuses
def test_parameters_that_make_no_sense_are_refused(spoken):
    for params, why in [
        ({"language": "klingon"}, "no language 'klingon'"),
        ({"language": "englich"}, "Did you mean 'english'"),
        ({"context": "short"}, "context"),
        ({"runtime": "onnx"}, "runtime"),
        ({"freeze": "decoder"}, "freeze"),
        ({"freeze": "encoder"}, "random weights"),
        ({"translate": True}, "pretrained"),
        ({"units": 50}, "multiple of 24"),
        ({"beam_size": 0}, "beam_size"),
        ({"vad": "yes"}, "vad"),
    ]:
        with pytest.raises(ParameterError, match=why):
            SpeechTranscriber(**{**SMALL, **params}).fit(*spoken)


def test_texts_longer_than_the_decoder_takes_are_named(spoken):
    X, y = spoken
    with pytest.raises(DataError, match=r"sample 3 has \d+ tokens"):
        SpeechTranscriber(**SMALL).fit(X, [*y[:3], "word " * 600, *y[4:]], valid=0)


def test_recordings_longer_than_thirty_seconds_are_named_in_fit(spoken):
    X, y = spoken
    long = np.random.default_rng(0).normal(0, 0.1, 31 * 16_000).astype(np.float32)
    with pytest.raises(DataError, match=r"Sample 2 lasts 31\.0 s"):
        SpeechTranscriber(**SMALL).fit([*X[:2], long, *X[3:]], y, valid=0)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.array([0.0, np.nan] * 100, np.float32), "nan"),
        (np.full(16_000, 20_000.0, np.float32), "from -1 to 1"),
        (None, "sample 1"),
        ("", "sample 1"),
    ],
)
def test_recordings_that_cannot_be_heard_are_named(spoken, bad, why):
    X, y = spoken
    with pytest.raises(DataError, match=why) as caught:
        SpeechTranscriber(**SMALL).fit([X[0], bad, *X[2:]], y)
    assert "sample 1" in str(caught.value)


def test_a_pickle_of_something_else_is_refused_and_not_run(tmp_path, spoken):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    (tmp_path / "model.pt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match=r"model\.pt"):
        SpeechTranscriber(weights=str(tmp_path / "model.pt"), verbose=0).predict(spoken[0][:1])
    assert not (tmp_path / "run").exists()


def test_options_for_many_languages_are_refused_by_an_english_network(tmp_path, spoken):
    from speech import networks

    dims = {**networks.small(32, 1), "n_vocab": 51864}
    torch.save({"dims": dims, "model_state_dict": networks.build(dims).state_dict()}, tmp_path / "model.en.pt")
    for params, why in [({"language": "de"}, "language='de'"), ({"translate": True}, "translate=True")]:
        with pytest.raises(ParameterError, match=f"{why} needs a multilingual network"):
            SpeechTranscriber(weights=str(tmp_path / "model.en.pt"), verbose=0, **params).predict(spoken[0][:1])


def test_a_pretrained_network_predicts_without_fit_and_is_saved(tmp_path, spoken):
    from speech import networks

    dims = networks.small(32, 1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save({"dims": dims, "model_state_dict": networks.build(dims).state_dict()}, tmp_path / "model.pt")
    model = SpeechTranscriber(weights=str(tmp_path / "model.pt"), language="en", verbose=0)
    found = model.predict(spoken[0][:2])
    assert len(found) == 2
    assert (model.context_, model.timestamps_, model.longest_) == ("full", True, 30.0)
    again = load(model.save(tmp_path / "saved")).predict(spoken[0][:2])
    assert [one.to_dict() for one in again] == [one.to_dict() for one in found]


@pytest.mark.slow
def test_silent_examples_teach_silence(spoken):
    X, y = spoken
    model = SpeechTranscriber(**SMALL).fit([*X, np.zeros(16_000, np.float32)], [*y, ""])
    assert str(model.predict([np.zeros(16_000, np.float32)])[0]) == ""


@pytest.mark.slow
def test_interrupted_training_goes_on(tmp_path, spoken):
    whole = SpeechTranscriber(**{**SMALL, "epochs": 2}).fit(*spoken)
    SpeechTranscriber(**{**SMALL, "epochs": 2}).fit(*spoken, resume=tmp_path)
    again = SpeechTranscriber(**{**SMALL, "epochs": 2}).fit(*spoken, resume=tmp_path)  # finds both epochs done
    assert [e["loss"] for e in again.history_] == [e["loss"] for e in whole.history_]
    for name, weight in whole.model_.state_dict().items():
        torch.testing.assert_close(again.model_.state_dict()[name], weight)


def test_validation_recordings_may_be_files(spoken, tmp_path):
    from speech.demo import write_wav

    X, y = spoken
    for i, wave in enumerate(X[:4]):
        write_wav(tmp_path / f"{i}.wav", wave)
    files = [tmp_path / f"{i}.wav" for i in range(4)]
    model = SpeechTranscriber(**SMALL).fit(X[4:], y[4:], valid=(files, y[:4]))
    assert "val_wer" in model.history_[0]


def test_facts_are_plain(spoken, tmp_path):
    folder = SpeechTranscriber(**SMALL).fit(*spoken).save(tmp_path / "model")
    facts = json.loads((folder / "pipeline.json").read_text())["facts"]
    assert (facts["context_"], facts["language_"], facts["timestamps_"]) == ("trimmed", "en", False)
