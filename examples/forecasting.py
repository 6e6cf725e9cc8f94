"""Forecast a time series with a band, read the report, keep the model, use it again, and draw what it says.

Run it with no argument for the weekly carbon dioxide at Mauna Loa that comes with statsmodels, or with a table of your own, its
column of times and, if you like, the columns to forecast:

    python examples/forecasting.py load.csv date OT
"""

import sys

import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import co2

from pipelines import data, load
from timeseries import Forecaster

# 1. A DataFrame: one row a time, one column a variable, the times as its index. Gaps may stay.
if len(sys.argv) > 2:
    X, _ = data.series(sys.argv[1], time=sys.argv[2], value=sys.argv[3:] or None)
else:
    X = co2.load_pandas().data["1980":]

# 2. The end is the test part: `split` never shuffles a time series.
train, test, _, _ = data.split(X, test=0.2)

# 3. Fit: the next 26 rows, with a band that should hold 80 % of what comes.
model = Forecaster(horizon=26, quantiles=[0.1, 0.9], epochs=15).fit(train)

# 4. Judge, from every place in the test part. The last rows of the training part are the context of its first forecast.
report = model.evaluate(pd.concat([train.tail(model.lookback_), test]))
print(report)
report.save("forecast-report.html")

# 5. Keep it, and use it elsewhere, on whatever is the latest by then.
model.save("forecast-model")
forecast = load("forecast-model").predict(X)
print(forecast)

# 6. A picture: what was, what is expected, and the band.
name = X.columns[0]
recent = X[name].tail(4 * len(forecast))
plt.plot(recent.index, recent, label="measured")
plt.plot(forecast.index, forecast[name], label="forecast")
plt.fill_between(forecast.index, forecast[f"{name}_q0.1"], forecast[f"{name}_q0.9"], alpha=0.3, label="80 %")
plt.ylabel(name)
plt.legend()
plt.gcf().autofmt_xdate()
plt.savefig("forecast.png")
