"""What a model's loss gives to the training loop, and what the loop gives to the model."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from elman.data.source import Batch
from elman.recurrent.state import State


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss of one batch.

    - mean: what is back-propagated, shape ()
    - count: what it is the mean over, shape (): tokens, rows, images, frames
    - sums: sums over the batch by name, shape () each; logged, validated and shown as sum / count under their own
      names. `loss` is required: the objective without smoothing, penalties or surrogate terms. `correct` counts right
      predictions
    - state: carried to the next batch, or None
    """

    mean: Tensor
    count: Tensor
    sums: Mapping[str, Tensor]
    state: State = None


@dataclass(frozen=True)
class Context:
    """The position of a training, for what depends on it.

    - progress: from 0 to 1
    - step: updates so far
    - generator: of the random numbers of a validation or preview, on the CPU, so that they are the same each time and
      on every device, and leave those of training as they are; None in training, for torch's own
    - batch: the first batch of the validation split, for a preview
    """

    progress: float = 0.0
    step: int = 0
    generator: torch.Generator | None = None
    batch: Batch | None = None
