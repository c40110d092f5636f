"""A language model that has read a text: what all panels of its report look at."""

import numpy as np
import torch

from elman.errors import UserError
from elman.inspect import painting
from elman.inspect.gates import places
from elman.inspect.language import guess
from elman.inspect.live import check_unit
from elman.inspect.look import Look as Look
from elman.inspect.recording import listen
from elman.tasks.lm import LM
from elman.tokenizers.tokenizer import Tokenizer
from elman.training.trained_model import Model

LEAST, TOKENS = 200, 40_000  # that are read: at least, and when nothing else is asked for


class Activations:
    """A language model that has read a text: what all panels look at."""

    def __init__(self, model: Model, look: Look):
        if not isinstance(model.task, LM):
            raise UserError(f"{model.path} is a run of '{model.task.kind}', which reads no text to look at")
        length = look.length or TOKENS
        if length < LEAST:
            raise UserError(f"--length {length} is too little to say anything of: {LEAST} or more")
        self.model, self.task, self.look, self.tokens = model, model.task, look, model.tokens
        self.train = self._train()
        source = self.task.source(model.config, "valid", look.text, None, look.unknown)
        held_out = getattr(source, "ids", None)
        if look.text is None and (held_out is None or len(held_out) < LEAST):
            look.log("the run has no held-out part, or a very short one: it is looked into on what it was trained on")
            held_out = self.train
        count = 0 if held_out is None else len(held_out)
        if held_out is None or count < LEAST:
            raise UserError(f"there are {count} tokens to look at: {LEAST} are needed")
        self.ids = held_out[:length]
        self.text, self.place = spelled(self.tokens, self.ids)
        named = [look.text] if look.text else model.config["data"]["paths"]
        self.language = look.language or guess(named, self.text)
        look.log(f"{len(self.ids):,} tokens are read, of {len(held_out):,}; as language: {self.language}")
        if not look.quiet:
            painting.log_uncovered(self.text, look.log)
        self.layer = self.task.recurrent
        states = {f"{n + 1}.{state}" for n, cell in enumerate(self.layer.cells) for state in cell.states}  # type: ignore[union-attr]
        self.gates = places(self.layer)
        self.seen = listen(self.task, self.ids, lambda place: place in states or place in self.gates)
        self.states = {place: values for place, values in self.seen.values.items() if place in states}

    def _train(self) -> np.ndarray | None:
        """The training part; without it, where the run's text is not here, another text can still be read."""
        try:
            return getattr(self.task.source(self.model.config, "train", None, None), "ids", None)
        except UserError as error:
            if self.look.text is None:
                raise
            self.look.log(f"without the run's own text there are no n-gram models to compare with: {error}")
            return None

    def by_character(self, values: np.ndarray) -> np.ndarray:
        """Values of tokens (T, ...) as those of characters (N, ...): a character has those of the token that ends
        it."""
        return values if len(self.place) == len(values) else values[self.place]

    def unit(self, unit: str) -> np.ndarray:
        """The values (N,) of one unit, `1.c.137`, at every character."""
        check_unit(self.layer, unit)
        place, _, number = unit.rpartition(".")
        seen = self.seen if place in self.seen.values else listen(self.task, self.ids, lambda name: name == place)
        return self.by_character(seen.values[place][:, int(number)])

    def untrained(self) -> dict[str, np.ndarray]:
        """The states of the same network before it was trained, on the same text."""
        with torch.random.fork_rng():
            torch.manual_seed(self.model.config["options"]["seed"])
            fresh = type(self.task)(**self.model.config["task"])
        seen = listen(fresh, self.ids, lambda place: place in self.states)
        return {place: self.by_character(values) for place, values in seen.values.items()}


def spelled(tokens: Tokenizer, ids: np.ndarray) -> tuple[str, np.ndarray]:
    """The text of the tokens, and for each of its characters (N,) the number of the token that completes it."""
    decode = tokens.decoder()
    pieces = [decode(int(token)) for token in ids]
    return "".join(pieces), np.repeat(np.arange(len(ids)), [len(piece) for piece in pieces])
