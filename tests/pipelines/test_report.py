"""Report: text, JSON, HTML, Markdown, CSV, figures and comparison, for any task."""

import html.parser
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from pipelines import metrics, report_plot
from pipelines.errors import DataError, FormatError
from pipelines.report import Example, Report, compare

ODD = ['<b>&"', "$x_1$ and $", "_hidden", "猫の写真", "line\nbreak\x1b[31m", "pipe | pipe"]
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x00\x00\x00\x00:~\x9bU"
    b"\x00\x00\x00\nIDATx\x9cc`\x00\x00\x00\x02\x00\x01H\xaf\xa4q\x00\x00\x00\x00IEND\xaeB`\x82"
)
VOID = {"meta", "img", "br", "hr", "link", "input"}


def classified(names, n=120, **options):
    rng = np.random.default_rng(0)
    y = rng.integers(0, len(names), n)
    proba = rng.dirichlet(np.ones(len(names)), n) + np.eye(len(names))[y]
    return metrics.classification([names[i] for i in y], proba / 2, names, n_bootstrap=30, **options)


@pytest.fixture(scope="module")
def report():
    examples = [Example("said <i>", image=PNG), Example("said b", text="Dear <friend>")]
    return classified(ODD, groups=[i % 3 for i in range(120)], context={"lr": 0.1, "by": ("a", 1)}, examples=examples)


@pytest.fixture
def other_task():
    """A report of a task this module knows nothing about."""
    table = pd.DataFrame({"mae": [1234.5, float("nan")]}, index=pd.Index(["2020", "2021"], name="year"))
    curve = pd.DataFrame({"step": [1, 2, 3], "error": [0.1, 0.2, 0.4]})
    notes = ("A note.", "BELOW BASELINE: mae 2.0 is higher than the 1.0 of 'last value'.")
    return Report("forecasting", "mae", {"mae": 2.0, "mase": float("nan")}, {"years": table}, {"horizon": curve}, 9,
                  notes, {})  # fmt: skip


# --- value ------------------------------------------------------------------------------------------------------------


def test_frozen_and_compared_by_content(report):
    with pytest.raises(FrozenInstanceError):
        report.n = 3
    assert report == replace(report)
    assert report != replace(report, n=3)
    assert report != "a report"


def test_headline_must_be_a_metric():
    with pytest.raises(DataError, match="headline 'f1' is not one of the metrics"):
        Report("t", "f1", {"accuracy": 1.0}, {}, {}, 1, (), {})


def test_repr_is_one_line(report):
    assert re.fullmatch(r"Report\('classification', accuracy=\d\.\d{4}, n=120\)", repr(report))


def test_to_frame_has_value_low_high(report, other_task):
    frame = report.to_frame()
    assert list(frame.columns) == ["value", "low", "high"]
    pd.testing.assert_frame_equal(frame, report.tables["headline"])
    assert other_task.to_frame()["low"].isna().all()


# --- JSON -------------------------------------------------------------------------------------------------------------


def assert_equal_reports(a, b):
    assert a == b
    for left, right in ((a.tables, b.tables), (a.curves, b.curves)):
        assert list(left) == list(right)
        for name in left:
            pd.testing.assert_frame_equal(left[name], right[name])
    assert a.metrics == pytest.approx(b.metrics, nan_ok=True)
    assert (a.notes, a.examples, a.n) == (b.notes, b.examples, b.n)


@pytest.mark.parametrize("names", [["a", "b"], [0, 1, 2], [False, True], [1, "one"], ODD])
def test_json_round_trip_keeps_types(names):
    original = classified(names, examples=[Example("x", image=PNG)])
    text = json.dumps(original.to_dict(), allow_nan=False)
    assert_equal_reports(Report.from_dict(json.loads(text)), original)


def test_json_round_trip_of_undefined_values(other_task):
    d = other_task.to_dict()
    assert d["metrics"]["mase"] is None
    assert np.isnan(Report.from_dict(d).metrics["mase"])
    assert_equal_reports(Report.from_dict(d), other_task)


def test_infinite_threshold_survives(report):
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert np.isposinf(again.curves["roc"]["threshold"].iloc[0])


def test_context_becomes_plain_types(other_task):
    context = {"a": np.float32(0.5), "b": np.array([1, 2]), 3: {"path": io.BytesIO}, "nan": float("nan"), "s": ("x",)}
    d = replace(other_task, context=context).to_dict()["context"]
    assert (d["a"], d["b"], d["nan"], d["s"]) == (0.5, [1, 2], None, ["x"])
    assert isinstance(d["3"]["path"], str)


@pytest.mark.parametrize("bad", [{}, {"task": "x"}, [], {"format": 1, "task": "t", "metrics": 3}])
def test_from_dict_refuses_what_is_no_report(bad):
    with pytest.raises(FormatError, match="not a saved report"):
        Report.from_dict(bad)


def test_from_dict_refuses_a_newer_format(report):
    with pytest.raises(FormatError, match="format 99"):
        Report.from_dict({**report.to_dict(), "format": 99})


# --- files ------------------------------------------------------------------------------------------------------------


def test_save_json_reads_back(report, tmp_path):
    path = report.save(tmp_path / "r.json")
    assert_equal_reports(Report.from_dict(json.loads(path.read_text(encoding="utf-8"))), report)


def test_save_csv_reads_back(report, tmp_path):
    frame = pd.read_csv(report.save(str(tmp_path / "r.csv")), index_col="metric")
    pd.testing.assert_frame_equal(frame, report.to_frame())


def test_save_markdown_reads_back(report, tmp_path):
    text = report.save(tmp_path / "r.md").read_text(encoding="utf-8")
    assert text.startswith("# classification: accuracy")
    tables = re.findall(r"(?:^\|.*\|\n)+", text, flags=re.MULTILINE)
    cells = [[len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()] for table in tables]
    assert len(tables) == len(report.tables)
    assert all(len(set(widths)) == 1 for widths in cells)  # a "|" in a name makes no column
    accuracy = re.search(r"\| accuracy \| ([\d.]+) \|", text)
    assert accuracy
    assert float(accuracy[1]) == pytest.approx(report.metrics["accuracy"], abs=1e-4)


def test_save_replaces_and_leaves_nothing_else(report, tmp_path):
    (tmp_path / "r.json").write_text("old")
    report.save(tmp_path / "r.json")
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]
    assert report.save(tmp_path / "R.HTML").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_failed_save_keeps_the_old_file(report, tmp_path, monkeypatch):
    (tmp_path / "r.json").write_text("old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"cannot be written to '.*r\.json': No space left on device"):
        report.save(tmp_path / "r.json")
    assert (tmp_path / "r.json").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["r.txt", "r", "r.json.gz"])
def test_save_refuses_other_suffixes(report, tmp_path, name):
    with pytest.raises(DataError, match=r"\.json, \.html, \.md, \.csv"):
        report.save(tmp_path / name)


def test_save_refuses_a_missing_folder_and_a_folder(report, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        report.save(tmp_path / "missing" / "r.json")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataError, match="cannot be written"):
        report.save(tmp_path / "folder.json")
    assert len(list(tmp_path.iterdir())) == 1


def test_save_refuses_a_path_it_may_not_write(report, tmp_path):
    # Rights do not stop root, but a name that is too long stops everybody.
    with pytest.raises(DataError, match="cannot be written"):
        report.save(tmp_path / f"{'x' * 300}.json")


# --- text -------------------------------------------------------------------------------------------------------------


def test_text_says_the_main_things(report):
    text = str(report)
    assert text.startswith(f"classification: accuracy {report.metrics['accuracy']:.4f} (95 % interval ")
    for part in ("120 samples", "baselines", "this model", "classes", "confusion (rows: true", "groups", "notes"):
        assert part in text


def test_text_fits_a_terminal_and_cannot_steer_it(report):
    for line in str(report).splitlines():
        assert len(line) <= 100
        assert line.isprintable()


@pytest.mark.parametrize("k", [2, 12, 13, 60])
def test_text_with_few_and_many_classes(k):
    text = str(classified([f"a rather long name of class {i}" for i in range(k)]))
    assert max(map(len, text.splitlines())) <= 100
    assert ("too wide for text" in text) == (k > 12)
    assert ("… and 40 more" in text) == (k == 60)


def test_text_says_a_loss_before_the_numbers(other_task):
    lines = str(other_task).splitlines()
    assert lines[0] == "forecasting: mae 2.0000, 9 samples"
    assert lines[2].startswith("!! BELOW BASELINE")
    assert ["mase", "–", "–", "–"] in [line.split() for line in lines]
    assert "1,234.5" in str(other_task)
    assert str(other_task).count("BELOW BASELINE") == 1


# --- HTML -------------------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Collects tags, attributes, text and identifiers, and checks that tags close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.texts = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def page(report):
    return report._render(".html")


def test_html_is_well_formed_with_unique_identifiers(page):
    parsed = Page(page)
    assert parsed.open == []
    assert parsed.tags.count("svg") == 5
    identifiers = [value for name, value in parsed.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [value[1:] for name, value in parsed.attributes if name in ("href", "xlink:href") and value[0] == "#"]
    assert set(targets) <= set(identifiers)
    assert set(re.findall(r"url\(#([^)]+)\)", page)) <= set(identifiers)


def test_html_needs_nothing_from_outside(page):
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    for name, value in parsed.attributes:
        if name in ("src", "href", "xlink:href"):
            assert value.startswith(("data:image/png;base64,", "#"))
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_html_escapes_names_notes_and_captions(report):
    context = {"note": "<script>alert(1)</script>"}
    text = replace(report, notes=("<script>x</script>",), task="<u>task", context=context)._render(".html")
    assert not {"script", 'b>&"', "i>", "u", "friend"} & set(Page(text).tags)
    seen = " ".join(Page(text).texts)
    for part in ('<b>&"', "$x_1$ and $", "_hidden", "猫の写真", "said <i>", "Dear <friend>", "<script>x</script>"):
        assert part in seen


def test_svg_text_shows_every_name_as_it_is(page):
    seen = re.findall(r"<text[^>]*>([^<]*)</text>", page)
    shown = {html.unescape(text).strip() for text in seen}
    assert {'<b>&"', "$x_1$ and $", "_hidden", "macro average"} <= shown


def test_html_holds_the_example_images(page):
    assert page.count("data:image/png;base64,iVBORw0KGgo") >= 1
    assert "dp-pixels" in page


def test_notebook_display_is_the_same_without_the_page(report, page):
    fragment = report._repr_html_()
    assert "<html" not in fragment
    assert "dp-report" in fragment
    assert fragment in page


def test_html_says_a_loss_first_and_draws_unknown_curves(other_task):
    text = other_task._render(".html")
    assert text.index("BELOW BASELINE") < text.index("<table")
    assert "<svg" in text
    assert ">step<" in text


def forecast_report(names):
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(40, 6, 2))
    quantiles = {q: truth + z for q, z in [(0.1, -1), (0.9, 1), (0.2, -0.5), (0.8, 0.5)]}
    return metrics.forecasting(truth, truth + 0.1, names[:2], quantiles=quantiles, baselines=dict.fromkeys(names, truth + 1),
                               groups=[names[i % 2] for i in range(40)], contexts=truth, n_bootstrap=20)  # fmt: skip


def test_html_of_a_forecast_has_a_drawing_per_window():
    text = forecast_report(ODD)._render(".html")
    parsed = Page(text)
    assert parsed.open == []
    assert parsed.tags.count("svg") == 5  # by step, coverage, and three windows
    identifiers = [value for name, value in parsed.attributes if name == "id"]
    assert len(identifiers) == len(set(identifiers))
    targets = [value[1:] for name, value in parsed.attributes if name in ("href", "xlink:href") and value[0] == "#"]
    assert set(targets) <= set(identifiers)
    assert set(re.findall(r"url\(#([^)]+)\)", text)) <= set(identifiers)
    shown = {html.unescape(part).strip() for part in re.findall(r"<text[^>]*>([^<]*)</text>", text)}
    assert {"this model", "$x_1$ and $", "_hidden", "truth", "forecast", "80 % interval"} <= shown
    assert "#2f3640" not in text  # the ink of the drawings is the page's own, so that dark mode works


def test_text_of_a_forecast_with_odd_names_fits_a_terminal():
    for line in str(forecast_report(ODD)).splitlines():
        assert len(line) <= 100
        assert line.isprintable()


def test_plot_of_a_forecast_has_a_panel_per_window():
    figure = forecast_report([r"$\nonsense$", "_hidden"]).plot()
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert len(titles) == 5
    assert sum(title.startswith("forecast: ") for title in titles) == 3
    figure.savefig(io.BytesIO(), format="png")


def test_bars_are_drawn_for_shares_alone(page):
    rows = re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', page)
    bars = {name for name, cells in rows if "dp-bar" in cells}
    assert {"accuracy", "roc_auc", "brier"} <= bars
    assert "log_loss" not in bars


def test_html_of_a_report_with_nothing_in_it():
    bare = Report("t", "m", {"m": float("nan")}, {}, {}, 0, (), {})
    assert Page(bare._render(".html")).open == []
    assert "t: m –, 0 samples" in str(bare)
    assert bare.plot().axes


def test_html_of_two_hundred_classes_stays_small():
    text = classified(list(range(200)), n=400)._render(".html")
    assert len(text) < 1_000_000
    assert "200 by 200" in text


def test_html_is_the_same_twice(report, page):
    assert report._render(".html") == page


# --- figures ----------------------------------------------------------------------------------------------------------


def test_plot_draws_curves_and_confusion():
    figure = classified(ODD[:3]).plot()
    assert [axes.get_title() for axes in figure.axes] == ["roc", "pr", "reliability", "risk coverage", "confusion"]
    figure.savefig(io.BytesIO(), format="png")  # "$x_1$ and $" would fail as mathematics


def test_counts_of_pixels_fit_into_the_cells_of_a_confusion():
    counts = pd.DataFrame([[99_999, 344_421], [3, 1_234_567]], index=["sky", "tree"], columns=["sky", "tree"])
    axes = Figure().add_subplot()
    report_plot._confusion(axes, counts)
    assert [text.get_text() for text in axes.texts] == ["99999", "344k", "3", "1.2M"]


def test_plot_with_many_classes_shows_the_average_and_the_worst():
    figure = classified(list(range(30))).plot()
    names = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert len(names) == 6
    assert names[-1] == "macro average"
    assert len(figure.axes[3].get_xticks()) <= 25


@pytest.mark.parametrize(("classes", "below"), [(3, False), (10, True)])
def test_names_of_many_lines_stand_below_the_drawing(classes, below):
    figure = classified(list(range(classes))).plot()
    figure.draw_without_rendering()
    panel = figure.axes[0]
    assert (panel.get_legend().get_window_extent().y1 < panel.get_window_extent().y0) == below


def test_drawing_leaves_pyplot_and_settings_alone():
    code = """
import sys
from pipelines import metrics
report = metrics.classification([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.2], n_bootstrap=5)
import matplotlib
settings = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}  # reading it loads pyplot
before = settings()
from matplotlib.figure import Figure
assert isinstance(report.plot(), Figure)
report._repr_html_()
assert settings() == before
assert "matplotlib.pyplot" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- comparison -------------------------------------------------------------------------------------------------------


def test_compare_has_a_row_per_report(report, other_task):
    table = compare({"ours": report, "theirs": other_task})
    assert list(table.index) == ["ours", "theirs"]
    assert table.loc["ours", "accuracy"] == report.metrics["accuracy"]
    assert np.isnan(table.loc["theirs", "accuracy"])
    assert table.loc["theirs", "n"] == 9
    assert len(compare({})) == 0


@pytest.mark.parametrize("bad", [[1], {"a": 3}, None])
def test_compare_refuses_other_things(bad):
    with pytest.raises(DataError, match="compare takes a mapping"):
        compare(bad)
