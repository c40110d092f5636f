"""A question and a picture joined, from which the answer is said.

Shapes: B rows, L places of the grid, D numbers at each, Q size of the question.
"""

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import Additive


class Concatenated(nn.Module):
    """The mean of the grid beside the question, and a fully connected layer."""

    def __init__(self, grid: int, question: int, size: int):
        super().__init__()
        self.join = nn.Linear(grid + question, size)

    def forward(self, grid: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, size)."""
        return torch.relu(self.join(torch.cat((grid.mean(1), question), -1)))


class Product(nn.Module):
    """Both brought to one size, and multiplied (Antol et al. 2015)."""

    def __init__(self, grid: int, question: int, size: int):
        super().__init__()
        self.image, self.question = nn.Linear(grid, size), nn.Linear(question, size)

    def forward(self, grid: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, size)."""
        return torch.tanh(self.image(grid.mean(1))) * torch.tanh(self.question(question))


class Stacked(nn.Module):
    """Stacked attention (Yang et al. 2016, section 3.3): what a query u reads from the grid is added to it, and the sum
    is the next query: u_k = u_(k-1) + sum_i p_i v_i, p the softmax of w . tanh(W v_i + U u_(k-1)). Recorded as
    `attention`, a row a look."""

    def __init__(self, grid: int, question: int, size: int, looks: int = 2):
        super().__init__()
        self.image, self.question = nn.Linear(grid, size), nn.Linear(question, size)
        self.looks = nn.ModuleList(Additive(size, size, size) for _ in range(looks))

    def forward(self, grid: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, size)."""
        memory, query, seen = torch.tanh(self.image(grid)), torch.tanh(self.question(question)), list[Tensor]()
        for look in self.looks:
            assert isinstance(look, Additive)
            weights = look.scores(query[:, None], look.keys(memory))[:, 0].float().softmax(-1)
            query = query + (weights.to(memory.dtype)[:, None] @ memory)[:, 0]
            seen.append(weights)
        keep("attention", torch.stack(seen, 1))
        return query


JOINS: dict[str, type[nn.Module]] = {"concatenated": Concatenated, "product": Product, "stacked": Stacked}
