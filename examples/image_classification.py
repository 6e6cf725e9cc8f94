"""Train an image classifier, read its report, keep it, and use it again.

Run it with no argument for the handwritten digits of scikit-learn, or with a folder of your own, one sub-folder per class:

    python examples/image_classification.py photos/
"""

import sys

from sklearn.datasets import load_digits

from pipelines import data, load
from vision import ImageClassifier

# 1. Samples and labels: paths from a folder, or arrays.
if len(sys.argv) > 1:
    X, y = data.folder(sys.argv[1])
else:
    digits = load_digits()
    X, y = digits.images, digits.target

# 2. A test part that shares no duplicates with the training part, each class in proportion.
X, X_test, y, y_test = data.split(X, y, test=0.25, seed=0)

# 3. Fit. A validation part is split off by itself; the best epoch's weights are kept.
model = ImageClassifier(epochs=8).fit(X, y)

# 4. Judge: every number with its interval, beside simple baselines.
report = model.evaluate(X_test, y_test)
print(report)
report.save("digits-report.html")

# 5. Keep it, and use it elsewhere.
model.save("digits-model")
print(load("digits-model").predict(X_test[:10]), "expected", y_test[:10])
