"""REINFORCE: the expected gradient of the surrogate is that of the expected reward, by enumeration of all choices."""

import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from elman.nets.reinforce import Reinforce, discounted_mean


def with_baseline(value):
    module = Reinforce().double()
    module.baseline.fill_(value)
    return module


@pytest.mark.parametrize("baseline", [0.0, -1.3])
def test_the_expected_gradient_of_one_choice_is_that_of_the_expected_reward(baseline):
    """d/ds sum_k p_k r_k = sum_k p_k d/ds (r_k - b) log p_k, whatever the baseline b."""
    torch.manual_seed(0)
    scores, reward = torch.randn(4).double().requires_grad_(), torch.randn(4).double()
    (expected,) = torch.autograd.grad(scores.softmax(-1) @ reward, [scores])
    total = torch.zeros(4).double()
    for choice, probability in enumerate(scores.detach().softmax(-1)):
        log_probability = scores.log_softmax(-1)[choice].view(1, 1)
        surrogate = with_baseline(baseline)(log_probability, reward[choice].view(1, 1), torch.ones(1, 1).bool())
        (gradient,) = torch.autograd.grad(surrogate, [scores])
        total += probability * gradient
    assert_close(total, expected)
    assert expected.abs().max() > 0.05


def test_the_expected_gradient_of_two_choices_is_that_of_the_expected_reward():
    """The second choice depends on the first; both have the reward of the pair. A padded third step does not count."""
    torch.manual_seed(1)
    first, second = torch.randn(3).double().requires_grad_(), torch.randn(3, 2).double().requires_grad_()
    reward, mask = torch.randn(3, 2).double(), torch.tensor([[True, True, False]])
    joint = first.softmax(-1)[:, None] * second.softmax(-1)
    expected = torch.autograd.grad((joint * reward).sum(), [first, second])
    total = [torch.zeros_like(each) for each in (first, second)]
    for one, two in itertools.product(range(3), range(2)):
        logs = torch.stack((first.log_softmax(-1)[one], second[one].log_softmax(-1)[two], first.sum()))[None]
        rewards = torch.tensor([[reward[one, two], reward[one, two], 7.0]]).double()
        surrogate = with_baseline(0.4)(logs, rewards, mask)
        gradients = torch.autograd.grad(2 * surrogate, [first, second])  # the surrogate is the mean of two choices
        for sum_, gradient in zip(total, gradients, strict=True):
            sum_ += joint[one, two].detach() * gradient
    assert_close(tuple(total), expected)


def test_the_gradient_of_samples_approaches_that_of_the_expected_reward():
    torch.manual_seed(0)
    scores, reward, rows = torch.zeros(2, requires_grad=True), torch.tensor([-2.0, -0.5]), 20_000
    (expected,) = torch.autograd.grad(scores.softmax(-1) @ reward, [scores])
    choices = torch.multinomial(scores.detach().softmax(-1), rows, replacement=True)
    surrogate = with_baseline(-1.0).float()(
        scores.log_softmax(-1)[choices][:, None], reward[choices][:, None], torch.ones(rows, 1).bool()
    )
    (gradient,) = torch.autograd.grad(surrogate, [scores])
    assert_close(gradient, expected, rtol=0, atol=0.02)


def test_the_baseline_is_a_moving_average_of_the_mean_rewards():
    module, expected, rng = Reinforce(momentum=0.7), 0.0, torch.Generator().manual_seed(0)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    for _ in range(4):
        reward = torch.randn(2, 3, generator=rng)
        surrogate = module(torch.ones(2, 3), reward, mask)
        assert float(surrogate) == pytest.approx(float(reward[mask].mean()) - expected, abs=1e-6)
        expected = 0.7 * expected + 0.3 * float(reward[mask].mean())
        assert float(module.baseline) == pytest.approx(expected, abs=1e-6)
    assert "baseline" in module.state_dict()
    assert Reinforce().momentum == 0.9


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
def test_the_discounted_mean_is_over_the_steps_from_each_on(discount):
    rng = np.random.default_rng(0)
    rewards, lengths = rng.normal(size=(3, 5)), (5, 2, 1)
    mask = np.arange(5) < np.array(lengths)[:, None]
    found = discounted_mean(torch.from_numpy(rewards), torch.from_numpy(mask), discount).numpy()
    for row, length in enumerate(lengths):
        for step in range(length):
            weights = discount ** np.arange(length - step)
            assert found[row, step] == pytest.approx(weights @ rewards[row, step:length] / weights.sum())
        assert not found[row, length:].any()
