"""Where in a recording somebody speaks: silero-vad over many clips at once, or along a stream of any length.

The network is silero's, its weights those in `silero_vad_16k.safetensors` of the `silero-vad` package: plain numbers, where the
package's own way is TorchScript, which PyTorch has given up. (They are not the numbers in its `silero_vad.jit`, and did better
than those on short clips and on noise.) The layers before the LSTM see one frame each and take the frames of all clips together;
the LSTM goes through clips of like length in lockstep.

A clip that begins in the middle of a word gives the network nothing to compare with, and is easily missed. So each clip is heard
after half a second of silence, whose effect on the network's state is computed once. Of 300 spoken digits, cut to the sample, six
were lost without it, and none with it.

References
----------
https://github.com/snakers4/silero-vad
"""

import functools
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.engines.torch_threads import side_by_side
from pipelines.errors import ParameterError

from .audio import SAMPLE_RATE

__all__ = ["FRAME", "chunks", "edges", "joined", "probabilities", "stretches"]

FRAME = 512
"""Samples to which a probability belongs: 32 ms."""

THRESHOLD = 0.5
LEAST_SPEECH = 0.06  # seconds; what is shorter is a click
PAD = SAMPLE_RATE // 4  # samples kept before and after a stretch

_CONTEXT, _REFLECTED = 64, 64  # samples before a frame that the network sees, and after it
_HOP = 128  # samples between two spectra of a frame, of which there are four
_LAYERS = (("conv1", 1, 4), ("conv2", 2, 4), ("conv3", 2, 2), ("conv4", 1, 1))  # stride, and places that come in
# Half a second of silence before a clip: whole frames, and samples in the frame where it begins. It begins late in that frame,
# since an abrupt beginning in the middle of one is often taken for a plosive: noise passed for speech twice as often.
_LEAD_FRAMES, _LEAD = 15, 416
_FRAMES_TOGETHER = 1024  # in the layers before the LSTM; more leave the cache of a core
_PADDED_TOGETHER = 2**15  # frames of clips in lockstep, those that fill up included
_PAUSE = -(-2 * PAD // FRAME)  # frames; across a longer pause stretches do not change each other's edges


def probabilities(clips: Sequence[np.ndarray], threads: int = 1) -> list[np.ndarray]:
    """Compute how probable speech is, every 32 ms of each clip.

    Parameters
    ----------
    clips : sequence of ndarray, (samples,)
        float32 at 16 kHz. What comes out for one does not depend on the others, but for rounding.
    threads : int
        Groups of clips side by side, each on a core of its own.

    Returns
    -------
    list of ndarray, (ceil(samples / 512),)
        float32.

    Examples
    --------
    >>> [len(p) for p in probabilities([np.zeros(16_000, dtype=np.float32), np.zeros(512, dtype=np.float32)])]
    [32, 1]
    """
    network = _network()
    found: list[np.ndarray] = [np.zeros(0, dtype=np.float32)] * len(clips)
    groups = list(_groups([-(-len(clip) // FRAME) for clip in clips], threads))[::-1]  # the longest first

    def heard(rows: list[int]) -> list[np.ndarray]:
        return network.lockstep([clips[row] for row in rows])

    for rows, probable in zip(groups, side_by_side(heard, groups, threads), strict=True):
        for row, probability in zip(rows, probable, strict=True):
            found[row] = probability
    return found


def stretches(
    probability: np.ndarray, samples: int, *, threshold: float = THRESHOLD, least: float = LEAST_SPEECH
) -> list[tuple[int, int]]:
    """Turn probabilities of speech into stretches of it, as silero-vad does.

    Parameters
    ----------
    probability : ndarray, (ceil(samples / 512),)
        As from `probabilities`.
    samples : int
        Length of the clip.
    threshold : float
        Speech begins at this probability, and ends where it stays 0.15 below it for a tenth of a second.
    least : float
        Speech of less than so many seconds does not count.

    Returns
    -------
    list of (start, stop)
        In samples, ascending, with a quarter of a second before and after the speech, or half of the pause to the next stretch.

    Examples
    --------
    >>> stretches(np.repeat([0.1, 0.9, 0.1], 20).astype(np.float32), 30_720)
    [(6240, 24480)]
    """
    return _stretches(probability, samples, threshold, least, PAD)


def edges(probability: np.ndarray, samples: int) -> list[tuple[int, int]]:
    """Return where speech begins and ends, as `stretches` does, without what is kept before and after it.

    Parameters
    ----------
    probability : ndarray, (frames,)
        Of one clip, from `probabilities`.
    samples : int
        Length of the clip.

    Returns
    -------
    list of (start, stop)
        In samples, ascending.

    Examples
    --------
    >>> edges(np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0], np.float32), 5120)
    [(1024, 2560)]
    """
    return _stretches(probability, samples, THRESHOLD, LEAST_SPEECH, 0)


def joined(
    stretches: Iterable[tuple[int, int]], longest: int, probability: np.ndarray | None = None, *, pause: float = np.inf
) -> list[tuple[int, int]]:
    """Join neighbouring stretches as long as the whole, pauses included, is no longer than `longest`.

    Parameters
    ----------
    stretches : iterable of (start, stop)
        In samples, ascending.
    longest : int
        Samples.
    probability : ndarray, (frames,), optional
        A stretch that is too long is cut where speech is least probable in the second half of what it may last; after `longest`
        samples where no probabilities are given.
    pause : float
        The most samples between two stretches that are joined.

    Returns
    -------
    list of (start, stop)

    Raises
    ------
    ParameterError
        If `longest` is less than two frames of 512 samples.

    Examples
    --------
    >>> joined([(0, 4000), (6000, 9000), (20_000, 24_000)], 10_000)
    [(0, 9000), (20000, 24000)]
    """
    if longest < 2 * FRAME:
        raise ParameterError(f"longest must be at least {2 * FRAME} samples, but is {longest!r}.")
    found: list[tuple[int, int]] = []
    for start, stop in stretches:
        if found and stop - found[-1][0] <= longest and start - found[-1][1] <= pause:
            found[-1] = (found[-1][0], stop)
        else:
            found += _pieces(start, stop, longest, probability)
    return found


def chunks(blocks: Iterable[np.ndarray], longest: int, *, pause: float = np.inf) -> Iterator[tuple[int, np.ndarray]]:
    """Find speech along a stream, and cut it out, in memory that does not grow with the stream.

    Parameters
    ----------
    blocks : iterable of ndarray, (samples,)
        float32 at 16 kHz, as from `speech.audio.blocks`.
    longest : int
        The most samples of a chunk.
    pause : float
        The most samples between two stretches of speech in one chunk.

    Yields
    ------
    start : int
        The sample of the stream at which the chunk begins.
    samples : ndarray, (at most longest,)
        float32. The chunks are those of `joined(stretches(probability, samples), longest, probability)` for the whole stream.

    Raises
    ------
    ParameterError
        If `longest` is less than two frames of 512 samples.

    Examples
    --------
    >>> list(chunks([np.zeros(16_000, dtype=np.float32)] * 3, longest=30 * 16_000))
    []
    """
    return _chunks(blocks, _Plan(longest, pause))


def _chunks(blocks: Iterable[np.ndarray], plan: "_Plan") -> Iterator[tuple[int, np.ndarray]]:
    listener, tape = _Listener(), _Tape()
    for block in blocks:
        tape.add(block)
        for start, stop in plan.add(listener.add(block)):
            yield start, tape.cut(start, stop)
        tape.forget(plan.needed)
    for start, stop in plan.end(listener.end(), tape.stop):
        yield start, tape.cut(start, stop)


def _stretches(probability: np.ndarray, samples: int, threshold: float, least: float, pad: int) -> list[tuple[int, int]]:
    silero = load_framework("silero_vad")
    found = silero.get_speech_timestamps_from_probs(
        probability.tolist(),
        sampling_rate=SAMPLE_RATE,
        threshold=threshold,
        min_speech_duration_ms=1000 * least,
        speech_pad_ms=1000 * pad / SAMPLE_RATE,
        audio_length_samples=samples,
    )
    return [(int(one["start"]), int(one["end"])) for one in found]


def _pieces(start: int, stop: int, longest: int, probability: np.ndarray | None) -> list[tuple[int, int]]:
    found = []
    while stop - start > longest:
        cut = start + longest if probability is None else _quietest(start + longest // 2, start + longest, probability)
        found.append((start, cut))
        start = cut
    return [*found, (start, stop)]


def _quietest(first: int, last: int, probability: np.ndarray) -> int:
    """Return the middle of the least probable frame whose middle is in `(first, last]`, the latest of several."""
    low, high = (first - FRAME // 2) // FRAME + 1, (last - FRAME // 2) // FRAME + 1
    return int(high - 1 - np.argmin(probability[low:high][::-1])) * FRAME + FRAME // 2


def _groups(frames: Sequence[int], threads: int) -> Iterator[list[int]]:
    """Sort clips by length, and yield those that go in lockstep, one group a thread at least; empty clips are in none."""
    group: list[int] = []
    most = min(_PADDED_TOGETHER, math.ceil(sum(frames) / threads) + max(frames, default=0))
    for row in sorted((row for row, count in enumerate(frames) if count), key=lambda row: frames[row]):
        if group and (len(group) + 1) * frames[row] > most:
            yield group
            group = []
        group.append(row)
    if group:
        yield group


# ---------------------------------------------------------------- the network
State = tuple[Any, Any]  # of the LSTM, (1, clips, 128) each


class _Network:
    """Silero's network for 16 kHz; it keeps no state, so that threads can share it."""

    def __init__(self, weights: dict[str, Any]) -> None:
        torch = load_framework("torch")
        self.weights = weights
        self.window = weights["stft_conv.weight"][0, 0]  # times the cosine of nothing
        self.layers = [_Layer(weights, *layer) for layer in _LAYERS]
        names = {f"{name}_l0": weights[f"lstm_cell.{name}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
        self.lstm = torch.nn.LSTM(128, 128, batch_first=True, device="meta")  # without drawing random numbers
        self.lstm.load_state_dict(names, assign=True)
        self.lstm.requires_grad_(False)
        silence = np.zeros((_LEAD_FRAMES, _CONTEXT + FRAME), dtype=np.float32)
        with torch.inference_mode():
            self.after_silence: State = self.lstm(self._features(silence)[None])[1]

    def lockstep(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the probabilities of clips, none of them empty."""
        torch = load_framework("torch")
        counts = np.array([-(-len(clip) // FRAME) + 1 for clip in clips])  # one more: that in which the clip begins
        mask = torch.from_numpy(np.arange(counts.max()) < counts[:, None])
        with torch.inference_mode():
            features = self._features(np.concatenate([_framed(clip, count) for clip, count in zip(clips, counts, strict=True)]))
            padded = features.new_zeros(*mask.shape, features.shape[-1])
            padded[mask] = features
            state = tuple(part.expand(-1, len(clips), -1).contiguous() for part in self.after_silence)
            hidden, _ = self.lstm(padded, state)
            found = self._probability(hidden[mask]).numpy()
        return [part[1:] for part in np.split(found, np.cumsum(counts)[:-1])]

    def onward(self, frames: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Return the probabilities of a stream's next frames `(frames, 576)`, and the state after them."""
        with load_framework("torch").inference_mode():
            hidden, state = self.lstm(self._features(frames)[None], state)
            return self._probability(hidden[0]).numpy(), state

    def _features(self, frames: np.ndarray) -> Any:
        """From frames `(n, 576)` to what the LSTM sees, (n, 128)."""
        torch = load_framework("torch")
        parts = [frames[start : start + _FRAMES_TOGETHER] for start in range(0, len(frames), _FRAMES_TOGETHER)]
        return torch.cat([self._seen(torch.from_numpy(np.require(part, np.float32, ["C", "W"]))) for part in parts])

    def _seen(self, frames: Any) -> Any:
        torch = load_framework("torch")
        x = torch.nn.functional.pad(frames, (0, _REFLECTED), "reflect").unfold(1, len(self.window), _HOP)
        spectrum = torch.fft.rfft(x * self.window)
        x = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag).sqrt_()
        for layer in self.layers:
            x = layer(x)
        return x[:, 0]

    def _probability(self, hidden: Any) -> Any:
        weight, bias = self.weights["final_conv.weight"], self.weights["final_conv.bias"]
        return (hidden.relu() @ weight[0, :, 0] + bias).sigmoid()


class _Layer:
    """A convolution over the few places of a frame, (n, places, channels), as one product of matrices a place: twice as quick."""

    def __init__(self, weights: dict[str, Any], name: str, stride: int, places: int) -> None:
        self.bias, self.products = weights[f"{name}.bias"], []
        for place in range(0, places, stride):
            first, last = max(place - 1, 0), min(place + 2, places)  # beyond these there is nothing
            taps = weights[f"{name}.weight"][:, :, first - place + 1 : last - place + 1]
            self.products.append((first, last, taps.transpose(1, 2).flatten(1)))

    def __call__(self, x: Any) -> Any:
        torch = load_framework("torch")
        linear = torch.nn.functional.linear
        return torch.stack([linear(x[:, a:b].flatten(1), taps, self.bias) for a, b, taps in self.products], dim=1).relu_()


@functools.cache
def _network() -> _Network:
    file = Path(str(load_framework("silero_vad").__file__)).parent / "data" / "silero_vad_16k.safetensors"
    if not file.exists():
        raise ImportError(f'{file} is missing. Get a version of silero-vad that has it: pip install "silero-vad>=6.2.3,<7".')
    return _Network(load_framework("safetensors.torch", extra="speech").load_file(file))


def _framed(samples: np.ndarray, count: int) -> np.ndarray:
    """Cut a clip into `count` frames with their contexts, (count, 576), silence before and after it."""
    padded = np.zeros(_CONTEXT + count * FRAME, dtype=np.float32)
    begin = _CONTEXT + _LEAD
    kept = samples[: len(padded) - begin]
    padded[begin : begin + len(kept)] = kept
    return _windows(padded)


def _windows(samples: np.ndarray) -> np.ndarray:
    """View samples, the context first, as frames with their contexts."""
    found: np.ndarray = np.lib.stride_tricks.sliding_window_view(samples, _CONTEXT + FRAME)[::FRAME]
    return found


# ---------------------------------------------------------------- streams
class _Listener:
    """The probabilities of a stream, block by block, as `probabilities` gives them for the whole."""

    def __init__(self) -> None:
        self.state = _network().after_silence
        self.rest = np.zeros(_CONTEXT + _LEAD, dtype=np.float32)  # what is not in a whole frame yet, after its context
        self.samples = self.given = 0
        self.first = True

    def add(self, block: np.ndarray) -> np.ndarray:
        """Return the probabilities of the frames that the block completes."""
        self.samples += len(block)
        samples = np.concatenate([self.rest, block], dtype=np.float32)
        whole = (len(samples) - _CONTEXT) // FRAME
        if not whole:
            self.rest = samples
            return np.zeros(0, dtype=np.float32)
        self.rest = samples[whole * FRAME :]
        found, self.state = _network().onward(_windows(samples[: _CONTEXT + whole * FRAME]), self.state)
        found = found[1:] if self.first else found  # the frame in which the stream begins
        self.first = False
        self.given += len(found)
        return found

    def end(self) -> np.ndarray:
        """Return the probabilities that are left, the last frame filled up."""
        left = -(-self.samples // FRAME) - self.given
        if not left:
            return np.zeros(0, dtype=np.float32)
        samples = self.samples
        found = self.add(np.zeros((left + self.first) * FRAME, dtype=np.float32))
        self.samples = samples
        return found[:left]


class _Tape:
    """The samples of a stream that are still needed."""

    def __init__(self) -> None:
        self.blocks: deque[np.ndarray] = deque()
        self.start = self.stop = 0

    def add(self, block: np.ndarray) -> None:
        self.blocks.append(block)
        self.stop += len(block)

    def cut(self, start: int, stop: int) -> np.ndarray:
        parts, place = [], self.start
        for block in self.blocks:
            parts.append(block[max(0, start - place) : max(0, stop - place)])
            place += len(block)
        return np.concatenate(parts, dtype=np.float32)

    def forget(self, before: int) -> None:
        while self.blocks and self.start + len(self.blocks[0]) <= before:
            self.start += len(self.blocks.popleft())


class _Plan:
    """The chunks of a stream, each given as soon as nothing to come can change it.

    Stretches are found again and again in the probabilities since `origin`, a frame in a pause that cuts off all that was before:
    silero's own function decides what is speech. Of what it finds, the last stretch may grow, end earlier, or vanish, as long as
    it is not certain that it has ended, so that only what is known of it counts.
    """

    def __init__(self, longest: int, pause: float) -> None:
        joined([], longest)  # checks it
        self.longest, self.pause = longest, pause
        self.origin = self.given = 0  # frame; chunks since then that were given
        self.probability = np.zeros(0, dtype=np.float32)
        self.needed = 0  # the first sample that a chunk may still want

    def add(self, probability: np.ndarray) -> list[tuple[int, int]]:
        """Take in what was heard; return the chunks that are certain, in samples of the stream."""
        self.probability = np.concatenate([self.probability, probability])
        known, heard, ended = self._known()
        found = joined(known, self.longest, self.probability, pause=self.pause)
        over = ended and bool(found) and heard - found[-1][0] > self.longest
        certain = len(found) if over else max(len(found) - 1, 0)
        pending, offset = found[certain:], self.origin * FRAME
        given, self.given = found[self.given : certain], certain
        self.needed = offset + min([heard - PAD, *(start for start, _ in pending)])
        self._restart(pending, heard, ended)
        return [(start + offset, stop + offset) for start, stop in given]

    def end(self, probability: np.ndarray, samples: int) -> list[tuple[int, int]]:
        """Return the chunks that are left, now that the stream is known to have so many samples."""
        self.probability, offset = np.concatenate([self.probability, probability]), self.origin * FRAME
        known = stretches(self.probability, samples - offset)
        found = joined(known, self.longest, self.probability, pause=self.pause)
        return [(start + offset, stop + offset) for start, stop in found[self.given :]]

    def _known(self) -> tuple[list[tuple[int, int]], int, bool]:
        """Return the stretches, the last as short as it may turn out; up to which sample all is known; whether all have ended."""
        heard = len(self.probability)
        raw = _stretches(self.probability, heard * FRAME, THRESHOLD, 0.0, 0)
        if raw and raw[-1][1] == heard * FRAME:  # still going on: what is certain ends with the last frame above the threshold
            sure = int(np.flatnonzero(self.probability >= THRESHOLD)[-1]) + 1
            enough = (sure * FRAME - raw[-1][0]) > LEAST_SPEECH * SAMPLE_RATE
            heard = sure if enough else raw[-1][0] // FRAME
            known = stretches(self.probability[:heard], heard * FRAME)
            if enough:
                return known, heard * FRAME, False
        else:
            known = stretches(self.probability, heard * FRAME)
        ended = not raw or heard * FRAME - self._last_end(heard) >= _PAUSE * FRAME
        if known and not ended:
            known[-1] = (known[-1][0], self._last_end(heard))
        return known, heard * FRAME, ended

    def _last_end(self, heard: int) -> int:
        """Return where the last stretch ends without what is kept after it."""
        raw = _stretches(self.probability[:heard], heard * FRAME, THRESHOLD, LEAST_SPEECH, 0)
        return raw[-1][1] if raw else -_PAUSE * FRAME

    def _restart(self, pending: list[tuple[int, int]], heard: int, ended: bool) -> None:
        """Forget the probabilities before the last pause that cuts off what was before it."""
        if pending:
            first = pending[0][0] + PAD  # where speech begins, if the pause before it is long
            if first % FRAME:
                return  # half of a short pause, or a piece of a long stretch
            keep = first // FRAME
        elif ended:
            keep = heard // FRAME
        else:
            return
        keep -= _PAUSE // 2
        if keep > 0:
            self.probability = self.probability[keep:]
            self.origin, self.given = self.origin + keep, 0
