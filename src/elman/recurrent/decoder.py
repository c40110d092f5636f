"""Tokens written one after another inside a kernel: what a language model needs beside its layers comes along."""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from elman.kernels.kernel import Call
from elman.recurrent.backend import States

NUMBERS = ("steps", "layers", "tokens", "residual", "greedy")
TENSORS = ("lookup", "head", "bias", "logits", "uniforms", "drawn")


class Text(ctypes.Structure):
    """`Text` of frame.hpp."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in NUMBERS],
        *[(name, ctypes.c_void_p) for name in TENSORS],
        ("temperature", ctypes.c_float),
    ]


class Decoder:
    """Lookup, layers of one cell in float32, linear head, and the drawing of the next token."""

    def __init__(self, layers: list[Any], lookup: Tensor, head: nn.Linear, residual: bool):
        """layers: the `Weights` of each; lookup (V, I)."""
        kernel = layers[0].kernel
        self.layers, self.kernel, self.residual = layers, kernel, residual
        self.lookup = self._shares(layers[0], lookup.detach())
        self.bias = head.bias.detach().contiguous()
        self.head = kernel.packed(head.weight, len(self.bias))

    def _shares(self, weights: Any, lookup: Tensor) -> Tensor:
        """W x of every token, added up as a step does it."""
        memory = weights.memory(len(lookup)) | {"x": lookup.contiguous()}
        call, (scratch, _) = self.kernel.call(weights.one_step(len(lookup)), memory, weights.forward)
        self.kernel.start("share", call)
        return scratch["inputs"]

    def __call__(
        self, token: Tensor, state: tuple[States, ...], uniforms: Tensor, temperature: float, greedy: bool
    ) -> tuple[Tensor, tuple[States, ...]]:
        """token (B,), the states, uniforms (n, B) in [0, 1): the next n tokens (n, B) and the states after them."""
        steps, rows = uniforms.shape
        calls, keep, states = [], [], []
        for weights, before in zip(self.layers, state, strict=True):
            memory = weights.memory(rows)
            if keep:
                memory["x"] = keep[-1][0]["y"]  # of the layer below
            memory["state"][0] = torch.stack(before)
            call, needed = self.kernel.call(weights.one_step(rows), memory, weights.forward)
            calls.append(call)
            keep.append((memory, needed))
            states.append(memory["state"])
        drawn = torch.empty(steps + 1, rows, dtype=torch.int64)
        drawn[0] = token
        logits, uniforms = torch.empty(rows, len(self.bias)), uniforms.contiguous()
        text = Text(
            steps=steps, layers=len(calls), tokens=len(self.bias), residual=int(self.residual), greedy=int(greedy),
            lookup=self.lookup.data_ptr(), head=self.head.data_ptr(), bias=self.bias.data_ptr(),
            logits=logits.data_ptr(), uniforms=uniforms.data_ptr(), drawn=drawn.data_ptr(), temperature=temperature,
        )  # fmt: skip
        self.kernel.start("decode", (Call * len(calls))(*calls), text)
        return drawn[1:], tuple(both[steps % 2].unbind() for both in states)
