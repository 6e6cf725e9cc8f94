"""Tell lesions by their form in small volumes of several patients: fit, judge by patients, look where the network looked.

Real scans go the same way: a table with the paths, the findings and the patients, or any lists of these.

    X, y = data.table("scans.csv", x="path", y="finding")
    patients, _ = data.table("scans.csv", x="patient")

For research; not a medical device.
"""

import numpy as np

from medical import ScanClassifier
from pipelines import data, load

# 1. Samples: paths of NIfTI, DICOM or picture files, or arrays with their spacing. Here 40 made-up patients with 4 scans each:
#    noise, and in it a round or a long lesion. The scans of a patient are alike, so that they must stay together.
rng = np.random.default_rng(0)
X, y, patients = [], [], []
for patient in range(40):
    finding = ("round", "long")[patient % 2]
    radii = (3.0, 3.0, 3.0) if finding == "round" else (1.5, 1.5, 7.0)
    for _ in range(4):
        place = np.moveaxis(np.indices((16, 16, 16)), 0, -1) - 7.5 - rng.uniform(-2, 2, 3)
        inside = ((place / radii) ** 2).sum(axis=-1) < 1
        X.append((rng.normal(100, 30, (16, 16, 16)) + 40 * inside, (1.0, 1.0, 1.0)))  # values, millimetres
        y.append(finding)
        patients.append(f"patient {patient}")

# 2. A test part with other patients.
rows, test, y_train, y_test = data.split(list(range(len(X))), y, test=0.3, groups=patients, seed=0)

# 3. Fit: the validation part, too, has patients of its own. Orientation, spacing, size and intensities are planned by themselves.
model = ScanClassifier(epochs=10).fit([X[i] for i in rows], y_train, groups=[patients[i] for i in rows])
print(model.plan_)

# 4. Judge: intervals by patients, baselines, and what thresholds for a wanted specificity come to.
report = model.evaluate([X[i] for i in test], y_test, patients=[patients[i] for i in test])
print(report)
report.save("scan-report.html")

# 5. Where did the network look, and does it matter?
explanation = model.explain([X[test[0]]])[0]
print(explanation)
explanation.save("heat.png")
explanation.save("heat.nii.gz")

# 6. Keep it, and use it elsewhere.
model.save("scan-model")
print(load("scan-model").predict([X[i] for i in test[:5]]), "expected", y_test[:5])
