"""What `torch.compile` leaves to Python."""

from typing import Any

import torch
from torch import nn


@torch.compiler.disable(reason="only the backend fused is an operator; Recurrent.choose() has the reason")
def uncompiled(layer: nn.Module, *arguments: Any) -> Any:
    """`layer(*arguments)` outside of the compiled program."""
    return layer.forward(*arguments)
