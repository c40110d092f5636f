"""A question and a picture joined, from which the answer is said.

Shapes: B rows, L places of the grid, D numbers at each, T words of the question, of which a row has `lengths`; E
numbers of a word alone, Q of all that was read when it was.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import Scaled, even, wide
from elman.recurrent.layer import Recurrent

SCORED = 128  # numbers by which a word and a place are compared
FAR = 4.0  # what the two numbers that say where a place is are multiplied by, lest all the others drown them

Recurrence = Callable[[int], Recurrent]  # of inputs of a size


class Concatenated(nn.Module):
    """The mean of the grid beside the question, and a fully connected layer."""

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.join = nn.Linear(grid + question, question)

    def forward(self, grid: Tensor, words: Tensor, read: Tensor, lengths: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, Q)."""
        return torch.relu(self.join(torch.cat((grid.mean(1), question), -1)))


class Product(nn.Module):
    """Both brought to one size, and multiplied (Antol et al. 2015)."""

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.image, self.question = nn.Linear(grid, question), nn.Linear(question, question)

    def forward(self, grid: Tensor, words: Tensor, read: Tensor, lengths: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D) and question (B, Q) give (B, Q)."""
        return torch.tanh(self.image(grid.mean(1))) * torch.tanh(self.question(question))


class Stacked(nn.Module):
    """Each word of the question looks at the grid, then the question as a whole does.

    A word's weights are made of itself and of all that was read before it; a second recurrence reads the words and what
    each of them saw (Zhu et al. 2016 do both in one). The look of the whole question is that of stacked attention (Yang
    et al. 2016): what is read is added to what is known, v = u + relu(R sum_i p_i h_i), p the softmax of w . h_i; but a
    place is seen in the light of the question, h_i = relu((1 + G u) * V v_i + B u) (Perez et al. 2018). So is, in the
    end, what both found, v + relu((1 + G' u) * J [s; sum_i p_i v_i] + B' u), s being the last state of the second
    recurrence. Recorded as `attention`: a row a word, 0 past the end, and in the last that of the whole question.
    """

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.attention, self.recurrent = Scaled(word + question, grid, SCORED), recurrence(word + grid)
        self.question = nn.Linear(question, question)
        self.places, self.gain, self.shift = nn.Linear(grid, question), *_light(question)
        self.score, self.read = nn.Linear(question, 1, bias=False), nn.Linear(question, question)
        self.found, self.found_gain, self.found_shift = nn.Linear(question + grid, question), *_light(question)

    def forward(self, grid: Tensor, words: Tensor, read: Tensor, lengths: Tensor, question: Tensor) -> Tensor:
        """grid (B, L, D), words (B, T, E), all that was read at each (B, T, Q), lengths (B,) and question (B, Q) give
        (B, Q)."""
        grid = torch.cat((even(grid[..., :-2]), FAR * grid[..., -2:]), -1).to(read.dtype)
        words, read, question = even(words), even(read), even(question)
        scores = self.attention.scores(torch.cat((words, read), -1), self.attention.keys(grid))
        of_words = wide(scores).softmax(-1)
        _, state = self.recurrent(torch.cat((words, of_words.to(grid.dtype) @ grid), -1), lengths=lengths)

        known = even(self.question(question))
        seen = torch.relu((1 + self.gain(known))[:, None] * self.places(grid) + self.shift(known)[:, None])
        of_whole = wide(self.score(seen)[..., 0]).softmax(-1)[:, None]
        past = torch.arange(words.shape[1], device=lengths.device) >= lengths[:, None]
        keep("attention", torch.cat((of_words.masked_fill(past[..., None], 0.0), of_whole), 1))

        shares = of_whole.to(grid.dtype)
        found = self.found(torch.cat((even(state[-1][0]), (shares @ grid)[:, 0]), -1))
        found = torch.relu((1 + self.found_gain(known)) * found + self.found_shift(known))
        return known + torch.relu(self.read((shares @ seen)[:, 0])) + found


def _light(size: int) -> tuple[nn.Linear, nn.Linear]:
    """By what things that are seen in a light are multiplied, and what is added."""
    return nn.Linear(size, size), nn.Linear(size, size)


JOINS: dict[str, type[nn.Module]] = {"concatenated": Concatenated, "product": Product, "stacked": Stacked}
