"""What PyTorch does with the operations of a call, where it is more than to run them."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch._C import _functorch  # type: ignore[attr-defined]
from torch.autograd import forward_ad
from torch.overrides import _pop_mode_temporarily
from torch.utils._python_dispatch import _disable_current_modes


def transform() -> str | None:
    """The transformation that a call is part of, which needs operations that it knows; None where there is none."""
    if _functorch.maybe_current_level() is not None:
        return "torch.func"
    return "forward-mode differentiation" if forward_ad._current_level >= 0 else None


def batched(tensors: Iterable[Tensor | None]) -> bool:
    """Whether one of these gradients stands for many: `is_grads_batched=True`, `jacobian(vectorize=True)`."""
    return any(_functorch.is_legacy_batchedtensor(value) for value in tensors if value is not None)


def half_autocast() -> bool:
    """Whether the CPU computes in float16."""
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16


def dispatched() -> bool:
    """Whether the operations of a call are recorded as a program (torch.compile, torch.export, torch.jit.trace,
    make_fx) or pass through a TorchDispatchMode: what is no operation of torch would be missing there."""
    return torch.compiler.is_compiling() or jit_traced() or torch._C._len_torch_dispatch_stack() > 0


def jit_traced() -> bool:
    """Whether `torch.jit.trace` records. It compares the program with a second one, made without gradients: both must
    have the same operations."""
    return torch.jit.is_tracing()  # type: ignore[attr-defined]


@contextmanager
def undispatched() -> Iterator[None]:
    """Within it, no mode of torch records what is done."""
    with ExitStack() as stack:
        while torch._C._len_torch_function_stack():
            stack.enter_context(_pop_mode_temporarily())
        stack.enter_context(_disable_current_modes())
        yield
