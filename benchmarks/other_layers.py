"""The layers that those of elman are compared with: handwritten loops, torch.nn, JAX, Keras."""

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from timing import Run, Shape


class Handwritten(nn.Module):
    """A recurrence written by hand in PyTorch: the product of the input before the loop, `unbind`, one `addmm` per
    step."""

    def __init__(self, gates: int, shape: Shape, step: Callable[[Tensor, Any, Tensor, Tensor], Any]):
        super().__init__()
        rows = gates * shape.hidden
        self.step = step
        self.W = nn.Parameter(torch.randn(rows, shape.inputs) / shape.inputs**0.5)
        self.U = nn.Parameter(torch.randn(rows, shape.hidden) / shape.hidden**0.5)
        self.b, self.b_h = nn.Parameter(torch.zeros(rows)), nn.Parameter(torch.zeros(rows))

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        zero = x.new_zeros(len(x), self.U.shape[1])
        state, outputs, transposed = (zero, zero), [], self.U.t()
        for projected in F.linear(x, self.W, self.b).unbind(1):
            state = self.step(projected, state, transposed, self.b_h)
            outputs.append(state[0])
        return torch.stack(outputs, 1), None


def _lstm(projected: Tensor, state: Any, U: Tensor, _: Tensor) -> Any:
    i, f, g, o = torch.addmm(projected, state[0], U).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(projected: Tensor, state: Any, U: Tensor, b: Tensor) -> Any:
    xr, xz, xn = projected.chunk(3, -1)
    hr, hz, hn = torch.addmm(b, state[0], U).chunk(3, -1)
    z = torch.sigmoid(xz + hz)
    n = torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
    return n + z * (state[0] - n), None


def _rnn(projected: Tensor, state: Any, U: Tensor, _: Tensor) -> Any:
    return torch.tanh(torch.addmm(projected, state[0], U)), None


TORCH = {"lstm": (nn.LSTM, 4, _lstm), "gru": (nn.GRU, 3, _gru), "rnn": (nn.RNN, 1, _rnn)}


def others(cell: str, shape: Shape, dtype: torch.dtype, backward: bool) -> dict[str, Run]:
    """Keras 3 on JAX and JAX's `lax.scan`, where they are installed."""
    if cell != "lstm" or importlib.util.find_spec("jax") is None:
        return {}
    import jax
    import jax.numpy as jnp

    kind = jnp.bfloat16 if dtype == torch.bfloat16 else jnp.float32
    draw = lambda *sizes: jnp.asarray(torch.randn(*sizes).numpy() / sizes[-1] ** 0.5, kind)  # noqa: E731
    x, gradient = draw(shape.batch, shape.steps, shape.inputs), draw(shape.batch, shape.steps, shape.hidden)
    weights = draw(4 * shape.hidden, shape.inputs), draw(4 * shape.hidden, shape.hidden), draw(4 * shape.hidden)

    def scan(weights: Any, x: Any) -> Any:
        W, U, b = weights

        def step(state: Any, projected: Any) -> Any:
            i, f, g, o = jnp.split(projected + state[0] @ U.T, 4, -1)
            c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
            return (h, c), h

        zero = jnp.zeros((shape.batch, shape.hidden), kind)
        return jax.lax.scan(step, (zero, zero), jnp.swapaxes(x @ W.T + b, 0, 1))[1].swapaxes(0, 1)

    def timed(function: Any, weights: Any) -> Run:
        compiled = jax.grad(lambda w, x: (function(w, x) * gradient).sum(), (0, 1)) if backward else function
        compiled = jax.jit(compiled)
        return lambda: jax.block_until_ready(compiled(weights, x))

    found = {"jax": timed(scan, weights)}
    if importlib.util.find_spec("keras") is not None:
        os.environ["KERAS_BACKEND"] = "jax"
        import keras

        layer = keras.layers.LSTM(shape.hidden, return_sequences=True, dtype=str(kind.dtype),
                                  recurrent_initializer="glorot_uniform")  # fmt: skip
        layer.build(x.shape)
        values, fixed = [v.value for v in layer.trainable_variables], [v.value for v in layer.non_trainable_variables]
        found["keras"] = timed(lambda w, x: layer.stateless_call(w, fixed, x)[0], values)
    return found
