"""A text and what a language model computes while it reads it, for all panels of its report."""

from typing import Any

import numpy as np
import torch

from elman.errors import UserError
from elman.inspect import painting
from elman.inspect.gates import addresses
from elman.inspect.held_out import OPTION, held_out
from elman.inspect.language import guess
from elman.inspect.live import check_unit
from elman.inspect.recording import Recording, read
from elman.inspect.report_options import ReportOptions
from elman.recurrent.layer import Recurrent
from elman.tokenizers.tokenizer import Tokenizer
from elman.training.trained_model import TrainedModel

LEAST, TOKENS = 200, 40_000  # that are read: at least, and by default


class Activations:
    """A language model that has read a text.

    - ids: (T,) the tokens; text: their N characters; token_of: (N,) the token that completes each character
    - train: the tokens of the training split, or None where it cannot be read
    - recording: the states and gates of every layer, and the predictions
    """

    def __init__(self, model: TrainedModel, options: ReportOptions):
        length = options.length or TOKENS
        if length < LEAST:
            raise UserError(f"`length` {length} is too short: {LEAST} tokens or more are needed")
        self.model, self.options, self.tokenizer = model, options, model.tokenizer
        self.network: Any = model.model
        self.train = self._train()
        ids = _ids(held_out(model, options))
        if options.text is None and len(ids) < LEAST and self.train is not None:
            options.log("the validation split is very short: the report is of the training split")
            ids = self.train
        if len(ids) < LEAST:
            raise UserError(f"the text has {len(ids)} tokens: {LEAST} are needed")
        self.ids = ids[:length]
        self.text, self.token_of = spell(self.tokenizer, self.ids)
        self.language = options.language or guess([options.text] if options.text else model.run.data_paths(), self.text)
        options.log(f"{len(self.ids):,} of {len(ids):,} tokens are read; their language is {self.language}")
        if not options.no_text:
            painting.log_uncovered(self.text, options.log)
        self.layer: Recurrent = self.network.recurrent
        states = {f"{n + 1}.{state}" for n, cell in enumerate(self.layer.cells) for state in cell.states}  # type: ignore[union-attr]
        self.gates = addresses(self.layer)
        self.recording = self.record(self.network, states | self.gates.keys())
        self.states = {address: values for address, values in self.recording.values.items() if address in states}

    def _train(self) -> np.ndarray | None:
        """The training split. Without it, where the data of the run is not here, another text can still be read."""
        try:
            return _ids(self.model.source("train", option=OPTION))
        except UserError as error:
            if self.options.text is None:
                raise
            self.options.log(f"no comparison with n-gram models, which need the training split: {error}")
            return None

    def record(self, network: Any, wanted: set[str]) -> Recording:
        """What a network computes over the text, at the wanted addresses."""
        return read(network, self.ids, lambda address: address in wanted)

    def by_character(self, values: np.ndarray) -> np.ndarray:
        """Values of tokens (T, ...) as values of characters (N, ...): a character has those of the token that completes
        it."""
        return values if len(self.token_of) == len(values) else values[self.token_of]

    def unit(self, unit: str) -> np.ndarray:
        """The values (N,) of one unit, `1.c.137`, at every character."""
        check_unit(self.layer, unit)
        address, _, number = unit.rpartition(".")
        values = self.recording.values
        if address not in values:
            values = self.record(self.network, {address}).values
        return self.by_character(values[address][:, int(number)])

    def untrained(self) -> dict[str, np.ndarray]:
        """The states (N, H) of the same network before training, on the same text."""
        with torch.random.fork_rng():
            torch.manual_seed(self.model.run.config.training["seed"])
            network = self.model.task.build(self.model.spec)
        values = self.record(network, set(self.states)).values
        return {address: self.by_character(each) for address, each in values.items()}


def spell(tokenizer: Tokenizer, ids: np.ndarray) -> tuple[str, np.ndarray]:
    """The text of tokens, and for each of its characters (N,) the index of the token that completes it."""
    decode = tokenizer.decoder()
    pieces = [decode(int(token)) for token in ids]
    return "".join(pieces), np.repeat(np.arange(len(ids)), [len(piece) for piece in pieces])


def _ids(source: Any) -> np.ndarray:
    """The tokens of a stream; none of none."""
    return np.zeros(0, np.int64) if source is None else source.ids
