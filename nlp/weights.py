"""Encoders of the transformers library: their configuration, tokenizer and weights, from a folder or the hub."""

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.base import load
from pipelines.engines import load_framework, quiet_transformers
from pipelines.errors import DataError, ParameterError

__all__ = ["Checkpoint", "Saved", "configured", "source"]

_TOKENIZERS = {
    *("tokenizer.json", "vocab.txt", "vocab.json"),
    *("tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
}
# A path of this machine; code of others; what is no part of the network.
_PRIVATE = ("_name_or_path", "auto_map", "transformers_version")


@dataclass(frozen=True)
class Checkpoint:
    """A pretrained encoder by the name it was asked for.

    Parameters
    ----------
    name : str
        A local folder in the format of transformers, or the name of a model on the Hugging Face hub.

    Raises
    ------
    DataError
        By its methods, if files are missing, damaged, or those of something else than an encoder.
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ParameterError(f"weights must be None, a folder or the name of a model, but received {self.name!r}.")
        if not self.folder:
            if self.name.startswith((".", "/", "~")) or self.name.count("/") > 1:
                raise DataError(f"weights={self.name!r} looks like a folder, but there is none. Check the path.")
            return
        self._check_files(Path(self.name))

    @property
    def folder(self) -> bool:
        """Whether the name is that of a local folder."""
        return Path(self.name).is_dir()

    def _check_files(self, folder: Path) -> None:
        names = {file.name for file in folder.iterdir()}
        if "config.json" not in names:
            raise DataError(f"{folder} has no config.json, so it is no model of the transformers library. {_wanted()}")
        if not any(name.endswith(".safetensors") for name in names):
            pickled = sorted(name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt")))
            why = f"only {pickled[0]}, a pickle file, which can run code when it is read" if pickled else "no weights"
            cure = (
                " Turn it into model.safetensors first, on a machine where you trust it: "
                "AutoModel.from_pretrained(folder).save_pretrained(new_folder)."
                if pickled
                else ""
            )
            raise DataError(f"{folder} has {why}. Expected model.safetensors.{cure}")
        if not names & _TOKENIZERS:
            raise DataError(
                f"{folder} has no tokenizer. Expected tokenizer.json, or a vocabulary such as vocab.txt, beside the weights."
            )

    # ---------------------------------------------------------------- the parts
    def config(self) -> dict[str, Any]:
        """Return the configuration as plain JSON; only encoders such as BERT are let through."""
        transformers = load_framework("transformers")
        with self._reading("configuration"):
            config = transformers.AutoConfig.from_pretrained(self.name, trust_remote_code=False)
        kinds = transformers.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
        if config.is_encoder_decoder or config.model_type not in kinds:
            raise DataError(
                f"{self.name} is a {config.model_type} model. Expected an encoder of texts such as BERT, RoBERTa, DistilBERT, "
                "MiniLM, ELECTRA, DeBERTa or ModernBERT."
            )
        plain = json.loads(config.to_json_string(use_diff=False))
        return {name: value for name, value in plain.items() if name not in _PRIVATE}

    def tokenizer(self) -> tuple[str, int, int]:
        """Return the tokenizer as JSON, the number of its token that fills up, and the most tokens it is made for."""
        transformers = load_framework("transformers")
        with self._reading("tokenizer"):
            found = transformers.AutoTokenizer.from_pretrained(self.name, use_fast=True, trust_remote_code=False)
            stored = found.backend_tokenizer.to_str()
        if found.pad_token_id is None:
            raise DataError(
                f"The tokenizer of {self.name} has no token to fill up with (pad_token). Add one to its configuration."
            )
        return stored, int(found.pad_token_id), int(min(found.model_max_length, 1 << 20))

    def model(self) -> Any:
        """Return the encoder with its weights, in single precision."""
        transformers, torch = load_framework("transformers"), load_framework("torch")
        with self._reading("weights"):
            model, told = transformers.AutoModel.from_pretrained(
                self.name,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
            )
        missing = sorted(name for name in told["missing_keys"] if "pooler" not in name)
        wrong = sorted(str(key[0]) for key in told.get("mismatched_keys") or ())
        if missing or wrong:
            raise DataError(
                f"The weights of {self.name} do not fit its config.json: {len(missing) + len(wrong)} of the network's "
                f"weights are missing or of another shape, the first one {(missing + wrong)[0]!r}."
            )
        return model

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            with quiet_transformers():
                yield
        except (DataError, ImportError):
            raise
        except Exception as error:  # OSError, ValueError, KeyError, SafetensorError, those of the hub: any may come
            reason = " ".join(str(error).split())[:300]
            if self.folder:
                raise DataError(f"The {what} of {self.name} cannot be read: {reason}") from error
            raise DataError(
                f"The {what} of {self.name!r} is neither in the cache of the Hugging Face hub nor could it be fetched "
                f"({type(error).__name__}: {reason}). Without a network, put config.json, model.safetensors and tokenizer.json "
                "(or vocab.txt) of that model into a folder, and pass weights='path/to/folder'."
            ) from error


@dataclass(frozen=True)
class Saved:
    """The encoder of a pipeline that was fitted and saved, with the methods of a `Checkpoint`."""

    pipeline: Any

    def config(self) -> dict[str, Any]:
        """Return the configuration as plain JSON."""
        return dict(self.pipeline.config_)

    def tokenizer(self) -> tuple[str, int, int]:
        """Return the tokenizer as JSON, the number of its token that fills up, and the most tokens it is made for."""
        return self.pipeline.tokenizer_.tobytes().decode("utf-8"), self.pipeline.pad_, self.pipeline.longest_

    def model(self) -> Any:
        """Return the encoder with its weights."""
        return self.pipeline.model_.encoder.model


def source(name: str) -> Checkpoint | Saved:
    """Return what holds the pretrained encoder: a checkpoint, or the folder of a saved `TextClassifier` to go on from."""
    if isinstance(name, str) and (Path(name) / "pipeline.json").is_file():
        found = load(name, device="cpu")
        if found.task != "text-classification" or found.config_["model_type"] == "bi-lstm":
            raise DataError(
                f"{name} holds a pipeline for {found.task} without a BERT. Expected a saved TextClassifier that has one."
            )
        return Saved(found)
    return Checkpoint(name)


def configured(config: dict[str, Any]) -> Any:
    """Return an encoder with random weights from its configuration.

    Raises
    ------
    DataError
        If this version of transformers does not know the kind of model.
    """
    transformers = load_framework("transformers", extra="nlp")
    try:
        return transformers.AutoModel.from_config(transformers.AutoConfig.for_model(**config))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"This version of transformers cannot build the encoder {config.get('model_type')!r}: {error}. "
            "Install the version the pipeline was saved with."
        ) from error


def _wanted() -> str:
    return "Expected the folder of an encoder such as BERT: config.json, model.safetensors and tokenizer.json (or vocab.txt)."
