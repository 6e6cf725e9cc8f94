"""How a Whisper network learns: the phases of training, and what is known of the network afterwards."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.device import Device
from pipelines.engines import load_framework
from pipelines.errors import DataError

from . import alignment, features
from .adapters import frozen
from .audio import SAMPLE_RATE
from .examples import FURTHER, WHOLE, Joined, Plan, Whole, pieces, strings
from .trainee import Trainee, localise
from .vocabulary import Vocabulary

torch: Any = load_framework("torch")

__all__ = ["Fitted", "fit", "steps", "usual_epochs"]

_HEARD = 3.0  # seconds of the strings a network from scratch is judged on, where its clips are not longer
_BEYOND = 1.5  # times as long are the longest examples: a network that has not seen more forgets to stop
_PIECE = 2.0  # seconds it hears at once later, where its clips are not longer: with 3 it had half as many errors again
_GROUPS = 100  # the most of an epoch of a network from scratch
_STEPS, _MANY = 2000, 1000  # that it takes, twice as many for so many texts
_AT_ONCE: dict[str, Any] = {"begin": -1.0, "grown": 0.0, "clean": -1.0, "altered": 0.0}  # as long and altered as they get
_ALIGNED = 20  # strings that heads are chosen on


@dataclass(frozen=True)
class Fitted:
    """What became of a training.

    Attributes
    ----------
    history : list of dict
        One record an epoch.
    heard : float
        Seconds the network hears at once.
    heads : list of pairs
        Layer and head of the cross-attention that follows the sound best; none in fine-tuning.

    Examples
    --------
    >>> Fitted([], 3.5, [[1, 0]]).heard
    3.5
    """

    history: list[dict[str, Any]]
    heard: float
    heads: list[list[int]]


def fit(
    network: Any,
    vocabulary: Vocabulary,
    waves: Sequence[np.ndarray],
    texts: Sequence[str],
    valid: tuple[Sequence[np.ndarray], Sequence[str]] | None,
    *,
    train: Callable[..., list[dict[str, Any]]],
    scratch: bool,
    wer: Callable[[Sequence[str], Sequence[str]], float],
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    device: Device,
    full: bool = True,
    freeze: str | None = None,
    resume: Path | None = None,
    **options: Any,
) -> Fitted:
    """Teach a network what is said in clips, in place.

    First it hears single clips, then more and more of them joined, altered more and more; at last whole windows of 30 s.
    A network from scratch learns which sound is which from the encoder alone, too (connectionist temporal classification), and
    some of its attentions are told where the word is that they should look at: where it was joined is known.

    Parameters
    ----------
    network : whisper.model.Whisper
        The network.
    vocabulary : Vocabulary
        Of its rows; its language is what is spoken.
    waves, texts : sequences
        Clips at 16 kHz and what is said in them; an empty text is for nothing.
    valid : pair, optional
        Clips and texts that decide which epoch was the best.
    train : callable
        The engine's.
    scratch : bool
        Whether the network knows nothing yet.
    wer : callable
        The word error rate, of true texts and texts written.
    epochs, batch_size, lr, seed, device
        As the pipeline has them.
    full : bool
        End with some steps over whole windows of 30 s.
    freeze : str, optional
        None, "encoder" or "adapters".
    resume : path, optional
        A folder for checkpoints.
    **options
        What else the engine's `train` takes: `on_epoch`, `on_step`, `fingerprint`, `patience`, `precision`.

    Returns
    -------
    Fitted
        What is known of the network now.

    Raises
    ------
    DataError
        If a clip is longer than 30 s or a text has more tokens than the decoder takes.

    References
    ----------
    .. [1] Kim, Hori, Watanabe (2017), "Joint CTC-Attention Based End-to-End Speech Recognition Using Multi-task Learning",
       arXiv:1609.06773.
    .. [2] Tachibana, Uenoyama, Aihara (2018), "Efficiently Trainable Text-to-Speech System Based on Deep Convolutional Networks
       with Guided Attention", arXiv:1710.08969.
    """
    room = network.dims.n_text_ctx - len(vocabulary.prompt(vocabulary.language)) - FURTHER
    _refuse_long(waves, [vocabulary.encode(text) for text in texts], room)
    clips = pieces(waves, texts, _HEARD) if scratch else list(zip(waves, texts, strict=True))
    groups = steps(texts, scratch=scratch, batch_size=batch_size)
    heard, plan = _planned(clips, scratch, groups, batch_size)
    judged = None if valid is None else _judged(valid, vocabulary, heard, scratch, seed, wer, room)
    if scratch:
        localise(network)
    trainee = Trainee(network, vocabulary, scratch=scratch)
    examples = functools.partial(Joined, clips, vocabulary, seed=seed, n_mels=network.dims.n_mels)
    run = functools.partial(train, trainee, loss=trainee.loss, device=device, seed=seed, weight_decay=0.05)
    freed = frozen(network, freeze)
    try:
        history = run(
            examples(plan, epochs=epochs),
            valid=judged and judged[0],
            judge=judged and judged[1],
            epochs=epochs,
            lr=lr,
            matrices=_inner(network) if scratch else [],
            resume=None if resume is None else resume / "training.npz",
            **options,
        )
        if full and not history[-1].get("interrupted"):
            groups, gentle = (plan.groups, 0.5) if scratch else (min(25, plan.groups), 0.2)
            last = dataclasses.replace(plan, full=True, size=8, groups=max(2, groups), **_AT_ONCE)
            quiet = {name: value for name, value in options.items() if name not in ("on_epoch", "on_step", "patience")}
            before = {name: value.clone() for name, value in trainee.state_dict().items()}
            try:
                # with AdamW: in so few steps Muon left half as many errors again in spectrograms that are cut off
                run(examples(last, epochs=1), valid=None, judge=None, epochs=1, lr=gentle * lr, warmup=0.2, matrices=[], **quiet)
            except KeyboardInterrupt:  # what was learned before is kept
                trainee.load_state_dict(before)
                history[-1]["interrupted"] = True
    finally:
        freed()
        trainee.release()
    if not scratch:
        return Fitted(history, WHOLE, [])
    return Fitted(history, min(WHOLE, max(_PIECE, _longest(clips))), _best_heads(network, vocabulary, clips, heard, seed, room))


def usual_epochs(texts: Sequence[str], *, scratch: bool, batch_size: int) -> int:
    """Return the epochs that so many texts call for; from scratch it is the steps that count.

    Examples
    --------
    >>> usual_epochs(["one"] * 360, scratch=True, batch_size=16), usual_epochs(["one"] * 2700, scratch=True, batch_size=16)
    (20, 40)
    """
    groups = steps(texts, scratch=scratch, batch_size=batch_size)
    if scratch:
        return math.ceil((_STEPS if len(texts) < _MANY else 2 * _STEPS) / groups)
    return min(20, max(3, math.ceil(500 / groups)))


def steps(texts: Sequence[str], *, scratch: bool, batch_size: int) -> int:
    """Return the groups of examples, or steps, of an epoch.

    Examples
    --------
    >>> steps(["one"] * 360, scratch=True, batch_size=16), steps(["one"] * 360, scratch=False, batch_size=16)
    (100, 23)
    """
    if not scratch:
        return math.ceil(len(texts) / batch_size)
    words = sum(max(1, len(text.split())) for text in texts)
    return int(np.clip(math.ceil(5 * words / batch_size), 10, _GROUPS))


def _inner(network: Any) -> list[Any]:
    """Return the matrices of all attentions and of what follows them, which learn in fewer steps with Muon."""
    blocks = [*network.encoder.blocks, *network.decoder.blocks]
    return [parameter for block in blocks for parameter in block.parameters() if parameter.ndim == 2]


def _planned(clips: Sequence[tuple[np.ndarray, str]], scratch: bool, groups: int, size: int) -> tuple[float, Plan]:
    """Return the seconds a network will hear at once, and how to train it."""
    longest = _longest(clips)
    if scratch:
        heard = min(WHOLE, max(_HEARD, longest))
        return heard, Plan(min(WHOLE, _BEYOND * heard), groups=groups, size=size)
    return WHOLE, Plan(
        min(WHOLE, max(2 * _HEARD, longest)),
        groups=groups,
        size=size,
        alone=0.7,
        past=0.0,
        **_AT_ONCE,
    )


def _longest(clips: Sequence[tuple[np.ndarray, str]]) -> float:
    return max(len(wave) for wave, _ in clips) / SAMPLE_RATE


def _refuse_long(waves: Sequence[np.ndarray], rows: Sequence[Sequence[int]], most: int) -> None:
    for i, (wave, row) in enumerate(zip(waves, rows, strict=True)):
        if len(wave) > WHOLE * SAMPLE_RATE:
            raise DataError(
                f"Sample {i} lasts {len(wave) / SAMPLE_RATE:.1f} s, but Whisper learns from 30 s at most. Cut it into pieces."
            )
        if len(row) > most:
            raise DataError(f"The text of sample {i} has {len(row)} tokens; the decoder takes {most}. Cut the recording.")


def _judged(
    valid: tuple[Sequence[np.ndarray], Sequence[str]],
    vocabulary: Vocabulary,
    heard: float,
    scratch: bool,
    seed: int,
    wer: Callable[[Sequence[str], Sequence[str]], float],
    room: int,
) -> tuple[Whole, Callable[[np.ndarray, Any], dict[str, float]]]:
    """Return validation batches, from scratch with as many joined clips again, and what judges their outputs."""
    clips = pieces(*valid, heard) if scratch else list(zip(*valid, strict=True))
    clips = [(wave, text) for wave, text in clips if len(wave) <= WHOLE * SAMPLE_RATE and len(vocabulary.encode(text)) <= room]
    if not clips:
        raise DataError(
            f"No validation recording can be used: all last over 30 s or have over {room} tokens. Cut them into pieces."
        )
    if scratch:
        joined = strings(clips, heard, np.random.default_rng([seed, 2]), math.ceil(len(clips) / 2))
        clips += [(wave, text) for wave, text, _ in joined if len(vocabulary.encode(text)) <= room]
    texts = [text.strip() for _, text in clips]
    batches = Whole([wave for wave, _ in clips], texts, vocabulary)

    def judge(outputs: np.ndarray, _: Any) -> dict[str, float]:
        found = batches.in_order(outputs)
        written = [vocabulary.decode(row[row >= 0].tolist()).strip() for row in found[:, 1:].astype(np.int64)]
        error = wer(texts, written) if any(texts) else float(np.mean([bool(text) for text in written]))
        return {"val_loss": error + 0.01 * float(found[:, 0].mean()), "val_wer": error}  # of equal ones the surer one

    return batches, judge


def _best_heads(
    network: Any, vocabulary: Vocabulary, clips: Sequence[tuple[np.ndarray, str]], heard: float, seed: int, room: int
) -> list[list[int]]:
    """Return the layer and head whose attention tells best where clips were joined, in the second half of the decoder."""
    layers, heads = network.dims.n_text_layer, network.dims.n_text_head
    candidates = [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]
    spoken = [(wave, text) for wave, text in clips if text.strip() and len(wave) < heard * SAMPLE_RATE / 3]
    joined = strings(spoken, heard, np.random.default_rng([seed, 3]), _ALIGNED) if spoken else []
    joined = [string for string in joined if len(vocabulary.encode(string[1])) <= room]
    if not joined:
        return [[layers - 1, min(1, heads - 1)]]
    network.eval()
    return [min(candidates, key=lambda pair: sum(_missed(network, vocabulary, pair, *string) for string in joined))]


def _missed(network: Any, vocabulary: Vocabulary, pair: list[int], wave: np.ndarray, text: str, starts: Sequence[float]) -> float:
    """Return by how many seconds the words that clips begin with are found too early or too late, in the median."""
    device = network.decoder.positional_embedding.device
    padded = torch.from_numpy(features.padded([wave], features.context(len(wave))))
    mel = features.log_mel(padded.to(device), network.dims.n_mels)
    rows, language = vocabulary.encode(text), vocabulary.language
    found = alignment.align(network, mel, [rows], [language], [len(wave)], vocabulary=vocabulary, heads=[pair])[0]
    times = np.array([word.start for word in found]) if found else np.zeros(1)
    return float(np.median([np.abs(times - start).min() for start in starts]))
