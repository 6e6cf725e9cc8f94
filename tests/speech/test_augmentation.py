"""What training does to clips keeps them sounds: as long, finite, of a loudness within bounds, and the same for the same seed."""

import numpy as np
import pytest

from speech import augmentation

RATE = 16_000
SEEDS = range(24)


def rng(seed=0):
    return np.random.default_rng(seed)


def noise(samples=8000, seed=0, scale=0.1):
    return (scale * rng(seed).normal(size=samples)).astype(np.float32)


CALLS = {
    "spoiled": lambda wave, rng: augmentation.spoiled(wave, rng, augmentation.loudness(wave)),
    "in_room": augmentation.in_room,
    "at_speed": augmentation.at_speed,
    "no_speech": lambda wave, rng: augmentation.no_speech(len(wave), rng),
    "noise": lambda wave, rng: augmentation.noise(len(wave), rng),
}


@pytest.mark.parametrize("samples", [1, 2, 10, 500, 8000])
@pytest.mark.parametrize("name", CALLS)
def test_sounds_stay_finite_and_as_long_as_they_were(name, samples):
    for wave in (noise(samples), np.zeros(samples, np.float32)):
        for seed in SEEDS:
            found = CALLS[name](wave, rng(seed))
            assert found.dtype == np.float32
            assert np.isfinite(found).all()
            if name == "at_speed":
                assert max(1, np.floor(0.81 * samples)) <= len(found) <= np.ceil(1.24 * samples)
            else:
                assert len(found) == samples


@pytest.mark.parametrize("name", CALLS)
def test_the_generator_alone_decides(name):
    wave = noise()
    before = wave.copy()
    first, again = (CALLS[name](wave, rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(wave, before)
    assert len({CALLS[name](wave, rng(seed)).tobytes() for seed in SEEDS}) > 3


@pytest.mark.parametrize("scale", [0.001, 0.1, 3.0])
def test_loudness_changes_by_a_gain_and_little_more(scale):
    wave = noise(scale=scale)
    level = augmentation.loudness(wave)
    ratios = [augmentation.loudness(CALLS["spoiled"](wave, rng(seed))) / level for seed in SEEDS]
    assert min(ratios) > 0.08
    assert max(ratios) < 2.6


def test_a_room_adds_less_than_the_sound_itself():
    wave = noise()
    for seed in SEEDS:
        added = augmentation.in_room(wave, rng(seed)) - wave
        assert 0 < augmentation.loudness(added) < augmentation.loudness(wave)


def test_speed_changes_pitch_and_keeps_the_ends():
    wave = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)
    for seed in SEEDS:
        found = augmentation.at_speed(wave, rng(seed))
        cycles = int((np.diff(np.signbit(found)) != 0).sum()) / 2
        assert cycles == pytest.approx(200, abs=2)
        assert (found[0], found[-1]) == pytest.approx((wave[0], wave[-1]), abs=1e-4)


def test_loudness_is_never_zero():
    assert augmentation.loudness(np.zeros(3, np.float32)) == 1e-6
    assert augmentation.loudness(noise(scale=0.2)) == pytest.approx(0.2, rel=0.05)


def test_sounds_without_speech_are_of_many_kinds_and_not_too_loud():
    levels = [augmentation.loudness(augmentation.no_speech(RATE, rng(seed))) for seed in range(60)]
    assert max(levels) < 0.3
    assert min(levels) < 1e-3


@pytest.mark.parametrize(("frames", "bands"), [(8, 80), (9, 128), (100, 80), (3000, 80)])
def test_masks_stay_within_the_spectrogram_and_hide_little(frames, bands):
    for seed in SEEDS:
        found = augmentation.masks(rng(seed), frames, bands)
        assert (found >= 0).all()
        assert (found <= [[frames]] * 2 + [[bands]] * 2).all()
        widths = np.diff(found, axis=1)[:, 0]
        assert (widths >= 0).all()
        assert (widths <= [min(20, frames // 8)] * 2 + [0.15 * bands] * 2).all()


# ---------------------------------------------------------------- words
def said(*seconds, pause=0.25, floor=0.0):
    parts = [part for k, s in enumerate(seconds) for part in (np.zeros(int(pause * RATE)), noise(int(s * RATE), k))]
    sound = np.concatenate([*parts, np.zeros(int(pause * RATE))])
    return (sound + floor * rng().normal(size=len(sound))).astype(np.float32)


@pytest.mark.parametrize("floor", [0.0, 0.002])
def test_words_are_found_by_their_pauses(floor):
    lengths = (0.3, 0.5, 0.2)
    found = augmentation.words(said(*lengths, floor=floor), 3)
    starts = np.cumsum([0.25, 0.55, 0.75])
    for (start, stop), begin, length in zip(found, starts, lengths, strict=True):
        assert start / RATE == pytest.approx(begin, abs=0.04)
        assert stop / RATE == pytest.approx(begin + length, abs=0.04)


@pytest.mark.parametrize(
    ("wave", "count"),
    [
        (said(0.3, 0.3), 3),
        (said(0.3, 0.3, pause=0.02), 2),
        (np.zeros(RATE, np.float32), 2),
        (noise(1), 2),
        (np.zeros(0, np.float32), 2),
        (noise(RATE), 40),
        (noise(2 * RATE), 2),
        (np.full(RATE, np.nan, np.float32), 2),
    ],
    ids=["more words", "no pause", "silence", "a sample", "nothing", "far too many", "even noise", "no numbers"],
)
def test_words_that_cannot_be_told_apart_are_not(wave, count):
    assert augmentation.words(wave, count) is None
