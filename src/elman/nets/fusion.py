"""Fusion of a question and an image, from which the answer is predicted.

Shapes: B rows, L positions of the grid, D features of each, T words of the question, of which a row has `lengths`; E
features of a word's embedding, Q of the recurrence's output at it; K attention hops of the whole question.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from elman.cells.tap import keep
from elman.nets.attention import Scaled, at_least_float32, layer_norm, masked_softmax, unit_variance
from elman.nets.attention_decoder import Recurrence
from elman.nets.pooling import Last
from elman.recurrent.lengths import padding_mask

HOPS = 2  # of the whole question
SCORED = 128  # features by which a word and a position are compared

Fused = tuple[Tensor, Tensor | None, Tensor | None]
"""What the answer is predicted from (B, Q); what each next word is predicted from (B, T, E), or None; the attention
weights (B, T + K, L), or None."""


class Fusion(nn.Module, ABC):
    """grid (B, L, D), words (B, T, E), outputs (B, T, Q), lengths (B,) and question (B, Q) give `Fused`."""

    @abstractmethod
    def forward(self, grid: Tensor, words: Tensor, outputs: Tensor, lengths: Tensor, question: Tensor) -> Fused:
        """See `Fusion`."""


class Concatenated(Fusion):
    """The mean of the grid beside the question, and a fully connected layer."""

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.join = nn.Linear(grid + question, question)

    def forward(self, grid: Tensor, words: Tensor, outputs: Tensor, lengths: Tensor, question: Tensor) -> Fused:
        """See `Fusion`."""
        return torch.relu(self.join(torch.cat((grid.mean(1), question), -1))), None, None


class Product(Fusion):
    """The mean of the grid and the question, brought to one size and multiplied (Antol et al. 2015)."""

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.image, self.question = nn.Linear(grid, question), nn.Linear(question, question)

    def forward(self, grid: Tensor, words: Tensor, outputs: Tensor, lengths: Tensor, question: Tensor) -> Fused:
        """See `Fusion`."""
        return torch.tanh(self.image(grid.mean(1))) * torch.tanh(self.question(question)), None, None


class Stacked(Fusion):
    """Each word of the question attends to the grid, then the question as a whole does, in two hops.

    The query of a word is its embedding and the recurrence's output at it; a second recurrence reads the words and
    their contexts (Zhu et al. 2016 do both in one). The hops of the whole question are those of stacked attention (Yang
    et al. 2016): the context is added to the query, v = u + relu(R [r; r']), r = sum_i p_i h_i, p the softmax of
    w . h_i; but positions are modulated by the question, h_i = relu((1 + G u) * V v_i + B u) (Perez et al. 2018), and
    so are the results of both, v + relu((1 + G' u) * J [s; q; q'] + B' u), with s the last state of the second
    recurrence and q = sum_i p_i v_i. u is computed from the question and the sum b of its words. Recorded as
    `attention`: a row for each word, 0 past the end, and the last two rows for the hops of the whole question.

    Two additions make it learn within minutes. Whether an object is left of another depends on the product of one word
    and the coordinates to which two others attended, a few features of many: therefore C (W b * U [x; x']) is added
    (low-rank bilinear pooling, Kim et al. 2017), with x the coordinates to which the words attended, weighted by a
    softmax over the words. And answers alone are a weak signal for attention, while a question describes the image: the
    state of the second recurrence at each word and the context of the word predict the next word, as in a caption (Xu
    et al. 2015, equation 7).
    """

    def __init__(self, grid: int, word: int, question: int, recurrence: Recurrence):
        super().__init__()
        self.attention, self.recurrent = Scaled(word + question, grid, SCORED), recurrence(word + grid)
        self.last = Last(question, 1)
        self.of_state, self.of_context = nn.Linear(question, word), nn.Linear(grid, word, bias=False)
        self.question = nn.Linear(question + word, question)
        self.positions, self.gain, self.shift = nn.Linear(grid, question), *_modulation(question)
        self.score, self.read = nn.Linear(question, HOPS, bias=False), nn.Linear(HOPS * question, question)
        self.found = nn.Linear(question + HOPS * grid, question)
        self.found_gain, self.found_shift = _modulation(question)
        self.bag = unit_variance(nn.Linear(word, question))
        self.coordinates = unit_variance(nn.Linear(HOPS * 2, question))
        self.relation = nn.Linear(question, question)
        self.role = unit_variance(nn.Linear(question, HOPS, bias=False))

    def forward(self, grid: Tensor, words: Tensor, outputs: Tensor, lengths: Tensor, question: Tensor) -> Fused:
        """See `Fusion`."""
        grid, words, outputs = grid.to(outputs.dtype), layer_norm(words), layer_norm(outputs)
        question = layer_norm(question)
        scores = self.attention.scores(torch.cat((words, outputs), -1), self.attention.keys(grid))
        of_words = at_least_float32(scores).softmax(-1)
        contexts = of_words.to(grid.dtype) @ grid
        y, _ = self.recurrent(torch.cat((words, contexts), -1), lengths=lengths)
        next_words = torch.tanh(words + self.of_state(y) + self.of_context(contexts))

        padding = padding_mask(lengths, words.shape[1])
        valid = ~padding[..., None]
        bag = layer_norm((words * valid).sum(1))
        query = layer_norm(self.question(torch.cat((question, bag), -1)))
        modulated = torch.relu((1 + self.gain(query))[:, None] * self.positions(grid) + self.shift(query)[:, None])
        of_question = at_least_float32(self.score(modulated)).softmax(1).transpose(1, 2)
        attention = torch.cat((of_words * valid, of_question), 1)
        keep("attention", attention)

        weights = of_question.to(grid.dtype)
        context = weights @ grid
        found = self.found(torch.cat((layer_norm(self.last(y, lengths)), context.flatten(1)), -1))
        found = torch.relu((1 + self.found_gain(query)) * found + self.found_shift(query))
        roles = masked_softmax(self.role(outputs).transpose(1, 2), padding[:, None]).to(grid.dtype)
        relation = self.relation(self.bag(bag) * self.coordinates((roles @ contexts[..., -2:]).flatten(1)))
        return query + torch.relu(self.read((weights @ modulated).flatten(1))) + found + relation, next_words, attention


def _modulation(size: int) -> tuple[nn.Linear, nn.Linear]:
    """The gain and the shift of a modulation by a query."""
    return nn.Linear(size, size), nn.Linear(size, size)


FUSIONS: dict[str, type[Fusion]] = {"concatenated": Concatenated, "product": Product, "stacked": Stacked}
