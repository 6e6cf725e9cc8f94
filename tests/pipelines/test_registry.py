"""The table of tasks: every entry leads somewhere, unknown names get a suggestion."""

import inspect

import pytest

import pipelines
from pipelines import ParameterError, cli_data, registry
from pipelines.base import Pipeline


@pytest.mark.parametrize("task", sorted(registry.TASKS))
def test_every_task_leads_to_a_pipeline_of_that_name(task):
    cls = registry.pipeline_class(task)
    assert issubclass(cls, Pipeline)
    assert cls.task == task
    assert cls.engine in ("keras", "torch")
    assert cls.reader in cli_data.READERS
    assert f"{cls.__module__}:{cls.__name__}" == registry.TASKS[task]


@pytest.mark.parametrize("name", sorted(registry.DEMOS))
def test_every_demo_leads_to_a_described_function_of_a_folder(name):
    demo = registry.demo(name)
    assert len(inspect.signature(demo).parameters) == 1
    assert inspect.getdoc(demo)


def test_available_is_sorted():
    assert pipelines.available() == sorted(registry.TASKS)


def test_create_passes_parameters_on():
    model = pipelines.create("image-classification", epochs=7, seed=3)
    assert (type(model).__name__, model.epochs, model.seed) == ("ImageClassifier", 7, 3)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ParameterError, match=r"no task 'image-clasification'\. Did you mean 'image-classification'\?"):
        pipelines.create("image-clasification")
    with pytest.raises(ParameterError, match=r"no demo 'digit'\. Did you mean 'digits'"):
        registry.demo("digit")
    with pytest.raises(ParameterError, match=r"has no parameter 'epoch'\. Did you mean 'epochs'"):
        pipelines.create("image-classification", epoch=1)
