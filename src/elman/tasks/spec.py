"""The specification of a model: all that it is built from."""

from dataclasses import dataclass
from typing import Annotated, Any

from elman.schema import Decode
from elman.tokenizers.registry import from_json
from elman.tokenizers.tokenizer import Tokenizer

AnyTokenizer = Annotated[Tokenizer, Decode(from_json)]
"""The type of a field that holds a tokenizer of any kind."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """All that a model is built from and that its inputs and outputs are encoded with: chosen sizes, tokenizers,
    labels, columns. A subclass states each as a field of its own type; `config.json` stores it, and `elman.load` needs
    nothing else.

    - options: the options of training, those that were None included as None
    """

    options: Any
