"""Whisper networks: made anew, and run over contexts shorter than 30 seconds."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.engines import load_framework

torch: Any = load_framework("torch")
_model: Any = load_framework("whisper").model

__all__ = ["HEAD", "build", "encode", "logits", "other_tokens", "small"]

HEAD = 24
"""Units of an attention head of a network from scratch."""


def build(dims: Mapping[str, int], kept: np.ndarray | None = None) -> Any:
    """Make a Whisper network with random weights from which it can learn.

    openai-whisper leaves the decoder's positions uninitialised and draws word vectors fifty times as long as a Transformer likes
    them; its networks are only meant to be filled.

    Parameters
    ----------
    dims : dict
        Dimensions as openai-whisper names them; `n_vocab` counts all tokens.
    kept : ndarray, optional
        Ids of the tokens with a row of their own; the others share one more row at the end.

    Returns
    -------
    whisper.model.Whisper
        On the CPU, in training mode.

    Examples
    --------
    >>> network = build(small(32, 1), np.arange(10))
    >>> network.decoder.token_embedding.weight.shape
    torch.Size([11, 32])
    """
    rows = dims["n_vocab"] if kept is None else len(kept) + 1
    network = _model.Whisper(_model.ModelDimensions(**{**dims, "n_vocab": rows}))
    torch.nn.init.normal_(network.decoder.token_embedding.weight, std=0.02)
    torch.nn.init.normal_(network.decoder.positional_embedding, std=0.02)
    return network


def small(units: int, layers: int, *, n_mels: int = 80) -> dict[str, int]:
    """Return the dimensions of a small multilingual Whisper, whose decoder has twice as many layers as its encoder.

    Examples
    --------
    >>> small(96, 2)["n_audio_head"], small(96, 2)["n_text_layer"]
    (4, 4)
    """
    heads = max(1, units // HEAD)
    return {
        "n_mels": n_mels,
        "n_audio_ctx": 1500,
        "n_audio_state": units,
        "n_audio_head": heads,
        "n_audio_layer": layers,
        "n_vocab": 51865,
        "n_text_ctx": 448,
        "n_text_state": units,
        "n_text_head": heads,
        "n_text_layer": 2 * layers,
    }


def encode(network: Any, mel: Any) -> Any:
    """Run the encoder over spectrograms of any length up to 30 s; at 30 s it is what Whisper itself computes.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network.
    mel : Tensor, (n, n_mels, frames)
        Log-mel spectrograms with an even number of frames.

    Returns
    -------
    Tensor, (n, frames // 2, n_audio_state)
        One vector every 20 ms.
    """
    encoder = network.encoder
    x = torch.nn.functional.gelu(encoder.conv1(mel))
    x = torch.nn.functional.gelu(encoder.conv2(x)).permute(0, 2, 1).contiguous()  # or every layer rearranges it
    x = (x + encoder.positional_embedding[: x.shape[1]]).to(x.dtype)
    for block in encoder.blocks:
        x = block(x)
    return encoder.ln_post(x)


def logits(network: Any, tokens: Any, encoded: Any, others: int = 0) -> Any:
    """Score what follows each token of texts.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network.
    tokens : Tensor, (n, length)
        Rows of tokens.
    encoded : Tensor, (n, positions, n_audio_state)
        What `encode` returned.
    others : int
        How many tokens share the last row: together they count as all of them do in the full softmax.

    Returns
    -------
    Tensor, (n, length, rows)
        Logits.
    """
    return other_tokens(network.decoder(tokens, encoded), others)


def other_tokens(scores: Any, others: int) -> Any:
    """Add to the last row's logits the logarithm of the number of tokens that share it."""
    return scores if others <= 1 else scores + _share(others, scores.shape[-1], scores.device)


@functools.lru_cache(maxsize=16)
def _share(others: int, rows: int, device: Any) -> Any:
    share = torch.zeros(rows, device=device)
    share[-1] = math.log(others)
    return share
