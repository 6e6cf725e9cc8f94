"""`SpeechTranscriber`: from recordings to what is said in them, by a Whisper network of any origin."""

import functools
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipelines import checks, data
from pipelines.base import Pipeline
from pipelines.engines import load_framework
from pipelines.engines.memory import freed_memory_kept
from pipelines.errors import DataError, ParameterError
from pipelines.metrics._transcription import word_error_rate
from pipelines.progress import Progress, say
from pipelines.tasks import TranscriberMixin

from . import audio, gates

if TYPE_CHECKING:
    from .export import Exported
    from .listening import Listener
    from .vocabulary import Vocabulary

__all__ = ["SpeechTranscriber"]

CONTEXTS = ("auto", "full", "trimmed")
FREEZE = (None, "encoder", "adapters")
RUNTIMES = ("torch", "torch-bf16", "torch-int8", "ctranslate2", "ctranslate2-int8")

_WHOLE = 30.0  # seconds that Whisper hears at once
_ENGLISH = "en"
_ASKED = 16  # recordings that tell what language is spoken
_HEAD = 24  # as networks.HEAD, which is not loaded for a check
_GENTLER = 100  # times smaller is the learning rate of pretrained weights


class SpeechTranscriber(TranscriberMixin, Pipeline):
    """Transcribe speech with Whisper: as it is, fine-tuned on your recordings, or a small one trained from scratch.

    Parameters
    ----------
    weights : str, optional
        Where the network comes from: a name of openai-whisper's ("tiny", "base.en", "large-v3", "turbo", …; read from its cache,
        or downloaded), a `.pt` file of it, a Whisper folder in the format of transformers, or the folder of a saved
        `SpeechTranscriber`. With any of these `predict` works without `fit`. None trains a small network from scratch.
    units : int
        Of a network from scratch, a token; a multiple of 24.
    layers : int
        Of the encoder of a network from scratch; its decoder has twice as many.
    language : str, optional
        What is spoken, as code or English name. None finds it out, recording by recording; a network from scratch or an
        English-only one has no choice.
    translate : bool
        Write English whatever is spoken; for multilingual pretrained weights.
    context : str
        `"full"` pads every piece to 30 s as Whisper was trained; `"trimmed"` only to the next step of its own length, many times
        quicker, for networks trained so; `"auto"` trims where the network was fitted here.
    vad : bool
        Look for speech first (Silero VAD) and hear nothing else, which keeps ghosts out of silence, noise and music.
    word_times : bool
        Find when each word is said.
    beam_size : int
        Candidates in the search; 1 takes the most probable token each time.
    freeze : str, optional
        What stays as it is in fine-tuning: None, nothing; `"encoder"`; `"adapters"`, everything but low-rank additions to the
        attentions' weights.
    runtime : str
        What computes predictions: `"torch"`, `"ctranslate2"` (needs the extra of that name), and either with `"-int8"`. On
        processors without VNNI the products of `"ctranslate2-int8"` saturate, and a small network may mishear more; those of
        `"torch-int8"` do not. `"torch-bf16"` computes the encoder in bfloat16: quicker on processors with AMX or AVX-512 BF16 and
        on GPUs, slower on others.
    epochs : int, optional
        The most epochs; None takes as many as the amount of speech calls for.
    batch_size : int
        Recordings a step.
    lr : float
        Highest learning rate of a network from scratch; pretrained weights get a hundredth.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"` or `"gpu:1"`.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    dims_ : dict
        The network's dimensions, as openai-whisper names them.
    kept_ : ndarray or None
        Ids of the tokens the network has rows for; None for all of them.
    language_ : str or None
        What is spoken; None where it is found out each time.
    context_, timestamps_, longest_ : str, bool, float
        "full" or "trimmed"; whether the network writes times itself; seconds it hears at once.
    heads_ : list of pairs
        Layer and head of the cross-attentions that follow the sound.
    model_ : whisper.model.Whisper
        The network.
    history_ : list of dict
        One record an epoch.

    Notes
    -----
    Recordings are paths of audio or video files, arrays at 16 kHz, pairs `(array, rate)`, or dicts with "array" and
    "sampling_rate". Texts are strings; an empty one means that nothing is said, which the network learns from.

    References
    ----------
    .. [1] Radford, Kim, Xu, Brockman, McLeavey, Sutskever (2022), "Robust Speech Recognition via Large-Scale Weak Supervision",
       arXiv:2212.04356.

    Examples
    --------
    >>> SpeechTranscriber(weights="base", word_times=True).predict(["talk.mp3"])[0].save("talk.srt")  # doctest: +SKIP
    """

    task: ClassVar[str] = "speech-transcription"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "recordings"
    pretrained: ClassVar[bool] = True

    def __init__(
        self,
        *,
        weights: str | None = "tiny",
        units: int = 96,
        layers: int = 2,
        language: str | None = None,
        translate: bool = False,
        context: str = "auto",
        vad: bool = True,
        word_times: bool = False,
        beam_size: int = 1,
        freeze: str | None = None,
        runtime: str = "torch",
        epochs: int | None = None,
        batch_size: int = 16,
        lr: float = 2e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.weights = weights
        self.units = units
        self.layers = layers
        self.language = language
        self.translate = translate
        self.context = context
        self.vad = vad
        self.word_times = word_times
        self.beam_size = beam_size
        self.freeze = freeze
        self.runtime = runtime
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def export(self, path: str | os.PathLike[str], *, format: str = "openai", quantization: str | None = None) -> "Exported":
        """Write the network for other programs, and prove that they read the same out of it; see `speech.export.export`.

        Parameters
        ----------
        path : path
            A `.pt` file for `"openai"`, a folder otherwise.
        format : str
            `"openai"` for `whisper.load_model`, `"huggingface"` for transformers, `"ctranslate2"` for faster-whisper.
        quantization : str, optional
            Of `"ctranslate2"`: `"int8"`.

        Returns
        -------
        Exported
            Where it is, and the largest difference seen.

        Examples
        --------
        >>> SpeechTranscriber.load("model/").export("model.pt").difference  # doctest: +SKIP
        0.0
        """
        from . import export, weights

        self._ready()
        return export.export(
            self.dims_,
            self.model_.state_dict(),
            path,
            format=format,
            kept=self.kept_,
            heads=self.heads_,
            language=self.language_,
            quantization=quantization,
            taught=self.written_,
            may_be_empty=not self.timestamps_,
            facts={name: getattr(self, f"{name}_") for name in weights.FACTS},
        )

    # ---------------------------------------------------------------- the network
    def _build(self) -> Any:
        from . import networks

        network = networks.build(self.dims_, self.kept_)
        return network.eval()

    def _ready(self) -> None:
        if not hasattr(self, "model_") and self.weights is not None:
            self._take_as_it_is()
        super()._ready()

    def _take_as_it_is(self) -> None:
        """Make a pretrained network ready to predict without `fit`."""
        self._check()
        self.notes_, self.history_, self.fit_seconds_ = [], [], 0.0
        self.device_ = self._resolve(self.device)
        checkpoint = self._read_weights()
        self.context_ = checkpoint.facts.get("context", "full") if self.context == "auto" else self.context
        self.language_ = self._spoken(checkpoint.facts.get("language"))
        self.timestamps_ = bool(checkpoint.facts.get("timestamps", self.kept_ is None))
        self.longest_ = float(checkpoint.facts.get("longest", _WHOLE))
        self.limits_ = dict(checkpoint.facts.get("limits", {}))
        self.written_ = list(checkpoint.facts.get("written", []))
        self.most_frequent_text_ = ""
        model = self._build()
        model.load_state_dict(checkpoint.state, strict=False)
        self.model_ = model.to(self.device_.name)

    def _read_weights(self) -> Any:
        """Read the pretrained weights, and take over what the network is like."""
        from . import weights

        assert self.weights is not None
        checkpoint = weights.load(self.weights)
        self.dims_, self.kept_ = dict(checkpoint.dims), checkpoint.kept
        layers = range(self.dims_["n_text_layer"] // 2, self.dims_["n_text_layer"])
        self.heads_ = checkpoint.heads or [[layer, head] for layer in layers for head in range(self.dims_["n_text_head"])]
        return checkpoint

    def _spoken(self, known: str | None = None) -> str | None:
        """Return the language asked for, or the one that is known; refuse one that the network cannot write."""
        from . import vocabulary

        english_only = self.dims_["n_vocab"] < vocabulary.MULTILINGUAL
        asked = None if self.language is None else vocabulary.language_code(self.language)
        if english_only and (asked not in (None, _ENGLISH) or self.translate):
            what = "translate=True" if self.translate else f"language={self.language!r}"
            raise ParameterError(f"{what} needs a multilingual network, but {self.weights!r} writes English only.")
        return None if english_only else asked or known

    def _vocabulary(self) -> "Vocabulary":
        from .vocabulary import Vocabulary

        return Vocabulary(
            self.dims_,
            self.kept_,
            self.language_,
            translate=self.translate,
            taught=self.written_,
            may_be_empty=not self.timestamps_,
        )

    # ---------------------------------------------------------------- checks
    def _check(self) -> None:
        super()._check()
        checks.choice("context", self.context, CONTEXTS)
        checks.choice("freeze", self.freeze, FREEZE)
        checks.number("units", self.units, _HEAD, integer=True)
        checks.number("layers", self.layers, 1, integer=True)
        if self.units % _HEAD:
            raise ParameterError(f"units must be a multiple of {_HEAD} (the size of a head), but received {self.units}.")
        if self.weights is None and self.freeze is not None:
            raise ParameterError(f"freeze={self.freeze!r} would keep random weights. Give weights, or leave freeze out.")
        if self.weights is None and self.translate:
            raise ParameterError("translate=True needs pretrained weights. A network from scratch writes what it is taught.")

    def _check_use(self) -> None:
        super()._check_use()
        checks.choice("runtime", self.runtime, RUNTIMES)
        for name in ("translate", "vad", "word_times"):
            checks.choice(name, getattr(self, name), (True, False))
        checks.number("beam_size", self.beam_size, 1, 50, integer=True)

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        """Find sources that cannot be read before work starts; in training keep what was read, 230 MB an hour."""
        waves = []
        for i, source in enumerate(X):
            try:
                if train:
                    waves.append(audio.read(source))
                else:
                    next(audio.blocks(source, 1.0))
            except DataError as error:
                raise DataError(f"Recording {i} cannot be used (sample {i} of X): {error}") from error
        return waves if train else X

    # ---------------------------------------------------------------- learning
    def _learn(self, X: Any, y: Sequence[str]) -> None:
        super()._learn(X, y)
        if self.weights is None:
            self._learn_small(y)
        else:
            self._checkpoint = self._read_weights()
            known = self._checkpoint.facts.get("language") or (_ENGLISH if self.kept_ is not None else None)
            self.language_ = self._spoken(known)
            self._learn_tokens(y)
        self.context_ = "trimmed" if self.context == "auto" else self.context
        self.timestamps_ = False
        self.longest_ = _WHOLE
        vocabulary = self._vocabulary()
        paces = [len(vocabulary.encode(text)) / max(0.2, len(wave) / audio.SAMPLE_RATE) for wave, text in zip(X, y, strict=True)]
        limits = gates.Limits.of(y, paces)
        self.limits_ = {"compression": limits.compression, "loops": limits.loops, "pace": limits.pace}

    def _learn_small(self, y: Sequence[str]) -> None:
        """Choose a network from scratch: with the tokens of the training texts."""
        from . import networks, vocabulary

        self.dims_ = networks.small(self.units, self.layers)
        self.language_ = _ENGLISH if self.language is None else vocabulary.language_code(self.language)
        self.kept_ = vocabulary.learn(y, self.dims_, self.language_)
        self.heads_ = []
        self.written_ = []

    def _learn_tokens(self, y: Sequence[str]) -> None:
        """Give new tokens a row, where only some have one; or note those that Whisper by itself never writes."""
        from . import vocabulary, weights

        self.written_, known = vocabulary.unusual(y, self.dims_), self.kept_
        if known is None:
            return
        self.kept_ = np.union1d(known, vocabulary.learn(y, self.dims_, self.language_ or _ENGLISH))
        state = self._checkpoint.state
        state[weights.EMBEDDING] = weights.with_rows(state[weights.EMBEDDING], known, self.kept_)

    def _train(self, X: Any, y: list[str], valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        from . import training

        minutes = sum(map(len, X)) / audio.SAMPLE_RATE / 60
        say(f"training on {len(X)} recordings, {minutes:.1f} minutes, {self.device_.name}", self.verbose)
        scratch = self.weights is None
        if not scratch:
            self.model_.load_state_dict(self._checkpoint.state, strict=False)
            self._find_language(X)
        epochs = self.epochs or training.usual_epochs(y, scratch=scratch, batch_size=self.batch_size)
        steps = training.steps(y, scratch=scratch, batch_size=self.batch_size)
        with Progress(epochs, steps, verbose=self.verbose) as progress:
            fitted = training.fit(
                self.model_,
                self._vocabulary(),
                X,
                y,
                valid,
                train=self._engine.train,
                scratch=scratch,
                wer=word_error_rate,
                epochs=epochs,
                batch_size=self.batch_size,
                lr=self.lr if scratch else self.lr / _GENTLER,
                seed=self.seed,
                device=self.device_,
                freeze=self.freeze,
                resume=resume,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                fingerprint="" if resume is None else self._fingerprint(X, y, valid),
            )
        self.longest_ = fitted.heard
        self.heads_ = fitted.heads or self.heads_
        return fitted.history

    def _find_language(self, X: Any) -> None:
        """Where it is not known what is spoken, ask the network: one language for all recordings to learn from."""
        if self.language_ is not None or not self._vocabulary().languages:
            return
        from . import decoding, features

        torch = load_framework("torch")
        network = self.model_.to(self.device_.name)
        rows = np.random.default_rng(self.seed).permutation(len(X))[:_ASKED]
        waves = torch.from_numpy(features.padded([X[i] for i in rows], features.FULL))
        mel = features.log_mel(waves.to(self.device_.name), self.dims_["n_mels"])
        found = decoding.languages(network, decoding.hear(network, mel), self._vocabulary())
        self.language_, count = Counter(found).most_common(1)[0]
        self._note(
            f"The language was found to be {self.language_!r} ({count} of {len(rows)} recordings). language= says otherwise."
        )

    def _fingerprint(self, X: Any, y: Any, valid: Any) -> str:
        """Say what a checkpoint was made from."""
        digest = self._digest([self.dims_, y, None if valid is None else valid[1]])
        digest.update(b"".join(data.fingerprints([*X, *([] if valid is None else valid[0])])))
        return str(digest.hexdigest())

    # ---------------------------------------------------------------- hearing
    def _listener(self) -> "Listener":
        from . import alignment, listening

        network, vocabulary = self.model_.to(self.device_.name), self._vocabulary()
        align = functools.partial(alignment.align, network, vocabulary=vocabulary, heads=self.heads_)
        hear, decode = self._ears(network, vocabulary)
        return listening.Listener(
            hear=hear,
            decode=decode,
            vocabulary=vocabulary,
            n_mels=self.dims_["n_mels"],
            room=self.dims_["n_text_ctx"] // 2,
            longest=self.longest_,
            full=self.context_ == "full",
            vad=self.vad,
            beam_size=self.beam_size,
            timestamps=self.timestamps_,
            limits=gates.Limits(**self.limits_),
            batch_size=max(self.batch_size, 32),
            device=self.device_.name,
            threads=self._threads,
            align=align if self.word_times else None,
        )

    @property
    def _threads(self) -> int:
        """Return how many threads hear side by side: PyTorch's, where whole windows do not fill them anyway."""
        alone = self.device_.name != "cpu" or self.context_ == "full" or self.word_times or not self.runtime.startswith("torch")
        return 1 if alone else int(load_framework("torch").get_num_threads())

    def _ears(self, network: Any, vocabulary: "Vocabulary") -> tuple[Any, Any]:
        """Return what hears and what decodes, in the runtime asked for; CTranslate2 does both in one."""
        from . import decoding, runtime

        if self.runtime.startswith("torch"):
            network = runtime.quantized(network) if self.runtime == "torch-int8" else network
            hear = runtime.hear_in_bfloat16 if self.runtime == "torch-bf16" else decoding.hear
            return functools.partial(hear, network), functools.partial(decoding.decode, network)
        return lambda mel: (mel,), runtime.ctranslate2(network, vocabulary, int8=self.runtime.endswith("int8"))

    @freed_memory_kept()
    def _infer(self, X: Any) -> Any:
        say(f"transcribing {len(X)} recordings, {self.device_.name}", 0)
        with self.device_.scope():
            return self._listener().transcripts(X)
