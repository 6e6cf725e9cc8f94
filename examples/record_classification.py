"""Predict from patients' records, tables with gaps and columns of every kind; read the report, see what counts, keep the model.

Run it with no argument for biopsies of breast tumours that come with scikit-learn, or with a table of your own (csv, tsv,
json, parquet), the column to predict and, where patients have several rows, the column that names them:

    python examples/record_classification.py patients.csv disease patient_id
"""

import sys

import pandas as pd

from medical import RecordClassifier
from pipelines import data, load

# 1. A table: one row a record, numbers and texts, empty cells for what is not known. The one made here has measures of the cells
#    of a tumour, one of them in words; every fifth biopsy lacks all but one.
if len(sys.argv) > 2:
    path, disease, patient = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
else:
    from sklearn.datasets import load_breast_cancer

    path, disease, patient = "biopsies.csv", "tumour", None
    bunch = load_breast_cancer(as_frame=True)
    sizes = pd.cut(bunch.data["mean area"], [0, 500, 700, 9000], labels=["small", "middle", "large"])
    table = bunch.data[["mean texture", "mean smoothness", "mean concavity"]].assign(size=sizes.astype(object))
    table = table.mask(table.index.to_series() % 5 == 0).assign(symmetry=bunch.data["mean symmetry"])
    table[disease] = bunch.target_names[bunch.target]
    table.to_csv(path, index=False)
X, y = data.records(path, y=disease)
patients = X.pop(patient) if patient else None  # names patients, and must not be an input

# 2. A test part in which nobody is whom the model has learned from.
X, X_test, y, y_test = data.split(X, y, test=0.25, groups=patients, seed=0)
learned = None if patients is None else patients[X.index]

# 3. Fit boosted trees; model="network" is the neural network. Columns whose numbers are codes, and values that stand for missing
#    ones, have to be named:
#        RecordClassifier(codes=["chest_pain"], missing={"glucose": [0]})
model = RecordClassifier().fit(X, y, groups=learned)
print("\n".join(model.notes_))

# 4. Judge: every number with its interval, beside a logistic regression on the same columns, which is not rarely as good.
report = model.evaluate(X_test, y_test)
print(report)
report.save("records-report.html")

# 5. What the model looks at: how much worse it tells the classes apart when a column is shuffled.
print(model.feature_importance(X_test, y_test).round(3))

# 6. Keep it, and use it elsewhere. The folder holds trees and the names of categories, but no patient.
model.save("records-model")
print(load("records-model").predict_proba(X_test[:3]).round(2))
