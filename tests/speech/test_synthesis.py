"""Robot speech: the same every time, in many voices, from any thread."""

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipelines.errors import DataError, ParameterError
from speech import synthesis
from speech.synthesis import speak, voices


def test_speech():
    samples = speak("turn left and stop")
    assert samples.dtype == np.float32
    assert 0.8 < len(samples) / 16_000 < 2
    assert 0.2 < np.abs(samples).max() <= 1


def test_same_text_same_sound():
    first = speak("seven", voice="en+whisper"), speak("seven")
    speak("something else, and longer", voice="de", rate=300, pitch=80)
    assert np.array_equal(speak("seven", voice="en+whisper"), first[0])
    assert np.array_equal(speak("seven"), first[1])


def test_same_sound_in_another_process(run_python):
    done = run_python("from speech.synthesis import speak; import zlib; print(zlib.crc32(speak('seven').tobytes()))")
    assert int(done.stdout) == zlib.crc32(speak("seven").tobytes()), done.stderr


def test_threads():
    texts = [f"number {i}" for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(speak, texts))
    assert all(np.array_equal(samples, speak(text)) for samples, text in zip(found, texts, strict=True))


def test_voices_differ():
    spoken = [speak("seven", voice=voice) for voice in ("en", "en-us", "en+f3", "en-us+m3", "de")]
    assert len({samples.tobytes() for samples in spoken}) == 5


def test_rate_and_pitch():
    assert len(speak("turn left", rate=100)) > 1.5 * len(speak("turn left", rate=300))
    assert _pitch(speak("aaaaah", pitch=90)) > 1.3 * _pitch(speak("aaaaah", pitch=10))


def _pitch(samples):
    middle = samples[len(samples) // 2 - 1000 : len(samples) // 2 + 1000]
    likeness = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    return 16_000 / (40 + int(np.argmax(likeness[40:400])))


def test_languages():
    languages, variants = voices()
    assert len(languages) > 100
    assert len(variants) > 50
    for language in ("de", "fr", "es", "ru", "cmn", "hi", "pt-br"):
        assert language in languages
        assert speak("1 2 3", voice=language).any()


@pytest.mark.parametrize("text", ["<b>bold</b>", "a\0b", "hé 你 😀", "\ud800 one", "[[h@l'oU]]", "x" * 3000])
def test_odd_texts(text):
    assert speak(text).any()


@pytest.mark.parametrize("text", ["", " \n", "...", "\0"])
def test_nothing_to_speak(text):
    with pytest.raises(DataError, match="There is nothing to speak in the text"):
        speak(text)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"voice": "enn"}, "There is no language 'enn' to speak in. Did you mean 'en'?"),
        ({"voice": "en+f33"}, "There is no voice 'f33'. Did you mean 'f3'?"),
        ({"voice": "en+"}, "There is no voice ''"),
        ({"voice": "../x"}, "There is no language"),
        ({"voice": "en+../../x"}, "There is no voice"),
        ({"voice": None}, "There is no language None"),
        ({"rate": 10}, "rate must be a number from 80 to 450, but is 10"),
        ({"rate": "fast"}, "rate must be a number"),
        ({"pitch": 100}, "pitch must be a number from 0 to 99, but is 100"),
        ({"pitch": True}, "pitch must be a number"),
        ({"pitch": float("nan")}, "pitch must be a number"),
    ],
)
def test_bad_settings(settings, said):
    with pytest.raises(ParameterError) as error:
        speak("one", **settings)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("text", [None, 1, b"one", ["one"]])
def test_no_text(text):
    with pytest.raises(DataError, match="The text to speak must be a str"):
        speak(text)


def test_data_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setattr(synthesis, "_check_voice", lambda voice: None)
    monkeypatch.setattr(synthesis, "_data", lambda: tmp_path)
    with pytest.raises(ImportError, match="eSpeak NG cannot read its data"):
        speak("one")
    monkeypatch.undo()
    assert speak("one").any()  # and it is in order again


def test_nothing_is_printed(capfd):
    speak("one")
    assert capfd.readouterr() == ("", "")
