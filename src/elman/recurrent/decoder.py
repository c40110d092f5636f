"""Sampling of tokens one after another inside a kernel, for a language model of stacked cells."""

import ctypes

import torch
from torch import Tensor, nn

from elman.kernels.kernel import Call
from elman.recurrent.fused_weights import LEAST_ROWS, PackedWeights

NUMBERS = ("steps", "layers", "vocabulary", "residual", "greedy")
TENSORS = ("token_inputs", "head", "bias", "logits", "uniforms", "tokens")


class DecodeCall(ctypes.Structure):
    """`DecodeCall` of runtime/call.hpp, which describes the fields."""

    _fields_ = [
        *[(name, ctypes.c_int64) for name in NUMBERS],
        *[(name, ctypes.c_void_p) for name in TENSORS],
        ("temperature", ctypes.c_float),
    ]


class Decoder:
    """Embedding, layers of one cell in float32, linear head, and the sampling of the next token."""

    def __init__(self, layers: list[PackedWeights], embedding: Tensor, head: nn.Linear, residual: bool):
        """layers: the weights of each; embedding (V, I)."""
        kernel = layers[0].kernel
        self.layers, self.kernel, self.residual = layers, kernel, residual
        self.token_inputs = self._project(layers[0], embedding.detach())
        self.bias = head.bias.detach().contiguous()
        self.head = kernel.packed(head.weight, len(self.bias))

    def _project(self, weights: PackedWeights, embedding: Tensor) -> Tensor:
        """W x of every token, summed in the order of a step."""
        memory = weights.memory(len(embedding)) | {"x": embedding.contiguous()}
        call, (scratch, _) = self.kernel.call(weights.one_step(len(embedding)), memory, weights.forward)
        self.kernel.start("project_inputs", call)
        return scratch["inputs"]

    def __call__(
        self, token: Tensor, state: tuple[tuple[Tensor, ...], ...], uniforms: Tensor, temperature: float, greedy: bool
    ) -> tuple[Tensor, tuple[tuple[Tensor, ...], ...]]:
        """token (B,), the state, uniforms (n, B) in [0, 1): the next n tokens (n, B) and the state after them."""
        steps, rows = uniforms.shape
        calls, keep, states = [], [], []
        row_parts = max(1, min(torch.get_num_threads(), rows // LEAST_ROWS))
        for weights, before in zip(self.layers, state, strict=True):
            memory = weights.memory(rows)
            if keep:
                memory["x"] = keep[-1][0]["y"]  # of the layer below
            memory["state"][0] = torch.cat([value.flatten() for value in before])
            call, needed = self.kernel.call(weights.one_step(rows, row_parts), memory, weights.forward)
            calls.append(call)
            keep.append((memory, needed))
            states.append([tuple(weights.views(half, "state", rows)) for half in memory["state"]])
        tokens = torch.empty(steps + 1, rows, dtype=torch.int64)
        tokens[0] = token
        logits, uniforms = torch.empty(rows, len(self.bias)), uniforms.contiguous()
        decode = DecodeCall(
            steps=steps, layers=len(calls), vocabulary=len(self.bias), residual=int(self.residual), greedy=int(greedy),
            token_inputs=self.token_inputs.data_ptr(), head=self.head.data_ptr(), bias=self.bias.data_ptr(),
            logits=logits.data_ptr(), uniforms=uniforms.data_ptr(), tokens=tokens.data_ptr(), temperature=temperature,
        )  # fmt: skip
        self.kernel.start("decode", (Call * len(calls))(*calls), decode)
        return tokens[1:], tuple(both[steps % 2] for both in states)
