"""Texts out of what was heard: a whole batch at once, greedily or by beam search, with keys and values kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipelines.engines import load_framework

from . import networks
from .vocabulary import Vocabulary

torch: Any = load_framework("torch")
_decoding: Any = load_framework("whisper").decoding

__all__ = ["Decode", "Decoded", "Heard", "decode", "hear", "languages"]

_FIRST_TIMESTAMP = 50  # in steps of 0.02 s: Whisper begins no later than a second into a window

Heard = Sequence[Any]  # tensors with a row a clip: keys and values of each layer of the decoder, or what another runtime wants


@dataclass(frozen=True)
class Decoded:
    """What was heard in one clip.

    Attributes
    ----------
    tokens : list of int
        Rows of the text, without prompt and end.
    logprob : float
        Mean log-probability of a token, the end counted.
    no_speech : float
        Probability that nothing is said.
    language : str or None
        Code of the language; None where the network writes English only.

    Examples
    --------
    >>> Decoded([7, 8], -0.1, 0.0, "en").language
    'en'
    """

    tokens: list[int]
    logprob: float
    no_speech: float
    language: str | None


class Decode(Protocol):
    """What writes down what was heard: `decode` with the network bound, or another runtime."""

    def __call__(self, heard: Heard, vocabulary: Vocabulary, *, beam_size: int, timestamps: bool, most: int) -> list[Decoded]:
        """Return one `Decoded` a clip."""


def hear(network: Any, mel: Any) -> Heard:
    """Run the encoder over spectrograms of one length, and compute what the decoder looks at of them, once for all tokens.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network, in evaluation mode.
    mel : Tensor, (n, n_mels, frames)
        Log-mel spectrograms, up to 30 s.

    Returns
    -------
    tuple of Tensor, (n, heads, positions, size)
        Keys and values in turn, layer by layer.
    """
    attentions = [block.cross_attn for block in network.decoder.blocks]
    with torch.inference_mode():
        encoded = networks.encode(network, mel)
        layers = (layer for attention in attentions for layer in (attention.key, attention.value))
        return tuple(_heads(layer(encoded), network.dims.n_text_head).contiguous() for layer in layers)  # every token gains by it


def decode(
    network: Any, heard: Heard, vocabulary: Vocabulary, *, beam_size: int = 1, timestamps: bool = False, most: int | None = None
) -> list[Decoded]:
    """Write down what is said in clips of one length.

    Each clip's result is its own: what else is in the batch changes no more than the last digits of a score.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network, in evaluation mode.
    heard : sequence of Tensor
        The clips, from `hear`.
    vocabulary : Vocabulary
        Of the network's rows. Where its language is None, the most probable one is taken, clip by clip.
    beam_size : int
        Candidates a clip; 1 takes the most probable token each time.
    timestamps : bool
        Let the network write when each segment begins and ends.
    most : int, optional
        Tokens after which writing is cut off; half of what the decoder has room for by default, as in openai-whisper.

    Returns
    -------
    list of Decoded
        One a clip.
    """
    with torch.inference_mode():
        known = vocabulary.language is not None or not vocabulary.multilingual
        first = vocabulary.prompt(vocabulary.language, timestamps=timestamps) if known else [vocabulary.start]
        cache, scores = _begun(network, heard, vocabulary, first, most)
        silence = scores[:, 0].softmax(dim=-1)[:, vocabulary.no_speech]
        spoken = _languages(scores[:, 0], vocabulary)
        prompts = {code: vocabulary.prompt(code, timestamps=timestamps) for code in set(spoken)}
        prompt = torch.tensor([prompts[code] for code in spoken], device=scores.device)
        if prompt.shape[1] > len(first):
            scores = cache.step(prompt[:, len(first) :], vocabulary.others)
        search = _Beams(beam_size, vocabulary) if beam_size > 1 else _Greedy(vocabulary)
        found = search.run(cache, prompt, scores[:, -1], _Rules(vocabulary, prompt.shape[1], timestamps))
    return [
        Decoded(tokens, logprob, float(quiet), code)
        for (tokens, logprob), quiet, code in zip(found, silence, spoken, strict=True)
    ]


def languages(network: Any, heard: Heard, vocabulary: Vocabulary) -> list[str | None]:
    """Find what is spoken in each clip, without writing it down.

    Parameters
    ----------
    network : whisper.model.Whisper
        A multilingual network.
    heard : sequence of Tensor
        The clips, from `hear`.
    vocabulary : Vocabulary
        Of the network's rows, without a language.

    Returns
    -------
    list of str
        The most probable code of each clip.
    """
    with torch.inference_mode():
        _, scores = _begun(network, heard, vocabulary, [vocabulary.start])
        return _languages(scores[:, 0], vocabulary)


def _begun(network: Any, heard: Heard, vocabulary: Vocabulary, first: list[int], most: int | None = None) -> tuple["_Cache", Any]:
    """Return the decoder after the rows that every text begins with, and what it would write after each."""
    cache = _Cache(network, heard, most)
    return cache, cache.step(torch.tensor([first], device=heard[0].device).expand(len(heard[0]), -1), vocabulary.others)


def _languages(scores: Any, vocabulary: Vocabulary) -> list[str | None]:
    """Return each clip's language: the one that is known, or else the most probable one."""
    if not vocabulary.multilingual or vocabulary.language is not None:
        return [vocabulary.language if vocabulary.multilingual else None] * len(scores)
    rows = list(vocabulary.languages)
    return [vocabulary.languages[rows[i]] for i in scores[:, rows].argmax(dim=-1).tolist()]


class _Rules:
    """What may be written next: nothing suppressed, nothing empty where the network cannot tell silence, and whole times."""

    def __init__(self, vocabulary: Vocabulary, begin: int, timestamps: bool) -> None:
        self.vocabulary, self.begin = vocabulary, begin
        self.times = None
        if timestamps:
            self.times = _decoding.ApplyTimestampRules(vocabulary.tokenizer, begin, _FIRST_TIMESTAMP)

    def apply(self, scores: Any, tokens: Any) -> Any:
        scores[:, self.vocabulary.suppressed] = -torch.inf
        if tokens.shape[1] == self.begin:
            scores[:, self.vocabulary.blank] = -torch.inf
        if self.times is not None:
            self.times.apply(scores, tokens)
        return scores


class _Greedy:
    """The most probable token each time; clips that are done leave the batch."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.end = vocabulary.end

    def run(self, cache: "_Cache", prompt: Any, scores: Any, rules: _Rules) -> list[tuple[list[int], float]]:
        count = len(prompt)
        texts: list[list[int]] = [[] for _ in range(count)]
        sums = [0.0] * count
        clips, tokens = list(range(count)), prompt
        for _ in range(cache.most):
            best, chosen = rules.apply(scores, tokens).log_softmax(dim=-1).max(dim=-1)
            for clip, token, logprob in zip(clips, chosen.tolist(), best.tolist(), strict=True):
                texts[clip].append(token)
                sums[clip] += logprob
            going = (chosen != self.end).nonzero()[:, 0]
            if not len(going):
                break
            tokens = torch.cat([tokens, chosen[:, None]], dim=1)
            if len(going) < len(clips):
                clips, tokens = [clips[i] for i in going.tolist()], tokens[going]
                cache.keep(going)
            scores = cache.step(tokens[:, -1:], rules.vocabulary.others)[:, -1]
        return [self._ended(text, total) for text, total in zip(texts, sums, strict=True)]

    def _ended(self, text: list[int], total: float) -> tuple[list[int], float]:
        text = text[:-1] if text[-1:] == [self.end] else text
        return text, total / (len(text) + 1)


_Text = tuple[list[int], float]  # tokens and the sum of their log-probabilities


class _Beams:
    """The most probable texts found by keeping several candidates a clip, as openai-whisper's `BeamSearchDecoder` does.

    Clips are done when they have as many finished texts as candidates, and leave the batch then.
    """

    def __init__(self, size: int, vocabulary: Vocabulary) -> None:
        self.size, self.end = size, vocabulary.end

    def run(self, cache: "_Cache", prompt: Any, scores: Any, rules: _Rules) -> list[tuple[list[int], float]]:
        clips, begin = list(range(len(prompt))), prompt.shape[1]
        finished: list[list[_Text]] = [[] for _ in clips]
        every = torch.arange(len(clips), device=prompt.device).repeat_interleave(self.size)
        cache.keep(every)
        tokens, scores = prompt[every], scores[every]
        sums = torch.full((len(clips), self.size), -torch.inf, device=prompt.device)
        sums[:, 0] = 0.0  # the candidates of a clip are still one and the same
        for _ in range(cache.most):
            chances = rules.apply(scores, tokens).log_softmax(dim=-1)
            ways = [self._ways(*each) for each in self._best_ways(chances, sums)]
            for row, clip in enumerate(clips):
                ends = [(tokens[at, begin:].tolist(), total) for at, token, total in ways[row] if token == self.end]
                finished[clip] = (finished[clip] + ends)[: self.size]
            going = [row for row, clip in enumerate(clips) if len(finished[clip]) < self.size]
            clips = [clips[row] for row in going]
            if not clips:
                break
            onward = [[way for way in ways[row] if way[1] != self.end] for row in going]
            rows = torch.tensor([at for one in onward for at, _, _ in one], device=prompt.device)
            added = torch.tensor([token for one in onward for _, token, _ in one], device=prompt.device)
            sums = torch.tensor([[total for _, _, total in one] for one in onward], device=prompt.device)
            tokens = torch.cat([tokens[rows], added[:, None]], dim=1)
            cache.keep(rows)
            scores = cache.step(tokens[:, -1:], rules.vocabulary.others)[:, -1]
        for row, clip in enumerate(clips):  # cut off: the best that have no end
            said = tokens[row * self.size : (row + 1) * self.size, begin:].tolist()
            open_ones = sorted(zip(said, sums[row].tolist(), strict=True), key=lambda one: -one[1])
            finished[clip] = (finished[clip] + open_ones)[: self.size]
        return [self._best(candidates) for candidates in finished]

    def _best_ways(self, chances: Any, sums: Any) -> Any:
        """Yield, clip by clip, the best ways to go on from its candidates: total, row and token of each, the best first."""
        count, wide = len(sums), self.size + 1
        best, chosen = chances.topk(wide)
        totals, order = (sums.reshape(-1, 1) + best).reshape(count, -1).sort(dim=1, descending=True, stable=True)
        rows = order // wide + self.size * torch.arange(count, device=sums.device)[:, None]
        return zip(totals.tolist(), rows.tolist(), chosen.reshape(count, -1).gather(1, order).tolist(), strict=True)

    def _ways(self, totals: list[float], rows: list[int], tokens: list[int]) -> list[tuple[int, int, float]]:
        """Take ways until there are as many that go on as candidates; those that end and are better count, too."""
        found: list[tuple[int, int, float]] = []
        onward = 0
        for total, row, token in zip(totals, rows, tokens, strict=True):
            if token != self.end or total > -math.inf:
                found.append((row, token, total))
            onward += token != self.end
            if onward == self.size:
                break
        return found

    def _best(self, candidates: list[_Text]) -> tuple[list[int], float]:
        """Take the text whose tokens are the most probable on average."""
        text, total = max(candidates, key=lambda one: one[1] / max(1, len(one[0])))
        return text, total / (len(text) + 1)


class _Cache:
    """The decoder, with the keys and values of every token so far, and of the clips."""

    def __init__(self, network: Any, heard: Heard, most: int | None) -> None:
        self.decoder, self.blocks = network.decoder, list(network.decoder.blocks)
        self.heads = network.dims.n_text_head
        self.most = most or network.dims.n_text_ctx // 2
        self.heard = list(zip(heard[::2], heard[1::2], strict=True))
        self.said: list[tuple[Any, Any] | None] = [None] * len(self.blocks)
        self.length = 0

    def step(self, tokens: Any, others: int) -> Any:
        """Go on by some tokens a clip and return the logits after each of them."""
        length = tokens.shape[1]
        x = self.decoder.token_embedding(tokens) + self.decoder.positional_embedding[self.length : self.length + length]
        for layer, block in enumerate(self.blocks):
            x = x + self._own(layer, block.attn, block.attn_ln(x))
            x = x + self._look(block.cross_attn, block.cross_attn_ln(x), *self.heard[layer])
            x = x + block.mlp(block.mlp_ln(x))
        self.length += length
        scores = (self.decoder.ln(x) @ self.decoder.token_embedding.weight.to(x.dtype).T).float()
        return networks.other_tokens(scores, others)

    def keep(self, rows: Any) -> None:
        """Go on with some rows only, in the order given."""
        self.heard = [(keys[rows], values[rows]) for keys, values in self.heard]
        self.said = [None if pair is None else (pair[0][rows], pair[1][rows]) for pair in self.said]

    def _own(self, layer: int, attention: Any, x: Any) -> Any:
        keys, values = self._apart(attention.key(x)), self._apart(attention.value(x))
        before = self.said[layer]
        if before is not None:
            keys, values = torch.cat([before[0], keys], dim=2), torch.cat([before[1], values], dim=2)
        self.said[layer] = keys, values
        mask = None
        if x.shape[1] > 1:  # several tokens at once: each sees those before it
            mask = torch.ones(x.shape[1], keys.shape[2], dtype=torch.bool, device=x.device).tril(keys.shape[2] - x.shape[1])
        queries = self._apart(attention.query(x))
        return self._out(attention, torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask))

    def _look(self, attention: Any, x: Any, keys: Any, values: Any) -> Any:
        """Attend to the clips: of so few tokens, in two plain products, which take half as long as PyTorch's attention."""
        queries = self._apart(attention.query(x)) * keys.shape[-1] ** -0.5
        return self._out(attention, (queries @ keys.transpose(2, 3)).softmax(dim=-1) @ values)

    def _out(self, attention: Any, mixed: Any) -> Any:
        return attention.out(mixed.transpose(1, 2).flatten(start_dim=2))

    def _apart(self, x: Any) -> Any:
        return _heads(x, self.heads)


def _heads(x: Any, heads: int) -> Any:
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)
