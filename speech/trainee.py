"""A Whisper network with what it needs only while it learns: what its attention is led by, and how it begins."""

import functools
import math
from typing import Any

import numpy as np

from pipelines.engines import load_framework

from . import decoding, features, networks
from .examples import IGNORED
from .vocabulary import Vocabulary

torch: Any = load_framework("torch")
nn: Any = torch.nn

__all__ = ["Trainee", "led", "localise"]

_LED_EVENLY = 0.3  # weight of the attention led to all of a word alike


class Trainee(nn.Module):
    """A Whisper network with what it needs only while it learns.

    In training it returns what `loss` takes; in evaluation, for each clip of a `Whole`, how unlikely a token of its text is
    (mean), and the rows of the tokens written, filled up with -1.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network.
    vocabulary : Vocabulary
        Of its rows.
    scratch : bool
        Teach the encoder by itself, too, and lead some attentions.

    Examples
    --------
    >>> from speech.vocabulary import learn
    >>> dims = networks.small(64, 1)
    >>> kept = learn(["yes", "no"], dims, "en")
    >>> words = Vocabulary(dims, kept, "en")
    >>> trainee = Trainee(networks.build(dims, kept), words, scratch=True).eval()
    >>> trainee.led
    [(0, 0, 'before'), (1, 0, 'word'), (1, 1, 'evenly')]
    """

    def __init__(self, network: Any, vocabulary: Vocabulary, *, scratch: bool) -> None:
        super().__init__()
        self.network, self.vocabulary = network, vocabulary
        self.led = led(network.dims.n_text_layer, network.dims.n_text_head) if scratch else []
        self.sounds = nn.Linear(network.dims.n_audio_state, vocabulary.size + 1) if scratch else None
        self.looks: dict[tuple[int, str], Any] = {}
        self.hooks = [hook for layer in sorted({layer for layer, *_ in self.led}) for hook in self._watch(layer)]

    def forward(self, inputs: dict[str, Any]) -> Any:
        """Return logits and what else `loss` takes; or what was written."""
        with torch.no_grad():
            mel = features.log_mel(inputs["waves"], self.network.dims.n_mels)
        if not self.training:
            return self._judged(mel, inputs)
        mel = _masked(mel, inputs["masks"])
        if int(inputs["full"][0]) == 2:
            mel = _cut_off(mel, inputs["frames"])
        encoded = networks.encode(self.network, mel)
        self.looks.clear()
        scores = networks.logits(self.network, inputs["tokens"], encoded, self.vocabulary.others)
        sounds = None if self.sounds is None else self.sounds(encoded)
        return scores, sounds, self._strayed(inputs["spans"])

    def loss(self, outputs: Any, following: Any) -> Any:
        """Return the mean loss of the text's tokens, with what leads from scratch added."""
        scores, sounds, strayed = outputs
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), following.flatten(), ignore_index=IGNORED)
        return loss if sounds is None else loss + strayed + self._unheard(sounds, following)

    def release(self) -> None:
        """Take away from the network what it needs only while it learns."""
        for hook in self.hooks:
            hook.remove()
        self.looks.clear()

    def _watch(self, layer: int) -> list[Any]:
        attention = self.network.decoder.blocks[layer].cross_attn

        def keep(name: str, module: Any, inputs: Any, output: Any) -> None:
            if self.training:
                self.looks[layer, name] = output

        parts = {"query": attention.query, "key": attention.key}
        return [part.register_forward_hook(functools.partial(keep, name)) for name, part in parts.items()]

    def _strayed(self, spans: Any) -> Any:
        """Return how little the attentions that are led look at the word they should, as a sum of mean negative logarithms."""
        total = torch.zeros((), device=spans.device)
        for layer, head, what in self.led:
            size = self.looks[layer, "key"].shape[-1] // self.network.dims.n_text_head
            query, key = (self.looks[layer, name][..., head * size : (head + 1) * size] for name in ("query", "key"))
            scores = query @ key.transpose(1, 2) * size**-0.5
            place = torch.arange(scores.shape[-1], device=spans.device)
            inside = (place >= spans[..., :1]) & (place < spans[..., 1:])
            if what == "before":
                inside = nn.functional.pad(inside, (0, 0, 1, 0))[:, :-1]
            known = inside.any(dim=-1)
            share = _even(scores, inside) if what == "evenly" else scores.masked_fill(~inside, -1e4).logsumexp(dim=-1)
            mean = ((share - scores.logsumexp(dim=-1)) * known).sum() / known.sum().clamp(min=1)
            total = total - mean * (_LED_EVENLY if what == "evenly" else 1.0)
        return total

    def _unheard(self, sounds: Any, following: Any) -> Any:
        """Return the loss of the texts as the encoder alone hears them."""
        text = following[:, len(self.vocabulary.prompt(self.vocabulary.language)) - 1 :]
        lengths = ((text != IGNORED) & (text != self.vocabulary.end)).sum(dim=1)
        chances = sounds.log_softmax(dim=-1).transpose(0, 1)
        steps = torch.full_like(lengths, len(chances))
        losses = nn.functional.ctc_loss(chances, text.clamp(min=0) + 1, steps, lengths, reduction="none", zero_infinity=True)
        return (losses / (lengths + 1)).mean()

    def _judged(self, mel: Any, inputs: dict[str, Any]) -> Any:
        width = inputs["tokens"].shape[1]
        scores = networks.logits(self.network, inputs["tokens"], networks.encode(self.network, mel), self.vocabulary.others)
        unlikely = nn.functional.cross_entropy(scores.transpose(1, 2), inputs["targets"], ignore_index=IGNORED, reduction="none")
        said = unlikely.sum(dim=1) / (inputs["targets"] != IGNORED).sum(dim=1)
        found = torch.full((len(mel), 1 + width), -1.0)
        found[:, 0] = said.cpu()
        for k, decoded in enumerate(decoding.decode(self.network, decoding.hear(self.network, mel), self.vocabulary, most=width)):
            found[k, 1 : 1 + len(decoded.tokens)] = torch.tensor(decoded.tokens, dtype=torch.float32)
        return found


def led(layers: int, heads: int) -> list[tuple[int, int, str]]:
    """Return which cross-attentions of a decoder are led: layer, head, and to what.

    "before" is the word that was just read, "word" the one to be written, wherever in it; "evenly" is all of that word alike,
    which is what the times of words are read off.

    Examples
    --------
    >>> led(4, 4)
    [(1, 0, 'before'), (2, 0, 'word'), (3, 0, 'word'), (3, 1, 'evenly')]
    """
    first = layers // 2
    before = [(first - 1, 0, "before")] if first else []
    return [*before, *((layer, 0, "word") for layer in range(first, layers)), (layers - 1, min(1, heads - 1), "evenly")]


def localise(network: Any, strength: float = 1.7, reach: float = 6.0) -> None:
    """Let the encoder's attention begin as looks at the surroundings: each head at another distance, further off layer by layer.

    Queries and keys begin as the sinusoids of the positions, turned by the distance, so that their product is largest there.

    Examples
    --------
    >>> network = networks.build(networks.small(32, 1), np.arange(9))
    >>> before = network.encoder.blocks[0].attn.key.weight.detach().clone()
    >>> localise(network)
    >>> bool((network.encoder.blocks[0].attn.key.weight != before).any())
    True
    """
    units, heads = network.dims.n_audio_state, network.dims.n_audio_head
    rates = np.exp(-math.log(10_000) / (units // 2 - 1) * np.arange(units // 2))  # as whisper.model.sinusoids has them
    quick, pairs = np.flatnonzero(rates > 0.02), units // heads // 2
    chosen = quick[np.linspace(0, len(quick) - 1, pairs).round().astype(int)]
    sines, cosines = chosen, chosen + units // 2
    with torch.no_grad():
        for conv in (network.encoder.conv1, network.encoder.conv2):  # else the positions are all there is
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(conv.bias)
        for layer, block in enumerate(network.encoder.blocks):
            query, key = np.zeros((units, units)), np.zeros((units, units))
            for head, shift in enumerate(np.linspace(-reach, reach, heads) * (layer + 1)):
                first = head * (units // heads) + 2 * np.arange(pairs)
                turned = np.cos(rates[chosen] * shift), np.sin(rates[chosen] * shift)
                key[first, sines] = key[first + 1, cosines] = 1
                query[first, sines], query[first, cosines] = turned
                query[first + 1, cosines], query[first + 1, sines] = turned[0], -turned[1]
            block.attn.query.weight += strength * torch.from_numpy(query).to(block.attn.query.weight)
            block.attn.key.weight += strength * torch.from_numpy(key).to(block.attn.key.weight)


def _even(scores: Any, inside: Any) -> Any:
    """Return what the logarithm of the sum inside would be, were it as even as it is said to be: 0 in the end if it is."""
    count = inside.sum(dim=-1).clamp(min=1)
    return (scores * inside).sum(dim=-1) / count + count.log()


def _cut_off(mel: Any, frames: Any) -> Any:
    """Let nothing follow each spectrogram's own frames, up to 30 s: so openai-whisper pads a recording's end."""
    place = torch.arange(mel.shape[2], device=mel.device)
    mel = mel.masked_fill(place >= frames[:, None, None], 0.0)
    return nn.functional.pad(mel, (0, features.FULL - mel.shape[-1]))


def _masked(mel: Any, masks: Any) -> Any:
    """Put the mean of each spectrogram where its masks are."""
    time, band = torch.arange(mel.shape[2], device=mel.device), torch.arange(mel.shape[1], device=mel.device)
    hidden = [
        ((place >= part[..., :1]) & (place < part[..., 1:])).any(dim=1)
        for place, part in ((time, masks[:, :2]), (band, masks[:, 2:]))
    ]
    return torch.where(hidden[0][:, None] | hidden[1][:, :, None], mel.mean(dim=(1, 2), keepdim=True), mel)
