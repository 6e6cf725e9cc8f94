"""`training.fit`: the same twice, whole after an interruption, plain about what cannot be learned."""

import math

import numpy as np
import pytest

from pipelines import DataError
from pipelines.engines import load_framework
from pipelines.engines import torch as engine

torch = load_framework("torch")

from speech import training  # noqa: E402  (after the gate)

from . import toys  # noqa: E402

FOUR = ("yes", "no", "yes", "no")


def hooks(network):
    return sum(len(module._forward_hooks) for module in network.modules())


def weights(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Runs:
    """Stands in for the engine: notes what it is asked for, and fails where it is told to."""

    def __init__(self, fails=()):
        self.calls, self.fails = [], dict(fails)

    def __call__(self, trainee, batches, **options):
        self.calls.append({**options, "batches": batches})
        with torch.no_grad():
            for parameter in trainee.parameters():
                parameter.add_(0.1)
        if error := self.fails.get(len(self.calls)):
            raise error
        return [{"epoch": epoch + 1, "loss": 1.0} for epoch in range(options["epochs"])]


# ---------------------------------------------------------------- learning
def test_the_same_twice_bit_for_bit():
    valid = (toys.tones(toys.TEXTS), toys.TEXTS)
    (one, first), (other, second) = (toys.fit(toys.tones(FOUR), FOUR, epochs=2, valid=valid) for _ in range(2))
    assert equal(weights(one), weights(other))
    assert [{**e, "seconds": 0} for e in first.history] == [{**e, "seconds": 0} for e in second.history]
    assert (first.heads, first.heard) == (second.heads, second.heard)


def test_another_seed_is_another_training():
    one, other = (toys.fit(toys.tones(FOUR), FOUR, seed=seed)[0] for seed in (0, 1))
    assert not equal(weights(one), weights(other))


def test_the_loss_falls_and_the_network_is_ready_to_predict():
    network, fitted = toys.fit(toys.tones(FOUR), FOUR, epochs=6, lr=5e-3)
    losses = [record["loss"] for record in fitted.history]
    assert losses[-1] < 0.7 * losses[0]
    assert not network.training
    assert hooks(network) == 0
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(0 <= head < network.dims.n_text_head and 0 <= layer < network.dims.n_text_layer for layer, head in fitted.heads)


def test_whole_windows_come_last():
    network, fitted = toys.fit(toys.tones(FOUR), FOUR, full=True)
    short, _ = toys.fit(toys.tones(FOUR), FOUR)
    assert len(fitted.history) == 1
    assert not equal(weights(network), weights(short))
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_whole_windows_are_learned_gently_and_unseen():
    runs = Runs()
    toys.fit(toys.tones(FOUR), FOUR, full=True, train=runs, lr=1.0, epochs=3, on_epoch=print, on_step=print, patience=2)
    first, last = runs.calls
    assert (first["epochs"], last["epochs"], last["lr"], last["valid"]) == (3, 1, 0.5, None)
    assert last["batches"].plan.full
    assert not first["batches"].plan.full
    assert first.keys() & {"on_epoch", "on_step", "patience", "resume"} == {"on_epoch", "on_step", "patience", "resume"}
    assert not last.keys() & {"on_epoch", "on_step", "patience", "resume"}


def test_from_scratch_the_matrices_of_all_blocks_learn_with_muon():
    network, scratch, tuned = toys.network(), Runs(), Runs()
    toys.fit(toys.tones(FOUR), FOUR, into=network, full=True, train=scratch)
    toys.fit(toys.tones(FOUR), FOUR, into=network, scratch=False, train=tuned)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    expected = {name for name, parameter in network.named_parameters() if ".blocks." in name and parameter.ndim == 2}
    assert [{names[id(matrix)] for matrix in call["matrices"]} for call in scratch.calls] == [expected, set()]
    assert "decoder.blocks.0.cross_attn.key.weight" in expected
    assert [call["matrices"] for call in tuned.calls] == [[]]


@pytest.mark.parametrize(
    ("waves", "texts"),
    [
        (toys.tones(["yes"]), ["yes"]),
        (toys.tones(toys.TEXTS), list(toys.TEXTS)),
        (toys.tones(toys.TEXTS), ["yes", ""]),
        (toys.tones(toys.TEXTS), ["", ""]),
        ([toys.tone("yes")[:1], toys.tone("no")[:10]], list(toys.TEXTS)),
        ([np.zeros(3200, np.float32), toys.tone("no")], list(toys.TEXTS)),
    ],
    ids=["one clip", "two clips", "one empty text", "empty texts", "few samples", "silence"],
)
def test_odd_data_is_learned_from_all_the_same(waves, texts):
    fitted = toys.fit(waves, texts, valid=(waves, texts))[1]
    assert math.isfinite(fitted.history[0]["loss"])
    assert math.isfinite(fitted.history[0]["val_loss"])
    assert fitted.heads


@pytest.mark.parametrize("scratch", [True, False])
def test_a_clip_of_nearly_thirty_seconds(scratch):
    waves = [toys.tone("yes", 29.0), *toys.tones(FOUR)]
    fitted = toys.fit(waves, ["yes", *FOUR], scratch=scratch, valid=(waves[:1], ["yes"]))[1]
    assert fitted.heard == (29.0 if scratch else 30.0)
    assert math.isfinite(fitted.history[0]["val_loss"])


@pytest.mark.parametrize("scratch", [True, False])
def test_texts_up_to_the_decoders_limit_are_learned_and_longer_ones_refused(scratch):
    most = 448 - 4 - 6
    waves, texts = [toys.tone("yes", 1.0)], ["yes" + " yes" * (most - 1)]
    fitted = toys.fit(waves, texts, scratch=scratch, valid=(waves, texts))[1]
    assert math.isfinite(fitted.history[0]["val_loss"])
    with pytest.raises(DataError, match=rf"The text of sample 0 has {most + 1} tokens; the decoder takes {most}"):
        toys.fit(waves, [texts[0] + " yes"], scratch=scratch)


def test_clips_longer_than_thirty_seconds_are_named():
    with pytest.raises(DataError, match=r"Sample 1 lasts 30\.5 s"):
        toys.fit([toys.tone("yes"), toys.tone("no", 30.5)], toys.TEXTS)


def test_validation_clips_that_cannot_be_judged_are_left_out():
    waves = [*toys.tones(toys.TEXTS), np.zeros(31 * 16_000, np.float32), toys.tone("no")]
    valid = (waves, [*toys.TEXTS, "yes", "no " * 600])
    assert math.isfinite(toys.fit(toys.tones(FOUR), FOUR, valid=valid)[1].history[0]["val_loss"])


def test_joined_texts_never_have_more_tokens_than_the_decoder_takes():
    unknown = "日本語の文章" * 3
    waves, texts = [toys.tone("no", 9.0), toys.tone("yes", 0.1)], ["no", unknown]
    assert toys.fit(waves, texts, valid=(waves[1:] * 4, texts[1:] * 4))[1].heads


# ---------------------------------------------------------------- freezing
@pytest.mark.parametrize(
    ("freeze", "may_change"),
    [
        (None, ("",)),
        ("encoder", ("decoder.",)),
        ("adapters", (".query.weight", ".value.weight", ".out.weight")),
    ],
)
def test_what_is_frozen_stays(freeze, may_change):
    network = toys.network()
    before = weights(network)
    fitted = toys.fit(toys.tones(FOUR), FOUR, into=network, scratch=False, freeze=freeze)[1]
    after = weights(network)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert before.keys() == after.keys()
    assert changed
    assert all(any(part in name for part in may_change) for name in changed)
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert (fitted.heads, fitted.heard) == ([], 30.0)


# ---------------------------------------------------------------- interruptions
def interrupt_at(epoch):
    def on_step(at, step):
        if (at, step) == (epoch, 3):
            raise KeyboardInterrupt

    return on_step


@pytest.mark.parametrize("full", [True, False])
def test_an_interrupted_training_keeps_its_epochs_and_skips_whole_windows(full):
    network, fitted = toys.fit(toys.tones(FOUR), FOUR, epochs=3, full=full, on_step=interrupt_at(1))
    assert [record.get("interrupted") for record in fitted.history] == [True]
    assert hooks(network) == 0
    assert not network.training
    assert fitted.heads


def test_an_interruption_before_anything_is_learned_goes_through():
    network = toys.network()
    with pytest.raises(KeyboardInterrupt):
        toys.fit(toys.tones(FOUR), FOUR, into=network, freeze="adapters", scratch=False, batch_size=1, on_step=interrupt_at(0))
    assert hooks(network) == 0
    assert network.state_dict().keys() == toys.network().state_dict().keys()


@pytest.mark.parametrize("freeze", [None, "adapters"])
def test_interrupted_whole_windows_leave_what_was_learned_before(freeze):
    options = {"scratch": freeze is None, "freeze": freeze, "epochs": 2}
    network, fitted = toys.fit(toys.tones(FOUR), FOUR, full=True, train=Runs({2: KeyboardInterrupt()}), **options)
    before, _ = toys.fit(toys.tones(FOUR), FOUR, train=Runs(), **options)
    assert equal(weights(network), weights(before))
    assert [record.get("interrupted") for record in fitted.history] == [None, True]


def test_training_goes_on_where_it_was(tmp_path):
    clips = (toys.tones(FOUR), FOUR)
    whole, expected = toys.fit(*clips, epochs=3)
    _, first = toys.fit(*clips, epochs=3, resume=tmp_path, fingerprint="a", on_step=interrupt_at(2))
    assert len(first.history) == 2
    again, fitted = toys.fit(*clips, epochs=3, resume=tmp_path, fingerprint="a")
    assert equal(weights(again), weights(whole))
    assert [record["loss"] for record in fitted.history] == [record["loss"] for record in expected.history]
    with pytest.raises(DataError, match="belongs to a fit with other parameters or data"):
        toys.fit(*clips, epochs=3, resume=tmp_path, fingerprint="b")


# ---------------------------------------------------------------- what cannot be learned
@pytest.mark.parametrize("scratch", [True, False])
def test_clips_that_are_no_numbers_end_with_a_sentence(scratch):
    network = toys.network()
    with pytest.raises(DataError, match=r"The loss became nan in epoch 1\. Try a smaller lr, and look for extreme values"):
        toys.fit([toys.tone("yes") * np.nan, *toys.tones(toys.TEXTS)], ["yes", *toys.TEXTS], into=network, scratch=scratch)
    assert hooks(network) == 0


def test_a_rate_far_too_high_ends_with_a_sentence_or_with_numbers():
    network = toys.network()
    try:
        toys.fit(toys.tones(FOUR), FOUR, into=network, lr=1e3, epochs=2)
    except DataError as error:
        assert "Try a smaller lr" in str(error)  # noqa: PT017  (both are right)
    else:
        assert all(value.isfinite().all() for value in network.state_dict().values())
    with pytest.raises(DataError, match="Try a smaller lr"):
        toys.fit(toys.tones(FOUR), FOUR, into=network, lr=1e30)
    assert hooks(network) == 0


# ---------------------------------------------------------------- how long
def test_more_texts_are_more_steps_up_to_a_limit():
    counts = [1, 10, 100, 1000, 10_000]
    scratch = [training.steps(["one two"] * n, scratch=True, batch_size=16) for n in counts]
    tuned = [training.steps(["one two"] * n, scratch=False, batch_size=16) for n in counts]
    assert sorted(scratch) == scratch
    assert (scratch[0], scratch[-1]) == (10, 100)
    assert tuned == [math.ceil(n / 16) for n in counts]


def test_empty_texts_count_as_a_word():
    assert training.steps([""] * 64, scratch=True, batch_size=16) == training.steps(["one"] * 64, scratch=True, batch_size=16)


@pytest.mark.parametrize(("scratch", "least", "most"), [(True, 20, 200), (False, 3, 20)])
def test_usual_epochs_are_fewer_where_they_are_longer(scratch, least, most):
    found = [training.usual_epochs(["one"] * n, scratch=scratch, batch_size=16) for n in (1, 40, 100, 300, 900)]
    assert sorted(found, reverse=True) == found
    assert (found[0], found[-1]) == (most, max(least, found[-1]))
    assert training.usual_epochs(["one"] * 100_000, scratch=scratch, batch_size=16) >= least


def test_the_engine_takes_what_fit_hands_on():
    fitted = toys.fit(toys.tones(FOUR), FOUR, precision="bf16", patience=1, train=engine.train)[1]
    assert math.isfinite(fitted.history[0]["loss"])
