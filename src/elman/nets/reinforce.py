"""REINFORCE: the gradient of an expected reward over discrete choices (Williams 1992)."""

import torch
from torch import Tensor, nn


class Reinforce(nn.Module):
    """The surrogate objective sum (reward - baseline) log p(choice), whose gradient estimates that of the expected
    reward. The baseline is a moving average of the reward, kept in a buffer.

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
        count = mask.sum()
        mean = (reward * mask).sum() / count
        surrogate = ((reward - self.baseline) * log_probability * mask).sum() / count
        self.baseline.mul_(self.momentum).add_(mean, alpha=1 - self.momentum)
        return surrogate


def discounted_mean(rewards: Tensor, mask: Tensor, discount: float) -> Tensor:
    """For each step the weighted mean of the rewards (B, T) from it on, each weighted `discount` times the one before;
    steps outside of `mask` do not count."""
    total, weight, means = rewards.new_zeros(len(rewards)), rewards.new_zeros(len(rewards)), list[Tensor]()
    for reward, counts in zip(rewards.flip(1).unbind(1), mask.to(rewards).flip(1).unbind(1), strict=True):
        total, weight = counts * reward + discount * total, counts + discount * weight
        means.append(total / weight.clamp(min=1))
    return torch.stack(means[::-1], 1)
