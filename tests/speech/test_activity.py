"""Voice activity: the probabilities are silero's, alone or in a batch or in a stream, and short clips are not lost."""

import csv
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from pipelines.engines import load_framework
from pipelines.errors import ParameterError
from speech import activity
from speech.activity import FRAME, chunks, joined, probabilities, stretches
from speech.audio import blocks, read
from speech.synthesis import speak

from ..conftest import SHARED

DATA = SHARED / "speech"


@pytest.fixture(scope="module")
def clips():
    """Clips of many lengths, with speech, silence and noise in them."""
    random = np.random.default_rng(0)
    noise = 0.05 * random.standard_normal(20_000).astype(np.float32)
    spoken = [speak(text, voice=voice) for text in ("seven", "turn left and stop") for voice in ("en", "en-us+f3", "en+m3")]
    silence = np.zeros(7000, dtype=np.float32)
    long = np.concatenate([silence, spoken[3], silence, spoken[0], noise, spoken[4], silence])
    return [*spoken, silence, noise, long, long[:1], long[:511], long[:512], long[:513], spoken[0][:3000]]


@pytest.fixture(scope="module")
def talk():
    """Half a minute with pauses of all lengths."""
    random = np.random.default_rng(1)
    parts = []
    for text in ("one two three", "stop", "the quick brown fox jumps over the lazy dog", "seven", "turn left and stop") * 2:
        parts += [speak(text, voice="en-us+m3"), np.zeros(random.integers(500, 40_000), dtype=np.float32)]
    return np.concatenate(parts)


def synthetic(seed, n=50):
    """Return clips without speech: silence, white, pink and brown noise, and notes."""
    random, found = np.random.default_rng(seed), []
    for i in range(n):
        samples, level = int(random.uniform(0.5, 5) * 16_000), 10 ** random.uniform(-3, -0.3)
        white = random.standard_normal(samples)
        if i % 5 == 0:
            clip = np.zeros(samples) if i % 10 == 0 else 1e-4 * white
        elif i % 5 < 4:
            spectrum = np.fft.rfft(white)
            spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** ((i % 5 - 1) / 2)
            clip = np.fft.irfft(spectrum, samples)
            clip *= level / np.abs(clip).max()
        else:
            clip = _notes(random, samples)
        found.append(clip.astype(np.float32))
    return found


def _notes(random, samples):
    steps = np.repeat(2 ** (random.integers(-12, 12, size=samples // 4000 + 1) / 12), 4000)[:samples]
    phase = 2 * np.pi * np.cumsum(random.uniform(80, 800) * steps) / 16_000
    decay = np.exp(-(np.arange(samples) % 4000) / random.uniform(800, 8000))
    clip = sum(np.sin(k * phase) / k for k in range(1, 5)) * decay
    return clip / np.abs(clip).max() * random.uniform(0.1, 0.9)


# ---------------------------------------------------------------- probabilities
def test_network_is_silero_s(clips):
    """With the numbers of silero's TorchScript file in it, our network says what that file says, to the rounding."""
    silero, torch = load_framework("silero_vad"), load_framework("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
        script = silero.load_silero_vad()
    layers = [f"conv{i}.{part}" for i in range(1, 5) for part in ("weight", "bias")]
    names = [*layers, *(f"lstm_cell.{part}" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))]
    names += ["final_conv.weight", "final_conv.bias"]
    weights = {name: value.detach() for name, (_, value) in zip(names, script._model.named_parameters(), strict=True)}
    weights["stft_conv.weight"] = activity._network().weights["stft_conv.weight"]
    network = activity._Network(weights)
    for clip in clips[:9]:
        silence = np.zeros(activity._LEAD_FRAMES * FRAME + activity._LEAD, dtype=np.float32)
        with torch.no_grad():
            expected = script.audio_forward(torch.from_numpy(np.concatenate([silence, clip]))[None], 16_000)[0].numpy()
        found = network.lockstep([clip])[0]
        assert len(found) == -(-len(clip) // FRAME)
        compared = min(len(found), len(expected) - activity._LEAD_FRAMES - 1)
        begin = activity._LEAD_FRAMES + 1
        assert np.abs(found[:compared] - expected[begin : begin + compared]).max() < 1e-4


def test_batch_and_one_by_one(clips):
    together = probabilities(clips)
    for clip, probability in zip(clips, together, strict=True):
        assert probability.dtype == np.float32
        assert probability.shape == (-(-len(clip) // FRAME),)
        assert np.abs(probability - probabilities([clip])[0]).max() < 1e-4
    for found, probability in zip(probabilities(clips[::-1]), together[::-1], strict=True):
        assert np.abs(found - probability).max() < 1e-4


def test_many_groups(clips, monkeypatch):
    together = probabilities(clips)
    monkeypatch.setattr(activity, "_PADDED_TOGETHER", 50)
    monkeypatch.setattr(activity, "_FRAMES_TOGETHER", 7)
    for found, probability in zip(probabilities(clips), together, strict=True):
        assert np.abs(found - probability).max() < 1e-4


@pytest.mark.parametrize("threads", [2, 3, 50])
def test_groups_side_by_side(clips, threads):
    for found, probability in zip(probabilities(clips, threads), probabilities(clips), strict=True):
        assert np.abs(found - probability).max() < 1e-4


def test_no_clips_and_empty_clips():
    assert probabilities([]) == probabilities([], threads=2) == []
    empty = np.zeros(0, dtype=np.float32)
    assert [len(found) for found in probabilities([empty, np.zeros(600, dtype=np.float32), empty])] == [0, 2, 0]
    assert stretches(empty, 0) == []


def test_speech_is_more_probable(clips):
    found = probabilities(clips[:8])
    assert all(probability.max() > 0.8 for probability in found[:6])
    assert all(probability.max() < 0.5 for probability in found[6:])


def test_threads(clips):
    together = probabilities(clips)
    with ThreadPoolExecutor(4) as pool:
        for several in pool.map(probabilities, [clips] * 8):
            assert all(np.abs(a - b).max(initial=0) < 1e-4 for a, b in zip(several, together, strict=True))


def test_nothing_of_pytorch_s_is_changed(run_python):
    code = """
import numpy as np, torch, warnings
warnings.simplefilter("error")
torch.set_num_threads(2); torch.manual_seed(0)
before = torch.random.get_rng_state()
from speech.activity import probabilities, stretches
(found,) = probabilities([np.zeros(9000, dtype=np.float32)])
stretches(found, 9000)
print(torch.get_num_threads(), torch.equal(before, torch.random.get_rng_state()), torch.is_grad_enabled())
"""
    done = run_python(code, env={"OMP_NUM_THREADS": "2"})
    assert done.stdout.split() == ["2", "True", "True"], done.stderr
    assert done.stderr == ""


def test_import_loads_nothing(run_python):
    done = run_python("import speech.activity, sys; print([m for m in ('torch', 'silero_vad', 'numba') if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_speed():
    clips = [np.random.default_rng(i).standard_normal(7000).astype(np.float32) * 0.01 for i in range(200)]
    probabilities(clips)
    start = time.process_time()
    probabilities(clips)
    assert (time.process_time() - start) / len(clips) < 0.005  # a quarter of a millisecond on an idle machine


def test_weights_that_are_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(activity, "load_framework", lambda name: SimpleNamespace(__file__=str(tmp_path / "__init__.py")))
    with pytest.raises(ImportError, match=r"silero_vad_16k\.safetensors is missing"):
        activity._network.__wrapped__()


# ---------------------------------------------------------------- stretches
def test_stretches_are_those_of_silero(clips):
    """Silero's other function gives the same, with a model that replays the probabilities."""
    silero, torch = load_framework("silero_vad"), load_framework("torch")
    for clip, probability in zip(clips, probabilities(clips), strict=True):
        expected = silero.get_speech_timestamps(
            torch.from_numpy(clip), _Replay(probability), threshold=0.5, min_speech_duration_ms=60, speech_pad_ms=250
        )
        assert stretches(probability, len(clip)) == [(one["start"], one["end"]) for one in expected]


class _Replay:
    def __init__(self, probability):
        self.values = iter(probability)

    def reset_states(self):
        pass

    def __call__(self, samples, rate):
        return next(self.values)


def test_edges():
    probability = np.full(40, 0.1, dtype=np.float32)
    probability[10:20] = 0.9
    assert stretches(probability, 40 * FRAME) == [(10 * FRAME - 4000, 20 * FRAME + 4000)]
    probability[26:30] = 0.9  # a pause of 3072 samples: half of it belongs to each side
    middle = 23 * FRAME
    assert stretches(probability, 40 * FRAME) == [(10 * FRAME - 4000, middle), (middle, 30 * FRAME + 4000)]
    probability[:] = 0.9
    assert stretches(probability, 39 * FRAME + 5) == [(0, 39 * FRAME + 5)]


def test_short_speech():
    probability = np.full(40, 0.1, dtype=np.float32)
    probability[10] = 0.9
    assert stretches(probability, 40 * FRAME) == []
    assert len(stretches(probability, 40 * FRAME, least=0.03)) == 1
    probability[11] = 0.55
    assert len(stretches(probability, 40 * FRAME)) == 1
    probability[10] = 0.55
    assert stretches(probability, 40 * FRAME, threshold=0.6) == []


# ---------------------------------------------------------------- joined
def test_joined():
    assert joined([], 10_000) == []
    assert joined([(0, 4000), (6000, 9000), (20_000, 24_000)], 10_000) == [(0, 9000), (20_000, 24_000)]
    assert joined([(0, 4000), (6000, 9000)], 9000) == [(0, 9000)]
    assert joined([(0, 4000), (6000, 9000)], 8999) == [(0, 4000), (6000, 9000)]
    assert joined([(0, 25_000)], 10_000) == [(0, 10_000), (10_000, 20_000), (20_000, 25_000)]
    assert joined([(0, 25_000), (26_000, 29_000)], 10_000) == [(0, 10_000), (10_000, 20_000), (20_000, 29_000)]


def test_cut_where_speech_is_least_probable():
    probability = np.full(100, 0.9, dtype=np.float32)
    probability[[3, 30, 70]] = 0.2, 0.5, 0.4
    found = joined([(0, 51_200)], 20_000, probability)
    assert found[0] == (0, 30 * FRAME + 256)  # not at frame 3, in the first half of what a piece may last
    assert all(0 < stop - start <= 20_000 for start, stop in found)
    assert [stop for _, stop in found[:-1]] == [start for start, _ in found[1:]]
    assert found[-1][1] == 51_200


def test_joined_keeps_all_speech():
    random = np.random.default_rng(0)
    for _ in range(200):
        edges = np.sort(random.choice(300_000, size=2 * random.integers(1, 20), replace=False)).reshape(-1, 2).tolist()
        longest = int(random.integers(1024, 60_000))
        probability = random.random(600).astype(np.float32) if random.random() < 0.5 else None
        found = joined([tuple(edge) for edge in edges], longest, probability)
        assert all(0 < stop - start <= longest for start, stop in found)
        assert all(before[1] <= after[0] for before, after in pairwise(found))
        covered = np.zeros(300_000, dtype=bool)
        for start, stop in found:
            covered[start:stop] = True
        assert all(covered[start:stop].all() for start, stop in edges)


def test_stretches_further_apart_than_a_pause_stay_apart():
    assert joined([(0, 4000), (6000, 9000), (20_000, 24_000)], 100_000, pause=2000) == [(0, 9000), (20_000, 24_000)]
    assert joined([(0, 4000), (6000, 9000), (20_000, 24_000)], 100_000) == [(0, 24_000)]


@pytest.mark.parametrize("longest", [0, -5, 1023])
def test_longest_that_is_too_short(longest):
    with pytest.raises(ParameterError, match="longest must be at least 1024 samples"):
        joined([(0, 4000)], longest)
    with pytest.raises(ParameterError, match="longest must be at least 1024 samples"):
        chunks([], longest)


# ---------------------------------------------------------------- streams
def whole(samples, longest, **options):
    (probability,) = probabilities([samples])
    return joined(stretches(probability, len(samples)), longest, probability, **options)


@pytest.mark.parametrize("longest", [30 * 16_000, 40_000, 9000])
@pytest.mark.parametrize("size", [700, 16_000, 100_000, 10**7])
def test_stream_gives_what_the_whole_gives(talk, longest, size):
    found = list(chunks((talk[start : start + size] for start in range(0, len(talk), size)), longest))
    assert [(start, start + len(samples)) for start, samples in found] == whole(talk, longest)
    assert all(np.array_equal(samples, talk[start : start + len(samples)]) for start, samples in found)


def test_stream_of_odd_blocks(clips):
    for clip in clips:
        found = list(chunks([clip[:0], clip[:1], clip[1:300], clip[300:], clip[:0]], 20_000))
        assert [(start, start + len(samples)) for start, samples in found] == whole(clip, 20_000)
    assert list(chunks([], 20_000)) == []


@pytest.mark.parametrize("seed", range(60))
def test_plan_of_any_probabilities(seed):
    """No future may change a chunk that was given, nor want a sample that was let go."""
    random = np.random.default_rng(seed)
    stay = random.choice([0.5, 0.8, 0.95, 0.99], 2)
    speech = np.zeros(random.integers(1, 1500), dtype=bool)
    for i in range(1, len(speech)):
        speech[i] = speech[i - 1] ^ (random.random() > stay[int(speech[i - 1])])
    spread = random.choice([0.05, 0.2, 0.35, 0.1])
    probability = np.clip(np.where(speech, 0.75, 0.2) + spread * random.standard_normal(len(speech)), 0, 1).astype(np.float32)
    samples = len(probability) * FRAME - int(random.integers(0, FRAME))
    longest = int(random.choice([1024, 5000, 16_000, 48_000, 160_000, 480_000]))
    pause = float(random.choice([0, 4000, 16_000, np.inf]))
    plan, found, needed, start = activity._Plan(longest, pause), [], 0, 0
    while start < len(probability) - 1:
        stop = min(start + int(random.integers(0, [3, 40, 400][seed % 3])), len(probability) - 1)
        given = plan.add(probability[start:stop])
        assert all(chunk[0] >= needed and chunk[1] <= stop * FRAME for chunk in given)
        found, needed, start = found + given, plan.needed, stop
    given = plan.end(probability[start:], samples)
    assert all(chunk[0] >= needed for chunk in given)
    assert found + given == joined(stretches(probability, samples), longest, probability, pause=pause)


def test_stream_needs_little_memory(talk):
    """Nothing is held for longer than a chunk, in speech with pauses, in speech without any, and in silence."""
    held = []
    for speech in (talk, np.tile(speak("seven", voice="en-us+m3"), 30), np.zeros(16_000, dtype=np.float32)):
        plan, tape, listener = activity._Plan(160_000, np.inf), activity._Tape(), activity._Listener()
        for _ in range(400 * 16_000 // len(speech)):
            for start in range(0, len(speech), 16_000):
                tape.add(speech[start : start + 16_000])
                plan.add(listener.add(speech[start : start + 16_000]))
                tape.forget(plan.needed)
                held.append(sum(map(len, tape.blocks)))
    assert max(held) < 160_000 + 5 * 16_000


# ---------------------------------------------------------------- real recordings
@pytest.mark.shared_data
def test_short_clips_are_not_lost():
    with open(DATA / "fsdd" / "metadata.csv", newline="") as file:
        names = [row["file"] for row in csv.DictReader(file) if row["split"] == "test"]
    clips = [read(DATA / "fsdd" / name) for name in names]
    assert len(clips) == 300
    found = zip(probabilities(clips), clips, strict=True)
    assert all(stretches(probability, len(clip)) for probability, clip in found)


def test_what_is_no_speech():
    for seed in range(3):
        clips = synthetic(seed)
        passed = [bool(stretches(p, len(clip))) for p, clip in zip(probabilities(clips), clips, strict=True)]
        assert sum(passed) <= 6  # of 50
        assert not any(passed[i] for i in range(50) if i % 5 < 4)  # notes alone are taken for speech, never noise or silence


@pytest.mark.shared_data
def test_marked_boundaries():
    with open(DATA / "vad_noise_rir" / "vad.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        clip = read(DATA / "vad_noise_rir" / row["file"])[int(row["start_sample"]) : int(row["stop_sample"])]
        marked = np.zeros(len(clip), dtype=bool)
        times = [int(16_000 * float(t)) for t in row["speech_boundaries_s"].split()]
        for start, stop in zip(times[::2], times[1::2], strict=True):
            marked[start:stop] = True
        found = np.zeros(len(clip), dtype=bool)
        for start, stop in stretches(probabilities([clip])[0], len(clip)):
            found[start:stop] = True
        assert (marked & ~found).sum() < 0.02 * 16_000  # a syllable more, and a quarter of a second at each edge, are no fault
        assert (found & ~marked).sum() < 0.25 * 16_000 + len(times) * 4000


@pytest.mark.shared_data
def test_file_in_blocks():
    path = DATA / "asr_clips" / "audio" / "jfk.flac"
    clip = read(path)
    found = list(chunks(blocks(path, 1.3), 5 * 16_000))
    assert [(start, start + len(samples)) for start, samples in found] == whole(clip, 5 * 16_000)
    assert 2 <= len(found) <= 5
