"""From recordings of any length to transcripts: what is speech, in which pieces it is heard, and what of it is believed."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from pipelines.engines import load_framework
from pipelines.engines.torch_threads import side_by_side

from . import activity, audio, features, gates
from .decoding import Decode, Decoded, Heard
from .transcript import Segment, Skipped, Transcript, Word
from .vocabulary import Vocabulary

torch: Any = load_framework("torch")

__all__ = ["Listener"]

_RATE = audio.SAMPLE_RATE
_BLOCK = 60  # seconds read of a file at once
_TOGETHER = 600  # seconds of audio gathered before the network runs, so that pieces of like length meet
_SHORT, _MORE = 1000, 4  # frames: of shorter contexts more go through the network at once, up to so many times as many
_FRAMES = 4000  # of what a thread encodes at once, of several side by side
_TIMESTAMP = 0.02  # seconds between two timestamp tokens
_SILENT = 2.0**-15  # what a sample of silence is at most: the last of 16 bits
_GAP = 0.1  # seconds; shorter pauses are not told of
_PAUSE = 0.3  # seconds beyond what is kept around speech: a longer pause ends a piece where pieces cost no more than they last


class Align(Protocol):
    """What finds the times of words: `alignment.align` with the network and its heads bound."""

    def __call__(self, mel: Any, texts: Any, languages: Any, samples: Any) -> list[tuple[Word, ...]]:
        """Return the words of each text."""


@dataclass(frozen=True)
class _Piece:
    """A piece of recording `clip`, heard at once; speech is between the samples of `spoken`.

    It begins `start` samples after the silence before the recording's first sound.
    """

    clip: int
    start: int
    samples: np.ndarray
    spoken: tuple[int, int]


@dataclass
class _Known:
    """What is known of a recording so far; the silence before its first sound lasts `silent` of its samples."""

    samples: int = 0
    silent: int = 0
    pieces: list[tuple[int, int]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    refused: list[Skipped] = field(default_factory=list)
    languages: dict[str | None, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Listener:
    """How recordings become transcripts.

    Parameters
    ----------
    hear : callable
        From spectrograms to what `decode` takes: `decoding.hear` with the network bound, or another runtime's.
    decode : callable
        From there to tokens: `decoding.decode` with the network bound, or another runtime's.
    vocabulary : Vocabulary
        The network's.
    n_mels, room : int
        Bands of its spectrograms, and the most tokens it ever writes.
    longest : float
        Seconds it hears at once.
    full : bool
        Pad every piece to 30 seconds, instead of to the next step of its own length.
    vad : bool
        Look for speech first, and hear nothing else.
    beam_size : int
        Candidates a piece.
    timestamps : bool
        Let the network say where segments begin and end; otherwise a piece is a segment.
    limits : Limits
        What is believed.
    batch_size : int
        Pieces that go through the network at once, up to four times as many of short ones.
    device : device
        Where the network is.
    threads : int
        Each on a core of its own, for the search for speech and the encoder; 1 where words are aligned, which one thread must do.
    align : callable, optional
        Finds the times of words.
    """

    hear: Callable[[Any], Heard]
    decode: Decode
    vocabulary: Vocabulary
    n_mels: int
    room: int
    longest: float
    full: bool
    vad: bool
    beam_size: int
    timestamps: bool
    limits: gates.Limits
    batch_size: int
    device: Any
    threads: int = 1
    align: Align | None = None

    def transcripts(self, sources: Sequence[Any]) -> list[Transcript]:
        """Return a transcript of each source, which `audio.read` or `audio.blocks` reads; long files stream through.

        Parameters
        ----------
        sources : sequence
            Paths or arrays.

        Returns
        -------
        list of Transcript
            In the order of `sources`.
        """
        heard = [_Known() for _ in sources]
        for pieces in _gathered(self._pieces(sources, heard)):
            batches = list(self._batches(pieces))
            parts = [self._parts(*batch) for batch in batches]
            with contextlib.closing(side_by_side(self._heard, itertools.chain(*parts), self.threads)) as results:
                for (batch, context), its in zip(batches, parts, strict=True):
                    self._write(batch, context, *_together(itertools.islice(results, len(its))), heard)
        return [self._transcript(one) for one in heard]

    # ---------------------------------------------------------------- pieces
    def _pieces(self, sources: Sequence[Any], heard: list[_Known]) -> Iterator[_Piece]:
        """Cut recordings into pieces: short ones together, so that speech is looked for in all of them at once."""
        waiting: list[tuple[int, np.ndarray]] = []
        seconds = 0.0
        for clip, source in enumerate(sources):
            blocks = _counted(audio.blocks(source, _BLOCK), heard[clip])
            blocks = _sounding(blocks, heard[clip]) if self.vad else blocks
            first, second = next(blocks, np.zeros(0, np.float32)), next(blocks, None)
            if second is not None:
                yield from self._streamed(clip, _chained(first, second, blocks))
                continue
            waiting.append((clip, first))
            seconds += len(first) / _RATE
            if seconds > _TOGETHER:
                yield from self._short(waiting)
                waiting, seconds = [], 0.0
        yield from self._short(waiting)

    def _short(self, clips: list[tuple[int, np.ndarray]]) -> Iterator[_Piece]:
        if not self.vad:
            for clip, wave in clips:
                yield from self._unsearched(clip, iter([wave]))
            return
        longest = int(self.longest * _RATE)
        for (clip, wave), chances in zip(clips, activity.probabilities([wave for _, wave in clips], self.threads), strict=True):
            edges = activity.edges(chances, len(wave))
            for start, stop in activity.joined(activity.stretches(chances, len(wave)), longest, chances, pause=self._pause):
                piece = _Piece(clip, start, wave[start:stop], _spoken(edges, start, stop))
                if _worth(piece):
                    yield piece

    def _streamed(self, clip: int, blocks: Iterator[np.ndarray]) -> Iterator[_Piece]:
        if not self.vad:
            yield from self._unsearched(clip, blocks)
            return
        for start, samples in activity.chunks(blocks, int(self.longest * _RATE), pause=self._pause):
            within = activity.edges(activity.probabilities([samples])[0], len(samples))
            piece = _Piece(clip, start, samples, _spoken(within, 0, len(samples)))
            if _worth(piece):
                yield piece

    def _unsearched(self, clip: int, blocks: Iterator[np.ndarray]) -> Iterator[_Piece]:
        """Cut a recording into pieces without looking for speech in it."""
        return (_Piece(clip, start, part, (0, len(part))) for start, part in _windows(blocks, int(self.longest * _RATE)))

    @property
    def _pause(self) -> float:
        return math.inf if self.full else _PAUSE * _RATE

    def _batches(self, pieces: list[_Piece]) -> Iterator[tuple[list[_Piece], int]]:
        """Put pieces with the same context together; the context is a piece's own affair, so that batching changes nothing."""
        contexts = [features.FULL if self.full else features.context(len(piece.samples)) for piece in pieces]
        for context in sorted(set(contexts), reverse=True):
            alike = [piece for piece, its in zip(pieces, contexts, strict=True) if its == context]
            alike.sort(key=lambda piece: len(piece.samples))  # or spectrograms are mostly of silence
            most = self.batch_size * max(1, min(_MORE, _SHORT // context))
            if self.threads > 1:  # what one of them writes down, while the others go on encoding
                most = min(most, max(_FRAMES // context, math.ceil(len(alike) / self.threads)))
            yield from ((batch, context) for batch in _cut(alike, most))

    def _parts(self, batch: list[_Piece], context: int) -> list[tuple[list[_Piece], int]]:
        """Cut a batch into what a thread encodes at once."""
        return [(part, context) for part in _cut(batch, len(batch) if self.threads == 1 else max(1, _FRAMES // context))]

    # ---------------------------------------------------------------- hearing
    def _heard(self, part: tuple[list[_Piece], int]) -> tuple[Any, Heard]:
        """Return the spectrograms of pieces, where words are to be found in them, and what the network makes of these."""
        pieces, context = part
        frames = min(context, math.ceil(max(len(piece.samples) for piece in pieces) / features.HOP))
        waves = torch.from_numpy(features.padded([piece.samples for piece in pieces], frames))
        mel = features.log_mel(waves.to(self.device), self.n_mels, context)
        return mel if self.align else None, self.hear(mel)

    def _write(self, pieces: list[_Piece], context: int, mel: Any, sound: Heard, heard: list[_Known]) -> None:
        """Let the network write down what is said in a batch, and note it."""
        most = self.limits.most(context * features.HOP / _RATE, self.room)
        found = self.decode(sound, self.vocabulary, beam_size=self.beam_size, timestamps=self.timestamps, most=most)
        words: list[tuple[Word, ...]] = [()] * len(pieces)
        if self.align:
            texts = [self._text_rows(one) for one in found]
            words = self.align(mel, texts, [one.language for one in found], [len(piece.samples) for piece in pieces])
        for piece, decoded, timed in zip(pieces, found, words, strict=True):
            self._note(heard[piece.clip], piece, decoded, timed, most)

    def _note(self, heard: _Known, piece: _Piece, decoded: Decoded, words: tuple[Word, ...], most: int) -> None:
        edges = heard.silent + piece.start, heard.silent + piece.start + len(piece.samples)
        start, stop = (edge / _RATE for edge in edges)
        heard.pieces.append(edges)
        text = self.vocabulary.decode(self._text_rows(decoded))
        if not text.strip():
            heard.refused.append(Skipped(start, stop, "the network heard no words"))
            return
        reason = gates.doubt(text, decoded.tokens, decoded.logprob, decoded.no_speech, most, self.limits)
        if reason:
            heard.refused.append(Skipped(start, stop, f"{text.strip()!r} is not believed: {reason}"))
            return
        heard.languages[decoded.language] = heard.languages.get(decoded.language, 0) + len(piece.samples)
        begin, end = (sample / _RATE for sample in piece.spoken)
        words = tuple(_within(word, start, begin, end) for word in words)
        probability = math.exp(decoded.logprob)
        for first, last, rows in self._segments(decoded.tokens, begin, end):
            part = self.vocabulary.decode(rows)
            if part.strip():
                said, words = _taken(words, part)
                heard.segments.append(Segment(part, start + first, start + last, probability, decoded.no_speech, said))

    def _text_rows(self, decoded: Decoded) -> list[int]:
        first = self.vocabulary.first_timestamp
        return [row for row in decoded.tokens if first is None or row < first]

    def _segments(self, tokens: list[int], begin: float, end: float) -> list[tuple[float, float, list[int]]]:
        """Cut tokens at their timestamps; without these they are one part."""
        first = self.vocabulary.first_timestamp
        if not self.timestamps or first is None:
            return [(begin, end, tokens)]
        parts: list[tuple[float, float, list[int]]] = []
        rows = list[int]()
        for token in tokens:
            if token < first:
                rows.append(token)
                continue
            time = min((token - first) * _TIMESTAMP, end)
            if rows:
                parts.append((begin, time, rows))
            begin, rows = time, []
        return [*parts, (begin, end, rows)] if rows else parts

    def _transcript(self, heard: _Known) -> Transcript:
        segments = tuple(sorted(heard.segments, key=lambda segment: segment.start))
        silent = [
            Skipped(start / _RATE, stop / _RATE, "no speech")
            for start, stop in _between(sorted(heard.pieces), heard.samples)
            if stop - start >= _GAP * _RATE
        ]
        language = max(heard.languages, key=heard.languages.__getitem__) if heard.languages else self.vocabulary.language
        return Transcript(
            text="".join(segment.text for segment in segments).strip(),
            language=language,
            segments=segments,
            skipped=tuple(sorted(silent + heard.refused, key=lambda one: one.start)),
            duration=heard.samples / _RATE,
        )


def _gathered(pieces: Iterable[_Piece]) -> Iterator[list[_Piece]]:
    """Gather pieces until there is enough to run the network over."""
    waiting: list[_Piece] = []
    samples = 0
    for piece in pieces:
        waiting.append(piece)
        samples += len(piece.samples)
        if samples > _TOGETHER * _RATE:
            yield waiting
            waiting, samples = [], 0
    if waiting:
        yield waiting


def _cut(pieces: list[_Piece], most: int) -> list[list[_Piece]]:
    return [pieces[start : start + most] for start in range(0, len(pieces), most)]


def _together(parts: Iterable[tuple[Any, Heard]]) -> tuple[Any, Heard]:
    """Put what was heard of a batch's parts together; spectrograms are kept of whole batches only."""
    (mel, sound), *more = parts
    return mel, [torch.cat(each) for each in zip(sound, *(other for _, other in more), strict=True)] if more else sound


def _windows(blocks: Iterator[np.ndarray], longest: int) -> Iterator[tuple[int, np.ndarray]]:
    """Cut a recording into windows of at most `longest` samples, at the quietest place of their last fifth."""
    start, rest = 0, np.zeros(0, dtype=np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) > longest:
            cut = _quietest(rest, longest)
            yield start, rest[:cut]
            start, rest = start + cut, rest[cut:]
    if len(rest):
        yield start, rest


def _quietest(wave: np.ndarray, longest: int) -> int:
    tenth = _RATE // 10
    begin = longest - max(tenth, longest // 5)
    frames = max(1, (longest - begin) // tenth)
    loudness = np.square(wave[begin : begin + frames * tenth]).reshape(frames, -1).mean(axis=1)
    return begin + int(np.argmin(loudness)) * tenth + tenth // 2


def _within(word: Word, start: float, begin: float, end: float) -> Word:
    """Count a word's times from the begin of the recording; it is said where speech is, not in the silence kept around it."""
    first, last = (start + min(max(time, begin), end) for time in (word.start, word.end))
    return Word(word.text, first, last, word.probability)


def _spoken(edges: list[tuple[int, int]], start: int, stop: int) -> tuple[int, int]:
    """Return where speech begins and ends within a piece, from its begin; the whole piece where that is not known.

    Where speech is known, but none of it lies in the piece, it begins and ends at once.
    """
    if not edges:
        return 0, stop - start
    within = [(max(begin, start), min(end, stop)) for begin, end in edges if begin < stop and end > start]
    return (within[0][0] - start, within[-1][1] - start) if within else (0, 0)


def _worth(piece: _Piece) -> bool:
    """Say whether it is more than a cut has left of a word or of the pause after it, of which texts are guesses."""
    begin, end = piece.spoken
    return end - begin >= activity.LEAST_SPEECH * _RATE


def _chained(first: np.ndarray, second: np.ndarray, rest: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    yield first
    yield second
    yield from rest


def _counted(blocks: Iterator[np.ndarray], heard: _Known) -> Iterator[np.ndarray]:
    for block in blocks:
        heard.samples += len(block)
        yield block


def _sounding(blocks: Iterator[np.ndarray], heard: _Known) -> Iterator[np.ndarray]:
    """Leave out the silence before the first sound, so that what is heard, and where it is cut, does not depend on its length."""
    for block in blocks:
        sounds = np.abs(block) > _SILENT
        first = int(np.argmax(sounds)) if sounds.any() else len(block)
        heard.silent += first
        if first < len(block):
            yield block[first:]
            break
    yield from blocks


def _between(pieces: list[tuple[int, int]], samples: int) -> Iterator[tuple[int, int]]:
    """Yield what lies between pieces, before and after them."""
    begin = 0
    for start, stop in [*pieces, (samples, samples)]:
        if start > begin:
            yield begin, start
        begin = max(begin, stop)


def _taken(words: tuple[Word, ...], part: str) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Take the words that make up a part of the text off the front."""
    length = count = 0
    while count < len(words) and length < len(part):
        length += len(words[count].text)
        count += 1
    return words[:count], words[count:]
