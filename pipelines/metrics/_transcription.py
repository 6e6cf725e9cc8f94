"""The transcription report: word and character errors with intervals, baselines, groups and the worst clips."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pipelines.bootstrap import affordable, intervals
from pipelines.metrics._answers import check_groups
from pipelines.metrics._transcript_answers import (
    NORMALIZERS,
    Alignment,
    Transcripts,
    check_durations,
    check_texts,
    compare,
    same_for_all,
)
from pipelines.report import BELOW_BASELINE, Example, Report

__all__ = ["transcription", "word_error_rate"]

_MODEL = "this model"
_EMPTY = "empty transcript"
_COMPARED = ["wer", "cer", "sentence_error_rate"]
_NAMES = {"words": "wer", "characters": "cer", "words_raw": "wer_raw", "characters_raw": "cer_raw"}
_KINDS = ("substituted", "deleted", "inserted")
_BOOTSTRAP_BUDGET = 400_000_000  # resamples x clips; about ten seconds on one core
_WORST = 100  # clips in the table of errors
_SHOWN = 12  # of them with their words side by side
_COMMON = 20  # confusions
_LONGEST = 2000  # letters of a text that a report keeps
_MOST_PAIRS = 250  # words of a clip that are shown side by side
_AROUND = 4  # right words that are shown beside a wrong one
_BARS = 6  # clips by their length
_MOST_GROUPS = 20  # drawn
_LONG_WORDS = 12.0  # characters of the mean word from which words are none
_MARKS = 0.05  # share of the characters from which they belong to the script, and are no accents of a few
_LONG_SIGNS = 5.0  # the same where most of them are as wide as Chinese ones


def transcription(
    y_true: Any,
    y_pred: Any,
    *,
    normalizer: str | None = "basic",
    groups: Sequence[Hashable] | None = None,
    baselines: Mapping[str, Any] | None = None,
    durations: Sequence[float] | None = None,
    predict_seconds: float | None = None,
    seed: int = 0,
    n_bootstrap: int = 1000,
    context: Mapping[str, Any] | None = None,
) -> Report:
    """Report how good transcripts are, from anybody's texts.

    The word error rate is the number of words substituted, deleted and inserted in all clips together, divided by the words that
    were spoken [1]_; so it is no share, and may exceed 1. Characters, with the spaces between words, are counted likewise. Words
    are aligned by jiwer [2]_. Intervals of 95 % come from a bootstrap over clips; where clips of one speaker resemble each
    other, the true uncertainty is larger.

    Parameters
    ----------
    y_true : sequence of str, shape (n,)
        What was spoken; the empty text where nobody speaks.
    y_pred : sequence of str, shape (n,)
        What was transcribed; objects whose `str()` is their text, such as `speech.transcript.Transcript`, will do.
    normalizer : "basic", "english" or None
        What both texts go through before they are compared, by the name of Whisper's [3]_: "basic" for any language (lower case,
        no punctuation, nothing in brackets), "english" (also numbers as digits, one spelling, no contractions or fillers), or
        nothing at all.
    groups : sequence of shape (n,), optional
        A group for each clip, say its speaker; the report then has a row per group.
    baselines : mapping of str to (str or sequence of str), optional
        What simple models say of the same clips, or of each of them. Default: nothing, the empty transcript.
    durations : sequence of float, shape (n,), optional
        Seconds of each clip.
    predict_seconds : float, optional
        Seconds that transcribing all of them took, for the real-time factor.
    seed : int
        Seed of the bootstrap.
    n_bootstrap : int
        Number of resamples; fewer are drawn where clips are very many, and a note says so.
    context : mapping, optional
        Facts to keep with the numbers (parameters, device, versions); ``normalizer``, ``n_bootstrap`` and ``seed`` are added.

    Returns
    -------
    Report
        Headline ``wer``. Metrics ``wer``, ``cer``, ``wer_raw`` and ``cer_raw`` (of the texts as they are),
        ``sentence_error_rate`` (share of clips with a wrong word), ``substitution_rate``, ``deletion_rate`` and
        ``insertion_rate`` (which add up to ``wer``) and ``real_time_factor`` (seconds of work for a second of sound). Tables
        ``headline``, ``baselines``, ``counts``, ``groups``, ``confusions`` (the words most often taken for others, missing or
        added) and ``errors`` (the clips with the most wrong words); curves ``clips_by_wer``, ``wer_by_length`` and
        ``wer_by_group``.

    Raises
    ------
    DataError
        If an argument cannot be used; the message names the first offending clip.

    References
    ----------
    .. [1] A. C. Morris, V. Maier and P. Green, "From WER and RIL to MER and WIL: improved evaluation measures for connected
           speech recognition", Interspeech 2004, equation 2.
    .. [2] https://github.com/jitsi/jiwer
    .. [3] A. Radford et al., "Robust speech recognition via large-scale weak supervision", arXiv:2212.04356, 2022, appendix C.

    Examples
    --------
    >>> report = transcription(["The cat sat.", "on the mat"], ["the cat sat down", "on mat"])
    >>> {name: round(report.metrics[name], 3) for name in ("wer", "wer_raw", "insertion_rate")}
    {'wer': 0.333, 'wer_raw': 0.667, 'insertion_rate': 0.167}
    >>> report.tables["confusions"][["kind", "truth", "prediction"]].values.tolist()
    [['deleted', 'the', ''], ['inserted', '', 'down']]
    """
    truth, said = check_texts(y_true, y_pred)
    n_bootstrap, cut = affordable(n_bootstrap, len(truth), _BOOTSTRAP_BUDGET)
    seconds, took = check_durations(durations, predict_seconds, len(truth))
    grouped = None if groups is None else check_groups(groups, len(truth))
    others = {
        name: same_for_all(texts, len(truth), f"baselines[{name!r}]") for name, texts in (baselines or {_EMPTY: ""}).items()
    }
    texts = compare(truth, said, normalizer)
    found = _rates(_sums(texts, None))
    table = _baseline_table(found, {name: compare(truth, other, normalizer, raw=False) for name, other in others.items()})
    if seconds is not None and took is not None:
        found["real_time_factor"] = took / seconds.sum() if seconds.sum() else float("nan")
    spread = {} if texts.n == 1 else intervals(lambda w: _rates(_sums(texts, w)), texts.n, n_bootstrap=n_bootstrap, seed=seed)
    tables = {"headline": _headline_table(found, spread), "baselines": table, "counts": _count_table(texts)}
    if grouped is not None:
        tables["groups"] = _group_table(texts, *grouped, seconds)
    tables |= {"confusions": _confusions(texts.words), "errors": _errors(texts)}
    return Report(
        task="transcription",
        headline="wer",
        metrics=found,
        tables=tables,
        curves=_curves(texts, tables.get("groups")),
        n=texts.n,
        notes=(*_baseline_notes(table), *_notes(texts, normalizer, tables.get("groups"), seconds), *cut),
        context={**(context or {}), **_facts(seconds, took), "normalizer": normalizer, "n_bootstrap": n_bootstrap, "seed": seed},
        examples=tuple(_example(texts, i) for i in tables["errors"]["sample"].head(_SHOWN).tolist()),
    )


def word_error_rate(y_true: Any, y_pred: Any, *, normalizer: str | None = "basic") -> float:
    """Return the word error rate alone, as `transcription` counts it; nan where no word was spoken.

    Examples
    --------
    >>> word_error_rate(["One, two!", ""], ["one three", "um"], normalizer="basic")
    1.0
    """
    texts = compare(*check_texts(y_true, y_pred), normalizer, raw=False)
    return float(_rates(_sums(texts, None))["wer"])


# ---------------------------------------------------------------- numbers
def _sums(texts: Transcripts, weights: np.ndarray | None) -> dict[str, np.ndarray]:
    """Add up what the clips have, each as often as its weight says; without weights every clip once."""
    weights = np.ones(texts.n) if weights is None else weights
    found = {name: alignment.counts @ weights for name, alignment in texts.units.items()}
    return found | {"sentences": np.stack([texts.words.wrong > 0, np.ones(texts.n)]).astype(float) @ weights}


def _rates(sums: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return every metric; nan where nothing was spoken."""
    rates = {
        _NAMES[name]: _ratio(counts[1:].sum(axis=0), counts[:3].sum(axis=0)) for name, counts in sums.items() if name in _NAMES
    }
    wrong, clips = sums["sentences"]
    words = sums["words"][:3].sum(axis=0)
    parts = zip(("substitution_rate", "deletion_rate", "insertion_rate"), sums["words"][1:], strict=True)
    return rates | {"sentence_error_rate": _ratio(wrong, clips)} | {name: _ratio(count, words) for name, count in parts}


def _ratio(part: Any, whole: Any) -> Any:
    ratio = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
    return ratio if np.ndim(ratio) else float(ratio)


# ---------------------------------------------------------------- tables
def _headline_table(found: Mapping[str, float], spread: Mapping[str, tuple[float, float]]) -> pd.DataFrame:
    ends = [spread.get(name, (np.nan, np.nan)) if value == value else (np.nan, np.nan) for name, value in found.items()]
    frame = pd.DataFrame({"value": found}).rename_axis("metric")
    frame["low"], frame["high"] = (list(column) for column in zip(*ends, strict=True))
    return frame


def _baseline_table(found: Mapping[str, float], others: Mapping[str, Transcripts]) -> pd.DataFrame:
    rows = {_MODEL: found} | {name: _rates(_sums(other, None)) for name, other in others.items()}
    frame = pd.DataFrame([[row[name] for name in _COMPARED] for row in rows.values()], columns=_COMPARED)
    return frame.set_index(pd.Index(list(rows), name="model"))


def _count_table(texts: Transcripts) -> pd.DataFrame:
    units = {name.replace("_raw", ", raw"): alignment for name, alignment in texts.units.items()}
    rows = [[each.true.sum(), *each.counts.sum(axis=1)] for each in units.values()]
    columns = ["spoken", "right", *_KINDS]
    return pd.DataFrame(np.array(rows, dtype=int), columns=columns, index=pd.Index(list(units), name="unit"))


def _group_table(texts: Transcripts, names: list[Hashable], numbers: np.ndarray, seconds: np.ndarray | None) -> pd.DataFrame:
    member = (numbers[:, None] == np.arange(len(names))).astype(float)
    sums = _sums(texts, member)
    found = {"n": member.sum(axis=0).astype(int), "words": sums["words"][:3].sum(axis=0).astype(int)}
    if seconds is not None:
        found["seconds"] = seconds @ member
    rates = _rates(sums)
    return pd.DataFrame(found | {name: rates[name] for name in _COMPARED}, index=pd.Index(names, name="group"))


def _confusions(words: Alignment) -> pd.DataFrame:
    """Count which words were taken for which, left out or added; the most frequent first, then by the alphabet."""
    wrong = (pair for clip in np.flatnonzero(words.wrong).tolist() for pair in words.pairs(clip) if pair[0] != pair[1])
    common = sorted(Counter(wrong).items(), key=lambda item: (-item[1], item[0][0] == "", item[0]))[:_COMMON]
    rows = [(_kind(*pair), _kept(pair[0]), _kept(pair[1]), count) for pair, count in common]
    index = pd.RangeIndex(1, len(rows) + 1, name="rank")
    return pd.DataFrame(rows, columns=["kind", "truth", "prediction", "count"], index=index)


def _kind(truth: str, said: str) -> str:
    return "inserted" if not truth else "deleted" if not said else "substituted"


def _errors(texts: Transcripts) -> pd.DataFrame:
    """List the clips with the most wrong words, of equally many those with fewer words first."""
    words = texts.words
    order = np.lexsort((words.true, -words.wrong))
    worst = order[words.wrong[order] > 0][:_WORST]
    rows = {
        "sample": worst,
        "truth": [_kept(texts.truth[i]) for i in worst],
        "prediction": [_kept(texts.said[i]) for i in worst],
        "wer": _ratio(words.wrong[worst], words.true[worst]),
    }
    kinds = dict(zip(_KINDS, words.counts[1:, worst].astype(int), strict=True))
    return pd.DataFrame(rows | kinds, index=pd.RangeIndex(1, len(worst) + 1, name="rank"))


def _kept(text: str) -> str:
    """Keep the begin of a long text, and no half characters (lone surrogates), which go into no file."""
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return short.encode("utf-8", "replace").decode("utf-8")


# ---------------------------------------------------------------- the worst clips
def _example(texts: Transcripts, clip: int) -> Example:
    counts = dict(zip(_KINDS, texts.words.counts[1:, clip].astype(int).tolist(), strict=True))
    done = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    spoken = int(texts.words.true[clip])
    of = f"wer {texts.words.wrong[clip] / spoken:.2f}" if spoken else "nobody speaks"
    pairs = _excerpt(texts.words.pairs(clip))
    return Example(f"sample {clip}: {of}, {done}", aligned=tuple((_kept(truth), _kept(said)) for truth, said in pairs))


def _excerpt(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Leave out what is right and far from any mistake, and the end of what is still too long."""
    if len(pairs) > _MOST_PAIRS:
        wrong = np.array([truth != said for truth, said in pairs])
        near = np.convolve(wrong, np.ones(2 * _AROUND + 1), mode="same") > 0
        gap = [near[i] or i == 0 or near[i - 1] for i in range(len(pairs))]  # the first of each gap becomes an ellipsis
        pairs = [pair if near[i] else ("…", "…") for i, pair in enumerate(pairs) if gap[i]]
    return [*pairs] if len(pairs) <= _MOST_PAIRS else [*pairs[:_MOST_PAIRS], ("…", "…")]


# ---------------------------------------------------------------- pictures
def _curves(texts: Transcripts, groups: pd.DataFrame | None) -> dict[str, pd.DataFrame]:
    found = {"clips_by_wer": _clips_by_wer(texts.words), "wer_by_length": _wer_by_length(texts.words)}
    if groups is not None and len(groups) > 1:
        worst = groups["wer"].dropna().sort_values(ascending=False, kind="stable").head(_MOST_GROUPS)
        found["wer_by_group"] = pd.DataFrame({"group": worst.index.map(str), "wer": worst.to_numpy()})
    return {name: frame for name, frame in found.items() if len(frame)}


def _clips_by_wer(words: Alignment) -> pd.DataFrame:
    """Count clips by their own error rate; those without a mistake and those with more of them than words by themselves."""
    spoken = words.true > 0
    if not spoken.any():
        return pd.DataFrame()
    rates = words.wrong[spoken] / words.true[spoken]
    place = np.where(rates > 1, 11, np.ceil(np.round(rates * 10, 9))).astype(int)
    labels = ["0", *(f"to {step / 10:.1f}" for step in range(1, 11)), "over 1"]
    return pd.DataFrame({"wer of the clip": labels, "clips": np.bincount(place, minlength=12)})


def _wer_by_length(words: Alignment) -> pd.DataFrame:
    """Return the error rate of short and of long clips, of each about equally many."""
    spoken = words.true[words.true > 0].astype(int)
    if len(spoken) == 0:
        return pd.DataFrame()
    edges = np.unique(np.quantile(spoken, np.linspace(0, 1, _BARS + 1)[1:], method="inverted_cdf"))
    if len(edges) < 2:
        return pd.DataFrame()
    place = np.searchsorted(edges, spoken)
    starts = [int(spoken.min()), *(int(edge) + 1 for edge in edges[:-1])]
    labels = [str(int(end)) if start == end else f"{start} to {end}" for start, end in zip(starts, edges, strict=True)]
    sums = [np.bincount(place, weights=each[words.true > 0]) for each in (words.wrong, words.true)]
    return pd.DataFrame({"words in the clip": labels, "wer": _ratio(*sums)})


# ---------------------------------------------------------------- sentences
def _baseline_notes(table: pd.DataFrame) -> list[str]:
    ours, notes = table["wer"].iloc[0], []
    for name, theirs in table["wer"].iloc[1:].items():
        if ours >= theirs:
            relation = "is higher than" if ours > theirs else "is no better than"
            notes.append(f"{BELOW_BASELINE}: wer {ours:.4f} {relation} the {theirs:.4f} of {str(name)!r}.")
    return notes


def _notes(texts: Transcripts, normalizer: str | None, groups: pd.DataFrame | None, seconds: np.ndarray | None) -> list[str]:
    notes = [_normaliser_note(normalizer), *_silence_notes(texts)]
    words = texts.words
    if not words.wrong.any():
        bound = 1 - 0.05 ** (1 / texts.n)
        notes.append(
            f"No mistake in {texts.n} clips, so resampling shows no spread; "
            f"a sentence error rate above {bound:.4f} would do so less than once in twenty times."
        )
    notes += _script_notes(texts, normalizer)
    if groups is not None and groups["wer"].isna().any():
        silent = [repr(name) for name in groups.index[groups["wer"].isna()]]
        shown = ", ".join(silent[:10]) + (f" and {len(silent) - 10} more" if len(silent) > 10 else "")
        notes.append(f"Nobody speaks in the groups {shown}, so their wer and cer are undefined.")
    if seconds is not None and not seconds.sum():
        notes.append("All clips have no duration, so the real-time factor is undefined.")
    return notes


def _script_notes(texts: Transcripts, normalizer: str | None) -> list[str]:
    """Say where words cannot be told apart by spaces, or are cut by the normaliser."""
    words = texts.words if texts.raw is None else texts.raw[0]
    signs = Counter(unicodedata.normalize("NFKC", "".join(map("".join, words.truth))))
    if not signs:
        return []

    def share(belongs: Callable[[str], bool]) -> float:
        return sum(count for sign, count in signs.items() if belongs(sign)) / signs.total()

    notes = []
    wide = share(lambda sign: unicodedata.east_asian_width(sign) in "WF") > 0.5
    if signs.total() / words.true.sum() > (_LONG_SIGNS if wide else _LONG_WORDS):
        notes.append("Few of the truths have spaces, so words cannot be told apart here: read cer instead of wer.")
    if normalizer is not None and share(lambda sign: unicodedata.category(sign)[0] == "M") > _MARKS:
        notes.append(
            f"Whisper's {NORMALIZERS[normalizer]} takes the marks of this script (its vowel signs, say) for punctuation, and "
            "cuts words there: read wer_raw and cer_raw, or choose normalizer=None."
        )
    return notes


def _normaliser_note(normalizer: str | None) -> str:
    if normalizer is None:
        return "Texts were compared as they are; only white space was made one space."
    name = NORMALIZERS[normalizer]
    after = f"Texts were compared after Whisper's {name}, normalizer={normalizer!r}"
    return f"{after}; wer_raw and cer_raw are of the texts as they are."


def _silence_notes(texts: Transcripts) -> list[str]:
    words, silent = texts.words, texts.words.true == 0
    if silent.all():
        return [
            "No word was spoken in any of the clips, so error rates by word and by character are undefined."
            + _said(words, silent)
        ]
    if not silent.any():
        return []
    emptied = sum(bool(text.strip()) for text, empty in zip(texts.truth, silent, strict=True) if empty)
    why = f" ({emptied} of them only after the normaliser)" if emptied else ""
    return [f"Nobody speaks in {silent.sum()} of {texts.n} clips{why}." + _said(words, silent)]


def _said(words: Alignment, silent: np.ndarray) -> str:
    wrong = words.wrong[silent]
    if not wrong.any():
        return f" None of these {silent.sum()} silent clips got text."
    return (
        f" There is text on {(wrong > 0).sum()} of {silent.sum()} silent clips; its {wrong.sum():.0f} words count as insertions."
    )


def _facts(seconds: np.ndarray | None, took: float | None) -> dict[str, float]:
    found = {} if seconds is None else {"audio_seconds": round(float(seconds.sum()), 3)}
    return found if took is None else found | {"predict_seconds": took}
