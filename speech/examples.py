"""What a Whisper network learns from: clips joined and altered, in groups of like length."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.data import Batches

from . import augmentation, features
from .audio import SAMPLE_RATE
from .vocabulary import Vocabulary

__all__ = ["FURTHER", "IGNORED", "Joined", "Plan", "WHOLE", "Whole", "pieces", "strings"]

WHOLE = 30.0
"""Seconds Whisper hears at once."""

IGNORED = -100
"""Target of a token that is not learned from."""

FURTHER = 6
"""Tokens at most that are read past a text's end."""

_TOGETHER = 3.0  # seconds; groups of longer examples are smaller
_POSITION = 320  # samples from one vector of the encoder to the next
_WRONG = 0.05  # share of the tokens read wrongly in training, so that one mistake is not followed by others
_JUDGED = 32  # clips a batch of validation


@dataclass(frozen=True)
class Plan:
    """What training does; times are shares of the epochs.

    Attributes
    ----------
    longest : float
        Seconds of the longest examples.
    groups, size : int
        Groups of examples an epoch, and examples a group, of long ones fewer.
    alone : float
        Share of the groups with one clip an example.
    silent : float
        Share of the examples in which nothing is said.
    begin, grown : float
        When examples begin to be joined of several clips, and when they are as long as they get.
    clean, altered : float
        Until when clips are left as they are, and from when on so many are altered as ever are.
    most_altered : float
        Share of the examples that are altered in the end.
    past : float
        Share of the texts that are read on past their end, where only the end follows: a network must find back.
    gap : float
        The longest pause put between clips, in seconds.
    full : bool
        Pad to 30 s, half of the groups with silence and half with nothing.

    Examples
    --------
    >>> Plan(longest=4.5).strength(0.0), Plan(longest=4.5).strength(1.0)
    (0.0, 0.5)
    """

    longest: float
    groups: int = 100
    size: int = 16
    alone: float = 0.2
    silent: float = 0.08
    begin: float = 0.06
    grown: float = 0.36
    clean: float = 0.3
    altered: float = 0.7
    most_altered: float = 0.5
    past: float = 0.5
    gap: float = 0.4
    full: bool = False

    def strength(self, done: float) -> float:
        """Return the share of the examples that are altered when so much of training is done."""
        return self.most_altered * float(np.clip((done - self.clean) / max(self.altered - self.clean, 1e-9), 0, 1))

    def reach(self, done: float) -> float:
        """Return the seconds of the longest examples when so much of training is done; 0: one clip each."""
        if done < self.begin:
            return 0.0
        grown = float(np.clip((done - self.begin) / max(self.grown - self.begin, 1e-9), 0, 1))
        return min(self.longest, 1.5 + (self.longest - 1.5) * grown)


def pieces(waves: Sequence[np.ndarray], texts: Sequence[str], longest: float) -> list[tuple[np.ndarray, str]]:
    """Cut clips with several words at their pauses, where these can be told: into words, and runs of words of up to `longest` s.

    Clips that cannot be cut stay as they are; long ones are left out where the others hold most of the words.

    Examples
    --------
    >>> sound = np.tile(np.r_[np.zeros(4000), np.random.default_rng(0).normal(size=4800)], 3).astype(np.float32)
    >>> [(round(len(wave) / 16_000, 1), text) for wave, text in pieces([sound], ["one two three"], 1.2)]
    [(0.7, 'one'), (0.6, 'two'), (0.4, 'three'), (1.0, 'two three')]
    """
    short, whole = list[tuple[np.ndarray, str]](), list[tuple[np.ndarray, str]]()
    for wave, text in zip(waves, texts, strict=True):
        words = text.split()
        places = augmentation.words(wave, len(words)) if len(words) > 1 else None
        if places is not None:
            short += _cut(wave, words, places, longest)
        elif len(wave) <= longest * SAMPLE_RATE:
            short.append((wave, text))
        else:
            whole.append((wave, text))
    known, rest = (sum(len(text.split()) for _, text in part) for part in (short, whole))
    return short if known > 4 * rest else short + whole


def _cut(
    wave: np.ndarray, words: Sequence[str], places: Sequence[tuple[int, int]], longest: float
) -> list[tuple[np.ndarray, str]]:
    margin = SAMPLE_RATE // 4
    pauses = [(stop, start) for (_, stop), (start, _) in itertools.pairwise(places)]
    stops = [min(begin + margin, (begin + end) // 2) for begin, end in pauses]
    starts = [max(end - margin, (begin + end) // 2) for begin, end in pauses]
    starts, stops = [max(0, places[0][0] - margin), *starts], [*stops, min(len(wave), places[-1][1] + margin)]
    found = [(wave[start:stop], word) for start, stop, word in zip(starts, stops, words, strict=True)]
    first = 0
    for last in range(len(words)):
        if last + 1 == len(words) or stops[last + 1] - starts[first] > longest * SAMPLE_RATE:
            if last > first:
                found.append((wave[starts[first] : stops[last]], " ".join(words[first : last + 1])))
            first = last + 1
    return found


def strings(
    clips: Sequence[tuple[np.ndarray, str]], seconds: float, rng: np.random.Generator, count: int
) -> list[tuple[np.ndarray, str, list[float]]]:
    """Join clips to so many strings of them, none longer than so many seconds; with the times each clip begins."""
    found: list[tuple[np.ndarray, str, list[float]]] = []
    for _ in range(count):
        parts, words, starts = list[np.ndarray](), list[str](), list[float]()
        while True:
            wave, text = clips[int(rng.integers(len(clips)))]
            if sum(map(len, parts)) + len(wave) > seconds * SAMPLE_RATE:
                break
            starts.append(sum(map(len, parts)) / SAMPLE_RATE)
            parts += [wave, np.zeros(int(rng.uniform(0, 0.2) * SAMPLE_RATE), np.float32)]
            words.append(text.strip())
        if len(words) > 1:
            found.append((np.concatenate(parts)[: int(seconds * SAMPLE_RATE)], " ".join(filter(None, words)), starts))
    return found


# ---------------------------------------------------------------- batches
@dataclass(frozen=True)
class _Example:
    wave: np.ndarray
    rows: list[int]
    read: np.ndarray  # rows as the decoder reads them, now and then wrong, some with more at the end
    spans: np.ndarray  # (len(rows), 2): samples between which each is said; equal where that is not known
    masks: np.ndarray


class Joined(Batches):
    """Groups of examples, each of one or more clips one after the other, of about the same length within a group.

    An example depends on the seed, the epoch and its number alone. A batch holds `waves` (n, samples) and the `frames` (n,) each
    example has, `tokens` (n, length) to read, `spans` (n, length, 2) of the positions where each token that follows is said,
    `masks`, and `full`: 0 for waves padded to the context of the longest, 1 padded to 30 s, 2 padded so as spectrograms.
    Targets are the tokens that follow.

    Parameters
    ----------
    clips : sequence of (wave, text)
        What to join.
    vocabulary : Vocabulary
        The network's.
    plan : Plan
        How long and how altered.
    epochs : int
        Of the training.
    seed : int
        Of everything random.
    n_mels : int
        Bands of the spectrograms.

    Examples
    --------
    >>> from speech.vocabulary import learn
    >>> dims = {"n_vocab": 51865}
    >>> clips = [(np.ones(8000, np.float32), "yes"), (np.ones(6400, np.float32), "no")]
    >>> words = Vocabulary(dims, learn(["yes", "no"], dims, "en"), "en")
    >>> batches = Joined(clips, words, Plan(longest=2.0, groups=3), epochs=2, seed=0)
    >>> inputs, targets = batches[0]
    >>> len(batches), len(inputs["waves"]), targets.shape == inputs["tokens"].shape
    (3, 16, True)
    """

    def __init__(
        self,
        clips: Sequence[tuple[np.ndarray, str]],
        vocabulary: Vocabulary,
        plan: Plan,
        *,
        epochs: int,
        seed: int,
        n_mels: int = 80,
    ) -> None:
        self.waves = [wave for wave, _ in clips]
        self.rows = [vocabulary.encode(text) for _, text in clips]
        self.levels = [augmentation.loudness(wave) for wave in self.waves]
        self.written = np.array(sorted({row for rows in self.rows for row in rows}) or [vocabulary.end])
        self.vocabulary, self.plan, self.epochs, self.n_mels = vocabulary, plan, epochs, n_mels
        self.prompt = vocabulary.prompt(vocabulary.language)
        super().__init__(None, plan.groups, 1, seed=seed)  # type: ignore[arg-type]

    def start_epoch(self, epoch: int) -> None:
        """Draw how long the examples of each group are, and which clip each begins with: all of them equally often."""
        plan, rng, done = self.plan, np.random.default_rng([self.seed or 0, epoch]), epoch / max(1, self.epochs)
        self.epoch, self.strength = epoch, plan.strength(done)
        place = rng.permutation((np.arange(plan.groups) + rng.random()) / plan.groups)
        reach = plan.reach(done)
        joined = 1.0 + max(0.0, reach - 1.0) * np.clip((place - plan.alone) / (1 - plan.alone), 0, 1)
        self.lengths = np.where((place < plan.alone) | (reach == 0.0), 0.0, joined)
        sizes = [int(np.clip(plan.size * _TOGETHER / max(length, 1e-3), min(6, plan.size), plan.size)) for length in self.lengths]
        self.starts = np.cumsum([0, *sizes])
        rounds = -(-self.starts[-1] // len(self.waves))
        self.firsts = np.concatenate([rng.permutation(len(self.waves)) for _ in range(rounds)])
        self.modes = rng.integers(0, 3, plan.groups) if plan.full else np.zeros(plan.groups, dtype=np.int64)
        self.order = np.arange(plan.groups)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        numbers = range(self.starts[i], self.starts[i + 1])
        made = [self._example(int(number), self.lengths[i]) for number in numbers]
        return self._inputs(made, int(self.modes[i])), self._targets(made)

    # ---------------------------------------------------------------- an example
    def _example(self, number: int, length: float) -> _Example:
        rng = np.random.default_rng([self.seed or 0, self.epoch, number, 1])
        if rng.random() < self.plan.silent:
            wave = augmentation.no_speech(int(rng.uniform(0.3, max(1.0, length)) * SAMPLE_RATE), rng)
            return _Example(wave, [], self._further(rng), np.zeros((0, 2), np.int64), np.zeros((4, 2), np.int64))
        altered = rng.random() < self.strength
        first = int(self.firsts[number])
        parts, rows, spans = self._line(first, length * rng.uniform(0.8, 1.0), altered, rng)
        wave = np.concatenate(parts)[: int(WHOLE * SAMPLE_RATE)]
        masks = np.zeros((4, 2), np.int64)
        if altered:
            wave = augmentation.spoiled(wave, rng, self.levels[first])
            masks = augmentation.masks(rng, max(8, len(wave) // features.HOP), self.n_mels)
        wrong = rng.random(len(rows)) < _WRONG
        read = np.where(wrong, rng.choice(self.written, len(rows)), np.array(rows, dtype=np.int64))
        return _Example(wave, rows, np.concatenate([read, self._further(rng)]), np.array(spans, np.int64).reshape(-1, 2), masks)

    def _further(self, rng: np.random.Generator) -> np.ndarray:
        """Draw what is read after the end, where only the end follows: what was written too much is not to go on for ever."""
        return rng.choice(self.written, rng.integers(1, FURTHER + 1) if rng.random() < self.plan.past else 0)

    def _line(
        self, clip: int, seconds: float, altered: bool, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[int], list[tuple[int, int]]]:
        """Put clips one after the other, with pauses, for about so many seconds; one at least."""
        level, room = self.levels[clip], self._room()
        most = int(WHOLE * SAMPLE_RATE)  # what is said after it would be cut off
        parts, rows, spans = [self._pause(rng)[: most - len(self.waves[clip])]], list[int](), list[tuple[int, int]]()
        at = len(parts[0])
        while True:
            wave = augmentation.at_speed(self.waves[clip], rng) if altered else self.waves[clip]
            wave = wave if at + len(wave) <= most else self.waves[clip]
            if rows:
                wave = wave * np.float32(level / self.levels[clip] * 10 ** rng.uniform(-0.4, 0.4))
            parts += [wave, self._pause(rng)]
            rows = rows + self.rows[clip]
            spans += [(at, at + len(wave))] * len(self.rows[clip])
            at += len(wave) + len(parts[-1])
            clip = int(rng.integers(len(self.waves)))
            later = at + len(self.waves[clip])
            full = at >= seconds * SAMPLE_RATE or later > min((seconds + 0.2) * SAMPLE_RATE, most)
            if full or len(rows) + len(self.rows[clip]) > room:
                return parts, rows, spans

    def _room(self) -> int:
        return 200  # tokens; joined texts stay well within the decoder's context

    def _pause(self, rng: np.random.Generator) -> np.ndarray:
        samples = 0 if rng.random() < 0.45 else int(rng.uniform(0, self.plan.gap) * SAMPLE_RATE)
        return (rng.standard_normal(samples) * 10 ** rng.uniform(-6, -2.5)).astype(np.float32)

    # ---------------------------------------------------------------- a group
    def _inputs(self, made: Sequence[_Example], mode: int) -> dict[str, np.ndarray]:
        context = features.FULL if mode == 1 else features.context(max(len(example.wave) for example in made))
        begin, length = len(self.prompt), self._width(made)
        tokens = np.full((len(made), length), self.vocabulary.end)
        tokens[:, :begin] = self.prompt
        waves = features.padded([example.wave for example in made], context)
        spans = np.zeros((len(made), length, 2), np.int64)
        for k, example in enumerate(made):
            tokens[k, begin : begin + len(example.read)] = example.read
            spans[k, begin - 1 : begin - 1 + len(example.rows)] = self._positions(example.spans)
            if len(example.spans):  # the end is where nothing is left
                stop = int(example.spans[-1, 1]) // _POSITION
                spans[k, begin - 1 + len(example.rows)] = stop, max(stop, waves.shape[1] // _POSITION)
        masks = np.stack([example.masks for example in made])
        frames = np.array([math.ceil(len(example.wave) / features.HOP) for example in made])
        inputs = {"waves": waves, "frames": frames, "tokens": tokens, "spans": spans, "masks": masks}
        return {**inputs, "full": np.full(len(made), mode)}

    def _targets(self, made: Sequence[_Example]) -> np.ndarray:
        begin, following = len(self.prompt), np.full((len(made), self._width(made)), IGNORED)
        for k, example in enumerate(made):
            following[k, 0] = self.prompt[1] if example.rows else self.vocabulary.no_speech
            following[k, begin - 1 : begin + len(example.rows)] = [*example.rows, self.vocabulary.end]
            following[k, begin + len(example.rows) : begin + len(example.read)] = self.vocabulary.end
        return following

    def _width(self, made: Sequence[_Example]) -> int:
        return len(self.prompt) + max(len(example.read) for example in made)

    @staticmethod
    def _positions(spans: np.ndarray) -> np.ndarray:
        return np.stack([spans[:, 0] // _POSITION, -(-spans[:, 1] // _POSITION)], axis=1)


class Whole(Batches):
    """Clips as they are, those of one context together, for judging a network.

    A batch holds `waves`, and the `tokens` to read and `targets` that follow.

    Examples
    --------
    >>> from speech.vocabulary import learn
    >>> dims = {"n_vocab": 51865}
    >>> words = Vocabulary(dims, learn(["yes", "no"], dims, "en"), "en")
    >>> batches = Whole([np.ones(9000, np.float32), np.ones(700, np.float32)], ["yes", "no"], words)
    >>> [inputs["waves"].shape for inputs, _ in batches], batches.in_order(np.array([[1], [0]])).tolist()
    ([(1, 16000), (1, 24000)], [[0], [1]])
    """

    def __init__(self, waves: Sequence[np.ndarray], texts: Sequence[str], vocabulary: Vocabulary) -> None:
        self.waves, self.rows = list(waves), [vocabulary.encode(text) for text in texts]
        self.prompt, self.end = vocabulary.prompt(vocabulary.language), vocabulary.end
        contexts = np.array([features.context(len(wave)) for wave in waves])
        order = np.argsort(contexts, kind="stable")
        cuts = [k for k in range(1, len(order)) if contexts[order[k]] != contexts[order[k - 1]]]
        alike = [(part, int(contexts[part[0]])) for part in np.split(order, cuts)]
        self.groups = [(part[k : k + _JUDGED], context) for part, context in alike for k in range(0, len(part), _JUDGED)]
        super().__init__(None, len(self.groups), 1)  # type: ignore[arg-type]

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        if not 0 <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        rows, context = self.groups[i]
        width = len(self.prompt) + max(map(len, self.rows))  # the same of all groups: outputs are one array
        waves = features.padded([self.waves[row] for row in rows], context)
        tokens, targets = np.full((len(rows), width), self.end), np.full((len(rows), width), IGNORED)
        for k, row in enumerate(rows):
            text, begin = self.rows[row], len(self.prompt)
            tokens[k, : begin + len(text)] = [*self.prompt, *text]
            targets[k, begin - 1 : begin + len(text)] = [*text, self.end]
        return {"waves": waves, "tokens": tokens, "targets": targets}, None

    def in_order(self, outputs: np.ndarray) -> np.ndarray:
        """Bring what was computed of all groups into the order of the clips."""
        order = np.concatenate([rows for rows, _ in self.groups])
        found = np.empty_like(outputs)
        found[order] = outputs
        return found
