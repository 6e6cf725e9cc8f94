"""PyOD's autoencoder on windows, run by the Python of its own environment: `python anomalies_peers.py FOLDER`."""

import json
import sys
import time
from pathlib import Path

import numpy as np
from pyod.models.auto_encoder import AutoEncoder

folder = Path(sys.argv[1])
with np.load(folder / "in.npz") as parts:
    train, test = parts["train"].astype(np.float32), parts["test"].astype(np.float32)
started = time.perf_counter()
model = AutoEncoder(random_state=0, verbose=0)
model.fit(train)
np.save(folder / "out.npy", model.decision_function(test))
print(json.dumps(time.perf_counter() - started))
