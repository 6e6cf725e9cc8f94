"""`ImageClassifier`: from image files or arrays to classes, probabilities and a report."""

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipelines import baselines, checks, data
from pipelines.base import Pipeline, load
from pipelines.engines import load_framework
from pipelines.errors import DataError, ParameterError
from pipelines.progress import Progress, say
from pipelines.tasks import ClassifierMixin

from . import images
from .image_pipelines import ImagePipelineMixin

__all__ = ["ImageClassifier"]

AUGMENT = ("auto", "none", "shift", "photo")
_BASELINE_SIDE = 16  # the logistic-regression baseline sees grey thumbnails of at most this many pixels a side
_BASELINE_SAMPLES = 5000


class ImageClassifier(ImagePipelineMixin, ClassifierMixin, Pipeline):
    """Classify images with a convolutional network, trained from scratch or fine-tuned.

    Parameters
    ----------
    backbone : str
        `"small-cnn"` (good from scratch on small images), `"lenet5"`, or a Keras application by plain name, for instance
        `"mobilenet-v3-small"`, `"efficientnet-v2-b0"`, `"resnet50"`; `vision.networks.BACKBONES` lists them all.
    weights : str, optional
        Where to start from: None (from scratch), `"imagenet"` (from Keras' cache or the network), a local `.h5` weights file
        of the application without its top, or the folder of a saved `ImageClassifier` with the same backbone.
    image_size : int or pair, optional
        Side, or (height, width), in pixels that images are brought to; by default the training images' median, within what the
        backbone is made for.
    augment : str
        `"shift"` moves, turns and zooms a little; `"photo"` also mirrors and changes the light; `"none"`; `"auto"` takes
        `"photo"` for colour images unless the classes are single letters or numbers, and `"shift"` otherwise.
    freeze : bool
        True trains only the last layer, on features computed once. Needs `weights`.
    class_weight : "balanced" or dict, optional
        Weight of each class in the loss.
    epochs : int, optional
        The most epochs; training stops earlier when the validation loss no longer falls. None takes as many as make about 2,500
        steps, from 15 for many images to 60 for few.
    batch_size : int
        Images a step.
    lr : float
        Highest learning rate. Fine-tuning a pretrained backbone uses a twentieth of it.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"`, `"gpu:1"` or `"gpu:0,1"`.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    classes_ : ndarray
        The labels, sorted.
    image_size_, channels_, value_range_ : list, int, list
        How images are read: (height, width), 1 or 3, and what stands for black and white where there are more than 8 bits.
    model_ : keras.Model
        Layers `backbone` (pixels to features) and `head` (features to class scores).
    history_ : list of dict
        One record an epoch; fine-tuning has those of the head first, told apart by `stage`.

    Notes
    -----
    Samples are paths, PIL images or arrays `(H, W)`, `(H, W, C)`, of any size, in a list, an array `(n, H, W[, C])` or a pandas
    column. Labels are text, whole numbers or booleans; a 2-D 0/1 indicator or a list of label sets means several labels an image.
    Fine-tuning in two stages, first the head and then everything with frozen batch statistics, follows the Keras guide
    "Transfer learning & fine-tuning".

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> digits = load_digits(n_class=3)
    >>> model = ImageClassifier(epochs=3, verbose=0).fit(digits.images, digits.target)
    >>> model.predict(digits.images[:3])
    array([0, 1, 2])
    """

    task: ClassVar[str] = "image-classification"
    engine: ClassVar[str] = "keras"
    reader: ClassVar[str] = "folder"

    def __init__(
        self,
        *,
        backbone: str = "small-cnn",
        weights: str | None = None,
        image_size: int | list[int] | None = None,
        augment: str = "auto",
        freeze: bool = False,
        class_weight: str | dict[str, float] | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
        lr: float = 2e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.image_size = image_size
        self.augment = augment
        self.freeze = freeze
        self.class_weight = class_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def embed(self, X: Any) -> np.ndarray:
        """Return the feature vectors the last layer sees.

        Parameters
        ----------
        X : sequence
            Images.

        Returns
        -------
        ndarray, (n, d)
            One vector an image.
        """
        self._ready()
        X = self._inspect(checks.samples(X)[0])
        return self._engine.infer(self.model_.get_layer("backbone"), self._batches(X), device=self.device_)

    # ---------------------------------------------------------------- the three a pipeline supplies
    def _build(self) -> Any:
        from . import networks

        return networks.build(self.backbone, self._reader.size, self.channels_, len(self.classes_))

    def _batches(self, X: Any, y: np.ndarray | None = None, *, train: bool = False) -> data.Batches:
        read = functools.partial(self._reader, X)
        workers = 1 if isinstance(X, np.ndarray) else images.THREADS
        return data.Batches(read, len(X), self.batch_size, targets=y, seed=self.seed if train else None, workers=workers)

    # ---------------------------------------------------------------- reading
    @property
    def _reader(self) -> images.Reader:
        height, width = self.image_size_
        low, high = self.value_range_
        return images.Reader((height, width), self.channels_, (low, high))

    def _check(self) -> None:
        from . import networks

        super()._check()
        checks.choice("backbone", self.backbone, networks.BACKBONES)
        checks.choice("augment", self.augment, AUGMENT)
        checks.choice("freeze", self.freeze, (True, False))
        if self.freeze and self.weights is None:
            raise ParameterError("freeze=True would train on random features. Give weights, or leave freeze=False.")
        size = images.asked_size(self.image_size)
        row = networks.BACKBONES[self.backbone]
        if size and min(size) < row.minimum:
            raise ParameterError(
                f"backbone={self.backbone!r} needs images of at least {row.minimum} x {row.minimum} pixels, but "
                f"image_size={self.image_size!r}. Choose a larger image_size (it usually gets {row.usual}) or another backbone."
            )
        if self.weights == "imagenet" and row.application is None:
            raise ParameterError(f"backbone={self.backbone!r} has no ImageNet weights. Choose a Keras application.")

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        if not train:
            return images.check(X)
        from . import networks

        say(f"reading {len(X)} images", self.verbose)
        channels = 3 if networks.BACKBONES[self.backbone].application else None
        X, reader = images.learn(
            X, images.asked_size(self.image_size), channels, functools.partial(networks.default_size, self.backbone)
        )
        self.image_size_, self.channels_, self.value_range_ = list(reader.size), reader.channels, list(reader.values)
        return X

    # ---------------------------------------------------------------- training
    def _train(self, X: Any, y: np.ndarray, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        say(f"training {self.backbone} on {len(X)} images of {self.image_size_}, {self.device_.name}", self.verbose)
        self._fit_baseline(X, y)
        valid = None if valid is None else (images.decoded(valid[0], self._reader), valid[1])
        fingerprint = "" if resume is None else self._fingerprint((X, y), *([] if valid is None else [valid]))
        fit = functools.partial(self._stage, resume=resume, fingerprint=fingerprint)
        train_set = self._batches(X, y, train=True)
        valid_set = None if valid is None else self._batches(*valid)
        if self.weights is None:
            history = fit("all", self.model_, train_set, valid_set, lr=self.lr, augment=self._augmentation())
        else:
            self._load_backbone()
            history = fit("head", self.model_.get_layer("head"), *self._features(train_set, valid_set), lr=self.lr)
            if not self.freeze and not history[-1].get("interrupted"):
                history = self._fine_tune(history, functools.partial(fit, "all", self.model_, train_set, valid_set))
        if valid is not None:
            self._calibrate(valid)
        return history

    def _fine_tune(self, head: list[dict[str, Any]], fit: Callable[..., list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Train everything, gently, after the head; return both histories, told apart by `stage`."""
        from . import networks

        networks.freeze_statistics(self.model_)
        head_only = self.model_.get_weights()
        head = [{"stage": "head", **record} for record in head]
        try:
            return head + [{"stage": "all", **record} for record in fit(lr=self.lr / 20, augment=self._augmentation())]
        except KeyboardInterrupt:  # in the first epoch: what the head has learned is kept
            self.model_.set_weights(head_only)
            return [*head[:-1], {**head[-1], "interrupted": True}]

    def _stage(
        self,
        name: str,
        model: Any,
        train_set: data.Batches,
        valid_set: data.Batches | None,
        *,
        lr: float,
        resume: Path | None,
        fingerprint: str,
        augment: Callable[[Any], Any] | None = None,
    ) -> list[dict[str, Any]]:
        keras = load_framework("keras")
        accuracy = (
            keras.metrics.BinaryAccuracy("accuracy", threshold=0.0)
            if self.multilabel_
            else keras.metrics.SparseCategoricalAccuracy("accuracy")
        )
        epochs = self.epochs or min(60, max(15, math.ceil(2500 / len(train_set))))
        with Progress(epochs, len(train_set), verbose=self.verbose) as progress:
            return self._engine.train(
                model if augment is None else augment(model),
                train_set,
                valid=valid_set,
                judge=self._judge,
                loss=self._loss(),
                epochs=epochs,
                lr=lr,
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                metrics=[accuracy],
                weight_decay=0.01,
                patience=max(5, epochs // 3),
                seed=self.seed,
                resume=None if resume is None else resume / f"{name}.npz",
                fingerprint=f"{name} {fingerprint}",
            )

    def _loss(self) -> Any:
        from . import networks

        return networks.ClassWeightedLoss(self._class_weights(), self.multilabel_)

    def _augmentation(self) -> Callable[[Any], Any] | None:
        from . import networks

        kind = self.augment if self.augment != "auto" else self._auto_augment()
        return None if kind == "none" else functools.partial(networks.augmented, photo=kind == "photo")

    def _auto_augment(self) -> str:
        glyphs = all(re.fullmatch(r"\w|\d+", str(label)) for label in self.classes_.tolist())
        kind = "photo" if self.channels_ == 3 and not glyphs else "shift"
        self._note(f'augment="auto" chose "{kind}"{"" if kind == "photo" else ": no mirroring"}.')
        return kind

    def _fingerprint(self, *parts: tuple[Any, np.ndarray]) -> str:
        """Identify parameters, images and labels, so that a checkpoint is never continued with others."""
        return self._fingerprint_of([self.classes_.tolist(), self.image_size_, self.channels_, self.value_range_], *parts)

    # ---------------------------------------------------------------- pretrained weights
    def _features(self, train_set: data.Batches, valid_set: data.Batches | None) -> tuple[data.Batches, data.Batches | None]:
        """Compute the frozen backbone's features once and return batches of them."""
        backbone = self.model_.get_layer("backbone")

        def cached(batches: data.Batches | None, seed: int | None) -> data.Batches | None:
            if batches is None:
                return None
            plain = data.Batches(batches.read, batches.n, self.batch_size, workers=batches.workers)
            features = self._engine.infer(backbone, plain, device=self.device_)
            return data.Batches(lambda rows: features[rows], batches.n, self.batch_size, targets=batches.targets, seed=seed)

        say("computing features", self.verbose)
        found = cached(train_set, self.seed)
        assert found is not None
        return found, cached(valid_set, None)

    def _load_backbone(self) -> None:
        from . import networks

        backbone = self.model_.get_layer("backbone")
        if self.weights == "imagenet":
            backbone.set_weights(networks.imagenet_weights(self.backbone, self._reader.size))
            return
        path = Path(str(self.weights))
        if path.is_dir():
            self._copy_backbone(path, backbone)
        elif path.suffix == ".h5" and path.is_file():
            networks.load_application(backbone.get_layer("application"), path, self.backbone)
        else:
            raise ParameterError(
                f"weights={self.weights!r} is not None, 'imagenet', an existing .h5 file or the folder of a saved pipeline."
            )

    def _copy_backbone(self, path: Path, backbone: Any) -> None:
        source = load(path, device="cpu")
        if not isinstance(source, ImageClassifier) or source.backbone != self.backbone:
            raise DataError(f"{path} holds {source.task} with another backbone; expected {self.backbone!r}.")
        if source.channels_ != self.channels_:
            raise DataError(f"{path} was trained on images of {source.channels_} channel(s), these have {self.channels_}.")
        try:
            backbone.set_weights(source.model_.get_layer("backbone").get_weights())
        except ValueError as error:  # layers such as LeNet's whose weights depend on the size
            raise DataError(
                f"{path} was trained on images of {source.image_size_}, and {self.backbone!r} cannot change its size to "
                f"{self.image_size_}. Pass image_size={source.image_size_}."
            ) from error

    # ---------------------------------------------------------------- baseline and pictures
    def _fit_baseline(self, X: Any, y: np.ndarray) -> None:
        """Fit a logistic regression on thumbnails, to be reported beside the network."""
        rows = np.random.default_rng(self.seed).permutation(len(X))[:_BASELINE_SAMPLES]
        small = self._thumbnails(X, rows)
        self.baseline_coef_, self.baseline_intercept_ = baselines.fit_linear(small, y[rows], len(self.classes_))

    def _thumbnails(self, X: Any, rows: np.ndarray) -> np.ndarray:
        """Return flat thumbnails around zero, decoded a portion at a time."""
        height, width = (min(_BASELINE_SIDE, side) for side in self.image_size_)
        portions = np.array_split(rows, math.ceil(len(rows) / 256))
        small = [images.resize(image, (height, width)) for part in portions for image in self._reader(X, part)]
        return np.stack(small).reshape(len(rows), -1) / 127.5 - 1

    def _baselines(self, X: Any) -> dict[str, np.ndarray]:
        X = images.check(X)
        scores = baselines.linear_scores(self._thumbnails(X, np.arange(len(X))), self.baseline_coef_, self.baseline_intercept_)
        return {**super()._baselines(X), "logistic regression": self._proba(scores)}

    def _picture(self, X: Any, i: int) -> bytes | None:
        return images.png(images.load(X[i], i, self._reader.size, self.channels_))
