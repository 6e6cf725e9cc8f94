"""`ImageSegmenter`: from images and masks to a class for every pixel, at the size of each image, and a report on it."""

import functools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from pipelines import checks, data
from pipelines.base import Pipeline
from pipelines.engines import load_framework
from pipelines.engines.memory import freed_memory_kept
from pipelines.errors import ParameterError
from pipelines.progress import Progress, say
from pipelines.tasks import SegmenterMixin
from pipelines.tasks.segmentation import Each, counted, mask_files, pooled_means

from . import crops, images, instances, masks, registration, simple_segmenters, tiles
from .image_pipelines import ImagePipelineMixin

__all__ = ["ImageSegmenter"]

_AUGMENT = ("auto", *crops.AUGMENT)
_LOSS = ("dice", "focal")
_CROP = 256  # pixels a side of training crops, at most, where nothing else is asked for
_PER_EPOCH = 16  # crops, at least
_PIXELS, _FEWEST, _MOST = 100_000_000, 15, 100  # of all crops in all epochs, and epochs, where their number is left to us
_APPLICATION = 1 / 3  # share of the learning rate for a Keras application; some of them have no batch normalisation
_TOGETHER = 2**19  # pixels of small images that go through the network at once
# views of an image that predictions are the mean of: whether height and width change places, and the axes mirrored then
_VIEWS = {
    "photo": ((False, (2,)),),
    "micrograph": tuple((across, axes) for across in (False, True) for axes in ((), (1,), (2,), (1, 2)))[1:],
}


class ImageSegmenter(ImagePipelineMixin, SegmenterMixin, Pipeline):
    """Segment images: a class for every pixel, by a convolutional network trained from scratch or fine-tuned.

    Parameters
    ----------
    architecture : str
        `"unet"`, `"fcn"` or `"deeplab-v3-plus"`, see `vision.segmenter_networks.build`.
    backbone : str, optional
        What the network sees images with: None is an encoder of our own, good from scratch; or a Keras application by plain name,
        for instance `"mobilenet-v2"`, `"resnet50"`, see `vision.segmenter_networks.ENCODERS`.
    weights : str, optional
        Where to start from: None (from scratch), `"imagenet"` (from Keras' cache or the network), a local `.h5` weights file
        of the application without its top, or the folder of a saved `ImageSegmenter` or `ImageClassifier` with the same backbone.
        From an `ImageSegmenter` of the same architecture the decoder is taken, too, as far as it has the same shape.
    classes : dict, optional
        Names of the classes, each with its number in the masks, such as `{"road": 0, "car": 3}`, or with its colour, such as
        `{"road": (128, 64, 128)}`; masks with others are refused. By default the numbers in the training masks. Colours are
        numbered in the order of the table.
    image_size : int or pair, optional
        Side, or (height, width), in pixels of the crops to learn from; by default the training images' median, 256 at most.
        Images are never resized: crops are cut from them, and they are predicted whole.
    ignore_label : int or list of int, optional
        Number, or colour, in the masks of pixels that count neither in the loss nor in any figure.
    augment : str
        `"shift"` moves, turns and zooms a little and changes the light; `"photo"` also mirrors, and zooms more; `"micrograph"`
        turns by any angle, mirrors, bends, and changes noise and focus, for what has no upper side; `"none"`; `"auto"` takes
        `"photo"` for colour images, `"micrograph"` for grey ones of two classes, and `"shift"` otherwise.
    loss : str
        `"dice"`: cross-entropy and Dice loss; `"focal"`: the focal loss, where most pixels are easy.
    class_weight : "balanced" or dict, optional
        Weight of each class in the cross-entropy.
    test_flips : bool
        Also predict images mirrored, micrographs turned by right angles, too, as in training, and take the mean: twice the work,
        of micrographs eight times.
    epochs : int, optional
        Rounds over all images, each in as many crops as cover it, but 16 in all at least. None takes as many as make 100
        million pixels, from 15 for many images to 100 for few.
    batch_size : int
        Crops a step; from scratch many steps of few crops teach more than few of many.
    lr : float
        Highest learning rate. Keras applications get a third of it, and pretrained weights in fine-tuning a tenth of that.
    seed : int
        Of everything random; the same seed gives the same model on a CPU.
    device : str
        `"auto"`, `"cpu"`, `"gpu"`, `"gpu:1"` or `"gpu:0,1"`.
    verbose : int
        0 writes nothing.

    Attributes
    ----------
    labels_, classes_ : ndarray
        The numbers that masks hold, sorted, and their names. All of them count, 0 too.
    image_size_, channels_, value_range_ : list, int, list
        The crops' (height, width); 1 or 3; and what stands for black and white in images with more than eight bits.
    displacement_ : list
        How far, in pixels, masks lie above and left of what they mark in images, see `vision.registration`; images are moved as
        far before the network sees them.
    augment_ : str
        How crops were changed.
    forest_nodes_, forest_shares_, forest_root_ : ndarray
        The random forest that is reported beside the network, see `vision.simple_segmenters`.
    model_ : keras.Model
        Layers `backbone` (pixels to features of several sizes) and `decoder` (features to class scores).
    history_ : list of dict
        One record an epoch, with Dice and IoU of the validation part; fine-tuning has those of the decoder first, told apart by
        `stage`.

    Notes
    -----
    Samples are paths, PIL images or arrays `(H, W)`, `(H, W, C)`, of any size, in a list, an array `(n, H, W[, C])` or a pandas
    column. Masks are what `vision.masks.read` takes, of the size of their images. Images of more than 1,024 pixels a side are
    predicted in tiles, see `vision.tiles`: the memory that takes does not grow with the image.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = [np.pad(np.ones((8, 8), np.uint8), ((at, 16 - at), (8, 8))) for at in (2, 5, 8, 11)]
    >>> X = [200 * mask + rng.integers(0, 50, mask.shape, np.uint8) for mask in y]
    >>> model = ImageSegmenter(epochs=2, verbose=0).fit(X, y)
    >>> model.predict(X)[0].shape
    (24, 24)
    """

    task: ClassVar[str] = "image-segmentation"
    engine: ClassVar[str] = "keras"
    reader: ClassVar[str] = "masked-images"
    background: ClassVar[bool] = False

    def __init__(
        self,
        *,
        architecture: str = "unet",
        backbone: str | None = None,
        weights: str | None = None,
        classes: dict[str, Any] | None = None,
        image_size: int | list[int] | None = None,
        ignore_label: int | list[int] | None = None,
        augment: str = "auto",
        loss: str = "dice",
        class_weight: str | dict[str, float] | None = None,
        test_flips: bool = False,
        epochs: int | None = None,
        batch_size: int = 2,
        lr: float = 6e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: int = 1,
    ) -> None:
        self.architecture = architecture
        self.backbone = backbone
        self.weights = weights
        self.classes = classes
        self.image_size = image_size
        self.ignore_label = ignore_label
        self.augment = augment
        self.loss = loss
        self.class_weight = class_weight
        self.test_flips = test_flips
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def predict(self, X: Any, *, instances: bool = False) -> list[np.ndarray]:
        """Predict masks.

        Parameters
        ----------
        X : sequence
            Images.
        instances : bool
            Number the connected pieces of all classes but 0 instead, from 1 on, see `vision.instances.label`; 0 is no piece.

        Returns
        -------
        list of ndarray of int, (height, width)
            For each image, at its size, what training masks hold: numbers of classes, or of colours by their place in `classes`.
        """
        found = super().predict(X)
        return [_numbered(mask) for mask in found] if instances else found

    @freed_memory_kept()
    def predict_proba(self, X: Any) -> list[np.ndarray]:
        """Predict probabilities.

        Parameters
        ----------
        X : sequence
            Images.

        Returns
        -------
        list of ndarray, (height, width, k)
            For each image, at its size, one channel a class in the order of `classes_`, last; float32, they sum to one.
        """
        from scipy.special import softmax

        self._ready()
        found = []
        for block in self._blocks(self._inspect(self._samples(X)[0])):
            maps = np.empty((*block.shape[:3], len(self.labels_)), np.float32)
            for (rows, columns), scores in self._scored(block):
                maps[:, rows, columns] = softmax(scores, axis=-1)
            found += list(maps)
        return found

    def save_masks(self, X: Any, folder: str | os.PathLike[str]) -> list[Path]:
        """Predict masks, and write each as a PNG file: numbers as grey values, or colours where `classes` has them.

        Parameters
        ----------
        X : sequence of paths
            Images.
        folder : path
            Where to; it is made if it is not there. Files are named after the images.

        Returns
        -------
        list of Path
            The files, in the order of `X`.

        Raises
        ------
        DataError
            If two images have one name.
        """
        self._ready()
        X, _ = self._samples(X)
        files = mask_files(X, Path(folder), lambda path: f"{path.stem}.png", "Use predict, and write the arrays.")
        Path(folder).mkdir(parents=True, exist_ok=True)
        for mask, file in zip(self.predict(X), files, strict=True):
            Image.fromarray(self._drawn(mask)).save(file)
        return files

    # ---------------------------------------------------------------- parameters
    def _check(self) -> None:
        from . import segmenter_networks

        super()._check()
        checks.choice("architecture", self.architecture, segmenter_networks.ARCHITECTURES)
        if self.backbone is not None:
            checks.choice("backbone", self.backbone, segmenter_networks.ENCODERS)
        elif self.weights is not None and not Path(self.weights).is_dir():
            raise ParameterError(
                f"weights={self.weights!r} is no folder of a saved ImageSegmenter, and backbone=None starts from nothing else. "
                "Name the application that the weights are for with backbone=…"
            )
        checks.choice("augment", self.augment, _AUGMENT)
        checks.choice("loss", self.loss, _LOSS)
        self._asked_size()
        self._declared()
        if self._ignored is not None and self._colours is None:
            checks.number("ignore_label", self.ignore_label, 0, integer=True)

    def _check_use(self) -> None:
        super()._check_use()
        checks.choice("test_flips", self.test_flips, (True, False))

    def _asked_size(self) -> tuple[int, int] | None:
        """Return the size of crops that was asked for; ParameterError if the network cannot take it."""
        from .segmenter_networks import multiple

        pair = images.asked_size(self.image_size)
        whole = multiple(self.backbone)
        for side in pair or ():
            if side % whole:
                raise ParameterError(
                    f"image_size={self.image_size!r} does not fit: {side} is no multiple of {whole}. Take "
                    f"{whole * math.ceil(side / whole)}."
                )
        return pair

    @property
    def _colours(self) -> dict[str, Any] | None:
        """The colour table, with the colour to be ignored behind all others; None where masks hold numbers."""
        if not isinstance(self.classes, dict) or not any(isinstance(value, (list, tuple)) for value in self.classes.values()):
            return None
        if self.ignore_label is None:
            return self.classes
        return {**self.classes, "(ignore_label)": self.ignore_label}

    @property
    def _ignored(self) -> int | None:
        if self.ignore_label is None:
            return None
        return self.ignore_label if self._colours is None else len(self.classes or ())  # type: ignore[return-value]

    def _declared(self) -> dict[int, str] | None:
        table = self._colours
        if table is None:
            return super()._declared()
        masks.colour_table(table)
        return dict(enumerate(self.classes or ()))

    def _class_weights(self) -> np.ndarray:
        """Return each class's weight in the loss, as the parameter `class_weight` asks."""
        asked = self.class_weight
        if asked is None:
            return np.ones(len(self.classes_))
        if isinstance(asked, str):
            checks.choice("class_weight", asked, ("balanced",))
            there = self.class_prior_ > 0
            return np.where(there, 1 / (there.sum() * np.where(there, self.class_prior_, 1)), 1)
        return checks.named_weights(asked, self.classes_)

    # ---------------------------------------------------------------- reading
    @property
    def _reader(self) -> images.WholeReader:
        (low, high), (down, right) = self.value_range_, self.displacement_
        return images.WholeReader(self.channels_, (low, high), (down, right))

    def _inspect(self, X: Any, *, train: bool = False) -> Any:
        if not train:
            return images.check(X)
        say(f"reading {len(X)} images", self.verbose)
        X, reader, sizes = images.learn_whole(X, None if self.backbone is None else 3)
        self.channels_, self.value_range_, self.displacement_ = reader.channels, list(reader.values), list(reader.displacement)
        self.image_size_ = list(self._asked_size() or _crop_size(sizes, self.backbone))
        return X

    def _pixels(self, X: Any) -> Each:
        reader = self._reader
        return Each(lambda i: reader(X, i), len(X))

    def _read_mask(self, X: Any, y: Any, i: int) -> np.ndarray:
        return masks.read(y[i], i, self._colours, images.size_of(X[i], i))

    # ---------------------------------------------------------------- training
    def _learn(self, X: Any, y: Each) -> None:
        super()._learn(X, y)
        self._class_weights()  # what cannot be used is told before the work starts
        self.augment_ = self._auto_augment() if self.augment == "auto" else self.augment

    def _auto_augment(self) -> str:
        kind = "photo" if self.channels_ == 3 else "micrograph" if len(self.labels_) == 2 else "shift"
        said = {"photo": "", "micrograph": ": turned by any angle", "shift": ": no mirroring"}[kind]
        self._note(f'augment="auto" chose "{kind}"{said}.')
        return kind

    def _build(self) -> Any:
        from . import segmenter_networks

        return segmenter_networks.build(self.architecture, self.backbone, self.channels_, len(self.labels_))

    def _train(self, X: Any, y: Each, valid: Any, resume: Path | None) -> list[dict[str, Any]]:
        height, width = self.image_size_
        say(f"training {self.architecture} on {len(X)} images, crops of {height} x {width}, {self.device_.name}", self.verbose)
        self._find_displacement(self._pixels(X), y)
        pixels = self._pixels(X)
        self._fit_forest(pixels, y)
        judged = None if valid is None else self._judged_batches(self._pixels(valid[0]), valid[1])
        fit = functools.partial(self._stage, pixels, y, judged)
        fingerprint = "" if resume is None else self._fingerprint(X, y)
        if self.weights is None:
            return fit("all", self._epochs(y), self._highest_lr, resume, fingerprint)
        return self._fine_tune(self._epochs(y), functools.partial(fit, resume=resume, fingerprint=fingerprint))

    def _find_displacement(self, X: Each, y: Each) -> None:
        """Find how far masks are off; from here on images are read moved as far."""
        by = registration.displacement(X, y, len(self.labels_), seed=self.seed)
        if not any(by):
            return
        ways = [("above", "below"), ("left of", "right of")]
        where = " and ".join(f"{abs(off):.2f} {way[off < 0]}" for off, way in zip(by, ways, strict=True) if off)
        if max(map(abs, by)) > registration.FARTHEST:
            self._note(
                f"Masks seem to lie {where} what they mark, in pixels. Check how images and masks were brought to one size."
            )
            return
        self.displacement_ = list(by)
        self._note(
            f"Masks lie {where} what they mark, in pixels, as happens where images and masks are made smaller in different ways. "
            "Images are moved as much before the network sees them, so that predictions lie as the masks do."
        )

    @property
    def _highest_lr(self) -> float:
        return self.lr if self.backbone is None else _APPLICATION * self.lr

    def _fine_tune(self, epochs: int, fit: Any) -> list[dict[str, Any]]:
        """Train the decoder on what the given weights see, then everything, gently, with the statistics of the batches kept."""
        from . import networks, segmenter_weights

        note = segmenter_weights.start(
            self.model_, str(self.weights), architecture=self.architecture, backbone=self.backbone, channels=self.channels_
        )
        self._note(note)
        backbone = self.model_.get_layer("backbone")
        backbone.trainable = False
        head = fit("decoder", max(1, epochs // 4), self._highest_lr)
        backbone.trainable = True
        if head[-1].get("interrupted"):
            return head
        networks.freeze_statistics(backbone)
        decoder_only = self.model_.get_weights()
        head = [{"stage": "decoder", **record} for record in head]
        try:
            rest = fit("all", max(1, epochs - len(head)), self._highest_lr / 10)
        except KeyboardInterrupt:  # in the first epoch: what the decoder has learned is kept
            self.model_.set_weights(decoder_only)
            return [*head[:-1], {**head[-1], "interrupted": True}]
        return head + [{"stage": "all", **record, "epoch": len(head) + record["epoch"]} for record in rest]

    def _stage(
        self,
        X: Each,
        y: Each,
        judged: data.Batches | None,
        name: str,
        epochs: int,
        lr: float,
        resume: Path | None,
        fingerprint: str,
    ) -> list[dict[str, Any]]:
        from . import segmenter_networks

        keras = load_framework("keras")
        batches = self._training_batches(X, y, epochs)
        trainee = keras.Model(self.model_.inputs, segmenter_networks.Decided()(self.model_.outputs[0]))
        ours = self.backbone is None and self.weights is None  # applications and weights to be tuned stay with AdamW
        with Progress(epochs, len(batches), verbose=self.verbose) as progress:
            return self._engine.train(
                trainee,
                batches,
                valid=judged,
                judge=self._judge,
                loss=segmenter_networks.SegmentationLoss(self._class_weights(), self.loss),
                epochs=epochs,
                lr=lr,
                device=self.device_,
                on_epoch=progress.epoch,
                on_step=progress.step if progress.live else None,
                weight_decay=0.01,
                seed=self.seed,
                resume=None if resume is None else resume / f"{name}.npz",
                fingerprint=f"{name} {fingerprint}",
                matrices=segmenter_networks.kernels(self.model_) if ours else (),
            )

    def _training_batches(self, X: Each, y: Each, epochs: int) -> data.Batches:
        height, width = self.image_size_
        cutter = crops.Crops(X, y, (height, width), augment=self.augment_, seed=self.seed)
        per_epoch = self._per_epoch(y)
        return data.Batches(
            cutter,
            per_epoch * epochs,
            self.batch_size,
            targets=cutter,
            seed=self.seed,
            draw=per_epoch,
            workers=images.THREADS,
        )

    def _judged_batches(self, X: Each, y: Each) -> data.Batches:
        height, width = self.image_size_
        places = crops.Places(X, y, (height, width), ignored=len(self.labels_))
        return data.Batches(places, len(places), self.batch_size, targets=places, workers=images.THREADS)

    def _per_epoch(self, y: Each) -> int:
        """Return how many crops cover all images, in whole batches, since a batch of another size needs another graph."""
        height, width = self.image_size_
        cover = sum(math.ceil(mask.shape[0] / height) * math.ceil(mask.shape[1] / width) for mask in y)
        return self.batch_size * math.ceil(max(_PER_EPOCH, cover) / self.batch_size)

    def _epochs(self, y: Each) -> int:
        pixels = self._per_epoch(y) * math.prod(self.image_size_)
        return self.epochs or min(_MOST, max(_FEWEST, math.ceil(_PIXELS / pixels)))

    def _judge(self, outputs: np.ndarray, truth: Any) -> dict[str, float]:
        """Measure the pixels of the validation part together."""
        k = len(self.labels_)
        counts = np.stack([counted(truth[np.array([i])], codes, k) for i, codes in enumerate(outputs)])
        found = pooled_means(counts)
        return {"val_loss": 1 - found["iou"], "val_iou": found["iou"], "val_dice": found["dice"]}

    def _fingerprint(self, X: Any, y: Any) -> str:
        digest = self._digest([self.labels_.tolist(), self.image_size_, self.channels_, self.value_range_])
        digest.update(b"".join(data.fingerprints(X)) + b"".join(data.fingerprints(y)))
        return str(digest.hexdigest())

    # ---------------------------------------------------------------- predicting
    @freed_memory_kept()
    def _infer(self, X: Any) -> Any:
        kind = np.uint8 if len(self.labels_) <= 256 else np.int32
        found: list[np.ndarray] = []
        for block in self._blocks(X):
            codes = np.empty(block.shape[:3], kind)
            for (rows, columns), scores in self._scored(block):
                codes[:, rows, columns] = scores.argmax(axis=-1)
            found += list(codes)
        return found

    def _blocks(self, X: Any) -> Iterator[np.ndarray]:
        """Yield the pixels of images, several of one size together where they are small."""
        reader = self._reader
        waiting: list[np.ndarray] = []
        for i in range(len(X)):
            image = reader(X, i)
            full = len(waiting) * image.shape[0] * image.shape[1] >= _TOGETHER
            if waiting and (full or waiting[0].shape != image.shape or waiting[0].dtype != image.dtype):
                yield _stacked(waiting)
                waiting = []
            waiting.append(image)
        yield _stacked(waiting)

    def _scored(self, block: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
        from .segmenter_networks import multiple

        return tiles.scores(self._scores, block, multiple(self.backbone))

    def _scores(self, pixels: np.ndarray) -> np.ndarray:
        """Return the network's scores, the mean over the views of the pixels."""
        total = self._network(pixels)
        for across, axes in self._views:
            found = np.flip(self._network(np.flip(pixels.swapaxes(1, 2) if across else pixels, axes)), axes)
            total = total + (found.swapaxes(1, 2) if across else found)
        return total / (1 + len(self._views)) if self._views else total

    @property
    def _views(self) -> tuple[tuple[bool, tuple[int, ...]], ...]:
        """The views that predictions are the mean of, besides the image as it is."""
        return _VIEWS.get(self.augment_, ()) if self.test_flips else ()

    def _network(self, pixels: np.ndarray) -> np.ndarray:
        batches = data.Batches(lambda rows: pixels[rows], len(pixels), len(pixels))
        return self._engine.infer(self.model_, batches, device=self.device_)

    # ---------------------------------------------------------------- baseline and pictures
    def _fit_forest(self, X: Each, y: Each) -> None:
        """Fit a random forest on colour and place of single pixels, to be reported beside the network."""
        k = len(self.labels_)
        found = simple_segmenters.forest(X, y, k, ignore=k, seed=self.seed)
        self.forest_nodes_ = np.stack([found[name].astype(np.int32) for name in _NODES], axis=1)
        self.forest_shares_, self.forest_root_ = found["shares"], found["root"]

    def _baseline_masks(self, X: Any) -> dict[str, Sequence[np.ndarray]]:
        arrays = dict(zip(_NODES, self.forest_nodes_.T, strict=True))
        arrays |= {"shares": self.forest_shares_, "root": self.forest_root_}
        reader = self._reader
        return {"random forest": Each(lambda i: simple_segmenters.from_forest(arrays, reader(X, i)), len(X))}

    def _picture(self, X: Any, truth: np.ndarray, said: np.ndarray, i: int) -> bytes | None:
        from pipelines.report_pictures import overlay

        image, k = self._reader(X, i), len(self.labels_)
        image = image[:, :, 0] if image.shape[2] == 1 else np.rint(image).astype(np.uint8)
        shown = np.where(truth == k, 0, truth.astype(np.int32) + 1)  # what is ignored is left as it is
        return overlay(image, shown, said.astype(np.int32) + 1, names=["", *self.classes_.tolist()])

    def _drawn(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask as the pixels of a picture."""
        if self._colours is not None:
            return masks.colour_table(self._colours)[mask]
        return mask.astype(np.uint8 if self.labels_.max() < 256 else np.uint16 if self.labels_.max() < 2**16 else np.int32)


_NODES = ("feature", "threshold", "left", "right", "leaf")  # of the forest's arrays, those with a row a node


def _crop_size(sizes: Sequence[tuple[int, int]], backbone: str | None) -> tuple[int, int]:
    """Return the median size of images, within what is quick to learn from, as a multiple that the network can take.

    Examples
    --------
    >>> _crop_size([(180, 240), (180, 240)], None), _crop_size([(2000, 100)], None)
    ((192, 240), (256, 112))
    """
    from .segmenter_networks import multiple

    whole = multiple(backbone)
    height, width = (whole * math.ceil(min(_CROP, float(side)) / whole) for side in np.median(np.asarray(sizes), axis=0))
    return height, width


def _stacked(images: list[np.ndarray]) -> np.ndarray:
    return np.stack(images) if len(images) > 1 else images[0][None]  # a single one may be large


def _numbered(mask: np.ndarray) -> np.ndarray:
    numbers, _ = instances.label(mask)
    return numbers
