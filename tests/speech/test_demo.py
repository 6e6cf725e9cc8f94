"""The demo's commands: said by every voice, kept apart by it, and written as files."""

import wave
from collections import Counter

import numpy as np
import pytest

from speech import audio, demo


@pytest.fixture(scope="module")
def said():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "COMMANDS", demo.COMMANDS[:3])
        patch.setattr(demo, "VOICES", demo.VOICES[-4:])
        return demo.say_commands(rates=(160, 200), pitches=(50,))


def test_every_voice_says_every_command_at_every_speed(said):
    waves, texts, voices = said
    assert len(waves) == len(texts) == len(voices) == 3 * 4 * 2
    assert set(Counter(zip(texts, voices, strict=True)).values()) == {2}
    assert all(w.dtype == np.float32 and w.ndim == 1 and 0.2 < len(w) / 16_000 < 3 for w in waves)
    assert len({w.tobytes() for w in waves}) == len(waves)


def test_voices_judged_on_are_not_learned_from(said):
    waves, texts, voices = said
    X, X_test, y, y_test = demo._apart(waves, texts, voices)
    assert (len(X), len(X_test)) == (len(y), len(y_test)) == (12, 12)
    held = {w.tobytes() for w, voice in zip(waves, voices, strict=True) if voice in demo.VOICES[-2:]}
    assert {w.tobytes() for w in X_test} == held
    assert not {w.tobytes() for w in X} & held
    assert [texts[i] for i, voice in enumerate(voices) if voice in demo.VOICES[-2:]] == y_test


def test_commands_and_voices_are_all_different():
    assert len(set(demo.COMMANDS)) == len(demo.COMMANDS) == 10
    assert len(set(demo.VOICES)) == len(demo.VOICES) == 10


def test_a_written_file_is_read_as_it_was(tmp_path):
    samples = np.random.default_rng(0).uniform(-1, 1, 5000).astype(np.float32)
    samples[:2] = -1, 1
    demo.write_wav(tmp_path / "a.wav", samples)
    found = audio.read(tmp_path / "a.wav")
    assert len(found) == 5000
    assert np.abs(found - samples).max() < 1e-4
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 16_000, 5000)


def test_what_is_too_loud_for_a_file_is_clipped(tmp_path):
    demo.write_wav(tmp_path / "a.wav", np.array([3.0, -3.0, 0.0], np.float32))
    assert audio.read(tmp_path / "a.wav") == pytest.approx([1, -1, 0], abs=1e-4)


@pytest.mark.slow
def test_the_demo_runs_from_speech_to_subtitles(tmp_path, monkeypatch):
    from speech import training

    monkeypatch.setattr(demo, "VOICES", demo.VOICES[-3:])
    monkeypatch.setattr(training, "usual_epochs", lambda *_, **__: 1)
    monkeypatch.setattr(training, "steps", lambda *_, **__: 4)
    model, X_test, y_test, inputs = demo.commands(tmp_path)
    assert len(X_test) == len(y_test) == 10 * 2 * 6
    assert set(y_test) == set(demo.COMMANDS)
    assert inputs == [str(tmp_path / "commands.wav")]
    assert (tmp_path / "commands.srt").exists()
    assert 4 < len(audio.read(inputs[0])) / 16_000 < 20
    assert len(model.history_) == 1
