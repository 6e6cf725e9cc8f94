"""Train a text classifier on a table, read its report and its mistakes, keep it, and use it again, also on long texts.

Run it with no argument for what NumPy and pandas say of their functions, or with a table of your own (csv, tsv, json, jsonl), its
column of texts and its column of labels:

    python examples/text_classification.py reviews.csv review stars
"""

import sys

from nlp import TextClassifier
from nlp.demo import read_docstrings
from pipelines import data, load

# 1. Texts and labels from a table; `data.texts("reviews/")` reads a folder with one sub-folder per class. Lists, pandas columns
#    and pairs of texts (two columns, tuples) will do as well. Each text made here belongs to a class or a module, its home.
if len(sys.argv) > 3:
    path, x, y, home = *sys.argv[1:4], None
else:
    docstrings = read_docstrings()
    docstrings[docstrings["package"].isin(["numpy", "pandas"])].to_csv("docstrings.csv", index=False)
    path, x, y, home = "docstrings.csv", "text", "package", "home"
X, y = data.texts(path, x=x, y=y)
groups = data.texts(path, x=home)[0] if home else None

# 2. A test part without copies of training texts, and here without any text of the same home: relatives give the answer away.
X, X_test, y, y_test = data.split(X, y, test=0.25, groups=groups, seed=0)

# 3. Fit a small BERT from scratch, with a vocabulary of these texts. Better start from a pretrained encoder where one is at hand,
#    for it needs far fewer examples: any BERT-like one of transformers, by its folder or its name on the Hugging Face hub.
#        TextClassifier(weights="path/to/folder")                          # config.json, model.safetensors, tokenizer.json
#        TextClassifier(weights="sentence-transformers/all-MiniLM-L6-v2")  # downloaded once
#        TextClassifier(weights="path/to/folder", freeze=True)             # in seconds: only the last layer learns
model = TextClassifier(epochs=5, max_length=64).fit(X, y)

# 4. Judge: every number with its interval, beside TF-IDF with a logistic regression; then what it was surest of, and wrong.
report = model.evaluate(X_test, y_test)
print(report)
report.save("texts-report.html")
print(report.errors()[["truth", "prediction", "confidence", "text"]].head().to_string(max_colwidth=80))

# 5. Long texts are read in windows that overlap, and nothing is cut off without a word: the report says how many there were.
#    `long_texts="head+tail"` and `"truncate"` are the quicker ways.
book = " ".join(text for text, label in zip(X_test, y_test, strict=True) if label == y_test[0])
print(f"a text of {len(book):,} letters is {model.predict([book])[0]}, expected {y_test[0]}")

# 6. Keep it, and use it elsewhere; `embed` gives the vectors, for a search or a map.
model.save("texts-model")
loaded = load("texts-model")
print(loaded.predict(["Sort an array along an axis.", "Group the rows of a table by a column."]), loaded.embed(["Sort."]).shape)
