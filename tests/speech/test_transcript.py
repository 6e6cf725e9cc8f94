"""Transcripts: files equal to openai-whisper's, and what would break them."""

import io
import itertools
import json
import math
import os

import numpy as np
import pytest

from pipelines.engines import load_framework
from pipelines.errors import DataError, FormatError, ParameterError
from speech.transcript import FORMATS, Segment, Skipped, Transcript, Word

SENTENCES = [
    " The quick brown fox, who had slept all day, jumps over the lazy dog.",
    " Really?",
    " Ça va: naïve café, 50\u202f% – „ja“!",
    " 猫の 写真 を 見 ました 。",
    ' He said "no\tway" & <left>.',
]


def said(sentences=SENTENCES, *, words=True, start=0.25, pause=0.5):
    """Sentences with times, a word every 0.31 s."""
    segments, now = [], start
    for sentence in sentences:
        begin, parts = now, []
        for text in sentence.split(" ")[1:]:
            parts.append(Word(f" {text}", now, now + 0.2871, 0.9))
            now += 0.3137
        segments.append(Segment(sentence, begin, now, 0.8, 0.1, tuple(parts) if words else ()))
        now += pause
    return Transcript("".join(sentences).strip(), "en", tuple(segments), (), now)


def by_whisper(transcript, name, **options):
    """Write a transcript with openai-whisper's own writer."""
    load_framework("whisper")
    from whisper.utils import get_writer

    file = io.StringIO()
    get_writer(name, ".").write_result(transcript.to_dict(), file, options)
    return file.getvalue()


# --- equal to openai-whisper's ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("words", [False, True])
def test_every_format_equals_whispers(name, words):
    for transcript in (said(words=words), said(words=words, start=59.9996), said(["", " a", " "], words=False), said([])):
        assert transcript.render(name) == by_whisper(transcript, name)


@pytest.mark.parametrize("name", ["srt", "vtt"])
@pytest.mark.parametrize("highlight", [False, True])
def test_every_layout_equals_whispers(name, highlight):
    long = said([sentence for sentence in SENTENCES for _ in range(2)], pause=1.1)
    torn = said(pause=4.0)
    for width, count, most in itertools.product([None, 1, 9, 20, 42], [None, 1, 2], [None, 1, 3, 7]):
        options = {"max_line_width": width, "max_line_count": count, "max_words_per_line": most, "highlight_words": highlight}
        for transcript in (long, torn):
            assert transcript.render(name, **options) == by_whisper(transcript, name, **options), options


def test_random_transcripts_equal_whispers():
    rng = np.random.default_rng(0)
    for _ in range(60):
        sentences = [
            "".join(f" {'x' * rng.integers(1, 12)}" for _ in range(rng.integers(1, 25))) for _ in range(rng.integers(1, 6))
        ]
        transcript = said(sentences, start=float(rng.exponential(4000)), pause=float(rng.exponential(2)))
        width, count, most = (None if rng.random() < 0.3 else int(rng.integers(1, limit)) for limit in (60, 4, 12))
        options = {"max_line_width": width, "max_line_count": count, "max_words_per_line": most}
        options["highlight_words"] = bool(rng.random() < 0.3)
        assert transcript.render("srt", **options) == by_whisper(transcript, "srt", **options)


def test_nothing_said():
    silence = Transcript("", None, (), (Skipped(0.0, 2.0, "no speech"),), 2.0)
    assert str(silence) == ""
    assert [silence.render(name) for name in FORMATS[:4]] == ["", "", "WEBVTT\n\n", "start\tend\ttext\n"]
    assert json.loads(silence.render("json"))["skipped"] == [{"start": 0.0, "end": 2.0, "reason": "no speech"}]
    assert silence.render("srt", max_line_width=10) == ""


def test_a_subtitle_file_by_hand():
    hello = Segment(" Hello there.", 0.0, 1.5, 1.0, 0.0, (Word(" Hello", 0.0, 0.5, 1.0), Word(" there.", 0.75, 1.5, 1.0)))
    transcript = Transcript("Hello there.", "en", (hello,), (), 2.0)
    assert transcript.render("srt") == "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n"
    assert transcript.render("vtt") == "WEBVTT\n\n00:00.000 --> 00:01.500\nHello there.\n\n"
    assert transcript.render("tsv") == "start\tend\ttext\n0\t1500\tHello there.\n"
    assert transcript.render("txt") == "Hello there.\n"
    narrow = transcript.render("srt", max_line_width=8, max_line_count=2)
    assert narrow == "1\n00:00:00,000 --> 00:00:01,500\nHello\nthere.\n\n"
    single = transcript.render("srt", max_words_per_line=1)
    assert single.startswith("1\n00:00:00,000 --> 00:00:00,500\nHello\n\n2\n00:00:00,750 -->")
    assert "00:00:00,500 --> 00:00:00,750\nHello there.\n" in transcript.render("srt", highlight_words=True)
    assert "Hello <u>there.</u>" not in transcript.render("srt")


# --- what would break a file ------------------------------------------------------------------------------------------


def one(text, start=0.0, end=1.0, words=()):
    return Transcript(text, "en", (Segment(text, start, end, 0.5, 0.5, words),), (), end)


@pytest.mark.parametrize("words", [False, True])
def test_line_breaks_and_arrows_inside_a_text(words):
    text = " one\n\ntwo --> three\r\nfour\u2028five"
    found = one(text, words=tuple(Word(f" {part}", 0.0, 1.0, 0.5) for part in text.split(" ")[1:]) if words else ())
    assert found.render("srt").split("\n") == ["1", "00:00:00,000 --> 00:00:01,000", "one two -> three four five", "", ""]
    assert found.render("vtt").count("-->") == 1
    assert found.render("txt") == "one two --> three four five\n"
    assert found.render("tsv").count("\n") == 2
    assert json.loads(found.render("json"))["text"] == text


def test_half_characters_become_question_marks(tmp_path):
    found = one(" half \ud83d and whole \U0001f600", words=(Word(" half \ud83d", 0.0, 1.0, 0.5),))
    for name in FORMATS:
        content = found.save(tmp_path / f"a.{name}").read_bytes().decode("utf-8")
        assert "half ?" in content
        assert "\\ud83d " not in content
    assert Transcript.from_dict(found.to_dict()).text == " half ? and whole \U0001f600"


def test_times_beyond_99_hours():
    found = one("late", 99 * 3600 + 59.9999, 100 * 3600 + 0.0004)
    assert "99:01:00,000 --> 100:00:00,000" in found.render("srt")
    assert "99:01:00.000 --> 100:00:00.000" in found.render("vtt")
    assert found.render("srt") == by_whisper(found, "srt")


@pytest.mark.parametrize("time", [-0.5, math.nan, math.inf])
def test_impossible_times_are_refused(time):
    for name in ("srt", "vtt", "tsv"):
        with pytest.raises(DataError, match="A time of the transcript is"):
            one("a", time).render(name)
    if time >= 0 or time != time:
        with pytest.raises(DataError, match="no finite number"):
            one("a", time).render("json")


def test_a_segment_without_words_among_others_keeps_its_text():
    several = said(SENTENCES[:1]).segments + said(["", " No times here."], words=False, start=30).segments
    found = Transcript("…", "en", several, (), 40.0).render("srt", max_words_per_line=4)
    assert "\nNo times here.\n" in found
    assert found.index("dog.") < found.index("No times")


# --- choosing a form --------------------------------------------------------------------------------------------------


def test_unknown_forms_are_named():
    with pytest.raises(ParameterError, match=r"no form 'str'\. Did you mean 'srt'"):
        one("a").render("str")
    with pytest.raises(ParameterError, match=r"ending of '.*a\.jsn'.*\.txt, \.srt, \.vtt, \.tsv, \.json\. Did you mean 'json'"):
        one("a").save("a.jsn")
    with pytest.raises(ParameterError, match=r"ending of 'a' does not say how"):
        one("a").save("a")


def test_the_format_beats_the_ending(tmp_path):
    found = one("a")
    assert found.save(tmp_path / "a.SRT").read_text() == found.render("srt")
    assert found.save(tmp_path / "a.txt", "vtt").read_text() == found.render("vtt")
    assert said().save(tmp_path / "b.srt", max_line_width=9).read_text() == said().render("srt", max_line_width=9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.SRT", "a.txt", "b.srt"]


def test_layouts_that_cannot_be():
    with pytest.raises(ParameterError, match=r"max_line_width lays out subtitles, srt or vtt, but the format is 'txt'"):
        said().render("txt", max_line_width=20)
    with pytest.raises(ParameterError, match=r"highlight_words needs the times of words.*word_times=True"):
        one("a").render("srt", highlight_words=True)
    with pytest.raises(ParameterError, match="max_line_count must be an integer of at least 1"):
        said().render("srt", max_line_count=0)


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match=r"The transcript cannot be written to '.*gone/a.srt': No such file"):
        one("a").save(tmp_path / "gone" / "a.srt")
    (tmp_path / "a.srt").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        one("a").save(tmp_path / "a.srt")
    assert os.listdir(tmp_path) == ["a.srt"]


# --- back and forth ---------------------------------------------------------------------------------------------------


def test_dicts_go_back_and_forth():
    found = said()
    assert Transcript.from_dict(json.loads(found.render("json"))) == found
    unknown = Segment("a", 0.0, 1.0, math.nan, math.nan)
    row = Transcript("a", None, (unknown,), (Skipped(1.0, 2.0, "no speech"),), 2.0).to_dict()
    json.dumps(row, allow_nan=False)
    back = Transcript.from_dict(row)
    assert math.isnan(back.segments[0].probability)
    assert (back.language, back.skipped, back.duration) == (None, (Skipped(1.0, 2.0, "no speech"),), 2.0)


def test_whispers_own_result_is_read():
    segment = {"id": 0, "seek": 0, "start": 0.0, "end": 2.0, "text": " Hi.", "tokens": [1], "temperature": 0.0}
    segment |= {"avg_logprob": -0.5, "compression_ratio": 1.0, "no_speech_prob": 0.25}
    segment["words"] = [{"word": " Hi.", "start": 0.0, "end": 1.0, "probability": 0.5}]
    found = Transcript.from_dict({"text": " Hi.", "segments": [segment], "language": "en"})
    assert found.segments[0].probability == pytest.approx(math.exp(-0.5))
    assert found.segments[0].no_speech_probability == 0.25
    assert found.segments[0].words == (Word(" Hi.", 0.0, 1.0, 0.5),)
    assert found.duration == 2.0


@pytest.mark.parametrize(
    "d", [{}, [], None, {"text": 3, "segments": []}, {"text": "", "segments": [{}]}, {"text": "", "segments": [{"start": "x"}]}]
)
def test_what_is_no_transcript_is_refused(d):
    with pytest.raises(FormatError, match="This is no transcript"):
        Transcript.from_dict(d)


def test_importing_it_loads_no_framework(run_python):
    done = run_python(
        "import sys, speech.transcript; print([m for m in ('torch', 'whisper', 'numba', 'av') if m in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr
