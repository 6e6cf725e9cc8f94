"""The contract: small checks, each run on every registered task."""

import copy
import inspect
import json
import os

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

import pipelines
from pipelines import DataError, FormatError, ParameterError, registry
from pipelines.progress import log

from .cases import CASES

SLOW = ("image-segmentation", "speech-transcription")  # a fit of theirs takes longest, and nearly every test has one
pytestmark = pytest.mark.parametrize(
    "task", [pytest.param(task, marks=[pytest.mark.slow] if task in SLOW else []) for task in sorted(registry.TASKS)]
)
_fitted = {}


def make(task, **params):
    return pipelines.create(task, **{**CASES[task].params, **params})


def fitted(task):
    """Return the task's fitted pipeline, made once."""
    if task not in _fitted:
        _fitted[task] = make(task).fit(*CASES[task].data())
    return _fitted[task]


def outputs(model, X):
    """Return the finest numbers a model gives."""
    finest = next(name for name in ("predict_proba", "score_samples", "predict") if hasattr(model, name))
    found = getattr(model, finest)(X)
    return np.array(list(map(_numbers, found))) if hasattr(found[0], "segments") else np.asarray(found)


def _numbers(transcript):
    """Return figures that differ where two transcripts do."""
    segments = transcript.segments
    text = [sum(map(ord, str(transcript))), len(segments), len(transcript.skipped), transcript.duration]
    return [
        *text,
        *(sum(getattr(s, name) for s in segments) for name in ("start", "end", "probability", "no_speech_probability")),
    ]


def test_every_task_has_a_case(task):
    assert task in CASES


def test_constructor_stores_and_does_no_work(task):
    cls = registry.pipeline_class(task)
    defaults = {name: p.default for name, p in inspect.signature(cls).parameters.items()}
    assert cls().get_params() == defaults
    assert vars(cls()) == defaults
    json.dumps(defaults)  # plain JSON types


def test_common_parameters_come_last_in_one_order(task):
    names = list(inspect.signature(registry.pipeline_class(task)).parameters)
    assert names[-6:] == ["epochs", "batch_size", "lr", "seed", "device", "verbose"]


def test_positional_and_mistyped_parameters_are_refused(task):
    cls = registry.pipeline_class(task)
    with pytest.raises(ParameterError, match="by name only"):
        cls(3)
    with pytest.raises(TypeError, match="Did you mean 'epochs'"):
        cls(epoch=3)
    with pytest.raises(ParameterError, match="Did you mean"):
        pipelines.create(task[:-1])


def test_clone_and_set_params(task):
    model = clone(make(task, seed=7)).set_params(lr=0.5)
    assert model.get_params() == {**make(task).get_params(), "seed": 7, "lr": 0.5}


@pytest.mark.parametrize(
    ("name", "value"),
    [("epochs", 0), ("epochs", 1.5), ("batch_size", -1), ("lr", float("nan")), ("seed", -1), ("device", "gpuu")],
)
def test_impossible_parameter_values_are_refused_by_fit(task, name, value):
    with pytest.raises(ParameterError, match=name if name != "device" else "gpu"):
        make(task, **{name: value}).fit(*CASES[task].data())


def test_impossible_parameter_values_are_refused_after_fit_too(task):
    X, _ = CASES[task].data()
    model = copy.copy(fitted(task)).set_params(batch_size=0)
    with pytest.raises(ParameterError, match="batch_size"):
        model.predict(X)


def test_fit_returns_self_and_keeps_parameters(task):
    X, y = CASES[task].data()
    model = make(task)
    before = model.get_params()
    assert model.fit(X, y) is model
    assert model.get_params() == before
    assert [record["epoch"] for record in model.history_] == list(range(1, len(model.history_) + 1))


def test_one_seed_gives_one_result(task):
    X, y = CASES[task].data()
    again = make(task).fit(X, y)
    assert np.array_equal(outputs(again, X), outputs(fitted(task), X))
    other = make(task, seed=1).fit(X, y)
    assert not np.array_equal(outputs(other, X), outputs(again, X))


def test_fit_leaves_the_users_random_state_alone(task):
    np.random.seed(5)
    expected = np.random.random(3)
    np.random.seed(5)
    make(task).fit(*CASES[task].data())
    assert np.array_equal(np.random.random(3), expected)


def test_unfitted_use_raises(task):
    X, y = CASES[task].data()
    model = make(task)
    for use in (lambda: model.predict(X), lambda: model.evaluate(X, y), lambda: model.score(X, y), lambda: model.save("x")):
        with pytest.raises(NotFittedError):
            use()


def test_predict_keeps_order_and_count(task):
    X, _ = CASES[task].data()
    model = fitted(task)
    forward, backward = outputs(model, X), outputs(model, X[::-1])
    assert len(forward) == len(X)
    np.testing.assert_allclose(forward, backward[::-1], atol=1e-5)


def test_a_sample_alone_equals_the_sample_in_a_batch(task):
    X, _ = CASES[task].data()
    model = fitted(task)
    together = outputs(model, X)
    np.testing.assert_allclose(outputs(model, X[4:5]), together[4:5], atol=1e-5)
    model.batch_size, kept = 7, model.batch_size
    try:
        np.testing.assert_allclose(outputs(model, X), together, atol=1e-5)
    finally:
        model.batch_size = kept


def test_saved_pipeline_predicts_the_same_in_a_fresh_process_from_another_path(task, tmp_path, run_python):
    X, y = CASES[task].data()
    model = fitted(task)
    model.evaluate(X, y)
    expected = outputs(model, X)
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    os.rename(model.save(tmp_path / "model"), moved)
    code = f"""
import sys, numpy as np, pipelines
sys.modules["pickle"].loads = sys.modules["pickle"].load = None  # any unpickling would fail
from tests.cases import CASES
from tests.test_contract import outputs
model = pipelines.load({str(moved)!r})
np.save({str(tmp_path / "found.npy")!r}, outputs(model, CASES[{task!r}].data()[0]))
assert model.get_params() == {{**model.get_params(), **{model.get_params()!r}}}
assert model.report_.metrics and model.history_ == {model.history_!r}
"""
    done = run_python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=1e-6)


def test_load_by_class_refuses_another_task(task, tmp_path):
    folder = fitted(task).save(tmp_path / "model")
    manifest = json.loads((folder / "pipeline.json").read_text())
    (folder / "pipeline.json").write_text(json.dumps({**manifest, "task": "tea-leaves"}))
    with pytest.raises(FormatError, match="tea-leaves"):
        pipelines.load(folder)
    with pytest.raises(FormatError, match="tea-leaves"):
        registry.pipeline_class(task).load(folder)


def test_mismatched_lengths_are_named(task):
    X, y = CASES[task].data()
    if y is None:
        pytest.skip("the task takes no y")
    for use in (lambda: make(task).fit(X, y[:-1]), lambda: fitted(task).evaluate(X, y[:-1])):
        with pytest.raises(DataError, match=f"X has {len(X)} and y has {len(y) - 1}"):
            use()


def test_groups_stay_on_one_side(task):
    X, y = CASES[task].data()
    model, names = make(task), [f"patient {i // 3}" for i in range(len(X))]
    if task in ("anomaly-detection", "forecasting"):
        with pytest.raises(DataError, match="takes no groups"):
            model.fit(X, y, groups=names)
        return
    model.fit(X, y, groups=names)
    assert model.groups_ == set(names)
    assert "val_loss" in model.history_[-1]
    with pytest.raises(DataError, match="group 'patient 1' of sample 0 of the validation part"):
        model.fit(X[6:], y[6:], groups=["patient 1", *names[7:]], valid=(X[3:6], y[3:6], names[3:6]))
    with pytest.raises(DataError, match="one name a sample"):
        model.fit(X, y, groups=names[:-1])


def test_names_of_groups_are_not_saved(task, tmp_path):
    X, y = CASES[task].data()
    if task in ("anomaly-detection", "forecasting"):
        pytest.skip("series come without groups")
    folder = make(task).fit(X, y, groups=[f"Nightingale {i // 3}" for i in range(len(X))]).save(tmp_path / "model")
    assert not any(b"Nightingale" in file.read_bytes() for file in folder.rglob("*") if file.is_file())
    assert not hasattr(pipelines.load(folder), "groups_")


def test_a_y_that_is_not_wanted_is_refused(task):
    X, y = CASES[task].data()
    if y is not None:
        pytest.skip("the task needs a y")
    for use in (make(task).fit, fitted(task).evaluate, fitted(task).score):
        with pytest.raises(DataError, match="takes no y"):
            use(X, [0] * len(X))


def test_empty_and_shapeless_input_is_refused(task):
    X, y = CASES[task].data()
    model, no_y = fitted(task), None if y is None else []
    for use in (lambda: make(task).fit([], no_y), lambda: model.predict([]), lambda: model.evaluate([], no_y)):
        with pytest.raises(DataError, match="empty"):
            use()
    for wrong in ("one.png", iter(X), {"a": 1}, 3):
        with pytest.raises(DataError, match=CASES[task].no_input):
            model.predict(wrong)


def test_unreadable_sample_is_named_before_work_starts_and_costs_nothing(task):
    X, y = CASES[task].data()
    bad = CASES[task].unreadable
    model = make(task).fit(X, y)
    expected = outputs(model, X)
    named = rf"(?i)\b{CASES[task].sample} 5 "
    with pytest.raises(DataError, match=named):
        model.fit([*X[:5], bad, *X[6:]], y)
    assert np.array_equal(outputs(model, X), expected)  # the earlier fit is still there
    with pytest.raises(DataError, match=named):
        model.predict([*X[:5], bad])


def test_unknown_label_is_named(task):
    if CASES[task].unknown is None:
        pytest.skip("the task has no labels")
    X, y = CASES[task].data()
    with pytest.raises(DataError, match=CASES[task].unknown_said):
        fitted(task).evaluate(X[:2], [y[0], CASES[task].unknown])


def test_nothing_is_written_at_verbose_0(task, capfd, tmp_path):
    X, y = CASES[task].data()
    model = make(task, verbose=0).fit(X, y)
    model.evaluate(X, y)
    model.save(tmp_path / "m")
    pipelines.load(tmp_path / "m").predict(X)
    assert capfd.readouterr() == ("", "")
    assert not log.handlers


def test_verbose_1_writes_to_stderr_only(task, capfd):
    make(task, verbose=1).fit(*CASES[task].data())
    out, err = capfd.readouterr()
    assert out == ""
    assert "epoch 1/" in err


def test_scikit_learns_tools_run(task):
    X, y = CASES[task].data()
    once = [next(KFold(2, shuffle=True, random_state=0).split(X))]
    assert np.isfinite(cross_val_score(make(task), X, y, cv=once)).all()
    search = GridSearchCV(make(task), CASES[task].grid, cv=once).fit(X, y)
    assert search.best_params_.keys() == CASES[task].grid.keys()
    assert is_classifier(make(task)) == task.endswith("classification")


def test_report_says_what_it_is(task):
    X, y = CASES[task].data()
    report = fitted(task).evaluate(X, y)
    assert report.task == task
    assert report.headline in report.metrics
    assert report.n == CASES[task].judged(X)
    assert "baselines" in report.tables
    assert report.context["parameters"] == fitted(task).get_params()
    assert report.context["device"]
    assert report.context["versions"]["numpy"] == np.__version__


def test_a_missing_extra_gives_the_exact_pip_line(task, run_python):
    extra = registry.TASKS[task].partition(".")[0]
    code = f"""
from importlib.machinery import PathFinder
gone, find = ("tensorflow", "keras", "torch", "jax", "monai", "whisper", "transformers"), PathFinder.find_spec
PathFinder.find_spec = classmethod(lambda cls, name, *rest: None if name in gone else find(name, *rest))
import pipelines
from tests.cases import CASES
try:
    pipelines.create({task!r}).fit(*CASES[{task!r}].data())
except ImportError as error:
    print(error)
"""
    done = run_python(code)
    assert f'pip install "domain-pipelines[{extra}]"' in done.stdout, done.stderr


def test_public_docstrings_are_whole(task):
    cls = registry.pipeline_class(task)
    text = inspect.getdoc(cls)
    for section in ("Parameters\n", "Attributes\n", "Examples\n"):
        assert section in text, section
    for name in inspect.signature(cls).parameters:
        assert f"\n{name} : " in text, name
    for name, member in inspect.getmembers(cls, inspect.isfunction):
        if not name.startswith("_") and member.__module__.split(".")[0] in ("pipelines", extra_of(task)):
            assert inspect.getdoc(member), name


def extra_of(task):
    return registry.TASKS[task].partition(".")[0]
