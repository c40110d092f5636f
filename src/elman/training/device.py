"""Device and precision."""

from dataclasses import dataclass

import torch

from elman.errors import UserError
from elman.kernels.processor import bfloat16_hardware


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes a GPU where there is one."""
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        # Metal's recurrent kernels have been wrong too often (PyTorch issues 94691, 92615, 94754) to be taken unasked
        return accelerator if accelerator is not None and accelerator.type == "cuda" else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).cpu()  # not every device that torch can name holds data
    except (RuntimeError, AssertionError, NotImplementedError):
        usable = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
        raise UserError(f"no device '{name}' here: there is {', '.join(usable)}") from None
    return device


@dataclass(frozen=True)
class Precision:
    """The number type of the matrix products, and why it was chosen."""

    dtype: torch.dtype
    why: str

    def __str__(self) -> str:
        return f"{str(self.dtype).removeprefix('torch.')} ({self.why})"


def find_precision(name: str, device: torch.device) -> Precision:
    """The precision of that name; `auto` takes bfloat16 where the hardware has it."""
    if name != "auto":
        return Precision(getattr(torch, name), "as given")
    has = bfloat16_hardware(device)
    return Precision(torch.bfloat16, has) if has else Precision(torch.float32, "no bfloat16 hardware")
