"""The networks: shapes, what each input moves, padding, and the loss beside numpy's."""

import copy

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_pinball_loss

from timeseries.networks import NextSegment, PinballLoss, SegmentAutoencoder, SegmentRNN, StackedRNN, torch

KINDS = [SegmentRNN, StackedRNN]


def make(kind=SegmentRNN, seed=0, **params):
    torch.manual_seed(seed)
    own = {"lookback": 10, "horizon": 7, "units": 8, "cell": "lstm", "variables": 2}
    if kind is SegmentRNN:
        own["segment"] = 4
    return kind(**{**own, **params}).eval()


def inputs(n=5, lookback=10, horizon=7, variables=2, known=0, series=0):
    torch.manual_seed(1)
    found = {"values": torch.randn(n, variables, lookback)}
    if known:
        found["known"] = torch.randn(n, lookback + horizon, known)
    if series:
        found["series"] = torch.arange(n) % series
    return found


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("lookback", "horizon", "segment", "units", "known", "levels"),
    [(10, 7, 4, 8, 0, 1), (12, 12, 4, 8, 0, 3), (1, 1, 1, 2, 0, 1), (1, 5, 1, 3, 2, 2), (9, 1, 9, 7, 1, 1), (3, 20, 2, 5, 3, 5)],
)
def test_shapes(kind, cell, lookback, horizon, segment, units, known, levels):
    params = {"lookback": lookback, "horizon": horizon, "units": units, "cell": cell, "known": known, "levels": levels}
    if kind is SegmentRNN:
        params["segment"] = segment
    net = make(kind, variables=3, **params).train()
    found = net(inputs(4, lookback, horizon, 3, known))
    assert found.shape == (4, 3, horizon, levels)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_a_batch_do_not_touch_each_other(kind):
    net = make(kind, known=2, levels=3)
    whole = inputs(known=2)
    with torch.no_grad():
        together = net(whole)
        for i in range(5):
            alone = net({name: part[i : i + 1] for name, part in whole.items()})
            np.testing.assert_allclose(alone[0], together[i], atol=1e-6)


def moved(net, whole, name, place, by=10.0):
    """Return where the outputs move when one input does."""
    with torch.no_grad():
        before = net(whole)
        whole = {key: part.clone() for key, part in whole.items()}
        whole[name][place] += by
        return (net(whole) - before).abs() > 1e-6


def test_variables_of_a_segment_network_do_not_mix_and_those_of_a_stacked_one_do():
    place = (slice(None), 0, 3)
    found = moved(make(), inputs(), "values", place)
    assert found[:, 0].any()
    assert not found[:, 1].any()
    assert moved(make(StackedRNN), inputs(), "values", place)[:, 1].any()


def test_variables_have_answers_of_their_own():
    net = make()
    whole = inputs()
    whole["values"][:, 1] = whole["values"][:, 0]
    with torch.no_grad():
        found = net(whole)
    assert not torch.allclose(found[:, 0], found[:, 1], atol=1e-4)


def test_known_rows_move_the_segment_they_belong_to():
    net = make(known=1)  # horizon 7 in segments of 4: rows 0 to 3, and 4 to 6
    whole = inputs(known=1)
    for step in range(7):
        found = moved(net, whole, "known", (slice(None), 10 + step)).any(dim=(0, 1, 3))
        assert found.any()
        assert not found[4:].any() if step < 4 else not found[:4].any()
    for step in range(10):
        assert moved(net, whole, "known", (slice(None), step)).any()


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("kind", KINDS)
def test_every_row_of_the_context_is_seen(kind, place):
    assert moved(make(kind), inputs(), "values", (slice(None), slice(None), place)).any()


def test_every_segment_of_the_horizon_has_its_own_answer():
    with torch.no_grad():
        found = make()(inputs())
    assert not torch.allclose(found[:, :, :3], found[:, :, 4:], atol=1e-4)


def test_the_first_segment_is_filled_with_the_first_value():
    net = make(lookback=10, segment=4)
    assert net.before == 2
    longer = copy.deepcopy(net)
    longer.lookback, longer.before = 12, 0
    values = inputs()["values"]
    padded = torch.cat([values[..., :1], values[..., :1], values], dim=2)
    with torch.no_grad():
        np.testing.assert_allclose(net({"values": values}), longer({"values": padded}), atol=1e-6)


def test_embeddings_of_series_start_at_nothing_and_the_unknown_one_stays_there():
    net = make(series=4).train()
    whole = inputs(series=4)
    plain = {**whole, "series": torch.zeros(5, dtype=torch.int64)}
    with torch.no_grad():
        net.eval()
        np.testing.assert_allclose(net(whole), net(plain), atol=1e-6)
    net.train()(whole).square().sum().backward()
    gradient = net.series.weight.grad
    assert not gradient[0].any()
    assert gradient[1:].abs().sum(dim=1).min() > 0


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_for_training_only(kind):
    net = make(kind, dropout=0.5)
    whole = inputs()
    with torch.no_grad():
        assert torch.equal(net(whole), net(whole))
        net.train()
        assert not torch.equal(net(whole), net(whole))


# --- those of the detector -------------------------------------------------------------------------------------------


def detector(kind, variables=2, segment=3, segments=4, units=8):
    torch.manual_seed(0)
    return kind(variables=variables, segment=segment, segments=segments, units=units).eval()


@pytest.mark.parametrize("kind", [SegmentAutoencoder, NextSegment])
@pytest.mark.parametrize(
    ("variables", "segment", "segments", "units"), [(1, 1, 1, 3), (3, 2, 12, 8), (2, 5, 3, 7), (1, 1, 12, 48)]
)
def test_shapes_of_the_detectors_networks(kind, variables, segment, segments, units):
    net = detector(kind, variables, segment, segments, units).train()
    found = net(torch.randn(4, variables, segment * segments))
    assert found.shape == (4, variables, segment * segments if kind is SegmentAutoencoder else segment)
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("kind", [SegmentAutoencoder, NextSegment])
def test_windows_of_a_batch_do_not_touch_each_other(kind):
    net, windows = detector(kind), torch.randn(5, 2, 12)
    with torch.no_grad():
        together = net(windows)
        for i in range(5):
            np.testing.assert_allclose(net(windows[i : i + 1])[0], together[i], atol=1e-6)


@pytest.mark.parametrize("place", range(12))
@pytest.mark.parametrize("variable", [0, 1])
def test_an_autoencoder_sees_every_value_and_says_all_through_its_code(variable, place):
    net, windows = detector(SegmentAutoencoder), torch.randn(3, 2, 12)
    changed = windows.clone()
    changed[:, variable, place] += 5
    codes = []
    net.code.register_forward_hook(lambda module, given, code: codes.append(code))
    with torch.no_grad():
        before, after = net(windows), net(changed)
        assert not torch.allclose(codes[0], codes[1], atol=1e-4)
        assert not torch.allclose(before, after, atol=1e-6)
        net.code.weight.zero_()  # every window has one code
        assert torch.equal(net(windows)[0], net(changed)[2])


def test_an_autoencoder_writes_values_where_it_read_them():
    torch.manual_seed(0)
    net = SegmentAutoencoder(variables=2, segment=3, segments=4, units=16)
    time = torch.arange(12.0)
    windows = torch.stack([torch.sin(time + phase) for phase in torch.linspace(0, 6, 40)])[:, None] * torch.tensor(
        [[[1.0], [-2.0]]]
    )
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(300):
        optimizer.zero_grad()
        loss = (net(windows) - windows).square().mean()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * windows.square().mean().item()


def test_the_next_segment_moves_with_the_level():
    net, windows = detector(NextSegment), torch.randn(3, 2, 12)
    with torch.no_grad():
        np.testing.assert_allclose(net(windows + 50), net(windows) + 50, atol=1e-4)
        for parameter in net.parameters():
            parameter.zero_()
        assert torch.equal(net(windows), windows[..., -1:].expand(3, 2, 3))  # a network that says nothing: the last value


# --- the loss ---------------------------------------------------------------------------------------------------------


def test_loss_is_twice_the_mean_of_scikit_learns_pinball_losses():
    rng = np.random.default_rng(0)
    truth, levels = rng.normal(size=(6, 2, 5)).astype(np.float32), [0.1, 0.5, 0.8]
    outputs = rng.normal(size=(6, 2, 5, 3)).astype(np.float32)
    expected = 2 * np.mean([mean_pinball_loss(truth.ravel(), outputs[..., k].ravel(), alpha=q) for k, q in enumerate(levels)])
    found = PinballLoss(levels)(torch.from_numpy(outputs), torch.from_numpy(truth))
    assert float(found) == pytest.approx(expected, rel=1e-5)
    median = PinballLoss([0.5])(torch.from_numpy(outputs[..., :1]), torch.from_numpy(truth))
    assert float(median) == pytest.approx(mean_absolute_error(truth.ravel(), outputs[..., 0].ravel()), rel=1e-5)


def test_loss_leaves_out_what_was_not_observed():
    truth, outputs = torch.zeros(3, 1, 2), torch.ones(3, 1, 2, 2, requires_grad=True)
    truth[1] = torch.nan
    loss = PinballLoss([0.5, 0.9])
    whole = loss(outputs, truth)
    assert whole.item() == pytest.approx(loss(outputs[[0, 2]], truth[[0, 2]]).item())
    whole.backward()
    assert outputs.grad.isfinite().all()
    assert not outputs.grad[1].any()
    assert outputs.grad[0].all()


def test_loss_of_nothing_observed_is_zero():
    outputs = torch.ones(2, 1, 2, 1, requires_grad=True)
    loss = PinballLoss([0.5])(outputs, torch.full((2, 1, 2), torch.nan))
    loss.backward()
    assert float(loss.detach()) == 0
    assert not outputs.grad.any()


def test_levels_are_no_weights():
    assert not list(PinballLoss([0.1, 0.5]).state_dict())
