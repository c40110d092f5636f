"""A question and a picture joined, from which the answer is said.

Shapes: B rows, L places of the grid, D numbers at each, T words of the question, W numbers of each, Q size of what is
left of the question at its end.
"""

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import shares, wide


class Concatenated(nn.Module):
    """The mean of the grid beside the question, and a fully connected layer."""

    def __init__(self, grid: int, words: int, question: int, size: int):
        super().__init__()
        self.join = nn.Linear(grid + question, size)

    def forward(self, grid: Tensor, words: Tensor, past: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, size)."""
        return torch.relu(self.join(torch.cat((grid.mean(1), question), -1)))


class Product(nn.Module):
    """Both brought to one size, and multiplied (Antol et al. 2015)."""

    def __init__(self, grid: int, words: int, question: int, size: int):
        super().__init__()
        self.image, self.question = nn.Linear(grid, size), nn.Linear(question, size)

    def forward(self, grid: Tensor, words: Tensor, past: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, size)."""
        return torch.tanh(self.image(grid.mean(1))) * torch.tanh(self.question(question))


class Stacked(nn.Module):
    """Stacked attention (Yang et al. 2016): what each look reads from the grid is added to what is known, u_k = u_(k-1)
    + relu(J sum_i p_i h_i), p the softmax of w . h_i, u_0 made of the question. Two things differ from theirs, without
    which it does not learn to compare within minutes: each look hears its own part of the question, c, by attention
    over its words (Hudson & Manning 2018); and a place is seen in the light of what is heard and known, z = [c; u],
    h_i = relu((1 + G z) * V v_i + B z) (Perez et al. 2018), which is both scored and read. Recorded as `attention`, a
    row a look."""

    def __init__(self, grid: int, words: int, question: int, size: int, looks: int = 2):
        super().__init__()
        self.question = nn.Linear(question, size)
        self.looks = nn.ModuleList(Look(grid, words, size) for _ in range(looks))

    def forward(self, grid: Tensor, words: Tensor, past: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D), words (B, T, W), which of them are past the end (B, T) and question (B, Q) give (B, size)."""
        known, seen = torch.tanh(self.question(question)), list[Tensor]()
        for look in self.looks:
            known, weights = look(grid, words, past, known)
            seen.append(weights)
        keep("attention", torch.stack(seen, 1))
        return known


class Look(nn.Module):
    """One look of stacked attention."""

    def __init__(self, grid: int, words: int, size: int):
        super().__init__()
        self.hear, self.heard = nn.Linear(size, words), nn.Linear(words, size)
        self.places, self.gain, self.shift = nn.Linear(grid, size), nn.Linear(2 * size, size), nn.Linear(2 * size, size)
        self.score, self.read = nn.Linear(size, 1, bias=False), nn.Linear(size, size)

    def forward(self, grid: Tensor, words: Tensor, past: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """What is known (B, size) after the look, and where was looked (B, L)."""
        parts = shares((self.hear(known)[:, None] @ words.transpose(1, 2))[:, 0], past)
        heard = torch.tanh(self.heard((parts.to(words.dtype)[:, None] @ words)[:, 0]))
        both = torch.cat((heard, known), -1)
        seen = torch.relu((1 + self.gain(both))[:, None] * self.places(grid) + self.shift(both)[:, None])
        weights = wide(self.score(seen)[..., 0]).softmax(-1)
        return known + torch.relu(self.read((weights.to(seen.dtype)[:, None] @ seen)[:, 0])), weights


JOINS: dict[str, type[nn.Module]] = {"concatenated": Concatenated, "product": Product, "stacked": Stacked}
