"""Images: how good classes and masks are on real ones, the cost over plain Keras, throughput from files, import time and memory.

Run `python -m benchmarks.vision [name …]`; the names are the functions in `BENCHMARKS`.
"""

import gzip
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import data

from .common import SHARED, in_turns, run


# ---------------------------------------------------------------- data
def digits(seed: int) -> tuple[Any, ...]:
    """Return the 1,797 digits of scikit-learn, a quarter held out, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    return tuple(train_test_split(bunch.images, bunch.target, test_size=0.25, stratify=bunch.target, random_state=seed))


def mnist() -> tuple[Any, ...]:
    """Return the 10,000 test images of MNIST; every fifth is the test part here."""
    folder = SHARED / "vision" / "mnist_t10k"
    images, labels = (gzip.decompress(file.read_bytes()) for file in sorted(folder.glob("*.gz")))
    X = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28)
    y = np.frombuffer(labels, np.uint8, offset=8).astype(int)
    test = np.arange(len(X)) % 5 == 4
    return X[~test], X[test], y[~test], y[test]


def folders(name: str, train: str, test: str) -> tuple[Any, ...]:
    """Return a set with one folder a split, and one sub-folder a class in each."""
    (X, y), (X_test, y_test) = (data.folder(SHARED / "vision" / name / part) for part in (train, test))
    return X, X_test, y, y_test


# ---------------------------------------------------------------- accuracy
def _scores(parts: tuple[Any, ...], seed: int) -> dict[str, Any]:
    from vision import ImageClassifier

    X, X_test, y, y_test = parts
    model = ImageClassifier(seed=seed, verbose=0).fit(X, y)
    report = model.evaluate(X_test, y_test)
    table = report.tables["baselines"]
    return {
        "accuracy": round(report.metrics["accuracy"], 4),
        "roc_auc": round(report.metrics["roc_auc"], 5),
        "ece": round(report.metrics["ece"], 4),
        "logistic_regression_accuracy": round(float(table.loc["logistic regression", "accuracy"]), 4),
        "fit_s": round(model.fit_seconds_, 1),
        "epochs": len(model.history_),
        "train": len(X),
        "test": len(X_test),
    }


def accuracy_digits() -> dict[str, Any]:
    """Digits with defaults, seeds 0 to 2; the first fit of a process also builds TensorFlow's graphs for the first time."""
    rows = [_scores(digits(seed), seed) for seed in range(3)]
    mean = {key: round(statistics.mean(row[key] for row in rows), 5) for key in ("accuracy", "roc_auc", "fit_s")}
    return {"mean": mean, "seeds": rows}


def accuracy_mnist() -> dict[str, Any]:
    """MNIST's test file, 8,000 to learn from, defaults."""
    return _scores(mnist(), 0)


def accuracy_cifar10_small() -> dict[str, Any]:
    """CIFAR-10, 100 images a class to learn from, defaults, from scratch."""
    return _scores(folders("cifar10_small", "train", "test"), 0)


def accuracy_hymenoptera() -> dict[str, Any]:
    """Ants and bees, 244 photographs to learn from, defaults, from scratch."""
    return _scores(folders("hymenoptera", "train", "val"), 0)


# ---------------------------------------------------------------- cost over plain Keras
def fit_cost() -> dict[str, Any]:
    """`fit` beside `keras.Model.fit`: same net, data, batch, epochs; ours also checks and fits the baseline."""
    from pipelines.engines import load_framework
    from vision import ImageClassifier, networks

    keras = load_framework("keras")
    X, _, y, _ = mnist()
    part, valid = (X[:3000], y[:3000]), (X[3000:3500], y[3000:3500])
    epochs, batch = 3, 32

    def ours() -> None:
        ImageClassifier(epochs=epochs, batch_size=batch, verbose=0).fit(*part, valid=valid)

    def plain(jit: str | bool) -> None:
        keras.utils.set_random_seed(0)
        net = networks.augmented(networks.build("small-cnn", (28, 28), 1, 10), photo=False)
        net.compile(
            keras.optimizers.AdamW(2e-3, weight_decay=0.01),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=jit,
        )
        pixels = [images[..., None].astype(np.float32) for images in (part[0], valid[0])]
        net.fit(pixels[0], part[1], batch_size=batch, epochs=epochs, validation_data=(pixels[1], valid[1]), verbose=0)

    ours(), plain(False)  # the first fit in a process is slower
    return {
        "beside_keras_without_xla": in_turns(ours, lambda: plain(False)),
        "beside_keras_defaults": in_turns(ours, lambda: plain("auto"), runs=3),
    }


def predict_cost() -> dict[str, Any]:
    """`predict_proba` of 10,000 arrays beside `model.predict` of the same net."""
    from vision import ImageClassifier

    X, X_test, y, y_test = mnist()
    X, y = np.concatenate([X, X_test]), np.concatenate([y, y_test])
    model = ImageClassifier(epochs=1, verbose=0).fit(X[:1000], y[:1000])
    pixels, bare = X[..., None].astype(np.float32), _bare(model)

    def ours() -> None:
        model.predict_proba(X)

    def theirs() -> None:
        bare.predict(pixels, batch_size=model.batch_size, verbose=0)

    ours(), theirs()
    return in_turns(ours, theirs)


def predict_files() -> dict[str, Any]:
    """2,000 JPEG files, 500 x 375: ours beside `image_dataset_from_directory` and `model.predict`."""
    from pipelines.engines import load_framework
    from vision import ImageClassifier

    keras = load_framework("keras")
    with tempfile.TemporaryDirectory() as root:
        X, y = _jpegs(Path(root), 2000)
        model = ImageClassifier(epochs=1, image_size=96, verbose=0).fit(X[::25], y[::25])
        bare = _bare(model)

        def ours() -> None:
            model.predict_proba(X)

        def theirs() -> None:
            feed = keras.utils.image_dataset_from_directory(
                root, image_size=(96, 96), batch_size=model.batch_size, shuffle=False, label_mode=None, verbose=False
            )
            bare.predict(feed, verbose=0)

        ours(), theirs()
        result = in_turns(ours, theirs)
    result["ours_images_per_s"] = round(2000 / result["ours_s"])
    result["throughput_ratio"] = round(1 / result["ratio"], 3)
    return result


def _bare(model: Any) -> Any:
    """Copy the network, so that neither side finds graphs the other has traced."""
    from pipelines.engines import load_framework

    bare = load_framework("keras").models.clone_model(model.model_)
    bare.set_weights(model.model_.get_weights())
    bare.jit_compile = False
    return bare


def _jpegs(root: Path, n: int) -> tuple[list[str], list[str]]:
    """Write photograph-like JPEG files: smooth random colour fields with some grain."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8)).resize((500, 375), Image.Resampling.BICUBIC)
        grain = rng.integers(-12, 12, (375, 500, 1))
        folder = root / ("even" if i % 2 == 0 else "odd")
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8)).save(folder / f"{i:05d}.jpg", quality=90)
    return data.folder(root)


# ---------------------------------------------------------------- masks
def _masked(name: str, part: str) -> tuple[list[str], list[str]]:
    folder = SHARED / "vision" / name / part
    return data.pairs(folder / "images", folder / "labels")


def _segmented(name: str, **params: Any) -> tuple[dict[str, Any], Any, Any]:
    """Fit with defaults on the training part, and judge on the test part."""
    from vision import ImageSegmenter

    started = time.process_time()
    model = ImageSegmenter(verbose=0, **params).fit(*_masked(name, "train"))
    processor = time.process_time() - started
    report = model.evaluate(*_masked(name, "test"))
    figures = {
        **{key: round(value, 4) for key, value in report.metrics.items()},
        "random_forest_mean_iou": round(float(report.tables["baselines"].loc["random forest", "mean_iou"]), 4),
        "fit_s": round(model.fit_seconds_),
        "fit_processor_s": round(processor),
        "epochs": len(model.history_),
    }
    return figures, report, model


def em_membrane() -> dict[str, Any]:
    """Membranes in electron micrographs, 24 images to learn from and 6 to judge, defaults, from scratch."""
    figures, report, model = _segmented("em_membrane", classes={"membrane": 0, "cell": 1})
    flipped = model.set_params(test_flips=True).evaluate(*_masked("em_membrane", "test"))
    return {
        **figures,
        "membrane_dice": _membranes(report),
        "test_flips": {"pixel_accuracy": round(flipped.metrics["pixel_accuracy"], 4), "membrane_dice": _membranes(flipped)},
    }


def _membranes(report: Any) -> float:
    return round(float(report.tables["classes"].loc["membrane", "dice"]), 4)


def camvid_small() -> dict[str, Any]:
    """Street scenes of 11 classes, 92 images to learn from and 39 to judge, defaults, from scratch."""
    rows = (SHARED / "vision" / "camvid_small" / "classes.csv").read_text().splitlines()[1:]
    numbers = {name: int(number) for number, name, _ in (row.split(",") for row in rows)}
    figures, report, _ = _segmented("camvid_small", ignore_label=numbers.pop("unlabelled"), classes=numbers)
    by_class = {name: round(float(iou), 4) for name, iou in report.tables["classes"]["iou"].items()}
    return {**figures, "times_random_forest": round(figures["mean_iou"] / figures["random_forest_mean_iou"], 3), "iou": by_class}


def segmenter_cost() -> dict[str, Any]:
    """`ImageSegmenter.fit` beside `keras.Model.fit`: same net, loss, images, batch, epochs; ours fits a forest, too."""
    from pipelines.engines import load_framework
    from vision import ImageSegmenter, images, segmenter_networks

    keras = load_framework("keras")
    paths = _masked("camvid_small", "train")
    size, n = (176, 240), 40
    X, y = (np.stack([images.decode(path)[: size[0]] for path in part[: n + 8]]) for part in paths)
    y = y[..., 0]
    epochs, batch = 3, 4

    def ours() -> None:
        model = ImageSegmenter(augment="none", image_size=list(size), epochs=epochs, batch_size=batch, verbose=0)
        model.fit(X[:n], y[:n], valid=(X[n:], y[n:]))

    def plain() -> None:
        keras.utils.set_random_seed(0)
        net = segmenter_networks.build("unet", None, 3, 12)
        loss = segmenter_networks.SegmentationLoss(np.ones(12), "dice")
        net.compile(keras.optimizers.AdamW(2e-3, weight_decay=0.01), loss, jit_compile=False)
        pixels = X.astype(np.float32)
        net.fit(pixels[:n], y[:n], batch_size=batch, epochs=epochs, validation_data=(pixels[n:], y[n:]), verbose=0)

    ours(), plain()  # the first fit in a process is slower
    return in_turns(ours, plain, runs=3)


def kept_memory() -> dict[str, Any]:
    """Twelve steps of the U-Net on crops of 256 x 256, freed memory kept, beside the same as the C library has it."""
    from pipelines import device, engines
    from vision import segmenter_networks

    rng, engine = np.random.default_rng(0), engines.engine("keras")
    X = rng.uniform(0, 255, (24, 256, 256, 1)).astype(np.float32)
    y = rng.integers(0, 2, X.shape[:3]).astype(np.uint8)
    keep = {"judge": dict, "valid": None, "epochs": 2, "lr": 1e-3, "device": device.resolve("cpu", "keras")}

    def fit(train: Any) -> None:
        network = segmenter_networks.build("unet", None, 1, 2)
        batches = data.Batches(lambda rows: X[rows], len(X), 4, targets=y)
        train(network, batches, loss=segmenter_networks.SegmentationLoss(np.ones(2), "dice"), **keep)

    fit(engine.train)  # the first fit in a process is slower
    return in_turns(lambda: fit(engine.train), lambda: fit(engine.train.__wrapped__), runs=3)


def tiled_prediction() -> dict[str, Any]:
    """Memory to predict 4,000 x 4,000 pixels beyond the image itself; and how far tiles are from the whole at 2,000 x 2,000."""
    from vision import ImageSegmenter, images, tiles

    with tempfile.TemporaryDirectory() as root:
        model = ImageSegmenter(epochs=4, verbose=0).fit(*_masked("em_membrane", "train"))
        folder = model.save(f"{root}/model")
        code = (
            "import sys, numpy as np; from benchmarks.common import peak_memory; from pipelines import load;"
            "model = load(sys.argv[1]); side = int(sys.argv[2]); model.predict([np.zeros((64, 64), np.uint8)]);"
            "image = np.random.default_rng(0).integers(0, 256, (side, side), np.uint8);"
            "before = peak_memory(); model.predict([image]); print((peak_memory() - before) / 2**20)"
        )
        done = subprocess.run([sys.executable, "-c", code, str(folder), "4000"], capture_output=True, text=True, check=True)
    image = images.resize(images.decode(_masked("em_membrane", "test")[0][0]), (2000, 2000))
    apart, whole = (_maps(model.model_, image, tile) for tile in (tiles.TILE, 2048))
    return {
        "beyond_the_image_mib": round(float(done.stdout.split()[-1])),
        "largest_difference": float(np.abs(apart - whole).max()),
        "other_decisions": int(np.count_nonzero(apart.argmax(axis=-1) != whole.argmax(axis=-1))),
    }


def _maps(network: Any, image: np.ndarray, tile: int) -> np.ndarray:
    """Return the probabilities that a network gives an image in tiles of a size."""
    from scipy.special import softmax

    from vision import tiles

    parts = tiles.scores(network.predict_on_batch, image[None], 16, tile=tile)
    maps = [(at, softmax(scores[0], axis=-1)) for at, scores in parts]
    found = np.empty((*image.shape[:2], maps[0][1].shape[-1]), np.float32)
    for at, part in maps:
        found[at] = part
    return found


# ---------------------------------------------------------------- import and memory
def import_time() -> dict[str, Any]:
    """Seconds of a fresh process for the import alone, median of five; and what an empty interpreter takes."""

    def seconds(code: str) -> float:
        def once() -> float:
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            return time.perf_counter() - started

        return statistics.median(once() for _ in range(5))

    bare = seconds("pass")
    return {name: round(seconds(f"import {name}") - bare, 3) for name in ("pipelines", "vision")} | {
        "interpreter": round(bare, 3)
    }


def predict_memory() -> dict[str, Any]:
    """Peak memory of a process that predicts 2,000 and of one that predicts 20,000 paths."""
    with tempfile.TemporaryDirectory() as root:
        X, _ = _jpegs(Path(root), 200)
        from vision import ImageClassifier

        ImageClassifier(epochs=1, image_size=64, verbose=0).fit(X, [path.split("/")[-2] for path in X]).save(f"{root}/model")
        code = (
            "import json, sys; from benchmarks.common import peak_memory; from pipelines import load;"
            "X = json.load(open(sys.argv[1])); n = int(sys.argv[2]);"
            "load(sys.argv[3]).predict_proba([X[i % len(X)] for i in range(n)]); print(peak_memory() / 2**20)"
        )
        Path(root, "paths.json").write_text(json.dumps(X))
        peaks = {}
        for n in (2000, 20000):
            command = [sys.executable, "-c", code, f"{root}/paths.json", str(n), f"{root}/model"]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peaks[str(n)] = round(float(done.stdout.split()[-1]), 1)
    return {"peak_mib": peaks, "growth_mib": round(peaks["20000"] - peaks["2000"], 1)}


# ---------------------------------------------------------------- explanations
def explain() -> dict[str, Any]:
    """Heat maps of the digits that are told right: how many are faithful, and what they take, unchecked, beside `predict`."""
    from vision import ImageClassifier

    X, X_test, y, y_test = digits(0)
    model = ImageClassifier(verbose=0).fit(X, y)
    right = X_test[model.predict(X_test) == y_test]

    def judged(method: str) -> dict[str, Any]:
        found = model.explain(right, method)
        areas = ("deletion", "random_deletion", "insertion", "random_insertion")
        return {
            "images": len(found),
            "faithful": round(statistics.mean(one.faithful for one in found), 4),
            **{area: round(statistics.mean(getattr(one, area) for one in found), 4) for area in areas},
        }

    model.explain(right, check=False), model.predict(right)  # the first in a process are slower
    cost = in_turns(lambda: model.explain(right, check=False), lambda: model.predict(right))
    return {"grad-cam_beside_predict": cost} | {
        method: judged(method) for method in ("grad-cam", "integrated-gradients", "occlusion")
    }


BENCHMARKS = {
    function.__name__: function
    for function in (
        import_time, fit_cost, predict_cost, predict_files, predict_memory,
        accuracy_digits, accuracy_mnist, accuracy_cifar10_small, accuracy_hymenoptera, explain,
        segmenter_cost, kept_memory, tiled_prediction, em_membrane, camvid_small,
    )
}  # fmt: skip

if __name__ == "__main__":
    run(BENCHMARKS)
