"""Segment images: learn from two folders, judge on images never seen, count things, and write masks as pictures.

Run it with no argument for scenes of handwritten digits, made on the spot, which takes a few minutes; or with two folders of your
own, images and masks, a mask an image of the same stem:

    python examples/image_segmentation.py images/ masks/
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from pipelines import data, load
from vision import ImageSegmenter

COLOURS = {"paper": (255, 255, 255), "round": (200, 60, 40), "straight": (40, 90, 200)}  # classes, as the masks paint them
ROUND = {0, 3, 6, 8, 9}  # the digits with a bow


def make_scenes(folder: Path, n: int) -> tuple[Path, Path]:
    """Write scenes of five digits of different sizes, 48 x 64 pixels, and masks that paint their strokes by kind."""
    rng, digits = np.random.default_rng(0), load_digits()
    images, masks = folder / "images", folder / "masks"
    for path in (images, masks):
        path.mkdir(parents=True, exist_ok=True)
    palette = np.array(list(COLOURS.values()), np.uint8)
    for number in range(n):
        scene, mask = rng.normal(40, 12, (48, 64)), np.zeros((48, 64), int)
        for column in range(5):
            digit = int(rng.integers(len(digits.target)))
            side = int(rng.integers(10, 13))
            drawn = np.asarray(Image.fromarray((digits.images[digit] * 15).astype(np.uint8)).resize((side, side)))
            top, left = int(rng.integers(0, 48 - side)), 12 * column + 1
            there = np.s_[top : top + side, left : left + side]
            scene[there] = np.maximum(scene[there], drawn)
            mask[there][drawn > 100] = 1 if int(digits.target[digit]) in ROUND else 2
        Image.fromarray(scene.clip(0, 255).astype(np.uint8)).save(images / f"{number:03d}.png")
        Image.fromarray(palette[mask]).save(masks / f"{number:03d}.png")
    return images, masks


def main() -> None:
    """Fit, report, keep, count, and write masks."""
    folder = Path("image-segmentation")
    own = len(sys.argv) == 3
    images, masks = (Path(sys.argv[1]), Path(sys.argv[2])) if own else make_scenes(folder, 60)

    # 1. Paths of images and masks, and a test part.
    X, y = data.pairs(images, masks)
    X, X_test, y, y_test = data.split(X, y, test=0.25, seed=0)

    # 2. Fit. Masks of your own that hold numbers need no table of colours.
    model = ImageSegmenter(classes=None if own else COLOURS, epochs=None if own else 12, verbose=0).fit(X, y)

    # 3. Judge: IoU, Dice and boundaries, beside a random forest that sees single pixels. The HTML file shows the worst.
    report = model.evaluate(X_test, y_test)
    print(report)
    report.save(folder / "report.html") if folder.is_dir() else report.save("report.html")

    # 4. Keep it, and use it elsewhere: pieces that lie apart are counted, masks are written as pictures.
    model.save("image-segmentation-model")
    model = load("image-segmentation-model")
    print("things:", [int(numbers.max()) for numbers in model.predict(X_test[:5], instances=True)])
    print(model.save_masks(X_test[:5], folder / "predicted")[0])


if __name__ == "__main__":
    main()
