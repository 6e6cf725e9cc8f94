"""Transcripts: what was said when, and the files made of it (text, subtitles, tables, JSON).

The files are those that openai-whisper writes of the same segments, byte by byte, without loading it. They differ only where its
files would be broken: line breaks inside a text become spaces, as an empty line would end a subtitle; `-->` is never part of a
subtitle; half characters (lone surrogates), which go into no file, become question marks; and a segment without words, among
others that have some, keeps its text.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from pipelines import store
from pipelines.checks import did_you_mean, number
from pipelines.errors import DataError, FormatError, ParameterError

__all__ = ["FORMATS", "Segment", "Skipped", "Transcript", "Word"]

FORMATS = ("txt", "srt", "vtt", "tsv", "json")
"""The forms a transcript is written in."""

_PAUSE = 3.0  # seconds after which Whisper begins a new subtitle
_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")

_Cue = tuple[str, str, str]  # from, to, text


@dataclass(frozen=True)
class Word:
    """One word of a segment.

    Parameters
    ----------
    text : str
        As it stands in the segment, with the space before it: joined, the words are the segment's text.
    start, end : float
        Seconds from the start of the recording.
    probability : float
        How sure the model was, from 0 to 1; nan where it is not known.
    """

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Segment:
    """A stretch of speech, about a sentence.

    Parameters
    ----------
    text : str
        What was said.
    start, end : float
        Seconds from the start of the recording.
    probability : float
        How sure the model was of its tokens (their geometric mean), from 0 to 1; nan where it is not known.
    no_speech_probability : float
        How likely the model thought it that nobody speaks.
    words : tuple of Word
        Its words, where their times were asked for.
    """

    text: str
    start: float
    end: float
    probability: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Skipped:
    """A stretch of a recording that was left out.

    Parameters
    ----------
    start, end : float
        Seconds from the start of the recording.
    reason : str
        Why, such as "no speech".
    """

    start: float
    end: float
    reason: str


@dataclass(frozen=True)
class Transcript:
    """What was said in a recording, and when; its text is `str(transcript)`.

    Parameters
    ----------
    text : str
        All that was said.
    language : str or None
        Its code, such as "en".
    segments : tuple of Segment
        The text in pieces, in order of time.
    skipped : tuple of Skipped
        What was left out, and why.
    duration : float
        Seconds of the whole recording.

    Examples
    --------
    >>> said = Segment(" Good morning.", 0.5, 1.75, probability=0.98, no_speech_probability=0.01)
    >>> transcript = Transcript("Good morning.", "en", (said,), (Skipped(1.75, 4.0, "no speech"),), 4.0)
    >>> str(transcript)
    'Good morning.'
    >>> print(transcript.render("srt"), end="")
    1
    00:00:00,500 --> 00:00:01,750
    Good morning.
    <BLANKLINE>
    >>> Transcript.from_dict(transcript.to_dict()) == transcript
    True
    """

    text: str
    language: str | None
    segments: tuple[Segment, ...]
    skipped: tuple[Skipped, ...]
    duration: float

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON types, under the names of openai-whisper's result where it has them, so that its readers can read it.

        Returns
        -------
        dict
            `text`, `segments` (each with `id`, `start`, `end`, `text`, `probability`, `no_speech_prob` and, where there are some,
            `words`), `language`, `duration` and `skipped`. A probability that is not known is None.
        """
        return {
            "text": _whole(self.text),
            "segments": [_segment_to_dict(i, segment) for i, segment in enumerate(self.segments)],
            "language": self.language,
            "duration": self.duration,
            "skipped": [{"start": gap.start, "end": gap.end, "reason": gap.reason} for gap in self.skipped],
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Self:
        """Make the transcript that `to_dict` described, or one of what openai-whisper's `transcribe` returned.

        Parameters
        ----------
        d : mapping
            With `text` and `segments`; the parsed content of a `.json` file, say.

        Raises
        ------
        FormatError
            If something is missing or of the wrong kind.

        Examples
        --------
        >>> result = {"text": " Hi.", "language": "en", "segments": [{"start": 0.0, "end": 0.5, "text": " Hi."}]}
        >>> Transcript.from_dict(result).duration
        0.5
        """
        try:
            segments = tuple(map(_segment_from_dict, d["segments"]))
            skipped = tuple(Skipped(float(gap["start"]), float(gap["end"]), _text(gap["reason"])) for gap in d.get("skipped", ()))
            duration = float(d.get("duration", max((segment.end for segment in segments), default=0.0)))
            language = d.get("language")
            return cls(_text(d["text"]), None if language is None else _text(language), segments, skipped, duration)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FormatError(f"This is no transcript: {type(error).__name__}: {error}.") from error

    def render(
        self,
        format: str,
        *,
        max_line_width: int | None = None,
        max_line_count: int | None = None,
        max_words_per_line: int | None = None,
        highlight_words: bool = False,
    ) -> str:
        """Return the content of a file, equal to what openai-whisper writes for the same segments.

        Parameters
        ----------
        format : "txt", "srt", "vtt", "tsv" or "json"
            Text, a line a segment; subtitles; a table with times in milliseconds; or `to_dict`.
        max_line_width : int, optional
            Subtitles: the most characters in a line. This and the next three need words with times.
        max_line_count : int, optional
            Subtitles: the most lines at a time; together with `max_line_width` it cuts subtitles by length alone, and no longer
            where segments end.
        max_words_per_line : int, optional
            Subtitles: the most words at a time.
        highlight_words : bool
            Subtitles: a cue a word, which is underlined while it is spoken.

        Returns
        -------
        str
            The content; nothing, or a header, where nobody speaks.

        Raises
        ------
        ParameterError
            If there is no such format, an option is no whole number, or words are needed and not there.
        DataError
            If a time is negative or no number.
        """
        if format not in FORMATS:
            raise ParameterError(f"A transcript has no form {format!r}.{did_you_mean(format, FORMATS)}")
        sizes = {
            "max_line_width": max_line_width,
            "max_line_count": max_line_count,
            "max_words_per_line": max_words_per_line,
        }
        self._check_layout(format, sizes, highlight_words)
        if format == "json":
            return _json(self.to_dict())
        if format == "txt":
            return "".join(f"{_line(segment.text)}\n" for segment in self.segments)
        if format == "tsv":
            rows = ((_ms(segment.start), _ms(segment.end), _line(segment.text).replace("\t", " ")) for segment in self.segments)
            return "start\tend\ttext\n" + "".join(f"{start}\t{end}\t{text}\n" for start, end, text in rows)
        stamp = _stamp_of_srt if format == "srt" else _stamp_of_vtt
        cues = _cues(self.segments, stamp, max_line_width, max_line_count, max_words_per_line, highlight_words)
        if format == "srt":
            return "".join(f"{i}\n{start} --> {end}\n{text}\n\n" for i, (start, end, text) in enumerate(cues, 1))
        return "WEBVTT\n\n" + "".join(f"{start} --> {end}\n{text}\n\n" for start, end, text in cues)

    def save(
        self,
        path: str | os.PathLike[str],
        format: str | None = None,
        *,
        max_line_width: int | None = None,
        max_line_count: int | None = None,
        max_words_per_line: int | None = None,
        highlight_words: bool = False,
    ) -> Path:
        """Write a file in UTF-8; a reader sees the old one or the whole new one, never a part.

        Parameters
        ----------
        path : path
            The file. A file there is replaced.
        format : str, optional
            What to write; by default the path's ending says it.
        max_line_width, max_line_count, max_words_per_line, highlight_words : optional
            As in `render`.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        ParameterError
            If format or ending is unknown.
        DataError
            If the file cannot be written.
        """
        path = Path(path)
        chosen = path.suffix[1:].lower() if format is None else format
        if format is None and chosen not in FORMATS:
            ends = ", ".join(f".{known}" for known in FORMATS)
            hint = did_you_mean(chosen, FORMATS) if chosen else ""
            raise ParameterError(f"The ending of {str(path)!r} does not say how to write a transcript; it can be {ends}.{hint}")
        content = self.render(
            chosen,
            max_line_width=max_line_width,
            max_line_count=max_line_count,
            max_words_per_line=max_words_per_line,
            highlight_words=highlight_words,
        )
        try:
            with store.replacing(path) as temporary:
                temporary.write_text(content, encoding="utf-8", newline="\n")
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"The transcript cannot be written to {str(path)!r}: {reason}. Check the folder.") from error
        return path

    def _check_layout(self, format: str, sizes: Mapping[str, int | None], highlight: bool) -> None:
        asked = [name for name, size in sizes.items() if size is not None] + ["highlight_words"] * bool(highlight)
        for name in asked:
            if name in sizes:
                number(name, sizes[name], 1, integer=True)
            if format not in ("srt", "vtt"):
                raise ParameterError(f"{name} lays out subtitles, srt or vtt, but the format is {format!r}. Leave it out.")
        if asked and self.segments and not any(segment.words for segment in self.segments):
            raise ParameterError(
                f"{asked[0]} needs the times of words, and this transcript has none. Transcribe with word_times=True."
            )


# ---------------------------------------------------------------- plain JSON types
def _segment_to_dict(i: int, segment: Segment) -> dict[str, Any]:
    found = {
        "id": i,
        "start": segment.start,
        "end": segment.end,
        "text": _whole(segment.text),
        "probability": _known(segment.probability),
        "no_speech_prob": _known(segment.no_speech_probability),
    }
    words = [
        {"word": _whole(word.text), "start": word.start, "end": word.end, "probability": _known(word.probability)}
        for word in segment.words
    ]
    return {**found, "words": words} if words else found


def _segment_from_dict(d: Mapping[str, Any]) -> Segment:
    probability = d.get("probability")
    if probability is None and d.get("avg_logprob") is not None:  # Whisper's own
        probability = math.exp(d["avg_logprob"])
    words = tuple(
        Word(_text(word["word"]), float(word["start"]), float(word["end"]), _number(word.get("probability")))
        for word in d.get("words", ())
    )
    times = float(d["start"]), float(d["end"])
    return Segment(_text(d["text"]), *times, _number(probability), _number(d.get("no_speech_prob")), words)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, not {value!r}")
    return value


def _json(d: dict[str, Any]) -> str:
    try:
        return json.dumps(d, allow_nan=False)
    except ValueError as error:
        raise DataError(f"A time of the transcript is no finite number, and JSON has none of those ({error}).") from error


# ---------------------------------------------------------------- lines
def _whole(text: str) -> str:
    """Replace half characters, which UTF-8 has no bytes for."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _line(text: str) -> str:
    return _flat(text).strip()


def _flat(text: str) -> str:
    """Put a text on one line."""
    return _BREAKS.sub(" ", _whole(text))


def _ms(seconds: float) -> int:
    if not 0 <= seconds < math.inf:
        raise DataError(f"A time of the transcript is {seconds!r}; expected seconds from the start of the recording.")
    return round(seconds * 1000)


def _stamp_of_srt(seconds: float) -> str:
    hours, minutes, rest = _clock(seconds)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"


def _stamp_of_vtt(seconds: float) -> str:
    hours, minutes, rest = _clock(seconds)
    return f"{f'{hours:02d}:' if hours else ''}{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _clock(seconds: float) -> tuple[int, int, int]:
    """Return hours, minutes and milliseconds."""
    minutes, rest = divmod(_ms(seconds), 60_000)
    return *divmod(minutes, 60), rest


# ---------------------------------------------------------------- subtitles
def _cues(
    segments: Sequence[Segment],
    stamp: Callable[[float], str],
    width: int | None,
    count: int | None,
    most: int | None,
    highlight: bool,
) -> Iterator[_Cue]:
    """Yield subtitles: by words where there are some, otherwise a segment each."""
    if not any(segment.words for segment in segments):
        for segment in segments:
            yield stamp(segment.start), stamp(segment.end), _shown(_line(segment.text))
        return
    for cue in _by_words([_spoken(segment) for segment in segments], width, count, most):
        if highlight:
            yield from _underlined(cue, stamp)
        else:
            yield stamp(cue[0].start), stamp(cue[-1].end), _shown("".join(word.text for word in cue))


def _shown(text: str) -> str:
    return text.replace("-->", "->")  # an arrow of that length is what a line with times has


def _spoken(segment: Segment) -> list[Word]:
    """Return the words on one line; a segment without any is one."""
    if not segment.words:
        return [Word(_flat(segment.text), segment.start, segment.end, segment.probability)] if segment.text.strip() else []
    return [replace(word, text=_flat(word.text)) for word in segment.words]


def _by_words(segments: Sequence[Sequence[Word]], width: int | None, count: int | None, most: int | None) -> Iterator[list[Word]]:
    """Yield the words of each subtitle, those that begin a line with the line break before them; Whisper's own rules."""
    whole = width is None or count is None  # a subtitle never goes on after its segment
    width, most = width or 1000, most or 1000
    cue: list[Word] = []
    length, lines, last = 0, 1, next((words[0].start for words in segments if words), 0.0)
    for words in segments:
        for i, word in enumerate(words):
            pause = not whole and word.start - last > _PAUSE
            ends = whole and bool(cue) and i % most == 0
            last = word.start
            if 0 < length <= width - len(word.text) and not pause and not ends:
                length += len(word.text)
                cue.append(word)
                continue
            text = word.text.strip()
            if ends or (cue and count is not None and (pause or lines >= count)):
                yield cue
                cue, lines = [], 1
            elif length > 0:
                lines += 1
                text = f"\n{text}"
            length = len(text.strip())
            cue.append(replace(word, text=text))
    if cue:
        yield cue


def _underlined(cue: Sequence[Word], stamp: Callable[[float], str]) -> Iterator[_Cue]:
    """Yield a subtitle a word, which is underlined, and plain ones for the pauses between them."""
    texts = [word.text for word in cue]
    last = stamp(cue[0].start)
    for i, word in enumerate(cue):
        start, end = stamp(word.start), stamp(word.end)
        if last != start:
            yield last, start, _shown("".join(texts))
        marked = re.sub(r"^(\s*)(.*)$", r"\1<u>\2</u>", word.text)
        yield start, end, _shown("".join([*texts[:i], marked, *texts[i + 1 :]]))
        last = end
