"""When each word is said: dynamic time warping over what the decoder attends to."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pipelines.engines import load_framework
from pipelines.engines.torch_threads import threads_kept

from . import features, networks
from .audio import SAMPLE_RATE
from .transcript import Word
from .vocabulary import Vocabulary

torch: Any = load_framework("torch")
_whisper: Any = load_framework("whisper")

__all__ = ["align", "attention"]

_SMOOTH = 7  # positions of the median filter, as in openai-whisper
_POSITIONS = 50  # of the encoder in a second
_OPENING, _CLOSING = "\"'“¿([{-", "\"'.。,，!！?？:：”)]}、"


def align(
    network: Any,
    mel: Any,
    texts: Sequence[Sequence[int]],
    languages: Sequence[str | None],
    samples: Sequence[int],
    *,
    vocabulary: Vocabulary,
    heads: Sequence[Sequence[int]],
) -> list[tuple[Word, ...]]:
    """Find the times of the words of texts.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network that wrote the texts.
    mel : Tensor, (n, n_mels, frames)
        The clips they were written from.
    texts : sequence of list of int
        Rows of each text, without prompt and end.
    languages : sequence of str or None
        Each text's language.
    samples : sequence of int
        Samples of each clip before it was padded.
    vocabulary : Vocabulary
        Of the network's rows.
    heads : sequence of pairs
        Layer and head of the cross-attentions that follow the sound.

    Returns
    -------
    list of tuple of Word
        Times in seconds from the begin of each clip.

    References
    ----------
    .. [1] openai-whisper 20250625, `whisper/timing.py`.
    """
    found: list[tuple[Word, ...]] = [()] * len(texts)
    clips = [i for i, text in enumerate(texts) if len(text)]
    if not clips:
        return found
    prompts = [vocabulary.prompt(languages[i]) for i in clips]
    rows = [[*prompt, *texts[i], vocabulary.end] for prompt, i in zip(prompts, clips, strict=True)]
    weights, scores = attention(network, mel[clips], _padded(rows, vocabulary.end, mel.device), vocabulary.others, heads)
    begin = len(prompts[0])
    for k, i in enumerate(clips):
        length = len(texts[i])
        positions = min(max(1, samples[i] // (2 * features.HOP)), weights.shape[-1])
        path = _path(weights[k, :, : begin + length + 1, :positions], begin)
        chances = scores[k, begin - 1 : begin - 1 + length].softmax(dim=-1)
        chosen = chances[torch.arange(length), torch.tensor(texts[i], device=mel.device)].cpu().numpy()
        found[i] = _words(vocabulary.words(texts[i], languages[i]), path, chosen, samples[i] / SAMPLE_RATE)
    return found


def attention(network: Any, mel: Any, tokens: Any, others: int, heads: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """Read texts again beside their sound.

    Returns
    -------
    weights : Tensor, (n, heads, tokens, positions)
        Scores, before the softmax, of where each head looks when it writes what follows a token.
    logits : Tensor, (n, tokens, rows)
        Scores of what follows.
    """
    with torch.inference_mode(), _looked_at(network) as looks:
        scores = networks.logits(network, tokens, networks.encode(network, mel), others)
    return torch.stack([looks[layer][:, head] for layer, head in heads], dim=1), scores


@contextmanager
def _looked_at(network: Any) -> Iterator[list[Any]]:
    """Gather the attention scores of every layer, which the quick attention of PyTorch does not give."""
    looks: list[Any] = [None] * len(network.decoder.blocks)

    def keep(layer: int) -> Any:
        return lambda module, inputs, outputs: looks.__setitem__(layer, outputs[1])

    hooks = [block.cross_attn.register_forward_hook(keep(i)) for i, block in enumerate(network.decoder.blocks)]
    try:
        with _whisper.model.disable_sdpa():
            yield looks
    finally:
        for hook in hooks:
            hook.remove()


def _padded(rows: Sequence[Sequence[int]], filler: int, device: Any) -> Any:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], device=device)


def _path(scores: Any, begin: int) -> np.ndarray:
    """Return the position where each token of the text begins, and where the end does."""
    weights = scores.float().softmax(dim=-1)
    std, mean = torch.std_mean(weights, dim=-2, keepdim=True, unbiased=False)
    weights = ((weights - mean) / std).nan_to_num()  # where no token looks all differ by nothing
    weights = _whisper.timing.median_filter(weights, _SMOOTH)
    tokens, positions = _warped(-weights.mean(dim=0)[begin - 1 : -1])  # the last row is where it looked after the end
    jumps = np.pad(np.diff(tokens), (1, 0), constant_values=1).astype(bool)
    return positions[jumps]


def _warped(costs: Any) -> Any:
    """Find the cheapest path; Numba sets PyTorch to all cores when it runs in parallel, which is set back."""
    with threads_kept():
        return _whisper.timing.dtw(costs)


def _words(words: list[tuple[str, int]], path: np.ndarray, chances: np.ndarray, seconds: float) -> tuple[Word, ...]:
    """Cut a path at the words; marks of punctuation belong to the word beside them."""
    edges = np.cumsum([0, *(count for _, count in words)])
    times = [float(min(path[min(edge, len(path) - 1)] / _POSITIONS, seconds)) for edge in edges]
    timings = [
        _whisper.timing.WordTiming(text, [], times[k], times[k + 1], float(chances[edges[k] : edges[k + 1]].mean()))
        for k, (text, _) in enumerate(words)
    ]
    _whisper.timing.merge_punctuations(timings, _OPENING, _CLOSING)
    return tuple(Word(t.word, t.start, t.end, t.probability) for t in timings if t.word)
