"""Small Whisper networks with random weights, in the forms in which weights come."""

import dataclasses
from pathlib import Path

from pipelines.engines import load_framework
from speech import vocabulary

torch = load_framework("torch")
whisper = load_framework("whisper")

MULTILINGUAL, ENGLISH, LARGE = 51865, 51864, 51866


def dims(units=32, layers=1, heads=2, n_vocab=MULTILINGUAL, n_mels=80):
    """Dimensions as openai-whisper names them."""
    sizes = (n_mels, 1500, units, heads, layers, n_vocab, 448, units, heads, layers)
    return dataclasses.asdict(whisper.model.ModelDimensions(*sizes))


def adds_up_exactly():
    """Whether this processor has VNNI: without it sums of products of int8 saturate."""
    file = Path("/proc/cpuinfo")
    return not file.exists() or "vnni" in file.read_text()


def network(of, kept=None, seed=0, hears=8, ends=1):
    """A network that writes other texts of other lengths for other sounds; `ends` makes them shorter."""
    torch.manual_seed(seed)
    rows = of["n_vocab"] if kept is None else len(kept) + 1
    model = whisper.model.Whisper(whisper.model.ModelDimensions(**{**of, "n_vocab": rows}))
    torch.nn.init.normal_(model.decoder.token_embedding.weight, std=0.5)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=2)
    with torch.no_grad():
        model.decoder.token_embedding.weight[vocabulary.Vocabulary(of, kept, "en").end] *= ends
        for block in model.decoder.blocks:
            block.cross_attn.out.weight *= hears
        if kept is not None:  # as after training, where none of the tokens that share the last row is ever right
            model.decoder.ln.bias[0] = 10
            model.decoder.token_embedding.weight[:, 0] = 0
            model.decoder.token_embedding.weight[-1, 0] = -10
    return model.eval()


def clips(count, frames=200, seed=3, n_mels=80):
    """Spectrograms of noise, each of another colour."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, n_mels, frames, generator=random) + 2 * torch.randn(count, n_mels, 1, generator=random)


def write(file, of, model, **more):
    """Write a file of openai-whisper's."""
    torch.save({"dims": of, "model_state_dict": model.state_dict(), **more}, file)
    return file


def kept():
    """Ids of some words' tokens, and of the special ones around every text."""
    return vocabulary.learn(["zero one two three four"], {"n_vocab": MULTILINGUAL}, "en")
