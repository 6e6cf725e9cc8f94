"""Speech: word errors of networks from scratch, and cost beside openai-whisper and faster-whisper with the same weights.

Run `python -m benchmarks.speech [name …]`; the names are the functions in `BENCHMARKS`. Reads `../shared/data/speech`.
"""

import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines.engines import load_framework, usable_cores
from speech import SpeechTranscriber, audio

from .common import SHARED, Apart, in_turns, run

DATA = SHARED / "speech"
SEEDS = (0, 1, 2)
RATE = audio.SAMPLE_RATE
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZES = {"tiny": (384, 4), "base": (512, 6), "small": (768, 12)}  # units and layers of OpenAI's networks; heads have 64 units
Part = tuple[list[Any], list[str]]


# ---------------------------------------------------------------- data
def fsdd(split: str, *, small: bool = False) -> Part:
    """Return recordings of single digits (six speakers, 8 kHz) in the official split, and their words."""
    table = pd.read_csv(DATA / "fsdd" / "metadata.csv")
    table = table[(table["split"] == split) & ((table["in_small"] == "yes") | (not small))]
    return [str(DATA / "fsdd" / file) for file in table["file"]], [DIGITS[digit] for digit in table["digit"]]


def yesno(split: str) -> Part:
    """Return recordings of eight Hebrew words each, yes or no."""
    table = pd.read_csv(DATA / "yesno" / "metadata.csv")
    table = table[table["split"] == split]
    return [str(DATA / "yesno" / file) for file in table["file"]], table["transcript"].tolist()


@cache
def strings(seconds: float = 10.0, count: int = 30) -> tuple[list[np.ndarray], list[str], list[list[float]]]:
    """Join official test digits to recordings of so many seconds; returned with their words and where each digit begins."""
    files, words = fsdd("test")
    waves = [audio.read(file) for file in files]
    rng = np.random.default_rng(0)
    joined, texts, starts = [], [], []
    for _ in range(count):
        parts: list[int] = []
        while sum(len(waves[i]) for i in parts) < seconds * RATE:
            parts.append(int(rng.integers(len(waves))))
        parts.pop()
        ends = np.cumsum([len(waves[i]) for i in parts])
        joined.append(np.concatenate([waves[i] for i in parts]))
        texts.append(" ".join(words[i] for i in parts))
        starts.append([0.0, *(ends[:-1] / RATE).tolist()])
    return joined, texts, starts


def not_speech(count: int = 50) -> list[np.ndarray]:
    """Make silence, hiss, hum, clicks and chords, of 1 to 8 seconds."""
    rng = np.random.default_rng(0)
    found = []
    for i in range(count):
        n = int(rng.uniform(1, 8) * RATE)
        t = np.arange(n) / RATE
        kinds: list[Callable[[], np.ndarray]] = [
            lambda n=n: np.zeros(n),
            lambda n=n: rng.normal(0, 10 ** rng.uniform(-4, -0.7), n),
            lambda t=t: 0.2 * np.sin(2 * np.pi * rng.uniform(50, 120) * t) + 0.02 * rng.normal(size=len(t)),
            lambda n=n: (rng.random(n) < 5 / RATE) * rng.uniform(-1, 1, n),
            lambda t=t: sum(
                0.1 * np.sin(2 * np.pi * f * t) * np.exp(-((t % 0.5) * 4)) for f in 220 * 2 ** (rng.integers(0, 24, 4) / 12)
            ),
        ]
        found.append(np.clip(kinds[i % 5](), -1, 1).astype(np.float32))
    return found


# ---------------------------------------------------------------- how good
@cache
def digits_model(seed: int) -> SpeechTranscriber:
    """Fit the small part from scratch, with defaults."""
    return SpeechTranscriber(weights=None, seed=seed, verbose=0).fit(*fsdd("train", small=True))


def _errors(model: SpeechTranscriber, part: Part) -> float:
    return round(model.evaluate(*part).metrics["wer"], 4)


def digits() -> dict[str, Any]:
    """360 recordings to learn from, 300 to judge, three seeds."""
    return _by_seed([digits_model(seed) for seed in SEEDS], fsdd("test"))


def _by_seed(models: list[SpeechTranscriber], part: Part) -> dict[str, Any]:
    found = [_errors(model, part) for model in models]
    return {
        "wer": found,
        "wer_mean": round(statistics.mean(found), 4),
        "fit_s": [round(model.fit_seconds_) for model in models],
    }


def all_digits() -> dict[str, Any]:
    """All 2,700 recordings to learn from, one seed."""
    model = SpeechTranscriber(weights=None, verbose=0).fit(*fsdd("train"))
    return {"wer": _errors(model, fsdd("test")), "fit_s": round(model.fit_seconds_)}


def eight_words() -> dict[str, Any]:
    """31 recordings of eight words to learn from, 29 to judge, three seeds."""
    models = [SpeechTranscriber(weights=None, seed=seed, verbose=0).fit(*yesno("train")) for seed in SEEDS]
    return _by_seed(models, yesno("test"))


def digit_strings() -> dict[str, Any]:
    """Ten-second strings of digits, by the network that learned from single ones; and when each begins."""
    waves, texts, starts = strings()
    model = digits_model(SEEDS[0]).set_params(word_times=True)
    said = model.predict(waves)
    model.set_params(word_times=False)
    wer = load_framework("jiwer").wer(texts, [str(one) for one in said])
    late = [late for one, text, known in zip(said, texts, starts, strict=True) for late in _late(one, text, known)]
    right = sum(str(one) == text for one, text in zip(said, texts, strict=True))
    median = round(float(np.median(late)), 3) if late else None
    return {"strings": len(texts), "wer": round(wer, 4), "right": right, "word_start_error_s": median, "words": len(late)}


def _late(transcript: Any, text: str, starts: list[float]) -> list[float]:
    """Return by how many seconds each word that was heard right is away from where it begins."""
    times = [word.start for word in _words(transcript)]
    found = load_framework("jiwer").process_words(text, " ".join(word.text.strip() for word in _words(transcript)) or "-")
    same = [chunk for chunk in found.alignments[0] if chunk.type == "equal"]
    return [
        abs(times[chunk.hyp_start_idx + i] - starts[chunk.ref_start_idx + i])
        for chunk in same
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]


def _words(transcript: Any) -> list[Any]:
    return [word for segment in transcript.segments for word in segment.words]


def silence() -> dict[str, Any]:
    """Transcribe what is no speech; and speech after five seconds of silence."""
    model = digits_model(SEEDS[0]).set_params(word_times=True)
    with_text = sum(bool(str(one)) for one in model.predict(not_speech()))
    waves = [audio.read(file) for file in fsdd("test")[0]]
    plain = model.predict(waves)
    late = model.predict([np.concatenate([np.zeros(5 * RATE, np.float32), wave]) for wave in waves])
    model.set_params(word_times=False)
    same = [(_words(a), _words(b)) for a, b in zip(plain, late, strict=True) if str(a) == str(b)]
    shifts = [y.start - x.start for a, b in same for x, y in zip(a, b, strict=True)]
    return {
        "not_speech": 50,
        "with_text": with_text,
        "padded": len(waves),
        "same_words": len(same),
        "shift_s": [round(float(np.min(shifts)), 3), round(float(np.median(shifts)), 3), round(float(np.max(shifts)), 3)],
    }


# ---------------------------------------------------------------- how quick
def throughput() -> dict[str, Any]:
    """Transcribe the same recordings with the same weights: ours, openai-whisper, faster-whisper in int8."""
    files, _ = fsdd("test")
    short = [audio.read(file) for file in files]
    kinds = {
        "up_to_2_s": _compared([wave for wave in short if len(wave) <= 2 * RATE][:100]),
        "10_s": _compared(strings()[0][:20]),
    }
    return {**kinds, "both_times_faster": {peer: _times_faster(kinds.values(), peer) for peer in ("openai", "faster")}}


def _times_faster(kinds: Iterable[dict[str, Any]], peer: str) -> float:
    ours, theirs = (sum(kind[peer][side] for kind in kinds) for side in ("ours_s", "theirs_s"))
    return round(theirs / ours, 1)


def _compared(waves: list[np.ndarray]) -> dict[str, Any]:
    model = digits_model(SEEDS[0])
    whisper = load_framework("whisper")
    with tempfile.TemporaryDirectory() as folder:
        model.export(Path(folder, "model.pt"))
        model.export(Path(folder, "ctranslate2"), format="ctranslate2")
        theirs = whisper.load_model(str(Path(folder, "model.pt")))
        # where CTranslate2 has run, PyTorch's threads are half as quick from then on
        faster_int8 = Apart(_faster_int8, str(Path(folder, "ctranslate2")), waves)

        def ours() -> list[str]:
            return [str(one) for one in model.predict(waves)]

        def openai() -> list[str]:
            return [theirs.transcribe(wave, temperature=0, language="en", fp16=False)["text"].strip() for wave in waves]

        said = ours()
        alone = [str(model.predict([wave])[0]) for wave in waves]
        found: dict[str, Any] = {
            "recordings": len(waves),
            "equal_to_one_by_one": sum(a == b for a, b in zip(said, alone, strict=True)),
        }
        for name, other in (("openai", openai), ("faster", faster_int8)):
            equal = sum(a == b for a, b in zip(said, other(), strict=True))
            timed = in_turns(ours, other, runs=5)
            found[name] = {**timed, "times_faster": round(1 / timed["ratio"], 1), "equal_texts": equal}
        return found


def _faster_int8(folder: str, waves: list[np.ndarray]) -> Callable[[], list[str]]:
    model = load_framework("faster_whisper").WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=usable_cores())
    plain = {"language": "en", "beam_size": 1, "temperature": 0, "without_timestamps": True}
    return lambda: ["".join(part.text for part in model.transcribe(wave, **plain)[0]).strip() for wave in waves]


def tiny() -> dict[str, Any]:
    """Encode 3-second clips and write 12 tokens each, by networks of Whisper-tiny's size with random weights."""
    from speech import decoding, features
    from speech.vocabulary import Vocabulary

    torch, whisper = load_framework("torch"), load_framework("whisper")
    network = _random(*SIZES["tiny"])
    network.decoder.token_embedding.weight.data.mul_(10)
    vocabulary = Vocabulary(vars(network.dims), None, "en", may_be_empty=False)
    waves = torch.randn(32, 3 * RATE) * 0.1

    def ours() -> None:
        decoding.decode(network, decoding.hear(network, features.log_mel(waves)), vocabulary, most=12)

    def theirs() -> None:
        options = whisper.DecodingOptions(language="en", without_timestamps=True, fp16=False, sample_len=12)
        for wave in waves:
            whisper.decode(network, whisper.log_mel_spectrogram(whisper.pad_or_trim(wave)), options)

    ours()
    timed = in_turns(ours, theirs, runs=3)
    return {"clips": len(waves), **timed, "times_faster": round(1 / timed["ratio"], 1)}


def _random(units: int, layers: int) -> Any:
    """Make a Whisper of a size, with random weights."""
    from speech import networks

    load_framework("torch").manual_seed(0)
    heads = units // 64
    return networks.build({**networks.small(units, layers), "n_audio_head": heads, "n_text_head": heads}).eval()


def bfloat16() -> dict[str, Any]:
    """Hear 30 s in bfloat16 beside single precision, with random weights; and what a network from scratch mishears so."""
    from speech import decoding, runtime

    found: dict[str, Any] = {}
    for name, size in SIZES.items():
        network, mel = _random(*size), load_framework("torch").randn(1, 80, 3000)
        both = [partial(hear, network, mel) for hear in (runtime.hear_in_bfloat16, decoding.hear)]
        for hear in both:
            hear()
        timed = in_turns(*both, runs=5)
        found[name] = {**timed, "times_faster": round(1 / timed["ratio"], 1)}
    model, (files, texts) = digits_model(SEEDS[0]), fsdd("test")
    recordings = [*files, *strings()[0]]
    said = {}
    for kind in ("torch", "torch-bf16"):
        model.set_params(runtime=kind)
        said[kind] = [str(one) for one in model.predict(recordings)]
        found[f"wer_{kind}"] = _errors(model, (files, texts))
    model.set_params(runtime="torch")
    equal = sum(a == b for a, b in zip(*said.values(), strict=True))
    return {**found, "recordings": len(recordings), "equal_texts": equal}


BENCHMARKS: dict[str, Callable[[], Any]] = {
    "digits": digits,
    "all_digits": all_digits,
    "eight_words": eight_words,
    "digit_strings": digit_strings,
    "silence": silence,
    "throughput": throughput,
    "tiny": tiny,
    "bfloat16": bfloat16,
}

if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=".*FP16 is not supported.*")
    run(BENCHMARKS)
