"""A transcriber without ears, for what is around one: its recordings are files with the text in them, and it learns nothing."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from pipelines import engines
from pipelines.base import Pipeline
from pipelines.tasks import TranscriberMixin
from speech.transcript import Segment, Skipped, Transcript

TASK = "fake-transcription"
HOME = "tests.pipelines.fake_transcriber:FakeTranscriber"


class FakeTranscriber(TranscriberMixin, Pipeline):
    """Read the text that a file holds, without the letters it is deaf for."""

    task: ClassVar[str] = TASK
    engine: ClassVar[str] = "torch"
    reader: ClassVar[str] = "recordings"

    def __init__(self, *, deaf: str = "", epochs=1, batch_size=1, lr=0.1, seed=0, device="cpu", verbose=0):
        self.deaf = deaf
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed
        self.device = device
        self.verbose = verbose

    def _build(self):
        return engines.load_framework("torch").nn.Linear(1, 1)

    def _train(self, X, y, valid, resume):
        self.parts_ = [len(X), 0 if valid is None else len(valid[0])]
        self.held_ = [] if valid is None else list(valid[1])
        return [{"epoch": 1}]

    def _infer(self, X):
        return [self._heard(x) for x in X]

    def _heard(self, sample):
        if isinstance(sample, np.ndarray):  # words by their numbers
            text = " ".join(f"w{int(number)}" for number in sample)
        else:
            text = "".join(letter for letter in Path(sample).read_text() if letter not in self.deaf).strip()
        said = (Segment(f" {text}", 0.0, 1.0, 0.9, 0.1),) if text else ()
        skipped = () if text else (Skipped(0.0, 1.5, "no speech"),)
        return Transcript(text, "en", said, skipped, 1.5)
