"""The `pipelines` command. Results go to stdout as JSON, the log to stderr; exit code 0 is good, 1 an error, 2 a wrong call."""

import argparse
import inspect
import json
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import checks, data, registry, store
from .errors import DataError, DeviceError, FormatError, ParameterError

__all__ = ["main"]

_OWN = ("data", "x", "y", "group", "test", "out", "resume", "report", "device")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments; those of the process by default.

    Returns
    -------
    int
        0 for success, 1 for an error that a sentence on stderr explains, 2 for a wrong call.
    """
    from sklearn.exceptions import NotFittedError

    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    try:
        if rest and arguments.run is not _fit:
            parser.error(f"unrecognized arguments: {' '.join(rest)}")
        return int(arguments.run(arguments, rest) or 0)
    except ParameterError as error:
        _log(f"error: {error}")
        return 2
    except (DataError, DeviceError, FormatError, ImportError, NotFittedError, OSError) as error:
        _log(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        _log("interrupted: nothing was saved")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipelines", description="Train, use and judge deep-learning models on images, text, speech, scans and series."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Callable[..., Any], text: str, **options: Any) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, **options)
        made.set_defaults(run=run)
        return made

    command("list", _list, "the tasks there are")
    info = command("info", _info, "a task's parameters, or what a saved folder holds")
    info.add_argument("what", help="a task name or a saved folder")

    fit = command(
        "fit", _fit, "learn from a folder or a table, and save", epilog="Every parameter of the task is an option: --epochs 5"
    )
    fit.add_argument("task")
    fit.add_argument("--out", required=True, help="the folder to save to")
    fit.add_argument("--test", type=float, default=0.2, help="share held out for the report; 0 for none (default 0.2)")
    fit.add_argument("--resume", help="a folder for checkpoints; the same call goes on from there after a crash")
    _add_data(fit)

    predict = command("predict", _predict, "predict files, or all files of a folder, with a saved pipeline")
    predict.add_argument("model", help="a saved folder")
    predict.add_argument("inputs", nargs="+", help="files or folders")
    predict.add_argument("--device", default="auto")

    evaluate = command("evaluate", _evaluate, "compare a saved pipeline's predictions with the truth")
    evaluate.add_argument("model", help="a saved folder")
    evaluate.add_argument("--device", default="auto")
    _add_data(evaluate)

    demo = command("demo", _demo, "train on real data that is already here, report, save, and predict from the saved folder")
    demo.add_argument("name", nargs="?", default=next(iter(registry.DEMOS)))
    demo.add_argument("--list", action="store_true", help="show the demos")
    demo.add_argument("--out", default="demo", help="folder for report.html and model/ (default demo)")

    doctor = command("doctor", _doctor, "which frameworks, devices and codecs are here, and what is missing")
    doctor.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, help="a folder with one sub-folder per class, or a table (csv, tsv, json, …)")
    parser.add_argument("--x", help="a table's column with the samples")
    parser.add_argument("--y", help="a table's column with the labels")
    parser.add_argument("--group", help="a table's column (patient, speaker) that is kept on one side of the split")
    parser.add_argument("--report", help="also write the report to a .html, .json, .md or .csv file")


# ---------------------------------------------------------------- commands
def _list(arguments: argparse.Namespace, rest: list[str]) -> None:
    _print([{"task": task, "class": home.replace(":", ".")} for task, home in sorted(registry.TASKS.items())])


def _info(arguments: argparse.Namespace, rest: list[str]) -> None:
    if Path(arguments.what).is_dir():
        manifest, arrays, _, report = store.read(arguments.what)
        shapes = {name: list(value.shape) for name, value in arrays.items()}
        _print({**manifest, "arrays": shapes, "report": report and report["metrics"]})
        return
    cls = registry.pipeline_class(arguments.what)
    _print(
        {
            "task": arguments.what,
            "class": f"{cls.__module__}.{cls.__name__}",
            "about": inspect.getdoc(cls).split("\n")[0],  # type: ignore[union-attr]
            "parameters": {name: parameter.default for name, parameter in _parameters(cls).items()},
        }
    )


def _fit(arguments: argparse.Namespace, rest: list[str]) -> None:
    cls = registry.pipeline_class(arguments.task)
    model = cls(**_options(cls, rest))
    store.check_target(arguments.out)  # before an hour of training, not after it
    X, y, groups = _read(arguments)
    group_of = dict(zip(X, groups, strict=True)) if groups else {}
    held = valid = None
    if arguments.test:
        X, X_test, y, y_test = data.split(X, y, test=arguments.test, groups=groups, seed=model.seed)
        held = (X_test, y_test)
    if groups and len({group_of[x] for x in X}) > 1:  # groups stay whole in the validation part, too
        left = [group_of[x] for x in X]
        X, X_valid, y, y_valid = data.split(X, y, test=0.1, groups=left, seed=model.seed)
        valid = (X_valid, y_valid)
    model.fit(X, y, valid=valid, resume=arguments.resume)
    result: dict[str, Any] = {"task": arguments.task, "history": model.history_, "notes": model.notes_}
    if held:
        report = model.evaluate(*held)
        _log(str(report))
        result["report"] = report.to_dict()
    result["model"] = str(model.save(arguments.out))
    if held and arguments.report:  # after the model, which a mistyped path must not cost
        report.save(arguments.report)
    _print(result)


def _predict(arguments: argparse.Namespace, rest: list[str]) -> None:
    from .base import load

    model = load(arguments.model, device=arguments.device)
    X = [file for path in arguments.inputs for file in _expand(Path(path))]
    if not hasattr(model, "predict_proba"):
        _print([{"sample": x, "prediction": p} for x, p in zip(X, model.predict(X), strict=True)])
        return
    proba = model.predict_proba(X)
    names = [str(label) for label in model.classes_.tolist()]
    chosen = model.decide(proba)
    rows = [
        {"sample": x, "prediction": p, "proba": {name: round(float(v), 6) for name, v in zip(names, row, strict=True)}}
        for x, p, row in zip(X, chosen, proba, strict=True)
    ]
    _print(rows)


def _evaluate(arguments: argparse.Namespace, rest: list[str]) -> None:
    from .base import load

    X, y, groups = _read(arguments)
    report = load(arguments.model, device=arguments.device).evaluate(X, y, groups=groups)
    _log(str(report))
    if arguments.report:
        report.save(arguments.report)
    _print(report.to_dict())


def _demo(arguments: argparse.Namespace, rest: list[str]) -> int:
    if arguments.list:
        _print({name: inspect.getdoc(registry.demo(name)).split("\n")[0] for name in registry.DEMOS})  # type: ignore[union-attr]
        return 0
    make, out = registry.demo(arguments.name), Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    model, X, y, files = make(out)
    report = model.evaluate(X, y)
    sys.stdout.write(f"{report}\n\n")
    report.save(out / "report.html")
    model.save(out / "model")
    expected = np.asarray(model.predict(files)).tolist()
    _log("predicting again from the saved folder, in a fresh process")
    command = [sys.executable, "-m", "pipelines", "predict", str(out / "model"), *files]
    fresh = subprocess.run(command, capture_output=True, text=True, check=False)
    if fresh.returncode:
        _log(fresh.stderr)
        return 1
    predicted = [row["prediction"] for row in json.loads(fresh.stdout)]
    sys.stdout.write(f"report   {out / 'report.html'}\nmodel    {out / 'model'}/\n")
    for file, label in zip(files, predicted, strict=True):
        sys.stdout.write(f"predict  {file} -> {label}\n")
    if predicted != expected:
        _log(f"error: the loaded model predicts {predicted}, the trained one {expected}")
        return 1
    return 0


def _doctor(arguments: argparse.Namespace, rest: list[str]) -> None:
    from . import doctor

    diagnosis = doctor.diagnose()
    if arguments.json:
        _print(diagnosis)
    else:
        sys.stdout.write(doctor.describe(diagnosis) + "\n")


# ---------------------------------------------------------------- options from the constructor's signature
def _parameters(cls: type) -> dict[str, inspect.Parameter]:
    return dict(checks.signature(cls).parameters)


def _options(cls: type, rest: list[str]) -> dict[str, Any]:
    """Parse `--epochs 5 --freeze true` by the constructor's own annotations."""
    known, chosen = _parameters(cls), {}
    words = [part for word in rest for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for name, text in zip(words[::2], [*words[1::2], None], strict=False):
        key = name.removeprefix("--").replace("-", "_")
        if not name.startswith("--") or key not in known:
            raise ParameterError(f"{cls.__name__} has no option {name!r}.{checks.did_you_mean(key, [*known, *_OWN])}")
        if text is None:
            raise ParameterError(f"The option {name} needs a value.")
        chosen[key] = _value(name, text, known[key].annotation)
    return chosen


def _value(name: str, text: str, annotation: Any) -> Any:
    union = isinstance(annotation, types.UnionType)
    kinds = [typing.get_origin(kind) or kind for kind in (typing.get_args(annotation) if union else (annotation,))]
    if type(None) in kinds and text.lower() in ("none", "null"):
        return None
    if bool in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        if kind in kinds:
            try:
                return kind(text)
            except ValueError:
                continue  # the next kind may take it
    if (dict in kinds or list in kinds) and text[:1] in "{[":
        try:
            return json.loads(text)
        except ValueError as error:
            raise ParameterError(f"{name} {text!r} is not valid JSON: {error}") from error
    if str in kinds:
        return text
    raise ParameterError(f"{name} {text!r} does not fit; expected {annotation}.")


# ---------------------------------------------------------------- input and output
def _read(arguments: argparse.Namespace) -> tuple[Any, Any, Any]:
    path = Path(arguments.data)
    if path.is_dir():
        return *data.folder(path), None
    if not arguments.x or not arguments.y:
        raise ParameterError(f"{path} is read as a table, which needs --x COLUMN and --y COLUMN.")
    X, y = data.table(path, x=arguments.x, y=arguments.y)
    groups = data.table(path, x=arguments.group)[0] if arguments.group else None
    return X, y, groups


def _expand(path: Path) -> list[str]:
    return data.files(path) if path.is_dir() else [str(path)]


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _print(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def _log(line: str) -> None:
    sys.stderr.write(line + "\n")
