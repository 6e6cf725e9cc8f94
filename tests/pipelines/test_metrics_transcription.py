"""metrics.transcription: numbers equal jiwer's or a hand's, silence is counted honestly, and the worst clips can be looked at."""

import json
import math
import random
import re
import time
import warnings

import numpy as np
import pandas as pd
import pytest

from pipelines import metrics
from pipelines.engines import load_framework
from pipelines.errors import DataError, ParameterError
from pipelines.metrics._transcription import word_error_rate
from pipelines.report import Example, Report
from pipelines.report_text import aligned

from .test_report import Page

TRUTH = ["The cat sat on the mat.", "on the mat", "Good morning, everybody!", "yes"]
SAID = ["the cat sat on a mat", "on mat", "good morning every body", "yes"]
NASTY = "<script>alert(1)</script> שלום\n\x1b[31m half \ud800 & letter"


def report_of(*args, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return metrics.transcription(*args, **{"n_bootstrap": 0, **options})


def said(report, *parts):
    return any(all(part in note for part in parts) for note in report.notes)


def spoken(n, *, seed=0, words=12, noise=0.15):
    """Sentences, and what a bad listener makes of them."""
    rng = random.Random(seed)
    known = [a + b for a in ("ba", "co", "du", "fi", "lo") for b in ("ra", "to", "me", "su", "ni", "")]
    truth = [[rng.choice(known) for _ in range(rng.randint(0, words))] for _ in range(n)]
    heard = []
    for sentence in truth:
        parts = []
        for word in sentence:
            draw = rng.random() / noise
            parts += (
                [] if draw < 1 / 3 else [rng.choice(known)] if draw < 2 / 3 else [word, rng.choice(known)] if draw < 1 else [word]
            )
        heard.append(" ".join(parts))
    return [" ".join(sentence) for sentence in truth], heard


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_by_hand():
    found = report_of(TRUTH, SAID).metrics
    # the -> a; the missing; everybody -> every body (one substituted, one inserted); of 6 + 3 + 3 + 1 words
    assert found["wer"] == pytest.approx(4 / 13)
    assert found["substitution_rate"] == pytest.approx(2 / 13)
    assert found["deletion_rate"] == pytest.approx(1 / 13)
    assert found["insertion_rate"] == pytest.approx(1 / 13)
    assert found["sentence_error_rate"] == 3 / 4
    # as they are: The -> the, mat. -> mat, Good -> good, morning, -> morning and everybody! -> every body besides
    assert found["wer_raw"] == pytest.approx((1 + 2 + 1 + 4) / 13)
    counts = report_of(TRUTH, SAID).tables["counts"]
    assert counts.loc["words"].to_dict() == {"spoken": 13, "right": 10, "substituted": 2, "deleted": 1, "inserted": 1}
    assert counts.loc["words, raw"].to_dict() == {"spoken": 13, "right": 6, "substituted": 6, "deleted": 1, "inserted": 1}
    assert counts.loc["characters", "spoken"] == 22 + 10 + 22 + 3


@pytest.mark.parametrize("seed", range(4))
def test_numbers_equal_jiwers(seed):
    jiwer = load_framework("jiwer")
    truth, heard = spoken(50, seed=seed)
    report = report_of(truth, heard, normalizer=None)
    words, characters = jiwer.process_words(truth, heard), jiwer.process_characters(truth, heard)
    assert report.metrics["wer"] == pytest.approx(words.wer)
    assert report.metrics["cer"] == pytest.approx(characters.cer)
    for unit, output in (("words", words), ("characters", characters)):
        found = report.tables["counts"].loc[unit, ["right", "substituted", "deleted", "inserted"]].tolist()
        assert found == [output.hits, output.substitutions, output.deletions, output.insertions]
    rates = [jiwer.process_words([one], [other]) for one, other in zip(truth, heard, strict=True)]
    assert report.metrics["sentence_error_rate"] == np.mean(
        [rate.substitutions + rate.deletions + rate.insertions > 0 for rate in rates]
    )
    assert word_error_rate(truth, heard, normalizer=None) == report.metrics["wer"]


@pytest.mark.parametrize(
    ("name", "kind", "truth", "heard"),
    [
        ("basic", "BasicTextNormalizer", "Mr. Smith's colour, (aside) twenty-one!", "mr smith s colour twenty one"),
        ("english", "EnglishTextNormalizer", "Mr. Smith won't pay twenty one dollars!", "mister smith will not pay $21"),
    ],
)
def test_named_normalisers_are_whispers(name, kind, truth, heard):
    load_framework("whisper")
    from whisper import normalizers

    assert word_error_rate([truth], [heard], normalizer=name) == 0
    report = report_of([truth], [heard], normalizer=name)
    assert report.metrics["wer_raw"] > 0.3
    assert (report.metrics["wer"], report.metrics["cer"]) == (0, 0)
    assert said(report, kind, f"normalizer={name!r}", "wer_raw and cer_raw are of the texts as they are")
    assert report.context["normalizer"] == name
    jiwer = load_framework("jiwer")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a file it leaves open
        normalise = getattr(normalizers, kind)()
    odd = [text[::-1] for text in (truth, heard)]
    assert word_error_rate(odd[:1], odd[1:], normalizer=name) == pytest.approx(jiwer.wer(*map(normalise, odd)))


def test_without_a_normaliser_texts_are_compared_as_they_are():
    report = report_of(["A  b\tc\n"], [" A b c"], normalizer=None)
    assert report.metrics["wer"] == 0
    assert "wer_raw" not in report.metrics
    assert said(report, "as they are")
    assert report_of(["A"], ["a"], normalizer=None).metrics["wer"] == 1


def test_more_words_than_were_spoken():
    report = report_of(["one", "two"], ["one of the many words", "two"])
    assert report.metrics["wer"] == 2.0
    assert report.metrics["sentence_error_rate"] == 0.5


# --- silence ----------------------------------------------------------------------------------------------------------


def test_text_on_silence_counts_as_insertions():
    report = report_of(["one two", "", "three", "  "], ["one two", "thanks for watching", "three", ""])
    assert report.metrics["wer"] == report.metrics["insertion_rate"] == 1.0
    assert said(report, "Nobody speaks in 2 of 4 clips", "text on 1 of 2 silent clips; its 3 words")
    worst = report.errors().loc[1]
    assert worst["sample"] == 1
    assert math.isnan(worst["wer"])
    assert report.examples[0].caption == "sample 1: nobody speaks, 3 inserted"
    assert said(report_of(["a", ""], ["a", ""]), "None of these 1 silent clips got text")


def test_truths_that_the_normaliser_empties():
    report = report_of(["[music]", "a b"], ["la la", "a b"])
    assert said(report, "Nobody speaks in 1 of 2 clips (1 of them only after the normaliser)", "1 of 1 silent clips")
    assert report.metrics["wer"] == 1.0


def test_nothing_but_silence():
    report = report_of(["", ""], ["", "a b"], groups=["x", "y"], n_bootstrap=50)
    assert all(math.isnan(report.metrics[name]) for name in ("wer", "cer", "wer_raw", "cer_raw", "insertion_rate"))
    assert report.metrics["sentence_error_rate"] == 0.5
    assert said(report, "No word was spoken in any of the clips", "1 of 2 silent clips")
    assert said(report, "Nobody speaks in the groups 'x', 'y'")
    assert not any("BELOW" in note for note in report.notes)
    json.dumps(report.to_dict(), allow_nan=False)
    assert "wer –" in str(report)


# --- baselines, groups, time ------------------------------------------------------------------------------------------


def test_the_empty_transcript_is_the_baseline():
    report = report_of(TRUTH, SAID)
    assert report.tables["baselines"].loc["empty transcript"].tolist() == [1.0, 1.0, 1.0]
    assert report.tables["baselines"].loc["this model", "wer"] == report.metrics["wer"]
    assert not any("BELOW" in note for note in report.notes)


@pytest.mark.parametrize(
    ("heard", "relation"), [("", "is no better than"), ("word salad all the way down here", "is higher than")]
)
def test_worse_than_nothing_is_said_first(heard, relation):
    report = report_of(TRUTH, [heard] * 4)
    assert report.notes[0].startswith("BELOW BASELINE: wer")
    assert f"{relation} the 1.0000 of 'empty transcript'" in report.notes[0]
    assert str(report).split("\n\n")[1].startswith("!! BELOW BASELINE")


def test_baselines_are_one_text_or_one_a_clip():
    report = report_of(TRUTH, SAID, baselines={"most frequent": "yes", "other": SAID})
    table = report.tables["baselines"]
    assert table.loc["most frequent", "wer"] == pytest.approx(12 / 13)
    assert table.loc["other", "wer"] == report.metrics["wer"]
    assert said(report, "BELOW BASELINE", "no better than", "'other'")
    with pytest.raises(DataError, match=r"baselines\['x'\] has 1 texts, but there are 4 clips"):
        report_of(TRUTH, SAID, baselines={"x": ["yes"]})


def test_groups_have_rows():
    truth, heard = spoken(60)
    speakers = ["ann", "bob", "cy"] * 20
    report = report_of(truth, heard, groups=speakers, durations=[2.0] * 60)
    table = report.tables["groups"]
    for name in ("ann", "bob", "cy"):
        own = [i for i in range(60) if speakers[i] == name]
        alone = report_of([truth[i] for i in own], [heard[i] for i in own])
        assert table.loc[name, ["wer", "cer", "sentence_error_rate"]].tolist() == pytest.approx(
            [alone.metrics[each] for each in ("wer", "cer", "sentence_error_rate")]
        )
        assert table.loc[name, ["n", "words", "seconds"]].tolist() == [20, alone.tables["counts"].loc["words", "spoken"], 40]
    assert report.curves["wer_by_group"]["wer"].is_monotonic_decreasing
    with pytest.raises(DataError, match="groups has 1 entries"):
        report_of(truth, heard, groups=["a"])


def test_real_time_factor():
    report = report_of(["a", "b"], ["a", "b"], durations=np.array([3.0, 5.0]), predict_seconds=2)
    assert report.metrics["real_time_factor"] == 0.25
    assert report.context["audio_seconds"] == 8.0
    assert report.context["predict_seconds"] == 2.0
    assert "real_time_factor" not in report_of(["a"], ["a"], durations=[1.0]).metrics
    empty = report_of(["a"], ["a"], durations=[0], predict_seconds=1.0)
    assert math.isnan(empty.metrics["real_time_factor"])
    assert said(empty, "no duration")


def test_intervals_hold_the_value_and_shrink():
    truth, heard = spoken(400)
    report = report_of(truth, heard, n_bootstrap=400)
    frame = report.to_frame()
    assert ((frame["low"] < frame["value"]) & (frame["value"] < frame["high"])).all()
    few = report_of(truth[:50], heard[:50], n_bootstrap=400).to_frame()
    assert few.loc["wer", "high"] - few.loc["wer", "low"] > 1.8 * (frame.loc["wer", "high"] - frame.loc["wer", "low"])
    assert report == report_of(truth, heard, n_bootstrap=400)
    assert report_of(["a b"], ["a"], n_bootstrap=400).to_frame()["low"].isna().all()  # one clip has no spread


def test_intervals_by_hand():
    from pipelines.bootstrap import resamples

    truth, heard = ["a b", "c", "d e f"], ["a", "c", "x y z"]
    (counts,) = resamples(3, 200, 0)
    rates = (np.array([1, 0, 3]) @ counts) / (np.array([2, 1, 3]) @ counts)
    frame = report_of(truth, heard, n_bootstrap=200).to_frame()
    assert frame.loc["wer", ["low", "high"]].tolist() == pytest.approx(np.quantile(rates, [0.025, 0.975]).tolist())


# --- the worst clips --------------------------------------------------------------------------------------------------


def test_errors_list_the_worst_clips_first():
    report = report_of(TRUTH, SAID)
    errors = report.errors()
    assert list(errors.columns) == ["sample", "truth", "prediction", "wer", "substituted", "deleted", "inserted"]
    assert errors["sample"].tolist() == [2, 1, 0]  # two wrong words; one of three; one of six
    assert errors.loc[1].tolist() == [2, TRUTH[2], SAID[2], 2 / 3, 1, 0, 1]
    assert "yes" not in errors["truth"].tolist()


def test_confusions_are_counted():
    truth = ["the cat", "the cat", "the dog", "a b", "a b"]
    table = report_of(truth, ["the hat", "the hat", "dog", "a b um", "a b um"]).tables["confusions"]
    assert table.values.tolist() == [["substituted", "cat", "hat", 2], ["inserted", "", "um", 2], ["deleted", "the", "", 1]]
    assert not len(report_of(["a"], ["a"]).tables["confusions"])


def test_words_stand_side_by_side():
    pairs = report_of(TRUTH, SAID).examples[0].aligned
    assert [pair for pair in pairs if pair[0] == pair[1]] == [("good", "good"), ("morning", "morning")]
    assert sorted(pairs[2:]) in ([("", "body"), ("everybody", "every")], [("", "every"), ("everybody", "body")])
    assert aligned([("a", "a"), ("long", ""), ("", "new"), ("cat", "hat")]) == [
        "true  a long *** cat",
        "said  a **** new hat",
        "           D   I   S",
    ]


def test_lines_that_are_too_long_go_on_below():
    pairs = [("word", "word")] * 30 + [("猫の写真", "猫")] + [("x" * 300, "")]
    lines = aligned(pairs, 60)
    assert len(lines) % 3 == 0
    assert max(map(len, lines)) <= 60
    assert sum(line.count("word") for line in lines[::3]) == 30


def test_long_clips_are_shown_where_they_are_wrong():
    truth = [f"w{i}" for i in range(2000)]
    heard = [*truth[:1000], "oops", *truth[1001:1990]]
    (example,) = report_of([" ".join(truth)], [" ".join(heard)]).examples
    assert ("w1000", "oops") in example.aligned
    assert ("w1999", "") in example.aligned
    assert example.aligned[0] == ("…", "…")
    assert len(example.aligned) < 40
    (example,) = report_of([" ".join(truth)], [""]).examples
    assert len(example.aligned) == 251


@pytest.mark.parametrize("suffix", [".html", ".md", ".json", ".csv"])
def test_every_form_takes_odd_characters(tmp_path, suffix):
    report = report_of([NASTY, "a b"], ["x", f"a {NASTY}"], groups=[NASTY, "b"], normalizer=None)
    text = report.save(tmp_path / f"r{suffix}").read_text()
    assert "\x1b" not in str(report)
    if suffix == ".html":
        Page(text)
        assert "<script" not in text
        assert 'class="dp-wrong dp-inserted"' in text
        assert re.search(r"<del>\S+</del> <ins>\S+</ins>", text)
    if suffix == ".json":
        assert Report.from_dict(json.loads(text)) == report


def test_text_and_markdown_show_the_worst_clips():
    report = report_of(TRUTH, SAID)
    text = str(report)
    assert "sample 2: wer 0.67, 1 substituted, 1 inserted" in text
    assert "true  good morning" in text
    assert "said  on *** mat" in text
    assert "The worst of the mistakes (3)" in text
    assert "      said  on *** mat" in report._render(".md")


def test_examples_without_words_are_stored_as_before():
    report = Report("t", "m", {"m": 1.0}, {}, {}, 1, (), {}, (Example("a", text="b"),))
    assert report.to_dict()["examples"] == [{"caption": "a", "image": None, "text": "b"}]


def test_pictures():
    truth, heard = spoken(80)
    report = report_of(truth, heard, groups=[i % 4 for i in range(80)])
    assert list(report.curves) == ["clips_by_wer", "wer_by_length", "wer_by_group"]
    clips = report.curves["clips_by_wer"]
    assert clips["clips"].sum() == sum(bool(text) for text in truth)
    assert clips["wer of the clip"].tolist()[:2] == ["0", "to 0.1"]
    assert len(report.plot().axes) == 3
    assert report._repr_html_().count("<svg") == 3


@pytest.mark.parametrize(
    ("heard", "place"), [("a b c d e f g h i j", 0), ("a b c d e f g h i", 1), ("a b c", 7), ("", 10), ("x " * 11, 11)]
)
def test_clips_are_counted_by_their_error_rate(heard, place):
    frame = report_of(["a b c d e f g h i j"], [heard]).curves["clips_by_wer"]
    assert frame["clips"].tolist().index(1) == place


def test_lengths_are_cut_into_about_equal_parts():
    truth = [" ".join(["a"] * n) for n in range(1, 61)]
    frame = report_of(truth, [text[2:] for text in truth]).curves["wer_by_length"]
    assert frame["words in the clip"].tolist() == ["1 to 10", "11 to 20", "21 to 30", "31 to 40", "41 to 50", "51 to 60"]
    assert frame["wer"].iloc[0] == pytest.approx(10 / 55)
    assert "wer_by_length" not in report_of(["a", "b"], ["a", "x"]).curves


def test_perfect_transcripts():
    report = report_of(TRUTH, TRUTH)
    assert report.metrics["wer"] == 0
    assert not len(report.errors())
    assert said(report, "No mistake in 4 clips", f"{1 - 0.05**0.25:.4f}")
    assert "dp-examples" not in report._repr_html_().split("</style>")[1]


def test_scripts_without_spaces_are_pointed_to_characters():
    for text in ("私は昨日東京へ行きました", "ผมไปกรุงเทพเมื่อวานนี้"):
        assert said(report_of([text], [text[:-3]]), "read cer instead of wer")
    for text in ("안녕하세요 저는 어제 서울에 갔습니다", "Donaudampfschiffe sind schön", "", "   "):
        assert not said(report_of([text], [""]), "read cer")


def test_scripts_that_the_normaliser_cuts_are_named():
    text = "मैं कल दिल्ली गया था"
    assert said(report_of([text], [text]), "BasicTextNormalizer takes the marks of this script", "normalizer=None")
    assert not said(report_of([text], [text], normalizer=None), "marks of this script")
    assert not said(report_of(["el niño comió más"], [""]), "marks of this script")


# --- what cannot be used ----------------------------------------------------------------------------------------------


class Said:
    """Stands for a transcript."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


def test_transcripts_and_arrays_are_taken():
    expected = report_of(TRUTH, SAID)
    assert report_of(np.array(TRUTH), [Said(text) for text in SAID]) == expected
    assert report_of(pd.Series(TRUTH, index=[9, 8, 7, 6]), pd.Series(SAID)) == expected
    assert report_of(tuple(TRUTH), np.array([Said(text) for text in SAID], dtype=object)) == expected


@pytest.mark.parametrize(
    ("truth", "heard", "message"),
    [
        ([], [], "y_true is empty"),
        ("a text", ["a"], "y_true must be a sequence"),
        (["a"], "a text", "y_pred must be a sequence"),
        (["a", "b"], ["a"], "y_true has 2 texts, but y_pred has 1"),
        (["a", None], ["a", "b"], r"y_true\[1\] is missing.*has the empty text"),
        (["a", float("nan")], ["a", "b"], r"y_true\[1\] is missing"),
        (["a", 7], ["a", "b"], r"y_true\[1\] is '7', a int; expected the text"),
        (["a", ["b", "c"]], ["a", "b"], r"y_true\[1\] is .* a list.*Join its words"),
        (["a"], [None], r"y_pred\[0\] is missing"),
        (["a"], [np.float64("nan")], r"y_pred\[0\] is missing"),
        (["a"], [3], r"y_pred\[0\] is '3', a int"),
        (["a"], [b"a"], r"y_pred\[0\] is .* a bytes"),
        (["a"], [{"text": "a"}], r"y_pred\[0\] is .* a dict.*Pass the text in it"),
        (["a"], [["a"]], r"y_pred\[0\] is .* a list"),
        (["a"], [object()], r"y_pred\[0\] is .* a object"),
        ([Said("a")], ["a"], r"y_true\[0\] is 'a', a Said.*Are y_true and y_pred swapped"),
    ],
)
def test_what_is_no_text_is_named(truth, heard, message):
    with pytest.raises(DataError, match=message):
        report_of(truth, heard)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"durations": [1.0]}, "durations has 1 entries, but there are 4 clips"),
        ({"durations": [1.0, 1.0, -1.0, 1.0]}, r"durations\[2\] is -1.0; expected"),
        ({"durations": [1.0, None, 1.0, 1.0]}, r"durations\[1\] is None"),
        ({"durations": [1.0] * 4, "predict_seconds": "2"}, "predict_seconds must be"),
        ({"predict_seconds": 2.0}, "give durations as well"),
        ({"n_bootstrap": -1}, "n_bootstrap must be"),
        ({"baselines": {"x": [1, 2, 3, 4]}}, r"baselines\['x'\]\[0\] is '1', a int"),
    ],
)
def test_other_arguments_are_checked(options, message):
    with pytest.raises(DataError, match=message):
        report_of(TRUTH, SAID, **options)


def test_unknown_normalisers_are_named():
    with pytest.raises(ParameterError, match=r"normalizer='englsh' is not known\. Did you mean 'english'"):
        report_of(TRUTH, SAID, normalizer="englsh")


def test_ten_thousand_clips_take_seconds():
    truth, heard = spoken(10_000)
    report_of(truth[:10], heard[:10])  # with everything loaded
    started = time.perf_counter()
    report_of(truth, heard, n_bootstrap=1000, groups=[i % 50 for i in range(10_000)])
    assert time.perf_counter() - started < 20  # 3 on a quiet machine
