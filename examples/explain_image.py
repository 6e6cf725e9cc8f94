"""See what an image classifier looked at, and whether the heat map can be believed.

Run it with no argument for the handwritten digits of scikit-learn, or with the folder of a saved ImageClassifier or
ImageSegmenter and images:

    python examples/explain_image.py photos-model/ new-1.jpg new-2.jpg
"""

import sys

from sklearn.datasets import load_digits

from pipelines import data, load
from vision import ImageClassifier

# 1. A fitted pipeline, and a few images that it has not learned from.
if len(sys.argv) > 2:
    model, X = load(sys.argv[1]), sys.argv[2:]
else:
    digits = load_digits()
    X, X_test, y, y_test = data.split(digits.images, digits.target, test=0.25, seed=0)
    model = ImageClassifier(epochs=8, verbose=0).fit(X, y)
    X = X_test[:4]
    print("accuracy on digits never seen:", round(model.evaluate(X_test, y_test).metrics["accuracy"], 3))

# 2. Grad-CAM: what speaks for the label that was predicted. Each explanation is checked: the hottest pixels turn grey first, and
#    the probability should fall sooner (a smaller `deletion`) than when as many pixels elsewhere do.
for number, found in enumerate(model.explain(X)):
    print(found, "faithful" if found.faithful else "NOT to be believed")
    print("   ", found.save(f"why-{number}.png"))

# 3. Finer, and slower; and what speaks for another label than the predicted one.
(finer,) = model.explain(X[:1], "integrated-gradients", target=model.classes_[-1].item())
finer.save("why-last-label.png")
print(finer.curves.round(3))
