"""A network while it learns: its losses, what its attentions are led by, and that nothing of it is left afterwards."""

import numpy as np
import pytest

from pipelines.device import seeded
from pipelines.engines import load_framework

torch = load_framework("torch")

from speech import networks  # noqa: E402  (after the gate)
from speech.examples import Joined, Plan, Whole  # noqa: E402
from speech.trainee import Trainee, led, localise  # noqa: E402

from . import toys  # noqa: E402

PLAN = Plan(1.5, groups=3, size=4, begin=-1.0, grown=0.0)


def tensors(inputs):
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in inputs.items()}


def made(*, scratch=True, **dims):
    with seeded(0, "torch"):
        return Trainee(toys.network(**dims), toys.vocabulary(), scratch=scratch)


def batch(plan=PLAN, i=0, clips=None):
    clips = list(zip(toys.tones(toys.TEXTS), toys.TEXTS, strict=True)) if clips is None else clips
    inputs, targets = Joined(clips, toys.vocabulary(), plan, epochs=1, seed=0)[i]
    return tensors(inputs), torch.from_numpy(targets)


def hooks(network):
    return sum(len(module._forward_hooks) for module in network.modules())


@pytest.mark.parametrize("scratch", [True, False])
def test_the_loss_falls(scratch):
    trainee = made(scratch=scratch).train()
    inputs, targets = batch()
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = trainee.loss(trainee(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize(
    "clips",
    [
        [(toys.tone("yes"), "")],
        [(np.zeros(8000, np.float32), "yes")],
        [(toys.tone("yes")[:1], "yes")],
        [(toys.tone("yes", 0.1), " ".join(["yes no"] * 100))],
        [(toys.tone("yes"), "words never seen")],
    ],
    ids=["no text", "silence", "a sample", "more text than sound", "unknown words"],
)
def test_the_loss_is_a_number_for_odd_clips(clips):
    trainee = made().train()
    inputs, targets = batch(clips=clips)
    loss = trainee.loss(trainee(inputs), targets)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad.isfinite().all() for p in trainee.parameters() if p.grad is not None)


@pytest.mark.parametrize("mode", [1, 2])
def test_whole_windows_reach_the_encoder_in_either_way(mode):
    trainee = made().train()
    plan = Plan(1.0, groups=12, size=1, full=True, begin=-1.0, grown=0.0, silent=0.0)
    clips = [(toys.tone("yes"), "yes")]
    modes = Joined(clips, toys.vocabulary(), plan, epochs=1, seed=0).modes
    inputs, targets = batch(plan, modes.tolist().index(mode), clips)
    with torch.no_grad():
        scores, sounds, strayed = trainee(inputs)
        loss = trainee.loss((scores, sounds, strayed), targets)
    assert sounds.shape[1] == 1500
    assert scores.shape[:2] == targets.shape
    assert loss.isfinite()


def test_without_leading_the_loss_is_that_of_the_texts_alone():
    trainee = made(scratch=False).train()
    inputs, targets = batch()
    scores, sounds, strayed = trainee(inputs)
    assert (sounds, strayed.item(), trainee.led) == (None, 0.0, [])
    expected = torch.nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten(), ignore_index=-100)
    torch.testing.assert_close(trainee.loss((scores, sounds, strayed), targets), expected)


def test_masks_hide_what_they_say():
    trainee = made(scratch=False).train()
    inputs, _ = batch()
    whole = {**inputs, "masks": torch.tensor([[[0, 10_000], [0, 0], [0, 0], [0, 0]]] * len(inputs["waves"]))}
    inputs["masks"] = torch.zeros_like(whole["masks"])
    with torch.no_grad():
        plain, hidden = (trainee(each)[0] for each in (inputs, whole))
    assert not torch.allclose(plain, hidden)
    assert hidden.isfinite().all()


# ---------------------------------------------------------------- what is left
def test_hooks_are_there_while_it_learns_and_gone_afterwards():
    trainee = made()
    assert hooks(trainee.network) > 0
    trainee.train()(batch()[0])
    assert trainee.looks
    trainee.release()
    assert (hooks(trainee.network), trainee.looks) == (0, {})


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt])
def test_a_network_has_no_hooks_after_training(error):
    def train(trainee, *arguments, **options):
        trainee.train()(batch()[0])
        if error:
            raise error
        return [{"epoch": 1, "loss": 1.0}]

    network = toys.network()
    if error is None:
        toys.fit(toys.tones(toys.TEXTS), toys.TEXTS, into=network, train=train)
    else:
        with pytest.raises(error):
            toys.fit(toys.tones(toys.TEXTS), toys.TEXTS, into=network, train=train)
    assert hooks(network) == 0


def test_what_cannot_be_judged_is_told_before_a_network_is_touched():
    network = toys.network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(Exception, match="No validation recording can be used: all last over 30 s"):
        toys.fit(toys.tones(toys.TEXTS), toys.TEXTS, into=network, valid=([np.zeros(31 * 16_000, np.float32)], ["yes"]))
    assert hooks(network) == 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


# ---------------------------------------------------------------- judging
def test_judged_outputs_have_one_width_and_are_token_rows():
    trainee = made().eval()
    batches = Whole([toys.tone("yes"), toys.tone("no", 1.5)], ["yes no yes", ""], toys.vocabulary())
    with torch.no_grad():
        found = [trainee(tensors(inputs)) for inputs, _ in batches]
    assert {tuple(one.shape) for one in found} == {(1, 1 + 4 + 3)}
    rows = torch.cat(found)[:, 1:]
    assert ((rows >= -1) & (rows < toys.vocabulary().size) & (rows == rows.round())).all()
    assert (torch.cat(found)[:, 0] > 0).all()


def test_judged_alone_is_judged_in_a_batch():
    trainee = made().eval()
    waves, texts = [toys.tone("yes"), toys.tone("no")], ["yes", "no yes"]
    with torch.no_grad():
        together = trainee(tensors(Whole(waves, texts, toys.vocabulary())[0][0]))
        alone = trainee(tensors(Whole(waves[1:], texts[1:], toys.vocabulary())[0][0]))
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------- how it begins
@pytest.mark.parametrize(
    ("layers", "heads", "expected"),
    [
        (1, 1, [(0, 0, "word"), (0, 0, "evenly")]),
        (1, 4, [(0, 0, "word"), (0, 1, "evenly")]),
        (2, 1, [(0, 0, "before"), (1, 0, "word"), (1, 0, "evenly")]),
        (3, 2, [(0, 0, "before"), (1, 0, "word"), (2, 0, "word"), (2, 1, "evenly")]),
    ],
)
def test_attentions_are_led_in_the_second_half(layers, heads, expected):
    assert led(layers, heads) == expected


@pytest.mark.parametrize(("layers", "units"), [(1, 24), (2, 48)])
def test_the_led_ones_are_there_in_small_networks(layers, units):
    dims = {"n_text_layer": layers, "n_audio_layer": layers}
    dims |= {f"n_{part}_{what}": n for part in ("audio", "text") for what, n in (("state", units), ("head", units // 24))}
    trainee = made(**dims).train()
    inputs, targets = batch()
    assert trainee.loss(trainee(inputs), targets).isfinite()


def looks(network):
    """Return where each position of the first layer looks, head by head, in a sound that is the same everywhere."""
    block, position = network.encoder.blocks[0], network.encoder.positional_embedding[None, :200]
    x = block.attn_ln(position)
    heads = network.dims.n_audio_head
    query, key = (part(x)[0].unflatten(-1, (heads, -1)).transpose(0, 1) for part in (block.attn.query, block.attn.key))
    return (query @ key.transpose(1, 2)).argmax(dim=-1)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_heads_begin_by_looking_near_each_at_another_distance(heads):
    with seeded(0, "torch"):
        network = networks.build(networks.small(24 * heads, 1), np.arange(9))
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    with torch.no_grad():
        localise(network, strength=20.0)
        distances = (looks(network) - torch.arange(200))[:, 20:180].float().median(dim=1).values
    assert {name: value.shape for name, value in network.state_dict().items()} == shapes
    assert (distances.abs() <= 8).all()
    assert len(set(distances.tolist())) == heads
