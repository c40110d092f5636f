"""Operations of equations that torch has under other names."""

import torch
from torch import Tensor
from torch.nn import functional as F

log_sigmoid = F.logsigmoid


def normalize(value: Tensor) -> Tensor:
    """(v - mean) / sqrt(variance + 1e-5) over the units, the last axis: layer normalisation without gain and bias."""
    if torch.overrides.has_torch_function_unary(value):
        return torch.overrides.handle_torch_function(normalize, (value,), value)
    return F.layer_norm(value, value.shape[-1:])
