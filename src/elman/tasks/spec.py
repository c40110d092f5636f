"""The specification of a model: all that it is built from."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Spec:
    """All that a model is built from and that its inputs and outputs are encoded with: chosen sizes, tokenizers,
    labels, columns. A subclass states each as a field of its own type; `config.json` stores it, and `elman.load` needs
    nothing else.

    - options: the options of training, those that were None included as None
    """

    options: Any
