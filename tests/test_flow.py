"""Gradient flow against closed forms, against finite differences, and against autograd's own weight gradients."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from elman.cells.shipped import shipped
from elman.inspect.cells import compare, stacks
from elman.inspect.flow import Flow, Stretching, flow, jacobian, matrices, reach, verdict
from elman.recurrent.layer import Recurrent


def linear(singular: float, hidden: int = 12) -> Recurrent:
    """h' = W x + U h + b, U a rotation times a number: every singular value is that number."""
    torch.manual_seed(1)
    layer = Recurrent(5, hidden, "rnn:activation=linear")
    (matrix,) = layer.cells[0].matrices().values()
    matrix.data = singular * torch.linalg.qr(torch.randn(hidden, hidden)).Q
    return layer


@pytest.mark.parametrize("singular", [0.8, 1.0, 1.3])
def test_a_linear_recurrence_passes_on_its_singular_value_to_the_power_of_the_steps(singular):
    layer, steps = linear(singular), 40
    weights = torch.randn(12)
    found = flow(layer, torch.randn(3, steps, 5), lambda h: h @ weights)
    expected = singular ** np.arange(steps)
    np.testing.assert_allclose(found.states["1.h"], expected, rtol=1e-4)
    if singular < 1:
        assert found.half_life("1.h") == np.flatnonzero(expected < 0.5)[0]
    else:
        assert found.half_life("1.h") == float("inf")


def test_the_stretching_of_a_linear_recurrence_is_that_of_its_matrix():
    layer = linear(1.3)
    (stretched,) = matrices(layer).values()
    assert stretched.singular == pytest.approx(1.3, rel=1e-5)
    assert stretched.radius == pytest.approx(1.3, rel=1e-5)
    of_step = Stretching.of(jacobian(layer.cells[0], torch.randn(5), [torch.randn(12)]))
    assert of_step.singular == pytest.approx(1.3, rel=1e-5)


def test_singular_value_and_radius_are_not_the_same_thing():
    found = Stretching.of(torch.tensor([[0.5, 3.0], [0.0, 0.25]]))
    assert found.radius == pytest.approx(0.5)
    assert found.singular > 3


@pytest.mark.parametrize("name", ["lstm", "gru", "mut3", "rhn", "slstm"])
def test_the_jacobian_is_that_of_finite_differences(name):
    torch.manual_seed(0)
    cell = Recurrent(3, 4, name).double().cells[0]
    x = torch.randn(3, dtype=torch.double)
    state = torch.cat([torch.rand(4, dtype=torch.double) + 0.5 for _ in cell.states])
    share = cell.project(x)[None]

    def step(flat):
        return torch.cat(cell.step(cell.split(cell.gates, share), *(part[None] for part in flat.split(4))), -1)[0]

    columns = []
    for number in range(len(state)):
        small = torch.zeros_like(state)
        small[number] = 1e-6
        columns.append((step(state + small) - step(state - small)) / 2e-6)
    found = jacobian(cell, x, list(state.split(4)))
    torch.testing.assert_close(found, torch.stack(columns, 1), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", shipped())
def test_every_cell_has_a_flow_that_ends_in_the_last_step(name):
    torch.manual_seed(0)
    layer = Recurrent(5, 8, name, layers=2)
    found = flow(layer, torch.randn(2, 12, 5), lambda h: h.square().sum(-1))
    assert all(norms[0] == pytest.approx(1, rel=1e-3) or not norms.any() for norms in found.states.values())
    assert all(share.sum() == pytest.approx(1, rel=1e-3) or not share.any() for share in found.shares.values())
    assert {place.split(".")[0] for place in found.states} == {"1", "2"}


def test_states_that_a_row_went_through_get_the_gradient_that_autograd_gives_them():
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
        o = torch.sigmoid(layer.cells[0].project(x[:, t]) + F.linear(before, layer.cells[0].U_i_f_g_o))[:, 3 * 8 :]
        return (o * (1 - torch.tanh(c) ** 2)).detach()

    total, end = c + h * through(5, middle[0][1]), through(8, last[0][1])[0, 0]
    assert found.states["1.c"][3] == pytest.approx(float(total.norm() / end.abs()), rel=1e-4)


def test_shares_of_the_weight_gradient_are_those_of_one_step_at_a_time():
    torch.manual_seed(0)
    layer, x = Recurrent(5, 8, "gru"), torch.randn(1, 6, 5)
    cell = layer.cells[0]
    found = flow(layer, x, lambda h: h[:, 2])
    sizes = []
    for step in range(6):  # the weights of one step are made another tensor than those of all others
        own, bias = cell.W.detach().clone().requires_grad_(), cell.b.detach().clone().requires_grad_()
        state = layer.initial(1)[0]
        for t in range(6):
            share = F.linear(x[:, t], own, bias) if t == step else cell.project(x[:, t])
            state = cell.step(cell.split(cell.gates, share), *state)
        grads = torch.autograd.grad(state[0][0, 2], [own, bias])
        sizes.append(torch.sqrt(grads[0][8:16].square().sum() + grads[1][8:16].square().sum()).item())  # of gate z
    expected = np.array(sizes[::-1]) / sum(sizes)
    np.testing.assert_allclose(found.shares["1.z"], expected, rtol=1e-4)


@pytest.mark.parametrize("residual", [False, True])
def test_the_loss_is_of_the_output_that_the_layer_gives(residual):
    torch.manual_seed(0)
    layer, x, seen = Recurrent(5, 8, "gru", layers=3, residual=residual), torch.randn(2, 7, 5), []
    flow(layer, x, lambda h: (seen.append(h.detach()), h.sum(-1))[1])
    torch.testing.assert_close(seen[0], layer(x)[0][:, -1].detach(), atol=1e-5, rtol=1e-5)


def test_a_half_life_is_for_good():
    norms = np.array([1.0, 0.4, 0.8, 0.3, 0.2])
    assert Flow({"1.h": norms}, {}).half_life("1.h") == 3
    assert Flow({"1.h": norms[:3]}, {}).half_life("1.h") == float("inf")


def test_the_sentence_says_whether_training_went_back_far_enough():
    found = flow(linear(0.5), torch.randn(2, 60, 5), lambda h: h.sum(-1))
    far = reach(found)
    assert "further than" in verdict(found, 10 * far)
    assert "larger --bptt" in verdict(found, far - 1)
    assert "enough" in verdict(found, far)


def test_fresh_cells_vanish_and_explode_as_the_lecture_says():
    report = compare(["rnn", "lstm", "lstm:forget_bias=0"], steps=60)
    figures = report.panels[0].figures
    assert figures["lstm"]["states"]["1.c"][-1] > 10 * figures["lstm:forget_bias=0"]["states"]["1.c"][-1]
    steep = compare(["rnn:activation=linear"], gain=1.5, steps=60).panels[0].figures["rnn:activation=linear"]
    np.testing.assert_allclose(steep["states"]["1.h"], 1.5 ** np.arange(60), rtol=1e-3)


def test_plain_stacks_lose_the_gradient_that_residual_and_highway_stacks_keep():
    found = stacks().figures
    assert found["plain"][50] < 0.1 * min(found["residual"][50], found["highway"][50])
