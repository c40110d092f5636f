"""REINFORCE: the gradient of an expected reward over random choices (Williams 1992)."""

import torch
from torch import Tensor, nn


def surrogate(log_probability: Tensor, advantage: Tensor, mask: Tensor | None = None) -> Tensor:
    """The mean of advantage log p(choice) over all choices, or those of a mask; the gradient estimates that of the
    expected reward. All are (B, T); the advantage is the reward less a baseline that does not depend on the choice, and
    has no gradient."""
    weighted = advantage * log_probability
    return weighted.mean() if mask is None else (weighted * mask).sum() / mask.sum()


class Reinforce(nn.Module):
    """The surrogate objective whose baseline is a moving average of the reward, kept in a buffer.

    - momentum: of the moving average
    """

    baseline: Tensor

    def __init__(self, momentum: float = 0.9):
        super().__init__()
        self.momentum = momentum
        self.register_buffer("baseline", torch.zeros(()))

    def forward(self, log_probability: Tensor, reward: Tensor, mask: Tensor) -> Tensor:
        """The mean surrogate over the choices of `mask`, to be maximised; all are (B, T), and the reward has no
        gradient. Updates the baseline."""
        mean = (reward * mask).sum() / mask.sum()
        objective = surrogate(log_probability, reward - self.baseline, mask)
        self.baseline.mul_(self.momentum).add_(mean, alpha=1 - self.momentum)
        return objective


def discounted_mean(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    """For each step the weighted mean of the rewards (B, T) from it on, each weighted `discount` times the one before;
    steps outside of `mask` do not count."""
    total, weight, means = rewards.new_zeros(len(rewards)), rewards.new_zeros(len(rewards)), list[Tensor]()
    for reward, counts in zip(rewards.flip(1).unbind(1), mask.to(rewards).flip(1).unbind(1), strict=True):
        total, weight = counts * reward + discount * total, counts + discount * weight
        means.append(total / weight.clamp(min=1))
    return torch.stack(means[::-1], 1)
