"""Gradient flow against closed forms, finite differences, and the weight gradients of autograd."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from elman.cells.shipped import shipped
from elman.inspect.cells import compare, stacks
from elman.inspect.flow import Flow, Spectrum, flow, jacobian, matrices, reach, summary
from elman.recurrent.layer import Recurrent
from fitting import fitting


def linear(singular: float, hidden: int = 12) -> Recurrent:
    """h' = W x + U h + b, U a rotation times a number: every singular value is that number."""
    torch.manual_seed(1)
    layer = Recurrent(5, hidden, "rnn:activation=linear")
    (matrix,) = layer.cells[0].matrices().values()
    matrix.data = singular * torch.linalg.qr(torch.randn(hidden, hidden)).Q
    return layer


@pytest.mark.parametrize("singular", [0.8, 1.0, 1.3])
def test_the_gradient_of_a_linear_recurrence_is_its_singular_value_to_the_power_of_the_steps(singular):
    layer, steps = linear(singular), 40
    weights = torch.randn(12)
    found = flow(layer, torch.randn(3, steps, 5), lambda h: h @ weights)
    expected = singular ** np.arange(steps)
    np.testing.assert_allclose(found.states["1.h"], expected, rtol=1e-4)
    if singular < 1:
        assert found.half_life("1.h") == np.flatnonzero(expected < 0.5)[0]
    else:
        assert found.half_life("1.h") == float("inf")


def test_the_spectrum_of_a_linear_recurrence_is_that_of_its_matrix():
    layer = linear(1.3)
    (spectrum,) = matrices(layer).values()
    assert spectrum.singular == pytest.approx(1.3, rel=1e-5)
    assert spectrum.radius == pytest.approx(1.3, rel=1e-5)
    of_step = Spectrum.of(jacobian(layer.cells[0], torch.randn(5), [torch.randn(12)]))
    assert of_step.singular == pytest.approx(1.3, rel=1e-5)


def test_singular_value_and_spectral_radius_differ():
    found = Spectrum.of(torch.tensor([[0.5, 3.0], [0.0, 0.25]]))
    assert found.radius == pytest.approx(0.5)
    assert found.singular > 3


@pytest.mark.parametrize("name", ["lstm", "gru", "mut3", "rhn", "slstm", "lstmp", "mogrifier_lstm", "on_lstm", "mlstm"])
def test_the_jacobian_is_that_of_finite_differences(name):
    torch.manual_seed(0)
    cell = Recurrent(3, 4, fitting(name, 4)).double().cells[0]
    x = torch.randn(3, dtype=torch.double)
    state = torch.cat([torch.rand(size, dtype=torch.double) + 0.5 for size in cell.state_sizes])

    def step(flat):
        new = cell.step(cell.inputs(x[None]), *(part[None] for part in flat.split(cell.state_sizes)))
        return torch.cat(new[len(new) - len(cell.states) :], -1)[0]

    columns = []
    for number in range(len(state)):
        small = torch.zeros_like(state)
        small[number] = 1e-6
        columns.append((step(state + small) - step(state - small)) / 2e-6)
    found = jacobian(cell, x, list(state.split(cell.state_sizes)))
    torch.testing.assert_close(found, torch.stack(columns, 1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", shipped())
def test_every_cell_has_a_flow_that_ends_in_the_last_step(name):
    torch.manual_seed(0)
    layer = Recurrent(5, 8, fitting(name, 8), layers=2)
    found = flow(layer, torch.randn(2, 12, 5), lambda h: h.square().sum(-1))
    assert all(norms[0] == pytest.approx(1, rel=1e-3) or not norms.any() for norms in found.states.values())
    assert all(each.sum() == pytest.approx(1, rel=1e-3) or not each.any() for each in found.weights.values())
    assert {address.split(".")[0] for address in found.states} == {"1", "2"}


def test_the_gradients_of_states_are_those_of_autograd():
    torch.manual_seed(0)
    layer, x = Recurrent(5, 8, "lstm"), torch.randn(1, 9, 5)
    found = flow(layer, x, lambda h: h[:, 0])
    _, middle = layer(x[:, :6])  # the state after step 6 is 3 steps before the last
    (state,) = [tuple(value.detach().requires_grad_() for value in middle[0])]
    y, _ = layer(x[:, 6:], (state,))
    h, c = torch.autograd.grad(y[0, -1, 0], state)
    y, last = layer(x)
    ends = torch.autograd.grad(y[0, -1, 0], y)[0][0, -1]
    assert found.states["1.h"][3] == pytest.approx(float(h.norm() / ends.norm()), rel=1e-4)
    # a cell state acts through the output of its own step too: d h_t / d c_t, by hand

    def through(t, c):
        before = layer(x[:, :t])[1][0][0]
        o = torch.sigmoid(layer.cells[0].input_projection(x[:, t]) + F.linear(before, layer.cells[0].U_i_f_g_o))[
            :, 3 * 8 :
        ]
        return (o * (1 - torch.tanh(c) ** 2)).detach()

    total, end = c + h * through(5, middle[0][1]), through(8, last[0][1])[0, 0]
    assert found.states["1.c"][3] == pytest.approx(float(total.norm() / end.abs()), rel=1e-4)


def test_the_weight_gradient_of_each_step_is_that_of_its_own_weights():
    torch.manual_seed(0)
    layer, x = Recurrent(5, 8, "gru"), torch.randn(1, 6, 5)
    cell = layer.cells[0]
    found = flow(layer, x, lambda h: h[:, 2])
    sizes = []
    for step in range(6):  # the weights of one step are made another tensor than those of all others
        own, bias = cell.W.detach().clone().requires_grad_(), cell.b.detach().clone().requires_grad_()
        state = layer.initial(1)[0]
        for t in range(6):
            share = F.linear(x[:, t], own, bias) if t == step else None
            state = cell.step(cell.inputs(x[:, t], share), *state)
        grads = torch.autograd.grad(state[0][0, 2], [own, bias])
        sizes.append(torch.sqrt(grads[0][8:16].square().sum() + grads[1][8:16].square().sum()).item())  # of gate z
    expected = np.array(sizes[::-1]) / sum(sizes)
    np.testing.assert_allclose(found.weights["1.z"], expected, rtol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
def test_the_loss_is_of_the_output_that_the_layer_gives(residual):
    torch.manual_seed(0)
    layer, x, outputs = Recurrent(5, 8, "gru", layers=3, residual=residual), torch.randn(2, 7, 5), []
    flow(layer, x, lambda h: (outputs.append(h.detach()), h.sum(-1))[1])
    torch.testing.assert_close(outputs[0], layer(x)[0][:, -1].detach(), atol=1e-5, rtol=1e-5)


def test_a_norm_stays_below_one_half_after_the_half_life():
    norms = np.array([1.0, 0.4, 0.8, 0.3, 0.2])
    assert Flow({"1.h": norms}, {}).half_life("1.h") == 3
    assert Flow({"1.h": norms[:3]}, {}).half_life("1.h") == float("inf")


def test_the_summary_compares_bptt_with_the_reach():
    found = flow(linear(0.5), torch.randn(2, 60, 5), lambda h: h.sum(-1))
    far = reach(found)
    assert "further than" in summary(found, 10 * far)
    assert "larger `bptt`" in summary(found, far - 1)
    assert "enough" in summary(found, far)


def test_gradients_of_untrained_cells_vanish_and_explode():
    report = compare(["rnn", "lstm", "lstm:forget_bias=0"], steps=60)
    metrics = report.panels[0].metrics
    assert metrics["lstm"]["states"]["1.c"][-1] > 10 * metrics["lstm:forget_bias=0"]["states"]["1.c"][-1]
    steep = compare(["rnn:activation=linear"], gain=1.5, steps=60).panels[0].metrics["rnn:activation=linear"]
    np.testing.assert_allclose(steep["states"]["1.h"], 1.5 ** np.arange(60), rtol=1e-3)


def test_plain_stacks_lose_the_gradient_that_residual_and_highway_stacks_keep():
    found = stacks().metrics
    assert found["plain"][50] < 0.1 * min(found["residual"][50], found["highway"][50])
