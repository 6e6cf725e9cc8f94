"""Imports: who may import whom, what importing must not load, and how long it may take (measured in benchmarks/)."""

import ast
from pathlib import Path

import pytest

from .conftest import ROOT

DOMAINS = ["vision", "nlp", "speech", "medical", "timeseries"]
HEAVY = ["tensorflow", "keras", "torch", "transformers", "monai", "whisper", "triton", "accelerate"]
FRAMEWORKS = {*HEAVY, "safetensors", "tokenizers"}


def modules(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.py"))


def imported(path):
    """Yield (top-level package, line) for every absolute import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


@pytest.mark.parametrize("path", [p for d in [*DOMAINS, "pipelines"] for p in modules(d)], ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    home = path.relative_to(ROOT).parts[0]
    for name, line in imported(path):
        if name in DOMAINS and name != home:
            pytest.fail(f"{path}:{line} imports {name}: domains do not know each other, and pipelines knows none of them")


@pytest.mark.parametrize("path", [p for d in [*DOMAINS, "pipelines"] for p in modules(d)], ids=lambda p: str(p.relative_to(ROOT)))
def test_frameworks_come_through_the_gate(path):
    if path.relative_to(ROOT).parts[:2] == ("pipelines", "engines") or path.name == "doctor.py":
        return
    for name, line in imported(path):
        assert name not in FRAMEWORKS, f"{path}:{line} imports {name}; use pipelines.engines.load_framework"


@pytest.mark.parametrize("name", ["pipelines", *DOMAINS])
def test_importing_a_package_loads_no_framework(name, run_python):
    done = run_python(f"import sys, {name}; print([m for m in {HEAVY} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_all_names_resolve(run_python):
    packages = ", ".join(["pipelines", *DOMAINS])
    code = f"import {packages}; [getattr(package, name) for package in ({packages}) for name in getattr(package, '__all__', ())]"
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_every_test_folder_is_a_package():
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_module_shadows_a_dependency():
    names = {path.stem for folder in DOMAINS for path in Path(ROOT / folder).glob("*.py")}
    assert not names & {*FRAMEWORKS, "sklearn", "numpy", "pandas", "pydicom", "nibabel", "jiwer", "captum"}
