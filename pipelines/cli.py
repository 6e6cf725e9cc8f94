"""The `pipelines` command. Results go to stdout as JSON, the log to stderr; exit code 0 is good, 1 an error, 2 a wrong call."""

import argparse
import inspect
import json
import math
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import checks, cli_data, registry, store
from .errors import DataError, DeviceError, FormatError, ParameterError

__all__ = ["main"]

_LONG = ("proba", "segments", "skipped")  # of a prediction, not shown by a demo
_OWN = ("data", *(name for reader in cli_data.READERS.values() for name in reader.options), "test", "out", "resume", "report")


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

    predict = command(
        "predict",
        _predict,
        "predict files, texts, what is said in recordings, what comes after a series, or its anomalies, with a saved pipeline",
        epilog="A text that begins with a dash comes after two of them: pipelines predict model/ -- '-1 of 5'",
    )
    predict.add_argument("model", help="a saved folder")
    predict.add_argument(
        "inputs",
        nargs="*",
        help="files or folders; texts, each in quotes; recordings; a table of time series, by default those of the training",
    )
    predict.add_argument(
        "--data", help="a file or folder with the inputs; texts: a table with --x, or files that are one text each"
    )
    predict.add_argument("--x", help=cli_data.Samples.options["x"])
    predict.add_argument("--device", default="auto")
    predict.add_argument(
        "--abstain", type=float, help="classes: the largest share of wrong answers, say 0.05; unsure samples then get null"
    )
    predict.add_argument(
        "--format", choices=("txt", "srt", "vtt", "tsv", "json"), help="recordings: what transcripts are written as"
    )
    predict.add_argument(
        "--out", help="recordings: a folder for a file each, not the standard output; scans and images: one for masks"
    )
    _add_options(predict, "a table of time series", cli_data.TimeSeries.options)
    predict.add_argument("--future", help="forecasting: a table with the columns known in advance, for the rows to forecast")
    predict.add_argument(
        "--events", action="store_const", const=True, help="anomaly detection: a row an event, with the variables to blame"
    )

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
    parser.add_argument("--report", help="also write the report to a .html, .json, .md or .csv file")
    shown: set[str] = set()
    for reader in cli_data.READERS.values():
        _add_options(parser, reader.about, {name: text for name, text in reader.options.items() if name not in shown})
        shown |= reader.options.keys()


def _add_options(parser: argparse.ArgumentParser, about: str, options: Mapping[str, str]) -> None:
    group = parser.add_argument_group(f"for {about}")
    for name, text in options.items():
        group.add_argument(f"--{name}", help=text)


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
    parts = cli_data.reader_of(cls, arguments).parts(model, arguments)
    if arguments.report and not parts.held:
        raise ParameterError("--report needs a test part: a --test above 0 and, for monitored series, --label COLUMN.")
    model.fit(parts.X, parts.y, groups=parts.groups, resume=arguments.resume)
    result: dict[str, Any] = {"task": arguments.task, "history": model.history_, "notes": model.notes_}
    result |= {name.removesuffix("_"): getattr(model, name) for name in parts.told}
    if parts.held:
        report = model.evaluate(*parts.held(model), **parts.judged)
        _log(str(report))
        result["report"] = report.to_dict()
    result["model"] = str(model.save(arguments.out))
    if arguments.report:  # after the model, which a mistyped path must not cost
        report.save(arguments.report)
    _print(result)


def _predict(arguments: argparse.Namespace, rest: list[str]) -> None:
    from .base import load

    model = load(arguments.model, device=arguments.device)
    _print(cli_data.reader_of(model, arguments).predictions(model, arguments))


def _evaluate(arguments: argparse.Namespace, rest: list[str]) -> None:
    from .base import load

    model = load(arguments.model, device=arguments.device)
    report = model.evaluate(**cli_data.reader_of(model, arguments).truth(model, arguments))
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
    model, X, y, inputs = make(out)
    report = model.evaluate(X, y)
    sys.stdout.write(f"{report}\n\n")
    report.save(out / "report.html")
    words = ["predict", str(model.save(out / "model")), *inputs]
    wanted = _parser().parse_args(words)
    expected = json.loads(_json(cli_data.reader_of(model, wanted).predictions(model, wanted)))
    _log("predicting again from the saved folder, in a fresh process")
    fresh = subprocess.run([sys.executable, "-m", "pipelines", *words], capture_output=True, text=True, check=False)
    if fresh.returncode:
        _log(fresh.stderr)
        return 1
    found = json.loads(fresh.stdout)
    sys.stdout.write(f"report   {out / 'report.html'}\nmodel    {out / 'model'}/\n")
    for row in found[:10]:
        shown = ", ".join(f"{key} {value}" for key, value in row.items() if key not in _LONG)
        sys.stdout.write(f"predict  {shown}\n")
    if not _alike(found, expected):
        _log(f"error: the loaded model predicts {found}, the trained one {expected}")
        return 1
    return 0


def _alike(one: Any, other: Any) -> bool:
    """Compare what JSON holds, numbers up to rounding."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(value, other[key]) for key, value in one.items())
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-5)
    return bool(one == other)


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
    parts = typing.get_args(annotation) if union else (annotation,)
    kinds = [typing.get_origin(kind) or kind for kind in parts]
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
    if list in kinds:
        (element,) = typing.get_args(parts[kinds.index(list)])
        return [_value(name, part, element) for part in text.split(",")]
    raise ParameterError(f"{name} {text!r} does not fit; expected {annotation}.")


# ---------------------------------------------------------------- output
def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, default=_plain)


def _print(value: Any) -> None:
    """Print JSON, or the content of a file as it is."""
    text = value if isinstance(value, str) else _json(value) + "\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))  # a terminal may lack a letter


def _log(line: str) -> None:
    sys.stderr.write(line + "\n")
