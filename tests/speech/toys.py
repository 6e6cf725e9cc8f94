"""Tones that stand for words, and a network so small that it learns them while one waits."""

import numpy as np

from pipelines.device import resolve, seeded
from pipelines.engines import load_framework
from pipelines.engines import torch as engine
from pipelines.metrics._transcription import word_error_rate

torch = load_framework("torch")

from speech import networks, training  # noqa: E402  (after the gate)
from speech.vocabulary import Vocabulary, learn  # noqa: E402

RATE = 16_000
DIMS = networks.small(24, 1)
TEXTS = ("yes", "no")
CPU = resolve("cpu", "torch")


def tone(text, seconds=0.3, seed=0):
    """Return a tone, another one for every text, in a little noise."""
    wave = 0.3 * np.sin(2 * np.pi * (400 + 150 * len(text)) * np.arange(round(seconds * RATE)) / RATE)
    return (wave + 0.003 * np.random.default_rng(seed).normal(size=len(wave))).astype(np.float32)


def tones(texts):
    return [tone(text, seed=seed) for seed, text in enumerate(texts)]


def vocabulary(texts=TEXTS):
    return Vocabulary(DIMS, learn(texts, DIMS, "en"), "en")


def network(texts=TEXTS, **dims):
    dims = {**DIMS, **dims}
    with seeded(0, "torch"):
        return networks.build(dims, learn(texts, dims, "en"))


def fit(waves, texts, *, into=None, valid=None, seed=0, **options):
    """Train a network and return it with what became of it."""
    known = [*texts, *(valid[1] if valid else ())]
    into = network(known) if into is None else into
    usual = {"train": engine.train, "scratch": True, "epochs": 1, "batch_size": 2, "lr": 2e-3, "full": False}
    with seeded(seed, "torch"):
        fitted = training.fit(
            into, vocabulary(known), waves, texts, valid, wer=word_error_rate, seed=seed, device=CPU, **{**usual, **options}
        )
    return into, fitted
