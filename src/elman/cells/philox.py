"""Random numbers of a step, from a counter: the same ones in every backend, in the forward and in the backward pass.

Philox4x32-10 of Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3". The key is the seed,
the counter (unit, row, step, draw); `elman.kernels` has the same function in C++ (runtime/random.hpp).
"""

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
EVERY_STEP = 0xFFFFFFFF  # the step of numbers that are the same in the whole sequence
_WORD = 0xFFFFFFFF


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Four words of 32 bits for each counter; words are int64 from 0 to 2^32 - 1."""
    a, b, c, d = counter
    k, m = key
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # modulo 2^64: the bits of the product
        a, b, c, d = (
            (second >> 32 & _WORD) ^ b ^ k, second & _WORD, (first >> 32 & _WORD) ^ d ^ m, first & _WORD
        )  # fmt: skip
        k, m = k + KEY_INCREMENTS[0] & _WORD, m + KEY_INCREMENTS[1] & _WORD
    return a, b, c, d


def uniform(seed: int, step: int, draw: int, rows: int, units: int, device: torch.device) -> Tensor:
    """Numbers (rows, units) in [0, 1), float32, for the draw of a step; of a whole sequence the step is EVERY_STEP."""
    unit = torch.arange(units, device=device).expand(rows, units)
    row = torch.arange(rows, device=device)[:, None].expand(rows, units)
    counter = (unit, row, torch.full_like(unit, step), torch.full_like(unit, draw))
    return (philox(counter, (seed & _WORD, seed >> 32 & _WORD))[0] >> 8).float() * 2.0**-24
