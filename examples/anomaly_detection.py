"""Learn what is normal, list what is not and which variables are to blame, judge it by labels, watch live, and draw it.

Run it with no argument for a made-up pump with two faults, or with a table of your own, its column of times and a column with 1
in an anomaly and 0 elsewhere; its first 70 % should be mostly normal:

    python examples/anomaly_detection.py sensors.csv stamp fault
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from pipelines import data, load
from timeseries import AnomalyDetector
from timeseries.faults import inject


def pump() -> tuple[pd.DataFrame, pd.Series]:
    """Half a year of a pump, hour by hour; near its end the flow sensor sticks for two days, then pressure falls for a week."""
    rng, times = np.random.default_rng(0), pd.date_range("2024-01-01", periods=182 * 24, freq="h")
    demand = np.sin(np.arange(len(times)) * 2 * np.pi / 24) + 0.1 * rng.normal(size=len(times))
    X = pd.DataFrame({"flow": 40 + 10 * demand, "pressure": 6 - demand, "oil": 50 + 3 * np.roll(demand, 2)}, times)
    X += rng.normal(size=X.shape) * [0.5, 0.1, 0.3]
    X["flow"], stuck = inject(X["flow"], "flat-line", 3400, 48)
    X["pressure"], falling = inject(X["pressure"], "drift", 3900, 168, size=-2.0)
    return X, stuck | falling


# 1. A DataFrame: one row a time, one column a variable. The start is to be learned, the end to be watched.
if len(sys.argv) > 3:
    X, _ = data.series(sys.argv[1], time=sys.argv[2])
    labels = X.pop(sys.argv[3])
else:
    X, labels = pump()
train, test, _, _ = data.split(X, test=0.3)

# 2. Fit on normal data. Labels are not needed: the threshold comes from how strange normal data can look.
model = AnomalyDetector().fit(train)

# 3. A score a row, larger where it is stranger, and alarms as events with the variables to blame.
scores = model.score_samples(test)
events = model.events(test)
print(events.to_string(), end="\n\n")

# 4. Too many alarms, or too few? Choose another share of false alarms in normal data; nothing is fitted again.
print(f"threshold {model.threshold_:.3f}; with alarms in 1 % of normal rows it would be {model.calibrate(0.01):.3f}")
model.calibrate()  # back to the default: none in normal data

# 5. Where somebody marked the anomalies, judge: beside simple detectors, and without moving the threshold.
report = model.evaluate(test, labels[test.index])
print(report)
report.save("anomaly-report.html")

# 6. Live, by the past alone: the score of each row as it comes, here from the saved model, as on the machine beside the pump.
AnomalyDetector(online=True).fit(train).save("anomaly-model")
watcher = load("anomaly-model")
for time, row in test.iterrows():
    if watcher.update(row) > watcher.threshold_:  # nan for the first rows, until there are enough for a window
        print(f"watched live, the first alarm is at {time}")
        break

# 7. A picture: the variables, the score with its threshold, and the events, darker in the variables to blame.
table = test.assign(score=scores)
axes = table.plot(subplots=True, figsize=(10, 8), color="black", linewidth=0.7, legend=False)
for ax, name in zip(axes, table.columns, strict=True):
    ax.set_ylabel(name)
    for _, event in events.iterrows():
        ax.axvspan(event["start"], event["end"], color="tab:red", alpha=0.3 if name in [*event["variables"], "score"] else 0.08)
axes[-1].axhline(model.threshold_, color="black", linestyle="--", linewidth=0.7)
plt.tight_layout()
plt.savefig("anomalies.png")
