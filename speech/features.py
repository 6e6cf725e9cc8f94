"""Log-mel spectrograms of whole batches, in a context no longer than the clips need."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipelines.engines import load_framework

torch: Any = load_framework("torch")
_audio: Any = load_framework("whisper").audio

__all__ = ["FULL", "HOP", "context", "log_mel", "padded"]

HOP = 160  # samples from one frame to the next: 100 frames a second
FULL = 3000  # frames of the 30 seconds that Whisper pads every clip to

_REACH = 2  # frames after a clip in which a sound of it is heard
_TOGETHER = 1000  # frames computed at once on the CPU; more leave the cache of a core

_AFTER = (
    50  # frames of silence kept after a clip: a network looks there when it is done, and says the last word again where it cannot
)
_STEPS = ((400, 50), (1000, 100), (FULL, 250))  # up to so many frames, contexts are multiples of so many


def context(samples: int) -> int:
    """Return the frames of the context that a clip of so many samples at 16 kHz is padded to.

    It depends on the clip alone, never on what else is in a batch: with half a second after it, in steps of 0.5 s up to 4 s, of
    1 s up to 10 s, of 2.5 s up to 30 s.

    Raises
    ------
    ValueError
        If the clip is longer than 30 s, which no Whisper hears at once.

    Examples
    --------
    >>> context(12_000), context(70_000), context(480_000)
    (150, 500, 3000)
    """
    if samples > FULL * HOP:
        raise ValueError(f"{samples} samples are more than 30 s.")
    frames = min(FULL, math.ceil(samples / HOP) + _AFTER)
    for most, step in _STEPS:
        if frames <= most:
            return math.ceil(frames / step) * step
    return FULL


def padded(waves: Sequence[np.ndarray], frames: int) -> np.ndarray:
    """Put clips under each other, with silence after them up to so many frames; what is longer is cut off.

    Examples
    --------
    >>> padded([np.ones(150, np.float32), np.ones(300, np.float32)], frames=2).sum(axis=1).tolist()
    [150.0, 300.0]
    """
    found = np.zeros((len(waves), frames * HOP), dtype=np.float32)
    for row, wave in zip(found, waves, strict=True):
        row[: len(wave)] = wave[: len(row)]
    return found


def log_mel(waves: Any, n_mels: int = 80, frames: int | None = None) -> Any:
    """Compute log-mel spectrograms as `whisper.log_mel_spectrogram` does, each clip by its own loudest point.

    Parameters
    ----------
    waves : Tensor, (n, samples)
        Clips at 16 kHz, padded with zeros to a multiple of 160 samples.
    n_mels : int
        80, or 128 for large-v3 and turbo.
    frames : int, optional
        Frames of the spectrograms, where silence follows the clips that is not in `waves`.

    Returns
    -------
    Tensor, (n, n_mels, frames or samples // 160)
        What Whisper's encoder takes.

    References
    ----------
    .. [1] Radford, Kim, Xu, Brockman, McLeavey, Sutskever (2022), "Robust Speech Recognition via Large-Scale Weak Supervision",
       arXiv:2212.04356, section 2.2.

    Examples
    --------
    >>> log_mel(torch.zeros(2, 16_000)).shape, log_mel(torch.zeros(2, 16_000), frames=150).shape
    (torch.Size([2, 80, 100]), torch.Size([2, 80, 150]))
    """
    length = waves.shape[1] // HOP
    frames = frames or length
    heard = min(frames, length + _REACH)
    silence = (min(frames, heard + _REACH) - length) * HOP  # after which a spectrogram is silent, too
    together = len(waves) if waves.is_cuda else max(1, _TOGETHER // heard)
    bands = waves.new_zeros(len(waves), n_mels, frames)
    for rows, part in zip(bands.split(together), waves.split(together), strict=True):
        rows[:, :, :heard] = _bands(part, silence, n_mels)[:, :heard].transpose(1, 2)
    logs = bands.clamp_(min=1e-10).log10_()
    return torch.maximum(logs, logs.amax(dim=(1, 2), keepdim=True) - 8.0).add_(4.0).div_(4.0)


def _bands(waves: Any, silence: int, n_mels: int) -> Any:
    """Return the power in each band, (n, frames, n_mels), with so many samples of silence after the clips."""
    half = _audio.N_FFT // 2
    waves = torch.nn.functional.pad(torch.nn.functional.pad(waves, (0, silence)), (half, half), "reflect")
    spectrum = torch.fft.rfft(waves.unfold(1, _audio.N_FFT, HOP)[:, :-1] * _window(waves.device))  # quicker than torch.stft
    return torch.view_as_real(spectrum).flatten(start_dim=2).square() @ _filters(waves.device, n_mels)


@functools.cache
def _window(device: Any) -> Any:
    return torch.hann_window(_audio.N_FFT, device=device)


@functools.cache
def _filters(device: Any, n_mels: int) -> Any:
    """Return Whisper's filters for real and imaginary parts in turn: they add the two, which are not next to each other then."""
    return _audio.mel_filters(device, n_mels).T.repeat_interleave(2, dim=0)
