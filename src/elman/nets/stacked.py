"""A question and a picture joined, from which the answer is said.

Shapes: B rows, L places of the grid, D numbers at each, T words of the question, of which a row has `lengths`; E
numbers of a word alone, Q of all that was read when it was; K looks of the whole question.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import Scaled, even, shares, strong, wide
from elman.recurrent.layer import Recurrent
from elman.recurrent.lengths import padding_mask

LOOKS = 2  # of the whole question
SCORED = 128  # numbers by which a word and a place are compared

Recurrence = Callable[[int], Recurrent]  # of inputs of a size
Joined = tuple[Tensor, Tensor | None]  # what the answer is made of; and what each next word can be, or None


class Concatenated(nn.Module):
    """The mean of the grid beside the question, and a fully connected layer."""

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.join = nn.Linear(grid + question, question)

    def forward(self, grid: Tensor, words: Tensor, read: Tensor, lengths: Tensor, question: Tensor) -> Joined:
        """grid (B, L, D) and question (B, Q) give (B, Q)."""
        return torch.relu(self.join(torch.cat((grid.mean(1), question), -1))), None


class Product(nn.Module):
    """Both brought to one size, and multiplied (Antol et al. 2015)."""

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.image, self.question = nn.Linear(grid, question), nn.Linear(question, question)

    def forward(self, grid: Tensor, words: Tensor, read: Tensor, lengths: Tensor, question: Tensor) -> Joined:
        """grid (B, L, D) and question (B, Q) give (B, Q)."""
        return torch.tanh(self.image(grid.mean(1))) * torch.tanh(self.question(question)), None


class Stacked(nn.Module):
    """Each word of the question looks at the grid, then the question as a whole does, at two places.

    A word's weights are made of itself and of all that was read before it; a second recurrence reads the words and what
    each of them saw (Zhu et al. 2016 do both in one). The looks of the whole question are those of stacked attention
    (Yang et al. 2016): what is read is added to what is known, v = u + relu(R [r; r']), r = sum_i p_i h_i, p the
    softmax of w . h_i; but a place is seen in the light of the question, h_i = relu((1 + G u) * V v_i + B u) (Perez et
    al. 2018). So is what both found, v + relu((1 + G' u) * J [s; q; q'] + B' u), s being the last state of the second
    recurrence, q = sum_i p_i v_i. u is made of the question and of the sum b of its words. Recorded as `attention`: a
    row a word, 0 past the end, and in the last two rows those of the whole question.

    Two things make it learn within minutes. Whether a thing is left of another depends on one word times where two
    others looked, a few numbers of many, among which it would drown: so C (W b * U [x; x']) is added (low-rank bilinear
    pooling, Kim et al. 2017), x being where its words looked, of which each counts by a softmax over them. And a
    question says what is in the picture, while answers are few words to learn to look from: what the second recurrence
    knows after each word, and what the word saw, should tell the next, as in a caption (Xu et al. 2015, equation 7).
    """

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.attention, self.recurrent = Scaled(word + question, grid, SCORED), recurrence(word + grid)
        self.of_state, self.of_seen = nn.Linear(question, word), nn.Linear(grid, word, bias=False)
        self.question = nn.Linear(question + word, question)
        self.places, self.gain, self.shift = nn.Linear(grid, question), *_light(question)
        self.score, self.read = nn.Linear(question, LOOKS, bias=False), nn.Linear(LOOKS * question, question)
        self.found, self.found_gain, self.found_shift = nn.Linear(question + LOOKS * grid, question), *_light(question)
        self.bag, self.where = strong(nn.Linear(word, question)), strong(nn.Linear(LOOKS * 2, question))
        self.sides, self.role = nn.Linear(question, question), strong(nn.Linear(question, LOOKS, bias=False))

    def forward(self, grid: Tensor, words: Tensor, read: Tensor, lengths: Tensor, question: Tensor) -> Joined:
        """grid (B, L, D), words (B, T, E), all that was read at each (B, T, Q), lengths (B,) and question (B, Q) give
        (B, Q), and (B, T, E) for the words that are next."""
        grid, words, read, question = grid.to(read.dtype), even(words), even(read), even(question)
        scores = self.attention.scores(torch.cat((words, read), -1), self.attention.keys(grid))
        of_words = wide(scores).softmax(-1)
        saw = of_words.to(grid.dtype) @ grid
        y, state = self.recurrent(torch.cat((words, saw), -1), lengths=lengths)
        ahead = torch.tanh(words + self.of_state(y) + self.of_seen(saw))

        gone = padding_mask(lengths, words.shape[1])
        there = ~gone[..., None]
        bag = even((words * there).sum(1))
        known = even(self.question(torch.cat((question, bag), -1)))
        seen = torch.relu((1 + self.gain(known))[:, None] * self.places(grid) + self.shift(known)[:, None])
        of_whole = wide(self.score(seen)).softmax(1).transpose(1, 2)
        keep("attention", torch.cat((of_words * there, of_whole), 1))

        weights = of_whole.to(grid.dtype)
        looked = weights @ grid
        found = self.found(torch.cat((even(state[-1][0]), looked.flatten(1)), -1))
        found = torch.relu((1 + self.found_gain(known)) * found + self.found_shift(known))
        roles = shares(self.role(read).transpose(1, 2), gone[:, None]).to(grid.dtype)
        sides = self.sides(self.bag(bag) * self.where((roles @ saw[..., -2:]).flatten(1)))
        return known + torch.relu(self.read((weights @ seen).flatten(1))) + found + sides, ahead


def _light(size: int) -> tuple[nn.Linear, nn.Linear]:
    """By what things that are seen in a light are multiplied, and what is added."""
    return nn.Linear(size, size), nn.Linear(size, size)


JOINS: dict[str, type[nn.Module]] = {"concatenated": Concatenated, "product": Product, "stacked": Stacked}
