"""Quicker ways to run a Whisper: CTranslate2, in single precision or 8-bit weights; in PyTorch 8-bit weights or bfloat16."""

import copy
import os
import tempfile
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engines import load_framework, usable_cores

from . import networks
from .decoding import Decoded, Heard, hear
from .vocabulary import Vocabulary

torch: Any = load_framework("torch")
_whisper: Any = load_framework("whisper")

__all__ = ["Converted", "convert", "ctranslate2", "hear_in_bfloat16", "quantized", "threads"]

# CTranslate2 divides a candidate's score by its length to this power. At 0 it goes on while the best candidate is not finished,
# which makes texts longer and longer; above 0 an empty text gets minus infinity; and just below 0 it gets 0, which we can mend.
_LENGTH = -1e-3

_Maker = Callable[[], Any]
_remembered: "weakref.WeakKeyDictionary[Any, dict[Any, Any]]" = weakref.WeakKeyDictionary()


def ctranslate2(network: Any, vocabulary: Vocabulary, *, int8: bool = False) -> "Converted":
    """Return what decodes with a network's weights in CTranslate2; converted once, and again only if the weights change.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network.
    vocabulary : Vocabulary
        Of the network's rows.
    int8 : bool
        Weights of 8 bits: a quarter of the memory, and quicker; scores differ a little, and now and then a token.

    Returns
    -------
    Converted
        To be called as `decoding.decode`, with spectrograms, in a tuple, and without the network.

    Raises
    ------
    ImportError
        If ctranslate2 is missing, with the pip line.
    """
    return _once(network, ("ctranslate2", int8), lambda: Converted(network, vocabulary, int8=int8))


def quantized(network: Any) -> Any:
    """Return a copy of a network whose linear layers have 8-bit weights, for the CPU; made once, and again if the weights change.

    Embeddings, convolutions and normalisations stay what they are.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network, which stays what it is.

    Returns
    -------
    whisper.model.Whisper
        In evaluation mode, on the CPU; it can neither be trained nor saved.

    Examples
    --------
    >>> import numpy as np
    >>> from speech import networks
    >>> quantized(networks.build(networks.small(32, 1), np.arange(10))).encoder.blocks[0].attn.query
    DynamicQuantizedLinear(in_features=32, out_features=32, dtype=torch.qint8, qscheme=torch.per_channel_affine)
    """
    return _once(network, "int8", lambda: _quantized(network))


def hear_in_bfloat16(network: Any, mel: Any) -> Heard:
    """Hear as `decoding.hear` does, in half the precision; what it returns is in single precision, as the decoder is.

    Most of the arithmetic is the encoder's, and what is written is the decoder's. Processors with AMX or AVX-512 BF16, and GPUs,
    hear two to three times as quickly so; others more slowly.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network, in evaluation mode.
    mel : Tensor, (n, n_mels, frames)
        Log-mel spectrograms, up to 30 s.

    Returns
    -------
    tuple of Tensor
        As from `decoding.hear`.
    """
    with torch.autocast(mel.device.type, torch.bfloat16):
        return tuple(part.float() for part in hear(network, mel))


def threads() -> int:
    """Return the threads to let CTranslate2 use: 0, which is `OMP_NUM_THREADS`, where the user has set that."""
    return 0 if "OMP_NUM_THREADS" in os.environ else usable_cores()


class Converted:
    """A Whisper that CTranslate2 runs, on the CPU; it stands in for `decoding.hear` and `decoding.decode` together.

    A network with rows for few tokens stays as small: the row that the other tokens share gets the logarithm of their number as
    its bias, so that every score is what `decoding.decode` makes it.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network.
    vocabulary : Vocabulary
        Of the network's rows.
    int8 : bool
        Weights of 8 bits.
    """

    def __init__(self, network: Any, vocabulary: Vocabulary, *, int8: bool = False) -> None:
        library = load_framework("ctranslate2")
        dims, kind = vars(network.dims), "int8" if int8 else "float32"
        self.room = dims["n_text_ctx"]
        self.blank = _blank(vocabulary)
        config = {"suppress_ids": [], "suppress_ids_begin": self.blank, "lang_ids": sorted(vocabulary.languages)}
        with tempfile.TemporaryDirectory(prefix="whisper-") as folder:  # CTranslate2 reads all of it at once
            share = networks.other_tokens(torch.zeros(dims["n_vocab"]), vocabulary.others) if vocabulary.others > 1 else None
            convert(dims, network.state_dict(), Path(folder), _names(vocabulary), config=config, quantization=kind, bias=share)
            self.model = library.models.Whisper(folder, compute_type=kind, intra_threads=threads())

    def __call__(
        self, heard: Heard, vocabulary: Vocabulary, *, beam_size: int = 1, timestamps: bool = False, most: int | None = None
    ) -> list[Decoded]:
        """Write down what is said in spectrograms of one length, as `decoding.decode` does with what was heard in them."""
        (mel,) = heard
        features = _features(mel)
        spoken = self._languages(features, len(mel), vocabulary)
        prompts = [vocabulary.prompt(code, timestamps=timestamps) for code in spoken]
        rules = {"suppress_blank": bool(vocabulary.blank), "suppress_tokens": vocabulary.suppressed}
        found = self.model.generate(
            features,
            prompts,
            beam_size=beam_size,
            num_hypotheses=beam_size,
            length_penalty=_LENGTH if beam_size > 1 else 0,
            max_length=self.room if most is None else min(self.room, len(prompts[0]) + most),
            return_scores=True,
            return_no_speech_prob=True,
            **rules,
        )
        candidates = [_sums(each, beam_size) for each in found]
        silent = [i for i, texts in enumerate(candidates) if beam_size > 1 and () in texts]
        if silent:
            ends = self._ends(mel[silent], [prompts[i] for i in silent], vocabulary.end, rules)
            for i, end in zip(silent, ends, strict=True):
                candidates[i][()] = end
        return [_best(*each) for each in zip(candidates, found, spoken, strict=True)]

    def _ends(self, mel: Any, prompts: list[list[int]], end: int, rules: dict[str, Any]) -> list[float]:
        """Return the log-probability that nothing follows the prompts, which the search leaves out of its scores."""
        room = len(prompts[0])  # for one token more
        found = self.model.generate(
            _features(mel), prompts, beam_size=1, max_length=max(2, room), return_logits_vocab=True, **rules
        )
        return [float(torch.from_numpy(np.array(each.logits[0][0])).log_softmax(0)[end]) for each in found]

    def _languages(self, features: Any, count: int, vocabulary: Vocabulary) -> list[str | None]:
        """Return each clip's language: the one that is known, or else the most probable one."""
        if not vocabulary.multilingual:
            return [None] * count
        if vocabulary.language is not None or len(vocabulary.languages) == 1:
            return [vocabulary.language or next(iter(vocabulary.languages.values()))] * count
        return [ranked[0][0].strip("<|>") for ranked in self.model.detect_language(features)]


def convert(
    dims: Mapping[str, int],
    state: Mapping[str, Any],
    folder: Path,
    names: Sequence[str],
    *,
    config: Mapping[str, Any],
    quantization: str = "float32",
    bias: Any = None,
) -> None:
    """Write a Whisper as a model of CTranslate2.

    Parameters
    ----------
    dims, state : mapping
        Dimensions and weights as openai-whisper names them; they stay what they are.
    folder : Path
        An empty one.
    names : sequence of str
        What each row of the embedding is called.
    config : mapping
        `suppress_ids`, `suppress_ids_begin`, `lang_ids` and `alignment_heads`, as CTranslate2 wants them.
    quantization : str
        "float32", "float16" or "int8".
    bias : Tensor, optional
        Added to every row's logits.
    """
    library = load_framework("ctranslate2")
    spec = library.specs.WhisperSpec(dims["n_audio_layer"], dims["n_audio_head"], dims["n_text_layer"], dims["n_text_head"])
    # quantising works in place, on the memory of the tensors it is given
    plain = {name: value.detach().to("cpu", torch.float32, copy=True) for name, value in state.items()}
    _Filler(plain).fill(spec)
    if bias is not None:
        spec.decoder.projection.bias = bias
    for name, value in config.items():
        setattr(spec.config, name, value)
    spec.register_vocabulary(list(names))
    spec.validate()
    spec.optimize(quantization=quantization)
    spec.save(str(folder))


# ---------------------------------------------------------------- what CTranslate2 is told
class _Filler:
    """Puts weights by openai-whisper's names where CTranslate2 wants them."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state = state

    def fill(self, spec: Any) -> None:
        for part in ("conv1", "conv2"):
            self.layer(getattr(spec.encoder, part), f"encoder.{part}")
        self.norm(spec.encoder.layer_norm, "encoder.ln_post")
        self.norm(spec.decoder.layer_norm, "decoder.ln")
        self.layer(spec.decoder.embeddings, "decoder.token_embedding")
        self.layer(spec.decoder.projection, "decoder.token_embedding")
        for side in ("encoder", "decoder"):
            part = getattr(spec, side)
            part.position_encodings.encodings = self.state[f"{side}.positional_embedding"]
            for i, block in enumerate(part.layer):
                self.block(block, f"{side}.blocks.{i}")

    def block(self, spec: Any, name: str) -> None:
        own = spec.self_attention
        self.layers(own.linear[0], [f"{name}.attn.{part}" for part in ("query", "key", "value")])
        self.layer(own.linear[1], f"{name}.attn.out")
        self.norm(own.layer_norm, f"{name}.attn_ln")
        if f"{name}.cross_attn.out.weight" in self.state:
            self.layer(spec.attention.linear[0], f"{name}.cross_attn.query")
            self.layers(spec.attention.linear[1], [f"{name}.cross_attn.{part}" for part in ("key", "value")])
            self.layer(spec.attention.linear[2], f"{name}.cross_attn.out")
            self.norm(spec.attention.layer_norm, f"{name}.cross_attn_ln")
        self.layer(spec.ffn.linear_0, f"{name}.mlp.0")
        self.layer(spec.ffn.linear_1, f"{name}.mlp.2")
        self.norm(spec.ffn.layer_norm, f"{name}.mlp_ln")

    def layer(self, spec: Any, name: str) -> None:
        spec.weight = self.state[f"{name}.weight"]
        if f"{name}.bias" in self.state:
            spec.bias = self.state[f"{name}.bias"]

    def layers(self, spec: Any, names: list[str]) -> None:
        """Put several layers of the same input into one; Whisper's keys have no bias."""
        weights = [self.state[f"{name}.weight"] for name in names]
        spec.weight = torch.cat(weights)
        biases = [self.state.get(f"{name}.bias") for name in names]
        pairs = zip(biases, weights, strict=True)
        spec.bias = torch.cat([torch.zeros(len(weight)) if bias is None else bias for bias, weight in pairs])

    def norm(self, spec: Any, name: str) -> None:
        spec.gamma, spec.beta = self.state[f"{name}.weight"], self.state[f"{name}.bias"]


def _names(vocabulary: Vocabulary) -> list[str]:
    """Return a name for every row: CTranslate2 looks up the special ones, and takes a model that has "" for multilingual."""
    special = {token: name for name, token in vocabulary.tokenizer.special_tokens.items()}
    tokens = range(vocabulary.tokenizer.encoding.n_vocab) if vocabulary.kept is None else vocabulary.kept.tolist()
    names = [special.get(token, f"token {token}") for token in tokens]
    if vocabulary.kept is not None:
        names.append("others")
    if vocabulary.multilingual:  # the last one before the special tokens is "" in Whisper's multilingual vocabulary
        names[vocabulary.end - 1 if vocabulary.kept is None else -1] = ""
    return names


def _blank(vocabulary: Vocabulary) -> list[int]:
    """Return the rows that cannot begin a text, for a network that must begin one."""
    spaces, rows = vocabulary.tokenizer.encode(" "), vocabulary.rows
    return [*(spaces if rows is None else [rows[token] for token in spaces if token in rows]), vocabulary.end]


def _features(mel: Any) -> Any:
    return load_framework("ctranslate2").StorageView.from_array(mel.detach().cpu().float().contiguous().numpy())


def _sums(found: Any, beam_size: int) -> dict[tuple[int, ...], float]:
    """Return candidates and the sum of the log-probabilities of their tokens and end."""
    power = _LENGTH if beam_size > 1 else 0
    pairs = zip(found.sequences_ids, found.scores, strict=True)
    return {tuple(tokens): score * max(1, len(tokens)) ** power for tokens, score in pairs}


def _best(candidates: dict[tuple[int, ...], float], found: Any, language: str | None) -> Decoded:
    """Take the candidate whose tokens are the most probable on average."""
    tokens = max(candidates, key=lambda text: candidates[text] / max(1, len(text)))
    return Decoded(list(tokens), candidates[tokens] / (len(tokens) + 1), float(found.no_speech_prob), language)


# ---------------------------------------------------------------- 8-bit weights in PyTorch
def _quantized(network: Any) -> Any:
    with torch.no_grad():
        plain = _plain_layers(copy.deepcopy(network).cpu().eval())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch means to move this into a package of its own one day
            library = torch.ao.quantization
            kinds = {torch.nn.Linear: library.per_channel_dynamic_qconfig}
            return library.quantize_dynamic(plain, kinds, dtype=torch.qint8, inplace=True)
    except AttributeError as error:
        raise ImportError(
            f"PyTorch {torch.__version__} has no dynamic quantisation any more ({error}). Use runtime='ctranslate2-int8'."
        ) from error


def _plain_layers(module: Any) -> Any:
    """Replace Whisper's own linear layers, which PyTorch's quantisation does not know, by PyTorch's."""
    for name, child in module.named_children():
        if isinstance(child, _whisper.model.Linear):
            layer = torch.nn.Linear(child.in_features, child.out_features, bias=child.bias is not None, device="meta")
            layer.weight, layer.bias = child.weight, child.bias
            setattr(module, name, layer)
        else:
            _plain_layers(child)
    return module


# ---------------------------------------------------------------- once
def _once(network: Any, kind: Any, make: _Maker) -> Any:
    """Return what was made from a network before, unless its weights have changed since."""
    made = _remembered.setdefault(network, {})
    with torch.no_grad():
        now = [float(weight.sum()) for weight in network.parameters()]
    if kind not in made or made[kind][0] != now:
        made[kind] = now, make()
    return made[kind][1]
