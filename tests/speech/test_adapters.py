"""Parts of a network that stay as they are while the rest learns, and what is left of it afterwards."""

import pytest

from pipelines.device import seeded
from pipelines.engines import load_framework

torch = load_framework("torch")

from speech import networks  # noqa: E402  (after the gate)
from speech.adapters import frozen  # noqa: E402

from . import toys  # noqa: E402

ADAPTED = (".query.weight", ".value.weight", ".out.weight")


@pytest.fixture
def network():
    return toys.network()


@pytest.fixture(scope="module")
def inputs():
    with seeded(0, "torch"):
        return torch.randn(2, 80, 50), torch.randint(0, 5, (2, 6))


def scores(network, inputs):
    return networks.logits(network, inputs[1], networks.encode(network, inputs[0]))


def learn(network, inputs, steps=3):
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        scores(network, inputs).square().mean().backward()
        optimizer.step()


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(before, network):
    after = network.state_dict()
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_nothing_frozen_is_nothing_done(network):
    before = state(network)
    frozen(network, None)()
    assert not changed(before, network)
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_a_frozen_encoder_learns_nothing(network, inputs):
    before = state(network)
    undo = frozen(network, "encoder")
    learn(network, inputs)
    undo()
    names = changed(before, network)
    assert names
    assert not any(name.startswith("encoder") for name in names)


def test_adapters_begin_as_nothing_and_are_merged_exactly(network, inputs):
    before = state(network)
    with torch.no_grad():
        plain = scores(network, inputs)
        undo = frozen(network, "adapters")
        torch.testing.assert_close(scores(network, inputs), plain, rtol=0, atol=0)
        learned = [p for name, p in network.named_parameters() if name.endswith(".up")]
        for parameter in learned:
            parameter.normal_()
        adapted = scores(network, inputs)
        assert not torch.allclose(adapted, plain)
        undo()
        torch.testing.assert_close(scores(network, inputs), adapted, rtol=0, atol=0)
    assert {name for name in before if name.endswith(ADAPTED)} == changed(before, network)


def test_only_adapters_learn(network, inputs):
    before = state(network)
    undo = frozen(network, "adapters")
    trained = {name.rpartition(".")[2] for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {"down", "up"}
    learn(network, inputs)
    undo()
    names = changed(before, network)
    assert names
    assert all(name.endswith(ADAPTED) for name in names)


@pytest.mark.parametrize("freeze", ["encoder", "adapters"])
def test_afterwards_a_network_is_as_it_came(network, freeze):
    kinds, before = [type(module) for module in network.modules()], network.state_dict().keys()
    frozen(network, freeze)()
    assert [type(module) for module in network.modules()] == kinds
    assert network.state_dict().keys() == before
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_adapters_are_of_the_weights_kind_and_place(network):
    network.double()
    undo = frozen(network, "adapters")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}
    undo()
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float64}


@pytest.mark.parametrize("freeze", ["encoder", "adapters"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_frozen_is_freed_after_an_error(network, freeze, error):
    def fails(*arguments, **options):
        raise error

    before = state(network)
    with pytest.raises(error):
        toys.fit(toys.tones(toys.TEXTS), toys.TEXTS, into=network, scratch=False, freeze=freeze, train=fails)
    assert not changed(before, network)
    assert all(parameter.requires_grad for parameter in network.parameters())
