"""Recordings of any length become transcripts: pieces, times, what is left out, and what is not believed."""

import numpy as np
import pytest

from pipelines.engines import load_framework

torch = load_framework("torch")

from speech import activity, features, gates, listening, networks  # noqa: E402  (after the gate)
from speech.decoding import Decoded  # noqa: E402
from speech.synthesis import speak  # noqa: E402
from speech.transcript import Word  # noqa: E402
from speech.vocabulary import Vocabulary, learn  # noqa: E402

RATE = 16_000
DIMS = networks.small(32, 1)


@pytest.fixture(scope="module")
def words():
    return Vocabulary(DIMS, learn(["short long"], DIMS, "en"), "en")


class Ear:
    """Stands in for a network: writes "long" for contexts of more than two seconds, "short" otherwise."""

    def __init__(self, vocabulary, logprob=-0.1, no_speech=0.0, tokens=None):
        self.vocabulary, self.logprob, self.no_speech, self.tokens = vocabulary, logprob, no_speech, tokens
        self.batches = []

    def __call__(self, heard, vocabulary, *, beam_size, timestamps, most):
        (mel,) = heard
        self.batches.append(tuple(mel.shape))
        tokens = vocabulary.encode("long" if mel.shape[2] > 200 else "short") if self.tokens is None else self.tokens
        return [Decoded(list(tokens), self.logprob, self.no_speech, "en") for _ in mel]


def listener(words, ear=None, **options):
    settings = {
        "hear": lambda mel: (mel,),
        "decode": ear or Ear(words),
        "vocabulary": words,
        "n_mels": 80,
        "room": 224,
        "longest": 30.0,
        "full": False,
        "vad": False,
        "beam_size": 1,
        "timestamps": False,
        "limits": gates.Limits(),
        "batch_size": 4,
        "device": "cpu",
    }
    return listening.Listener(**{**settings, **options})


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=round(seconds * RATE))).astype(np.float32)


def test_transcripts_come_in_the_order_of_the_recordings(words):
    seconds = [3, 1, 5, 0.5, 2.5, 1]
    found = listener(words).transcripts([noise(s) for s in seconds])
    assert [str(one) for one in found] == ["long", "short", "long", "short", "long", "short"]
    assert [one.duration for one in found] == seconds
    assert [(one.segments[0].start, one.segments[0].end) for one in found] == [(0.0, s) for s in seconds]
    assert not any(one.skipped for one in found)


def test_only_pieces_of_one_context_are_heard_together(words):
    ear = Ear(words)
    listener(words, ear).transcripts([noise(s) for s in (1, 0.9, 0.8, 0.4, 1, 1, 12)])
    assert sorted(ear.batches) == sorted([(5, 80, 150), (1, 80, 100), (1, 80, 1250)])
    ear = Ear(words)
    listener(words, ear, full=True).transcripts([noise(s) for s in (1, 12)])
    assert ear.batches == [(2, 80, features.FULL)]


def test_more_short_pieces_than_long_ones_are_heard_together(words):
    ear = Ear(words)
    listener(words, ear).transcripts([noise(1)] * 17 + [noise(4.4)] * 9 + [noise(12)] * 5)
    assert ear.batches == [(4, 80, 1250), (1, 80, 1250), (8, 80, 500), (1, 80, 500), (16, 80, 150), (1, 80, 150)]


def test_threads_share_the_pieces_and_texts_stay_in_order(words, monkeypatch):
    monkeypatch.setattr(listening, "_FRAMES", 300)
    waves = [noise(s, seed=i) for i, s in enumerate([1, 0.4, 3, 1, 0.9, 12, 0.8, 1])]
    ear, parts = Ear(words), []
    found = listener(words, ear, threads=2, hear=lambda mel: parts.append(tuple(mel.shape)) or (mel,)).transcripts(waves)
    others = [(1, 80, 100), (1, 80, 350), (1, 80, 1250)]
    assert sorted(parts) == sorted([(2, 80, 150), (1, 80, 150), (2, 80, 150), *others])
    assert sorted(ear.batches) == sorted([(3, 80, 150), (2, 80, 150), *others])
    assert found == listener(words).transcripts(waves)


@pytest.mark.parametrize(("frames", "ends"), [(0, [62]), (1, [61.5]), (2, [61.5, 64])])
def test_what_a_cut_leaves_of_a_word_is_not_heard(words, monkeypatch, frames, ends):
    # speech with a weak place, and so many frames after it: too long for two seconds, with the quarter second kept after speech
    chances = np.repeat([0.9, 0.6, 0.9, 0.0], [61, 1, frames, 30]).astype(np.float32)
    monkeypatch.setattr(activity, "probabilities", lambda clips, threads: [chances for _ in clips])
    seconds = activity.FRAME / RATE
    one = listener(words, vad=True, longest=2.0).transcripts([noise(len(chances) * seconds)])[0]
    assert [segment.end for segment in one.segments] == pytest.approx([end * seconds for end in ends])
    assert [part.reason for part in one.skipped] == ["no speech"]


def test_where_speech_is_not_looked_for_the_last_moment_is_heard_too(words, monkeypatch):
    wave = noise(30.001)
    wave[int(29.9 * RATE) : 30 * RATE] = 0  # where it is cut, which leaves a twentieth of a second
    whole = listener(words).transcripts([wave])
    assert [segment.end - segment.start for segment in whole[0].segments] == pytest.approx([29.95, 0.051], abs=1e-3)
    monkeypatch.setattr(listening, "_BLOCK", 7)
    assert listener(words).transcripts([wave]) == whole


def test_a_long_recording_is_cut_at_its_quietest_places(words):
    wave = noise(70)
    wave[27 * RATE : 28 * RATE] = 0
    wave[53 * RATE : 54 * RATE] = 0
    one = listener(words).transcripts([wave])[0]
    edges = [(segment.start, segment.end) for segment in one.segments]
    assert len(edges) == 3
    assert 27 < edges[0][1] == edges[1][0] < 28
    assert 53 < edges[1][1] == edges[2][0] < 54
    assert edges[2][1] == one.duration == 70
    assert all(end - start <= 30 for start, end in edges)


def test_streamed_and_whole_recordings_are_cut_alike(words, monkeypatch):
    wave = noise(100)
    whole = listener(words).transcripts([wave])
    monkeypatch.setattr(listening, "_BLOCK", 7)
    assert listener(words).transcripts([wave]) == whole


@pytest.mark.parametrize(
    ("figures", "why"),
    [
        ({"logprob": -1.5}, "'short' is not believed: it is a guess (mean log-probability -1.50)"),
        ({"logprob": -1.5, "no_speech": 0.9}, "'short' is not believed: nothing is said (probability 0.90)"),
        ({"tokens": []}, "the network heard no words"),
    ],
)
def test_what_is_not_believed_is_told_and_left_out(words, figures, why):
    one = listener(words, Ear(words, **figures)).transcripts([noise(1)])[0]
    assert str(one) == ""
    assert one.segments == ()
    assert [(skipped.start, skipped.end, skipped.reason) for skipped in one.skipped] == [(0.0, 1.0, why)]


def test_silence_is_left_out_before_it_is_heard(words):
    ear = Ear(words)
    one = listener(words, ear, vad=True).transcripts([np.zeros(3 * RATE, np.float32)])[0]
    assert (str(one), ear.batches) == ("", [])
    assert [(skipped.start, skipped.end, skipped.reason) for skipped in one.skipped] == [(0.0, 3.0, "no speech")]


class Mouth:
    """Stands in for alignment: keeps what was heard, and says that the word is said in the whole piece."""

    def __init__(self):
        self.heard = []

    def __call__(self, mel, texts, languages, samples):
        self.heard += [one.numpy().tobytes() for one in mel]
        return [(Word(" short", 0.0, count / RATE, 0.9),) for count in samples]


@pytest.mark.parametrize("seconds", [0.01, 5, 77_777 / RATE, 130])
@pytest.mark.parametrize("level", [0, 1 / 32_768])
def test_silence_before_a_recording_shifts_its_times_and_nothing_else(words, seconds, level):
    """Also where it is longer than what is read at once."""
    pause = np.zeros(RATE // 2, np.float32)
    talk = np.concatenate([speak("seven"), pause, pause, speak("turn left and stop", voice="en+m3"), pause])
    talk = talk[int(np.argmax(np.abs(talk) > 0.01)) :]
    silence = (level * np.random.default_rng(0).integers(-1, 2, round(seconds * RATE))).astype(np.float32)
    mouths, found = [Mouth(), Mouth()], []
    for mouth, wave in zip(mouths, (talk, np.concatenate([silence, talk])), strict=True):
        found.append(listener(words, align=mouth, vad=True, batch_size=1).transcripts([wave])[0])
    assert mouths[0].heard == mouths[1].heard
    plain, late = ([word for segment in one.segments for word in segment.words] for one in found)
    assert len(plain) == 2
    assert [word.start for word in late] == pytest.approx([word.start + seconds for word in plain], abs=1e-4)
    assert [word.end for word in late] == pytest.approx([word.end + seconds for word in plain], abs=1e-4)
    assert found[1].duration == pytest.approx(found[0].duration + seconds, abs=1e-4)
    if seconds >= 0.1:
        assert (found[1].skipped[0].start, found[1].skipped[0].reason) == (0.0, "no speech")
        assert found[1].skipped[0].end >= seconds - 1e-4


def test_words_count_from_the_begin_of_the_recording(words):
    def align(mel, texts, languages, samples):
        return [(Word(" long", 0.5, 1.0, 0.9),) for _ in texts]

    wave = noise(40)
    wave[26 * RATE : 27 * RATE] = 0
    one = listener(words, align=align).transcripts([wave])[0]
    starts = [segment.words[0].start - segment.start for segment in one.segments]
    assert starts == pytest.approx([0.5, 0.5])


def test_times_a_network_writes_make_segments():
    every = Vocabulary(DIMS, None, "en", may_be_empty=False)
    first = every.first_timestamp
    tokens = [first, *every.encode("one two"), first + 60, first + 75, *every.encode("three"), first + 5000 // 20]
    align = [(Word(" one", 0.1, 0.5, 1.0), Word(" two", 0.5, 1.0, 1.0), Word(" three", 1.6, 2.0, 1.0))]
    one = listener(every, Ear(every, tokens=tokens), timestamps=True, align=lambda *_: align).transcripts([noise(3)])[0]
    assert [(s.text, round(s.start, 2), round(s.end, 2)) for s in one.segments] == [(" one two", 0.0, 1.2), (" three", 1.5, 3.0)]
    assert [[word.text for word in s.words] for s in one.segments] == [[" one", " two"], [" three"]]
    assert str(one) == "one two three"


def test_an_unfinished_segment_ends_with_its_piece():
    every = Vocabulary(DIMS, None, "en", may_be_empty=False)
    tokens = [every.first_timestamp + 10, *every.encode("one")]
    one = listener(every, Ear(every, tokens=tokens), timestamps=True).transcripts([noise(2)])[0]
    assert [(s.start, s.end) for s in one.segments] == [(0.2, 2.0)]


def test_nothing_to_hear_gives_nothing(words):
    assert listener(words).transcripts([]) == []
