"""The state of every random number generator: Python's, NumPy's, torch's on the CPU and on each GPU."""

import random
import re
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from elman.errors import UserError
from elman.options import Bound
from elman.schema import Limit

MERSENNE = 624  # words of the state of a Mersenne twister
DIGITS = "(?:[0-9a-f]{2}){0,8192}"

Word = Annotated[int, Limit(2**32 - 1), Bound("0 or more", lambda value: value >= 0)]
Position = Annotated[int, Bound(f"from 0 to {MERSENNE}", lambda value: 0 <= value <= MERSENNE)]
Words = Annotated[tuple[Word, ...], Bound(f"{MERSENNE} numbers", lambda value: len(value) == MERSENNE)]
# the position comes last, and the generator reads beyond its words where that is larger
WordsAndPosition = Annotated[
    tuple[Word, ...],
    Bound(
        f"{MERSENNE} numbers and a position", lambda value: len(value) == MERSENNE + 1 and value[MERSENNE] <= MERSENNE
    ),
]
Hexadecimal = Annotated[
    str, Bound("at most 8,192 bytes in hexadecimal digits", lambda value: bool(re.fullmatch(DIGITS, value)))
]
Devices = Annotated[tuple[Hexadecimal, ...], Bound("at most 1,024 states", lambda value: len(value) <= 1024)]


@dataclass(frozen=True)
class RandomStates:
    """The states as JSON can hold them.

    - python: version, words and position, the pending normal number, as `random.getstate` returns them
    - numpy: algorithm, words, position, whether a normal number is pending, and that number
    - torch: of the CPU, in hexadecimal digits
    - cuda: of each GPU, in hexadecimal digits
    """

    python: tuple[Literal[3], WordsAndPosition, float | None]
    numpy: tuple[Literal["MT19937"], Words, Position, Literal[0, 1], float]
    torch: Hexadecimal
    cuda: Devices

    @classmethod
    def record(cls) -> "RandomStates":
        """The states as they are."""
        gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        _, keys, *rest = np.random.get_state(legacy=True)  # noqa: NPY002 - a user's own cell may draw from it
        numpy = ("MT19937", tuple(keys.tolist()), *rest)  # type: ignore[union-attr]
        return cls(random.getstate(), numpy, _digits(torch.get_rng_state()), tuple(map(_digits, gpus)))  # type: ignore[arg-type]

    def restore(self, where: str) -> None:
        """Sets the generators to these states. `where` names their file in the error."""
        try:
            random.setstate(self.python)
            np.random.set_state(self.numpy)  # type: ignore[arg-type] # noqa: NPY002
            torch.set_rng_state(_bytes(self.torch))
            if self.cuda and torch.cuda.is_available() and len(self.cuda) == torch.cuda.device_count():
                torch.cuda.set_rng_state_all([_bytes(state) for state in self.cuda])
        except (RuntimeError, TypeError, ValueError):
            raise UserError(f"{where}: random is no state of the random number generators") from None


def _digits(state: Tensor) -> str:
    return state.numpy().tobytes().hex()


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)
