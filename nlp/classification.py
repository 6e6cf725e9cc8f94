"""`TextClassifier`: from texts, or pairs of texts, to classes, probabilities and a report."""

import functools
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.utils import _safe_indexing

from pipelines import baselines, checks, data
from pipelines.base import Pipeline
from pipelines.errors import ParameterError
from pipelines.progress import Progress, say
from pipelines.report import Report
from pipelines.tasks import ClassifierMixin
from pipelines.tasks.classification import is_multilabel

from . import linear, texts
from .tokens import LONG_TEXTS, LengthBatches, Tokenizer, Tokens, learn_words
from .word_vectors import word_vectors

if TYPE_CHECKING:
    from .explanation import Explanations
    from .export import Exported

__all__ = ["TextClassifier"]

ENCODERS = ("bert", "lstm")

_LONGEST = 512  # tokens of a window, whatever the network could take: longer ones cost more than they bring
_MOST_WINDOWS = 16  # of one text in training
_WIDTH = 384  # units of the network `lr` is meant for
_VOCABULARY = 20_000  # the most words of a network from scratch
_FEW, _FEW_A_CLASS = 150, 16  # texts: fewer call for the other way to learn
_FEW_TOGETHER, _FEW_STEPS = 16, 12  # texts a step, steps an epoch, when there are so few


class TextClassifier(ClassifierMixin, Pipeline):
    """Classify texts with a BERT-like encoder, fine-tuned or trained from scratch, or with an LSTM.

    Parameters
    ----------
    encoder : str
        `"bert"`, or `"lstm"`: word vectors and a bidirectional LSTM, as in textbooks, trained from scratch.
    weights : str, optional
        Where a BERT starts from: a local folder of any encoder in the format of transformers (BERT, DistilBERT, RoBERTa,
        MiniLM, ELECTRA, DeBERTa, ModernBERT, …; weights in safetensors), its name on the Hugging Face hub, or the folder of a
        saved `TextClassifier`. None trains a small one from scratch: one layer on the words that the training texts have at
        least twice, whose vectors begin as those of a factorised count of neighbours.
    max_length : int or "auto"
        The most tokens the network sees at once. `"auto"` takes as many as the longest training text has, up to 512 and to
        what the network can take.
    long_texts : str
        What becomes of texts that are longer: `"window"` reads them in windows that overlap by a quarter and averages their
        scores; `"head+tail"` keeps begin and end; `"truncate"` the begin.
    freeze : bool
        True leaves the pretrained encoder as it is: it computes a vector of each text once, and a logistic regression learns
        from these. Needs `weights`.
    few_shot : bool or "auto"
        True is for a handful of texts a class: the pretrained encoder learns for some steps which texts belong together, and a
        logistic regression that begins at the classes' names, where they have names, does the rest. All texts are learned from,
        none is held out. `"auto"` does so below 150 texts in all or 16 a class. Needs `weights`.
    class_weight : "balanced" or dict, optional
        Weight of each class in the loss.
    epochs : int, optional
        The most epochs; training stops earlier when the validation loss no longer falls. None takes as many as the number of
        texts calls for.
    batch_size : int
        Texts a step.
    lr : float
        Highest learning rate of a pretrained encoder with 384 units a token; wider ones get less, in proportion, layers further
        down less and less; a small BERT from scratch five times, an LSTM ten times as much.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"` or `"gpu:1"`.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    max_length_, pairs_, few_shot_ : int, bool, bool
        The most tokens of a window; whether samples are pairs of texts; whether they were taken for a handful.
    config_, head_, tokenizer_ : dict, dict, ndarray
        Configuration of the encoder and of what follows it; the tokenizer as the bytes of a `tokenizer.json`.
    model_ : torch.nn.Module
        Parts `encoder` (tokens to vectors) and `head` (their mean, from scratch their maximum, too, to class scores).
    history_ : list of dict
        One record an epoch.

    Notes
    -----
    Samples are texts, or pairs of texts (tuples, an array or a DataFrame with two columns). Labels are text, whole numbers or
    booleans; a 2-D 0/1 indicator or a list of label sets means several labels a text. Batches hold texts of like length, and
    training runs in bfloat16 where a measurement at the start shows that this machine is quicker in it; predictions are always
    computed in single precision.

    References
    ----------
    .. [1] Devlin, Chang, Lee, Toutanova (2019), "BERT: Pre-training of Deep Bidirectional Transformers for Language
       Understanding", arXiv:1810.04805.

    Examples
    --------
    >>> things = ["film", "music", "book", "play", "food", "room", "wine", "show", "game", "car", "phone", "trip"]
    >>> texts = [f"a {word} {thing}" for thing in things for word in ("good", "bad")]
    >>> labels = ["praise", "blame"] * len(things)
    >>> model = TextClassifier(verbose=0).fit(texts, labels)
    >>> model.predict(["a good song", "a bad one"])
    array(['praise', 'blame'], dtype='<U6')
    """

    task: ClassVar[str] = "text-classification"
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "texts"

    def __init__(
        self,
        *,
        encoder: str = "bert",
        weights: str | None = None,
        max_length: int | str = "auto",
        long_texts: str = "window",
        freeze: bool = False,
        few_shot: bool | str = "auto",
        class_weight: str | dict[str, float] | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 1e-4,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.encoder = encoder
        self.weights = weights
        self.max_length = max_length
        self.long_texts = long_texts
        self.freeze = freeze
        self.few_shot = few_shot
        self.class_weight = class_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def embed(self, X: Any) -> np.ndarray:
        """Return the vectors the last layer sees, the mean over a text's tokens.

        Parameters
        ----------
        X : sequence
            Texts.

        Returns
        -------
        ndarray, (n, d)
            One vector a text.
        """
        self._ready()
        return self._vectors(self._inspect(checks.samples(X)[0]))

    def explain(self, X: Any, target: Any = None) -> "Explanations":
        """Explain labels by what each word adds to the score, by integrated gradients; see `nlp.explanation.explain`.

        Parameters
        ----------
        X : sequence
            Texts.
        target : label, optional
            What to explain for all of them; by default each text's most probable label.

        Returns
        -------
        Explanations
            A tuple with one `Explanation` a text; `print` it, or `save("why.html")`.

        Examples
        --------
        >>> texts, labels = ["good", "fine", "bad", "poor"] * 8, ["yes", "yes", "no", "no"] * 8
        >>> model = TextClassifier(encoder="lstm", verbose=0).fit(texts, labels)
        >>> [word.text for word in model.explain(["good or bad"], target="yes")[0].words]
        ['good', 'or', 'bad']
        """
        from . import explanation

        self._ready()
        return explanation.explain(self, self._inspect(checks.samples(X)[0]), target)

    def export(self, path: str | os.PathLike[str], *, samples: Any = None) -> "Exported":
        """Write the network as ONNX and its tokenizer beside it, and prove that they say the same; see `nlp.export.export`.

        Parameters
        ----------
        path : path
            A file that ends in `.onnx`, in a folder of its own.
        samples : sequence, optional
            Texts to compare on, besides a handful of our own.

        Returns
        -------
        Exported
            The three paths, and the largest difference of two probabilities, which is at most 1e-4.

        Examples
        --------
        >>> TextClassifier.load("model/").export("model.onnx").difference  # doctest: +SKIP
        2.4e-07
        """
        from . import export

        self._ready()
        return export.export(self, path, () if samples is None else self._inspect(checks.samples(samples)[0]))

    # ---------------------------------------------------------------- the three a pipeline supplies
    def _build(self) -> Any:
        from . import networks

        return networks.build(self.config_, self.head_, len(self.classes_))

    def _batches(self, X: Any, y: np.ndarray | None = None, *, train: bool = False) -> LengthBatches:
        tokens = self._tokenizer.encode(X)
        if train:
            tokens = tokens.at_most(_MOST_WINDOWS)
        targets = None if y is None else _Targets(y, tokens)
        return LengthBatches(tokens, self.batch_size, targets=targets, seed=self.seed if train else None)

    # ---------------------------------------------------------------- reading
    @property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer(self.tokenizer_.tobytes().decode("utf-8"), self.max_length_, self.long_texts, self.pad_)

    def _check(self) -> None:
        super()._check()
        checks.choice("encoder", self.encoder, ENCODERS)
        checks.choice("freeze", self.freeze, (True, False))
        checks.choice("few_shot", self.few_shot, (True, False, "auto"))
        if isinstance(self.max_length, str):
            checks.choice("max_length", self.max_length, ("auto",))
        else:
            checks.number("max_length", self.max_length, 8, integer=True)
        if self.encoder == "lstm" and self.weights is not None:
            raise ParameterError(f"encoder='lstm' is trained from scratch. Leave weights={self.weights!r} out.")
        if self.freeze and self.weights is None:
            raise ParameterError("freeze=True would learn from random vectors. Give weights, or leave freeze=False.")
        if self.few_shot is True and (self.weights is None or self.freeze):
            raise ParameterError("few_shot=True tunes a pretrained encoder. Give weights, and leave freeze=False.")

    def _check_use(self) -> None:
        super()._check_use()
        checks.choice("long_texts", self.long_texts, LONG_TEXTS)

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        if not train:
            return texts.read(X, pairs=self.pairs_)
        found = texts.read(X)
        self.pairs_: bool = not isinstance(found[0], str)
        empty = sum(not text.strip() for text in texts.joined(found))
        if empty:
            self._note(f"{empty} of {len(found)} texts are empty or blank.")
        return found

    def _hold_out(self, X: Any, y: Any, valid: Any) -> tuple[Any, np.ndarray, Any]:
        self.few_shot_ = self._few(y)
        X, y, valid = super()._hold_out(X, y, 0.0 if valid is None and self.few_shot_ else valid)
        if valid is None:
            return X, y, None
        copies = data.duplicated(valid[0], X)
        if copies.any():
            self._note(f"{copies.sum()} of {len(copies)} validation texts are also in the training part; they were left out.")
            rest = np.flatnonzero(~copies)
            valid = (_safe_indexing(valid[0], rest), valid[1][rest]) if len(rest) else None
        return X, y, valid

    def _few(self, y: Any) -> bool:
        """Whether there are so few texts a class that fine-tuning as usual would not do."""
        if self.few_shot is True and is_multilabel(y):
            raise ParameterError("few_shot=True is for one label a text, but y has several. Leave few_shot out.")
        if self.few_shot != "auto" or self.weights is None or self.freeze or is_multilabel(y):
            return self.few_shot is True
        return len(y) < max(_FEW, _FEW_A_CLASS * len(set(np.asarray(y).tolist())))

    def _learn(self, X: Any, y: np.ndarray) -> None:
        super()._learn(X, y)
        if self.weights is None:
            self._learn_small(X)
        else:
            from . import weights

            self._source = weights.source(self.weights)
            self.config_ = self._source.config()
            self.head_: dict[str, Any] = {"pooling": "mean", "normalised": self.few_shot_}
            stored, self.pad_, self.longest_ = self._source.tokenizer()
            self.tokenizer_ = np.frombuffer(stored.encode("utf-8"), dtype=np.uint8)
        self.max_length_ = self._learned_length(X)

    def _learn_small(self, X: Any) -> None:
        """Learn a vocabulary, and choose the sizes of a network from scratch."""
        stored = learn_words([part for text in X for part in ((text,) if isinstance(text, str) else text)], _VOCABULARY)
        self.tokenizer_, self.pad_, self.longest_ = np.frombuffer(stored.encode("utf-8"), dtype=np.uint8), 0, _LONGEST
        size = Tokenizer(stored, _LONGEST).size
        self.head_ = {"pooling": "mean+max", "dropout": 0.5, "unknown": 0.2 if self.encoder == "lstm" else 0.1}
        if self.encoder == "lstm":
            self.config_ = {"model_type": "bi-lstm", "vocab_size": size, "hidden_size": 128, "dropout": 0.3}
            return
        self.config_ = {
            "model_type": "bert",
            "vocab_size": size,
            "hidden_size": 128,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "max_position_embeddings": _LONGEST,
        }

    def _learned_length(self, X: Any) -> int:
        from . import networks

        most = min(self.longest_, networks.positions(self.config_) or self.longest_)
        if isinstance(self.max_length, int):
            if self.max_length > most:
                raise ParameterError(f"max_length={self.max_length} is more than the {most} tokens this encoder can take.")
            return self.max_length
        rows = np.random.default_rng(self.seed).permutation(len(X))[:5000]
        longest = int(Tokenizer(self.tokenizer_.tobytes().decode("utf-8"), 1 << 20).encode([X[i] for i in rows]).lengths.max())
        return min(most, _LONGEST, max(16, -(-longest // 8) * 8))

    # ---------------------------------------------------------------- training
    def _train(self, X: Any, y: np.ndarray, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        say(f"training on {len(X)} texts of up to {self.max_length_} tokens, {self.device_.name}", self.verbose)
        self._fit_baseline(X, y)
        self._start_encoder(X)
        if self.few_shot_:
            history = self._fit_few(X, y, resume)
        else:
            history = self._fit_head(X, y, valid) if self.freeze else self._fine_tune(X, y, valid, resume)
        if valid is not None:
            self._calibrate(valid)
        return history

    def _start_encoder(self, X: Any) -> None:
        """Load the pretrained weights, or begin with word vectors learned from the training texts."""
        from . import networks

        if self.weights is not None:
            self.model_.encoder.model.load_state_dict(self._source.model().state_dict(), strict=False)
            return
        size, units = self.config_["vocab_size"], self.config_["hidden_size"]
        spread = 0.1 if self.encoder == "lstm" else 0.02  # a BERT brings them to one length itself
        networks.set_words(self.model_, word_vectors(self._tokenizer.encode(X), size, units, spread, self.seed))

    def _fine_tune(self, X: Any, y: np.ndarray, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        from . import networks

        batches = self._batches(X, y, train=True)
        self.notes_ += self._long(batches.tokens, "training texts")
        valid_set = None if valid is None else self._batches(*valid)
        epochs, lr = self.epochs or self._usual_epochs(len(X), len(batches)), self._highest_lr()
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            return self._engine.train(
                self.model_,
                batches,
                valid=valid_set,
                judge=functools.partial(self._judge_windows, valid_set, valid),
                loss=networks.WindowLoss(self._class_weights(), self.multilabel_),
                epochs=epochs,
                lr=lr,
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                weight_decay=0.01,
                patience=max(3, epochs // 3),
                precision=self._precision(),
                seed=self.seed,
                resume=None if resume is None else resume / "training.npz",
                fingerprint="" if resume is None else self._fingerprint((X, y), *([] if valid is None else [valid])),
                parameters=networks.layerwise(self.model_, lr, 0.9) if self.weights else None,
            )

    def _usual_epochs(self, texts: int, steps: int) -> int:
        """Few texts are read more often, and a network from scratch takes at least 500 steps."""
        if self.weights is not None:
            return min(20, max(4, math.ceil(800 / steps)))
        return max(10 if texts < 200 * len(self.classes_) else 5, math.ceil(500 / steps))

    def _highest_lr(self) -> float:
        if self.weights is not None:
            return self.lr * _WIDTH / self.model_.head.in_features
        return self.lr * (10 if self.encoder == "lstm" else 5)

    def _judge_windows(self, batches: Any, valid: Any, outputs: np.ndarray, _: Any) -> dict[str, float]:
        return self._judge(batches.in_order(outputs), valid[1])

    def _precision(self) -> str:
        """Small networks spend their time elsewhere than in products of matrices."""
        return "full" if self.weights is None else self._engine.quickest_precision(self.device_.kind)

    def _fit_head(self, X: Any, y: np.ndarray, valid: Any) -> list[dict[str, Any]]:
        """Fit a logistic regression on the vectors of the encoder as it is, and put it into the last layer."""
        from . import networks

        started, precision = time.perf_counter(), self._precision()
        vectors = self._vectors(X, precision)
        mean, scale = vectors.mean(0), np.maximum(vectors.std(0), 1e-6)
        coef, intercept = baselines.fit_linear((vectors - mean) / scale, y, len(self.classes_), weights=self._class_weights())
        coef, intercept = coef / scale, intercept - (coef / scale) @ mean
        networks.set_head(self.model_, coef, intercept)
        figures = {}
        if valid is not None:
            figures = self._judge(baselines.linear_scores(self._vectors(valid[0], precision), coef, intercept), valid[1])
        record = {"epoch": 1, **figures, "seconds": round(time.perf_counter() - started, 3)}
        Progress(1, 1, verbose=self.verbose).epoch(record)
        return [record]

    def _fit_few(self, X: Any, y: np.ndarray, resume: Path | None) -> list[dict[str, Any]]:
        """Tune the encoder so that texts of a class come together, and fit a regression that begins at the classes' names."""
        from . import few_shots, networks

        words, k = few_shots.names(self.classes_), len(self.classes_)
        spoken = [] if words is None else [template.format(name) for template in few_shots.TEMPLATES for name in words]
        self._note(
            f"Few texts a class ({len(X)} in all): the encoder learned which belong together, and none was held out. "
            + ("Class names counted as knowledge." if spoken else "Classes are numbers; names in words would have helped.")
        )
        tokens = self._tokenizer.encode([*X, *([(text, "") for text in spoken] if self.pairs_ else spoken)]).at_most(1)
        codes = np.concatenate([y, np.resize(np.arange(k), len(spoken))]).astype(np.int64)
        batches = few_shots.ClassBatches(tokens, codes, _FEW_TOGETHER, _FEW_STEPS, self.seed)
        lr = 0.5 * self._highest_lr()
        epochs = self.epochs or max(1, round(k / 8))
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            history = self._engine.train(
                networks.Vectors(self.model_),
                batches,
                valid=None,
                judge=None,
                loss=few_shots.Contrast(),
                epochs=epochs,
                lr=lr,
                device=self.device_,
                on_epoch=progress.epoch,
                weight_decay=0.01,
                precision=self._precision(),
                seed=self.seed,
                resume=None if resume is None else resume / "training.npz",
                fingerprint="" if resume is None else self._fingerprint((X, y)),
                parameters=networks.layerwise(self.model_, lr, 1.0)[1:-1],  # neither the last layer nor the word vectors
            )
        prior = few_shots.towards_names(self._vectors(spoken), k) if spoken else np.zeros((k, self.model_.head.in_features))
        C = 1.0 if spoken else 10.0
        networks.set_head(self.model_, *few_shots.regression(self._vectors(X), y, prior, C, self._class_weights()))
        return history

    def _long(self, tokens: Tokens, what: str) -> list[str]:
        """Say how many texts were longer than the limit, and what became of them."""
        done = {"window": "were read in windows", "head+tail": "lost their middle", "truncate": "lost their end"}
        said = f"longer than {self.max_length_} tokens and {done[self.long_texts]} (long_texts={self.long_texts!r})."
        return [f"{tokens.long} of {tokens.n} {what} are {said}"] if tokens.long else []

    def _fingerprint(self, *parts: tuple[Any, np.ndarray]) -> str:
        """Identify parameters, texts and labels, so that a checkpoint is never continued with others."""
        return self._fingerprint_of([self.classes_.tolist(), self.config_, self.max_length_], *parts)

    # ---------------------------------------------------------------- outputs
    def _infer(self, X: Any) -> np.ndarray:
        return self._computed(self.model_, X)

    def _vectors(self, X: Any, precision: str = "full") -> np.ndarray:
        """Return the vectors of texts; to learn from them half precision will do."""
        from . import networks

        return self._computed(networks.Vectors(self.model_), X, precision)

    def _computed(self, network: Any, X: Any, precision: str = "full") -> np.ndarray:
        batches = self._batches(X)
        return batches.in_order(self._engine.infer(network, batches, device=self.device_, precision=precision))

    # ---------------------------------------------------------------- baseline and report
    def _fit_baseline(self, X: Any, y: np.ndarray) -> None:
        self.baseline_terms_, found = linear.fit(texts.joined(X), y, len(self.classes_), self.seed)
        self.baseline_idf_, self.baseline_coef_, self.baseline_intercept_ = found["idf"], found["coef"], found["intercept"]

    def _baselines(self, X: Any) -> dict[str, np.ndarray]:
        arrays = {"idf": self.baseline_idf_, "coef": self.baseline_coef_, "intercept": self.baseline_intercept_}
        said = linear.scores(texts.joined(self._inspect(X)), self.baseline_terms_, arrays)
        return {**super()._baselines(X), "TF-IDF + logistic regression": self._proba(said)}

    def _report(self, X: Any, y: Any, outputs: np.ndarray, groups: Any, context: dict[str, Any], **more: Any) -> Report:
        report = super()._report(X, y, outputs, groups, context, **more)
        long = self._long(self._tokenizer.encode(self._inspect(X)), "texts")
        return replace(report, notes=(*report.notes, *long))

    def _passage(self, X: Any, i: int) -> str | None:
        return texts.joined(self._inspect(_safe_indexing(X, [i])))[0]


class _Targets:
    """The label of each window, that of its text, and the window's share in the loss: texts count alike, however long."""

    def __init__(self, y: np.ndarray, tokens: Tokens) -> None:
        self.y = y[tokens.owners]
        self.shares = (len(tokens) / tokens.n / tokens.counts[tokens.owners]).astype(np.float32)

    def __getitem__(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.y[windows], self.shares[windows]
