"""Small models that tests build without data."""

from typing import Any

from torch import Tensor

from elman.data.source import Batch
from elman.recurrent.state import State
from elman.recurrent.token_stepper import TokenStepper
from elman.tasks.lm import LMModel, LMOptions, LMSpec
from elman.tokenizers.char import CharTokenizer


def language_model(
    vocabulary: int, embedding: int, hidden: int, cell: Any = "lstm", dropout: float = 0.0, **options: Any
) -> LMModel:
    """A language model with random weights."""
    tokenizer = CharTokenizer("".join(chr(ord("a") + number) for number in range(vocabulary)))
    chosen = LMOptions(cell=cell, **options).resolved()
    return LMModel(LMSpec(options=chosen, tokenizer=tokenizer, hidden=hidden, embedding=embedding, dropout=dropout,
                          seed_text="a"))  # fmt: skip


class RecordingStepper(TokenStepper):
    """A stepper that records its inputs, and whether its outputs have a graph. It has no blocks unless `blocks`."""

    def __init__(self, stepper: TokenStepper, blocks: bool = False):
        super().__init__()
        self.stepper, self.device, self.blocks = stepper, stepper.device, blocks
        self.prompts: list[Tensor] = []
        self.inputs: list[Tensor] = []
        self.graphs: list[bool] = []

    def begin(self, inputs: Batch) -> State:
        self.prompts.append(inputs["input"].clone())
        return self.stepper.begin(inputs)

    def step(self, x: Tensor | None, state: State) -> tuple[Tensor, State]:
        assert x is not None
        self.inputs.append(x.clone())
        logits, state = self.stepper.step(x, state)
        self.graphs.append(logits.requires_grad)
        return logits, state

    def block(
        self, token: Tensor, state: State, uniforms: Tensor, temperature: float, greedy: bool
    ) -> tuple[Tensor, State] | None:
        return self.stepper.block(token, state, uniforms, temperature, greedy) if self.blocks else None
