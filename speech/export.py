"""A Whisper for other programs: openai-whisper, transformers, or CTranslate2 and faster-whisper; proven by reading it back."""

import contextlib
import functools
import importlib
import itertools
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipelines import checks, store
from pipelines.engines import load_framework, quiet_transformers
from pipelines.errors import DataError, ParameterError
from pipelines.progress import log

from . import networks, runtime
from .vocabulary import Vocabulary
from .weights import EMBEDDING, MARK, NOTE, transformers_name

torch: Any = load_framework("torch")
_whisper: Any = load_framework("whisper")

__all__ = ["FORMATS", "QUANTIZATIONS", "TOLERANCE", "Exported", "expanded", "export"]

FORMATS = ("openai", "huggingface", "ctranslate2")
QUANTIZATIONS = (None, "float32", "float16", "int8")
TOLERANCE = 1e-5
"""The most by which a logit may differ, for each unit of the largest one (and no less than one unit)."""

# processors without VNNI add products of int8 up less exactly: a network that is right may be 0.25 off there
_ROUGH = {"float16": 0.02, "int8": 0.5}  # of the logits' spread, root mean square; with weights in wrong places it is above 1
_TOKENS = 12  # of the text to compare on
_SAMPLE = " Hello, world! It's 3.14 % — “naïve”, 中文, עברית, 😀👍🏽\n\n   done"


@dataclass(frozen=True)
class Exported:
    """What an export wrote, and how well it says the same.

    Attributes
    ----------
    path : Path
        The file, or the folder.
    format : str
        "openai", "huggingface" or "ctranslate2".
    difference, tolerance : float
        The largest difference of two logits that was seen, and that would have been let through. With `quantization` "float16"
        or "int8": the root mean square of the differences, in units of the logits' standard deviation.
    quantization : str, optional
        How CTranslate2's weights are stored.

    Examples
    --------
    >>> os.fspath(Exported(Path("model.pt"), "openai", 0.0, 1e-5))
    'model.pt'
    """

    path: Path
    format: str
    difference: float
    tolerance: float
    quantization: str | None = None

    def __fspath__(self) -> str:
        return str(self.path)


def export(
    dims: Mapping[str, int],
    state: Mapping[str, Any],
    path: str | os.PathLike[str],
    *,
    format: str = "openai",
    kept: np.ndarray | None = None,
    heads: Sequence[Sequence[int]] | None = None,
    language: str | None = None,
    quantization: str | None = None,
    taught: Sequence[int] = (),
    may_be_empty: bool = False,
    facts: Mapping[str, Any] | None = None,
) -> Exported:
    """Write a Whisper for another program, read it back with that program's own library, and compare.

    Parameters
    ----------
    dims, state : mapping
        Dimensions and weights as openai-whisper names them; `n_vocab` counts all tokens, whatever is kept.
    path : path
        For `"openai"` a file that ends in `.pt`, else a folder. An earlier export there is replaced, anything else is left alone.
    format : str
        `"openai"`: one file, for `whisper.load_model`. `"huggingface"`: a folder with tokenizer, feature extractor and the
        configuration of `generate`, for transformers. `"ctranslate2"`: a folder for `faster_whisper.WhisperModel`.
    kept : ndarray, optional
        Ids of the tokens with a row of their own, where all others share the last one. All get a row each in what is written.
    heads : sequence of (layer, head), optional
        The decoder's heads that follow the audio, for word times. The second half of the layers where there are none. A file for
        openai-whisper has no place for them; there, call `model.set_alignment_heads`.
    language : str, optional
        Code of the language that transformers' `generate` takes for granted; None lets it find out.
    quantization : str, optional
        How the weights are stored for `"ctranslate2"`: `"float32"` (also None), `"float16"` or `"int8"`.
    taught : sequence of int
        Tokens that may be written although Whisper by itself suppresses them, such as brackets.
    may_be_empty : bool
        Whether the network has learned to write nothing where nothing is said; Whisper by itself must begin a text.
    facts : dict, optional
        What a `SpeechTranscriber` that takes the network up again has to know, as in `weights.Checkpoint`; others leave it be.

    Returns
    -------
    Exported

    Raises
    ------
    ParameterError
        If the format or the quantization is not known.
    DataError
        If the place cannot be used, or what was written does not say the same; nothing is left behind then.
    ImportError
        If transformers or ctranslate2 is missing, with the pip line.

    Notes
    -----
    A network that was fitted writes no timestamps: call faster-whisper with `without_timestamps=True`. All three programs pad
    every clip to 30 s.

    Examples
    --------
    >>> dims = networks.small(32, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(dims, networks.build(dims).state_dict(), Path(folder) / "model.pt").difference
    0.0
    """
    _check(format, quantization)
    target = Path(path).absolute()
    plan = _Plan(
        dims=dict(dims),
        state={name: value.detach().to("cpu", torch.float32) for name, value in state.items()},
        kept=kept,
        heads=[[int(layer), int(head)] for layer, head in heads or ()],
        language=language,
        quantization=(quantization or "float32") if format == "ctranslate2" else None,
        taught=frozenset(taught),
        may_be_empty=may_be_empty,
        facts=dict(facts or {}),
    )
    write, prove = _WAYS[format]
    try:
        _check_place(target, folder=format != "openai")
        with _beside(target, folder=format != "openai") as new:
            write(plan, new)
            difference, tolerance = _compare(plan, prove(plan, new), format)
            if new.is_dir():
                _note(new, Exported(target, format, difference, tolerance, plan.quantization), plan.facts)
    except OSError as error:
        raise DataError(f"The export cannot be written to {str(target)!r}: {error.strerror or error}.") from error
    except (DataError, ImportError):
        raise
    except Exception as error:  # whatever the other library raises for what it cannot write or read
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"The network cannot be exported as {format!r} ({type(error).__name__}: {reason}). Nothing was left behind."
        ) from error
    log.info("%s says the same as the network, within %.1e", target.name, difference)
    return Exported(target, format, difference, tolerance, plan.quantization)


def expanded(state: Mapping[str, Any], n_vocab: int, kept: np.ndarray | None) -> dict[str, Any]:
    """Return weights with a row for every token: those that share the last one get a copy each.

    Examples
    --------
    >>> small = {"decoder.token_embedding.weight": torch.tensor([[1.0], [2.0], [0.5]])}
    >>> expanded(small, 5, np.array([1, 3]))["decoder.token_embedding.weight"].ravel().tolist()
    [0.5, 1.0, 0.5, 2.0, 0.5]
    """
    return dict(state) if kept is None else {**state, EMBEDDING: _spread(state[EMBEDDING], n_vocab, kept)}


def _spread(rows: Any, n_vocab: int, kept: np.ndarray) -> Any:
    """Give each token its row, or the last one."""
    where = torch.full((n_vocab,), len(kept))
    where[torch.from_numpy(np.asarray(kept, dtype=np.int64))] = torch.arange(len(kept))
    return rows[where]


# ---------------------------------------------------------------- the plan
@dataclass(frozen=True)
class _Plan:
    """A network to be written, and what a program has to know to use it."""

    dims: dict[str, int]
    state: dict[str, Any]
    kept: np.ndarray | None
    heads: list[list[int]]
    language: str | None
    quantization: str | None
    taught: frozenset[int]
    may_be_empty: bool
    facts: dict[str, Any]

    @property
    def whole(self) -> dict[str, Any]:
        """The weights with a row for every token."""
        return expanded(self.state, self.dims["n_vocab"], self.kept)

    @functools.cached_property
    def words(self) -> Vocabulary:
        """All of Whisper's tokens."""
        return Vocabulary(self.dims, None, self.language, taught=tuple(self.taught), may_be_empty=self.may_be_empty)

    @property
    def suppressed(self) -> list[int]:
        """Ids of the tokens never written: Whisper's own, and those that a network with few tokens leaves out."""
        if self.kept is None:
            return list(self.words.suppressed)
        few = Vocabulary(self.dims, self.kept, self.language, taught=tuple(self.taught))
        return sorted({*self.words.suppressed, *(int(self.kept[row]) for row in few.suppressed if row < len(self.kept))})

    @property
    def followers(self) -> list[list[int]]:
        """The heads that follow the audio, or those that openai-whisper takes where none are known."""
        layers = range(self.dims["n_text_layer"] // 2, self.dims["n_text_layer"])
        return self.heads or [list(pair) for pair in itertools.product(layers, range(self.dims["n_text_head"]))]


def _check(format: str, quantization: str | None) -> None:
    checks.choice("format", format, FORMATS)
    checks.choice("quantization", quantization, QUANTIZATIONS)
    if quantization is not None and format != "ctranslate2":
        raise ParameterError(
            f"quantization={quantization!r} is for format='ctranslate2' only. Leave it out, or choose that format."
        )


# ---------------------------------------------------------------- the place
def _check_place(target: Path, *, folder: bool) -> None:
    if not target.parent.is_dir():
        raise DataError(f"The folder {str(target.parent)!r} does not exist; create it before exporting {target.name!r}.")
    if not folder and target.suffix != ".pt":
        raise DataError(f"An export for openai-whisper is a file that ends in .pt, which {target.name!r} does not.")
    if target.is_symlink() or (target.exists() and not (_own_folder(target) if folder else _own_file(target))):
        raise DataError(f"{target} is not an earlier export, and is left alone. Choose another {'folder' if folder else 'file'}.")


def _own_file(file: Path) -> bool:
    try:
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever PyTorch raises for a file of something else
        return False
    return isinstance(found, dict) and found.get("made_by") == MARK


def _own_folder(folder: Path) -> bool:
    """Whether a folder is empty or holds what an export wrote, and nothing else."""
    if not folder.is_dir():
        return False
    names = {entry.name for entry in folder.iterdir()}
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8")) if names else {}
    except (OSError, ValueError):
        return False
    files = note.get("files", []) if isinstance(note, dict) and note.get("made_by") == MARK else []
    return isinstance(files, list) and names <= {NOTE, *map(str, files)}


@contextlib.contextmanager
def _beside(target: Path, *, folder: bool) -> Iterator[Path]:
    """Give a place beside the final one to write to; what is there takes the final place if the block ends well."""
    home = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        new = home / target.name
        if folder:
            new.mkdir()
        yield new
        _open_to_readers(new)
        if folder and target.exists():
            os.rename(target, home / "old")
        os.replace(new, target)
    except OSError:
        if (home / "old").exists() and not target.exists():
            os.rename(home / "old", target)
        raise
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _open_to_readers(new: Path) -> None:
    """Give files the rights of any file the user writes; safetensors is stricter."""
    probe = new.parent / "probe"
    probe.touch()
    for file in new.iterdir() if new.is_dir() else [new]:
        file.chmod(probe.stat().st_mode)


def _note(folder: Path, done: Exported, facts: dict[str, Any]) -> None:
    """Leave word of who wrote the folder, and how well it says the same."""
    about = {
        "made_by": MARK,
        "facts": facts,
        "format": done.format,
        "quantization": done.quantization,
        "compared": {"difference": done.difference, "tolerance": done.tolerance},
        "versions": store.versions(),
        "files": sorted(entry.name for entry in folder.iterdir()),
    }
    (folder / NOTE).write_text(json.dumps(about, indent=1), encoding="utf-8")


# ---------------------------------------------------------------- openai-whisper
def _write_openai(plan: _Plan, file: Path) -> None:
    """Write what `whisper.load_model` reads, and beside it the heads, for ourselves."""
    whole = {
        "dims": plan.dims,
        "model_state_dict": plan.whole,
        "alignment_heads": plan.heads or None,
        "made_by": MARK,
        "facts": plan.facts,
    }
    torch.save(whole, file)


def _prove_openai(plan: _Plan, file: Path) -> Any:
    model = _whisper.load_model(str(file), device="cpu")
    with torch.inference_mode():
        return model(*_samples(plan)).numpy()


# ---------------------------------------------------------------- transformers
def _write_transformers(plan: _Plan, folder: Path) -> None:
    save_file = load_framework("safetensors.torch", extra="speech").save_file
    with _quiet():
        config, generation = _transformers_config(plan), _generation_config(plan)
        config.save_pretrained(folder)
        generation.save_pretrained(folder)
        _write_processor(plan, folder)
    tensors = {transformers_name(name): value.contiguous() for name, value in plan.whole.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def _transformers_config(plan: _Plan) -> Any:
    dims, names = plan.dims, plan.words.tokenizer
    units = dims["n_audio_state"]
    return load_framework("transformers").WhisperConfig(
        architectures=["WhisperForConditionalGeneration"],
        dtype="float32",
        num_mel_bins=dims["n_mels"],
        max_source_positions=dims["n_audio_ctx"],
        max_target_positions=dims["n_text_ctx"],
        d_model=units,
        encoder_layers=dims["n_audio_layer"],
        encoder_attention_heads=dims["n_audio_head"],
        encoder_ffn_dim=4 * units,
        decoder_layers=dims["n_text_layer"],
        decoder_attention_heads=dims["n_text_head"],
        decoder_ffn_dim=4 * units,
        vocab_size=dims["n_vocab"],
        pad_token_id=names.eot,
        bos_token_id=names.eot,
        eos_token_id=names.eot,
        decoder_start_token_id=names.sot,
    )


def _generation_config(plan: _Plan) -> Any:
    """Return what `generate` has to know: the same special and suppressed tokens that openai-whisper works with."""
    names = plan.words.tokenizer
    settings: dict[str, Any] = {
        "pad_token_id": names.eot,
        "bos_token_id": names.eot,
        "eos_token_id": names.eot,
        "decoder_start_token_id": names.sot,
        "no_timestamps_token_id": names.no_timestamps,
        "prev_sot_token_id": names.sot_prev,
        "max_length": plan.dims["n_text_ctx"],
        "max_initial_timestamp_index": 50,
        "return_timestamps": False,
        "is_multilingual": plan.words.multilingual,
        "suppress_tokens": plan.suppressed,
        "begin_suppress_tokens": plan.words.blank or None,
        "alignment_heads": plan.followers,
    }
    if plan.words.multilingual:
        languages = {f"<|{code}|>": token for token, code in plan.words.languages.items()}
        settings |= {"lang_to_id": languages, "task_to_id": {t: getattr(names, t) for t in ("transcribe", "translate")}}
        settings |= {"language": plan.language, "task": "transcribe"}
    return load_framework("transformers").GenerationConfig(**settings)


def _write_processor(plan: _Plan, folder: Path) -> None:
    """Write feature extractor and tokenizer, which transformers and faster-whisper read."""
    library = load_framework("transformers")
    features = library.WhisperFeatureExtractor(feature_size=plan.dims["n_mels"])
    tokenizer = _transformers_tokenizer(plan)
    if tokenizer.encode(_SAMPLE, add_special_tokens=False) != plan.words.tokenizer.encode(_SAMPLE):
        raise DataError(
            f"transformers {library.__version__} cuts a text into other tokens than openai-whisper, so nothing was exported. "
            "Please report this."
        )
    library.WhisperProcessor(features, tokenizer).save_pretrained(folder)
    features.save_pretrained(folder)  # by itself, too, which is where faster-whisper looks for it
    spelling = Path(_whisper.__file__).parent / "normalizers" / "english.json"
    shutil.copyfile(spelling, folder / "normalizer.json")


def _transformers_tokenizer(plan: _Plan) -> Any:
    """Return Whisper's tokenizer for transformers, out of the tokens that come with openai-whisper."""
    names = plan.words.tokenizer
    vocabulary, merges = _merges(names.encoding)
    ordered = sorted(names.special_tokens, key=names.special_tokens.__getitem__)
    special = [name for name in ordered if names.special_tokens[name] < names.timestamp_begin]
    told = {"language": plan.language, "task": "transcribe"} if plan.words.multilingual and plan.language else {}
    tokenizer = load_framework("transformers").WhisperTokenizer(
        vocab=vocabulary, merges=merges, extra_special_tokens=special[1:], model_max_length=plan.dims["n_text_ctx"], **told
    )
    added = load_framework("tokenizers").AddedToken
    tokenizer.add_tokens([added(name, normalized=False, special=False) for name in ordered[len(special) :]])
    found = tokenizer.convert_tokens_to_ids(ordered)
    if found != [names.special_tokens[name] for name in ordered] or len(tokenizer) != plan.dims["n_vocab"]:
        raise DataError("transformers numbers Whisper's special tokens otherwise, so nothing was exported. Please report this.")
    return tokenizer


def _merges(encoding: Any) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return tokens and merges of byte pairs as transformers' own converter takes them out of tiktoken's ranks."""
    transformers = load_framework("transformers", extra="nlp")
    converter = importlib.import_module(f"{transformers.__name__}.convert_slow_tokenizer").TikTokenConverter()
    converter.load_tiktoken_bpe = lambda ranks: ranks  # it would read a file, and copy that to the system's temporary folder
    vocabulary, merges = converter.extract_vocab_merges_from_model(encoding._mergeable_ranks)
    return vocabulary, merges


def _prove_transformers(plan: _Plan, folder: Path) -> Any:
    with _quiet():
        library = load_framework("transformers")
        model = library.WhisperForConditionalGeneration.from_pretrained(folder, use_safetensors=True).eval()
        mel, tokens = _samples(plan)
        with torch.inference_mode():
            return model(input_features=mel, decoder_input_ids=tokens, use_cache=False).logits.float().numpy()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what transformers says of itself off the screen, its warnings too."""
    with quiet_transformers(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# ---------------------------------------------------------------- CTranslate2
def _write_ctranslate2(plan: _Plan, folder: Path) -> None:
    load_framework("ctranslate2")
    with _quiet():
        _write_processor(plan, folder)
    names = _transformers_tokenizer(plan).convert_ids_to_tokens(list(range(plan.dims["n_vocab"])))
    config = {
        "suppress_ids": plan.suppressed,
        "suppress_ids_begin": plan.words.blank,
        "lang_ids": sorted(plan.words.languages),
        "alignment_heads": plan.followers,
    }
    runtime.convert(plan.dims, plan.whole, folder, names, config=config, quantization=str(plan.quantization))


def _prove_ctranslate2(plan: _Plan, folder: Path) -> Any:
    """Return the logits CTranslate2 gets along a text it is made to write."""
    library = load_framework("ctranslate2")
    kind = "int8" if plan.quantization == "int8" else "float32"  # not every processor computes in half precision
    model = library.models.Whisper(str(folder), compute_type=kind, intra_threads=runtime.threads())
    mel, tokens = _samples(plan)
    found = model.generate(
        library.StorageView.from_array(mel.numpy()),
        tokens.tolist(),
        beam_size=1,
        max_length=2 * _TOKENS,
        return_logits_vocab=True,
        suppress_blank=False,
        suppress_tokens=[],
    )
    steps = _TOKENS - len(plan.words.prompt("en")) + 1  # what follows the last special token, and each one after it
    return np.array([[np.asarray(logits) for logits in each.logits[0][:steps]] for each in found])


# ---------------------------------------------------------------- the proof
def _samples(plan: _Plan) -> tuple[Any, Any]:
    """Return a made-up spectrogram of 30 s and a text of made-up tokens, the same each time."""
    random = torch.Generator().manual_seed(0)
    mel = 0.5 * torch.randn(1, plan.dims["n_mels"], 2 * plan.dims["n_audio_ctx"], generator=random)
    text = torch.randint(plan.words.end, (_TOKENS - len(plan.words.prompt("en")),), generator=random)
    if plan.kept is not None:  # every other token is one of those that the network knows
        known = torch.from_numpy(plan.kept)
        text[::2] = known[text[::2] % len(known)]
    return mel, torch.tensor([[*plan.words.prompt("en"), *text.tolist()]])


def _ours(plan: _Plan) -> np.ndarray:
    """Return the logits of our own network for every token, its shared row copied to all that share it."""
    network = networks.build(plan.dims, plan.kept).eval()
    network.load_state_dict(plan.state, assign=True)
    mel, tokens = _samples(plan)
    if plan.kept is not None:
        rows = torch.full((plan.dims["n_vocab"],), len(plan.kept))
        rows[torch.from_numpy(plan.kept)] = torch.arange(len(plan.kept))
        tokens = rows[tokens]
    with torch.inference_mode():
        found = networks.logits(network, tokens, networks.encode(network, mel))
    found = found if plan.kept is None else _spread(found[0].T, plan.dims["n_vocab"], plan.kept).T[None]
    return found.numpy()


def _compare(plan: _Plan, found: np.ndarray, format: str) -> tuple[float, float]:
    """Return how much what was read back differs from our own network, and how much it may."""
    ours = _ours(plan)[:, -found.shape[1] :]
    if plan.quantization in _ROUGH:
        difference = float(np.sqrt(np.mean((found - ours) ** 2)) / max(float(ours.std()), 1e-9))
        tolerance = _ROUGH[str(plan.quantization)]
    else:
        difference = float(np.abs(found - ours).max())
        tolerance = TOLERANCE * max(1.0, float(np.abs(ours).max()))
    if not difference <= tolerance:
        raise DataError(
            f"The export as {format!r} does not say the same as the network: a logit differs by {difference:.2g}, but at most "
            f"{tolerance:.2g} is let through. Nothing was left behind; please report this."
        )
    return difference, tolerance


_Write = Callable[[_Plan, Path], None]
_Prove = Callable[[_Plan, Path], Any]
_WAYS: dict[str, tuple[_Write, _Prove]] = {
    "openai": (_write_openai, _prove_openai),
    "huggingface": (_write_transformers, _prove_transformers),
    "ctranslate2": (_write_ctranslate2, _prove_ctranslate2),
}
