"""Spectrograms are Whisper's, and a clip's context is its own affair."""

import numpy as np
import pytest

from pipelines.engines import load_framework

torch = load_framework("torch")
whisper = load_framework("whisper")

from speech import features  # noqa: E402  (after the gate)


@pytest.fixture
def waves():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 16_000, generator=generator) * torch.tensor([[0.3], [0.01], [1e-6]])


@pytest.mark.parametrize("n_mels", [80, 128])
def test_each_clip_has_the_spectrogram_whisper_computes_of_it_alone(waves, n_mels):
    found = features.log_mel(waves, n_mels)
    for row, wave in zip(found, waves, strict=True):
        torch.testing.assert_close(row, whisper.log_mel_spectrogram(wave, n_mels), rtol=0, atol=1e-6)


@pytest.mark.parametrize("more", [0, 1, 2, 3, 4, 50, 250])
def test_silence_after_the_clips_need_not_be_computed(waves, more):
    silence = torch.zeros(len(waves), more * features.HOP)
    expected = features.log_mel(torch.cat([waves, silence], dim=1))
    torch.testing.assert_close(features.log_mel(waves, frames=100 + more), expected, rtol=0, atol=0)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_clip_of_a_few_frames(frames):
    wave = torch.linspace(-0.5, 0.5, frames * features.HOP)
    expected = whisper.log_mel_spectrogram(torch.nn.functional.pad(wave, (0, 50 * features.HOP)))
    torch.testing.assert_close(features.log_mel(wave[None], frames=frames + 50)[0], expected, rtol=0, atol=1e-6)


def test_many_clips_are_computed_a_few_at_a_time(waves):
    many = waves.repeat(20, 1)
    torch.testing.assert_close(features.log_mel(many), features.log_mel(waves).repeat(20, 1, 1), rtol=0, atol=1e-6)


def test_silence_is_finite():
    assert torch.isfinite(features.log_mel(torch.zeros(1, 16_000))).all()


@pytest.mark.parametrize(
    ("samples", "frames"),
    [(1, 100), (8_000, 100), (8_001, 150), (56_000, 400), (56_001, 500), (152_000, 1000), (152_001, 1250), (480_000, 3000)],
)
def test_context_is_the_next_step(samples, frames):
    assert features.context(samples) == frames


def test_contexts_hold_the_clip_and_half_a_second_and_waste_at_most_as_much_again_or_a_fifth():
    for samples in np.random.default_rng(0).integers(1, 480_001, 500):
        room = features.context(int(samples)) * features.HOP
        assert min(samples + 8_000, 480_000) <= room <= max(samples + 16_000, 1.25 * (samples + 8_000))


def test_more_than_thirty_seconds_fit_nowhere():
    with pytest.raises(ValueError, match="more than 30 s"):
        features.context(480_001)
