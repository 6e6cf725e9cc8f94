"""A demo of the text pipelines, on real texts that are on every machine with the project installed."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipelines import data

from .classification import TextClassifier

__all__ = ["docstrings", "read_docstrings"]

# The modules that the packages' reference manuals list, by their names; what a version lacks is left out.
_MODULES = {
    "numpy": ". char fft linalg ma polynomial polynomial.chebyshev polynomial.legendre polynomial.polynomial random rec strings "
    "lib.format lib.mixins lib.npyio lib.scimath lib.stride_tricks testing",
    "scipy": "cluster.hierarchy cluster.vq constants differentiate fft integrate interpolate io linalg ndimage optimize signal "
    "signal.windows sparse sparse.csgraph sparse.linalg spatial spatial.distance spatial.transform special stats "
    "stats.contingency stats.mstats stats.qmc",
    "pandas": ". api.extensions api.indexers api.types api.typing arrays errors io.formats.style plotting testing "
    "tseries.frequencies tseries.offsets",
    "sklearn": ". base calibration cluster compose covariance cross_decomposition datasets decomposition discriminant_analysis "
    "dummy ensemble exceptions feature_extraction feature_extraction.image feature_extraction.text feature_selection "
    "gaussian_process gaussian_process.kernels impute inspection isotonic kernel_approximation kernel_ridge linear_model "
    "manifold metrics metrics.cluster metrics.pairwise mixture model_selection multiclass multioutput naive_bayes neighbors "
    "neural_network pipeline preprocessing random_projection semi_supervised svm tree utils",
}
_REMOVED = (
    (re.compile(r"\n[^\n]+\n[-=]{3,}[ \t]*(?:\n|\Z).*", re.S), ""),  # from the first heading on: parameters, notes, examples
    (re.compile(r"\A\s*(?:[\w.]+\([^\n]*\)[^\n]*\n+)+"), ""),  # signatures of functions in C
    (re.compile(r"(?m)^[ \t]*\.\. [^\n]*(?:\n+[ \t]+[^\n]+)*"), ""),  # ".. versionadded::" and the like
    (re.compile(r"(?m)^[ \t]*(?:>>>|\.\.\. )[^\n]*"), ""),
    (re.compile(r"Read more in the :ref:`[^`]*`\.?"), ""),
    (re.compile(r":[\w:+-]+:`~?([^`<]*)(?:<[^`]*>)?`"), r"\1"),  # :func:`sort` is sort
    (re.compile(r"`"), ""),
    (re.compile(r"(?i)(?<![a-z])(?:numpy|np|scipy|sp|pandas|pd|sklearn|scikit-learn|scikits?)(?![a-z])\.?"), ""),
)
_ALIKE = 0.6  # cosine of two texts from which on one of them is left out


def docstrings(out: Path) -> tuple[TextClassifier, Any, Any, list[str]]:
    """Text classification: what NumPy, SciPy, pandas and scikit-learn say of their functions, told apart by a small BERT.

    The network starts from random weights, with a vocabulary of the training texts, and reads the few texts of more than 128
    tokens in windows. The packages' names are cut out of the texts, near-copies are left out, and a class with its methods, or
    the functions of one module, are all in the training, all in the validation or all in the test part; see `read_docstrings`.

    Parameters
    ----------
    out : path
        An existing folder; eight test texts are written to `samples/` in it, named like what they describe.

    Returns
    -------
    model, X_test, y_test, inputs : tuple
        The fitted classifier, the held-out texts and labels, and what to give to `pipelines predict`.
    """
    table = read_docstrings()
    train, test = _apart(table, 0.2)
    train, valid = _apart(train, 0.1)
    model = TextClassifier(max_length=128).fit(train["text"], train["package"], valid=(valid["text"], valid["package"]))
    folder = out / "samples"
    folder.mkdir(exist_ok=True)
    for _, row in test.groupby("package").sample(2, random_state=0).iterrows():
        (folder / f"{row['name']}.txt").write_text(row["text"], encoding="utf-8")
    return model, test["text"], test["package"], ["--data", str(folder)]


def read_docstrings() -> pd.DataFrame:
    """Return the descriptions of public functions, classes and methods of four packages.

    Of each docstring the text before its first heading is taken, without code, markup, and the names of the packages, which
    would give the answer away. Texts of fewer than five words are left out, and so are those that share most of their words and
    pairs of words with one before.

    Returns
    -------
    DataFrame
        `text`; `package`, the label; `name` of what is described; `home`, the class or the module that holds its code, whose
        texts are related: keep them on one side of a split.

    Examples
    --------
    >>> table = read_docstrings()
    >>> table.loc[table["name"] == "numpy.kron", "text"].item().partition(".")[0]
    'Kronecker product of two arrays'
    """
    rows = [(_plain(doc), package, name, home) for package in _MODULES for name, home, doc in _described(package)]
    table = pd.DataFrame(rows, columns=["text", "package", "name", "home"])
    table = table[table["text"].str.split().str.len() >= 5]
    return table[~_near_copies(table["text"])].reset_index(drop=True)


def _described(package: str) -> Iterator[tuple[str, str, str]]:
    """Yield name, home and docstring of everything public in a package, each object once."""
    seen = set()
    for part in _MODULES[package].split():
        path = f"{package}.{part}".rstrip(".")
        try:
            members = vars(importlib.import_module(path))
        except ImportError:
            continue
        for name, found, home in _public(path, members):
            doc = getattr(found, "__doc__", None)
            if isinstance(doc, str) and id(found) not in seen:
                seen.add(id(found))
                yield name, home, inspect.cleandoc(doc)


def _public(path: str, members: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield the functions and classes of a module, and the methods of the classes, with their names and homes."""
    for name in sorted(members.get("__all__", members)):
        found = members.get(name)
        own = (getattr(found, "__module__", None) or path).startswith(path.partition(".")[0] if "__all__" in members else path)
        if name.startswith("_") or not callable(found) or not own:
            continue
        if not inspect.isclass(found):
            written = getattr(inspect.unwrap(found), "__globals__", {})  # functions in C have none
            yield f"{path}.{name}", found, written.get("__name__", path)
            continue
        home = f"{path}.{name}"
        yield home, found, home
        yield from ((f"{home}.{key}", value, home) for key, value in sorted(vars(found).items()) if not key.startswith("_"))


def _plain(doc: str) -> str:
    for pattern, instead in _REMOVED:
        doc = pattern.sub(instead, doc)
    return " ".join(doc.split())


def _near_copies(texts: pd.Series) -> np.ndarray:
    """Tell which texts are almost one before them that is kept."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit_transform(texts)
    alike, copies = (vectors @ vectors.T).tocsr(), np.zeros(len(texts), dtype=bool)
    for i, (start, end) in enumerate(zip(alike.indptr, alike.indptr[1:], strict=False)):
        near = alike.indices[start:end][alike.data[start:end] > _ALIKE]
        copies[i] = not copies[near[near < i]].all()
    return copies


def _apart(table: pd.DataFrame, share: float) -> tuple[Any, Any]:
    """Split a table so that no home is in both parts."""
    return data.split(table, table["package"], test=share, groups=table["home"], seed=0)[:2]
