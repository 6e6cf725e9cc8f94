"""Seven readers that return plain `(X, y)`, a split that does not leak, and `Batches`, the only data class.

There is no dataset object: samples are any indexable sequence, so scikit-learn's own tools work on them as they are.
"""

from .batches import Ahead, Batches, gathered, prefetch
from .readers import AUDIO_SUFFIXES, files, folder, is_table, pairs, read_text, recordings, records, series, table, texts
from .splitting import duplicated, fingerprints, split, stratified

__all__ = [
    "AUDIO_SUFFIXES", "Ahead", "Batches", "duplicated", "files", "fingerprints", "folder", "gathered", "is_table", "pairs",
    "prefetch", "read_text", "recordings", "records", "series", "split", "stratified", "table", "texts",
]  # fmt: skip
