"""`Recurrent` in programs of PyTorch: every line of the table of docs/torch.md, in every backend.

`python tests/test_torch.py` writes the table.
"""

import copy
import io
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.functional import jacobian
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

from elman import Recurrent, UserError, hold, record

I, H, B, T = 3, 4, 3, 5
PAGE = Path(__file__).parent.parent / "docs" / "torch.md"
BACKENDS = ("fused", "native", "loop")
WORKS = "works"
FUNC, FORWARD = (
    {"fused": f"a kernel has no rule for {name}", "native": f"torch's kernels have no rule for {name}"}
    for name in ("torch.func", "forward-mode differentiation")
)
GRAPH_BREAK = "only the backend fused is an operator"

Make = Callable[..., Recurrent]


@dataclass(frozen=True)
class Case:
    """A use of a layer, and for each backend "works" or what the error has in it."""

    area: str
    use: str
    run: Callable[[Make], None]
    expected: dict[str, str]
    slow: bool

    @property
    def auto(self) -> str:
        """The backend that `auto` takes; empty where none works."""
        return next((name for name in BACKENDS if self.expected[name] == WORKS), "")


CASES: list[Case] = []


def case(area: str, use: str, slow: bool = False, **refusals: str) -> Callable[[Callable[[Make], None]], Any]:
    """A line of the table. refusals: by backend, what the error has in it."""

    def add(run: Callable[[Make], None]) -> None:
        CASES.append(Case(area, use, run, {name: refusals.get(name, WORKS) for name in BACKENDS}, slow))

    return add


def maker(backend: str) -> Make:
    """Makes layers for this backend, with the same weights at every call."""

    def make(cell: str = "gru", **options: Any) -> Recurrent:
        torch.manual_seed(0)
        return Recurrent(I, H, cell, backend=backend, **options)

    return make


def batch(*shape: int, **options: Any) -> Tensor:
    return torch.randn(shape or (B, T, I), generator=torch.Generator().manual_seed(1), **options)


def reference(layer: Recurrent) -> Recurrent:
    """The same layer in a Python loop."""
    twin = copy.copy(layer)  # with the same parameters: torch copies no computed weights
    twin.backend = "loop"
    return twin


def gradients(layer: nn.Module, call: Callable[[Tensor], Any] | None = None) -> list[Tensor]:
    """The output and the gradients of x and of all parameters."""
    layer.zero_grad()
    x = batch().to(next(layer.parameters()).dtype).requires_grad_()
    y = (layer if call is None else call)(x)[0]
    y.square().sum().backward()
    found = [y, x.grad, *(p.grad for p in layer.parameters() if p.requires_grad)]
    return [value.clone() for value in found if value is not None]


def agree(layer: Recurrent, call: Callable[[Tensor], Any] | None = None) -> None:
    """Outputs and gradients of the layer, called so, are those of the loop."""
    assert_close(gradients(layer, call), gradients(reference(layer)), rtol=1e-4, atol=1e-5)


def loss(layer: Recurrent) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    return lambda weights, x: functional_call(layer, weights, (x,))[0].square().sum()


def gradients_by_name(layer: Recurrent) -> dict[str, Tensor]:
    twin = reference(layer)
    twin.zero_grad()
    twin(batch())[0].square().sum().backward()
    return {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}


# transformations


@case("Transformations", "`torch.func.functional_call`")
def _(make: Make) -> None:
    layer, other = make(), make("gru", learn_initial_state=False)
    with torch.no_grad():
        for p in other.parameters():
            p.mul_(0.5)
    assert_close(functional_call(layer, dict(other.named_parameters()), (batch(),)), other(batch()))


@case("Transformations", "`torch.func.grad`", **FUNC)
def _(make: Make) -> None:
    layer = make()
    assert_close(grad(loss(layer))(dict(layer.named_parameters()), batch()), gradients_by_name(layer))


@case("Transformations", "`torch.func.vmap`", **FUNC)
def _(make: Make) -> None:
    layer = make()
    assert_close(vmap(lambda row: layer(row[None])[0][0])(batch()), reference(layer)(batch())[0])


@case("Transformations", "gradients of each row: `vmap` of `grad`", **FUNC)
def _(make: Make) -> None:
    layer = make()
    rows = vmap(grad(lambda p, row: loss(layer)(p, row[None])), (None, 0))(dict(layer.named_parameters()), batch())
    assert_close({name: g.sum(0) for name, g in rows.items()}, gradients_by_name(layer), rtol=1e-4, atol=1e-5)


@case("Transformations", "`torch.func.jvp`", **FUNC)
def _(make: Make) -> None:
    layer, x, v = make(), batch(), torch.ones(B, T, I)
    (_, of_v), g = jvp(lambda x: layer(x)[0], (x,), (v,)), torch.ones(B, T, H)
    x.requires_grad_()
    (back,) = torch.autograd.grad(reference(layer)(x)[0], x, g)
    assert_close((of_v * g).sum(), (back * v).sum())


@case("Transformations", "`torch.func.jacrev`", **FUNC)
def _(make: Make) -> None:
    layer, x = make(), batch(1, 2, I)
    assert_close(jacrev(lambda x: layer(x)[0])(x), jacobian(lambda x: reference(layer)(x)[0], x))


@case("Transformations", "forward-mode differentiation (`forward_ad`)", **FORWARD)
def _(make: Make) -> None:
    layer = make()
    with forward_ad.dual_level():
        y = layer(forward_ad.make_dual(batch(), torch.ones(B, T, I)))[0]
        assert forward_ad.unpack_dual(y).tangent.shape == y.shape


@case("Transformations", "steps of a stepper that was made outside of `vmap`", **FUNC)
def _(make: Make) -> None:
    stepper = make().stepper()
    rows = vmap(lambda row: stepper.step(row[None], stepper.begin(1))[0][0])(batch(B, I))
    assert_close(rows, stepper.step(batch(B, I), stepper.begin(B))[0])


@case("Transformations", "batches of gradients: `jacobian(vectorize=True)`")
def _(make: Make) -> None:
    layer, x = make().double(), batch(1, 2, I).double()
    assert_close(jacobian(lambda x: layer(x)[0], x, vectorize=True), jacobian(lambda x: reference(layer)(x)[0], x))


@case("Transformations", "`create_graph=True`: second derivatives, of all weights")
def _(make: Make) -> None:
    def second(layer: Recurrent) -> tuple[Any, ...]:
        leaves = [batch().double().requires_grad_(), *layer.parameters()]
        first = torch.autograd.grad(layer(leaves[0])[0].square().sum(), leaves, create_graph=True)
        return first, torch.autograd.grad(sum(g.square().sum() for g in first), leaves)

    layer = make().double()
    assert_close(second(layer), second(reference(layer)))


@case("Transformations", "`checkpoint`, `use_reentrant` True and False")
def _(make: Make) -> None:
    for reentrant in (True, False):
        layer = make()
        agree(layer, lambda x, layer=layer, r=reentrant: checkpoint(layer, x, use_reentrant=r))


@case("Transformations", "`saved_tensors_hooks`: all that is kept for the backward pass goes through them")
def _(make: Make) -> None:
    layer = make()
    with torch.autograd.graph.save_on_cpu():
        agree(layer)


# weights

NORMS: dict[str, Callable[[nn.Module, str], object]] = {
    "`parametrizations.weight_norm`": parametrizations.weight_norm,
    "`parametrizations.spectral_norm`": parametrizations.spectral_norm,
    "`parametrizations.orthogonal`": parametrizations.orthogonal,
    "`torch.nn.utils.weight_norm` (deprecated)": weight_norm,
    "`torch.nn.utils.spectral_norm` (deprecated)": spectral_norm,
}


class Halved(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def check_computed_weights(make: Make, names: list[str], compute: Callable[[nn.Module, str], object]) -> None:
    """The weights are computed at every call, and their gradients reach what they are computed from."""
    for name in names:
        layer = make().eval()
        compute(layer.cells[0], name)
        before = layer(batch())[0]
        agree(layer)
        with torch.no_grad():
            for p in layer.parameters():
                p.mul_(0.5)
                p.add_(0.1)
        assert not torch.allclose(layer(batch())[0], before)
        agree(layer)
        stepper = layer.stepper()
        assert_close(stepper.step(batch()[:, 0], stepper.begin(B))[0], layer(batch())[0][:, 0])


for use, compute in NORMS.items():
    case("Weights", use)(lambda make, c=compute: check_computed_weights(make, ["W", "U_r_z_n"], c))


@case("Weights", "`parametrize` of any weight")
def _(make: Make) -> None:
    names = [*make().cells[0].weights]
    check_computed_weights(make, names, lambda c, n: parametrize.register_parametrization(c, n, Halved()))


@case("Weights", "`prune` of any weight, and its end with `prune.remove`")
def _(make: Make) -> None:
    names = [*make().cells[0].weights]
    check_computed_weights(make, names, lambda cell, name: prune.l1_unstructured(cell, name, 0.4))
    layer = make()
    prune.l1_unstructured(layer.cells[0], "W", 0.4)
    y = layer(batch())[0]
    prune.remove(layer.cells[0], "W")
    assert_close(layer(batch())[0], y)


@case("Weights", "frozen weights (`requires_grad` False)")
def _(make: Make) -> None:
    layer = make(layers=2)
    layer.cells[0].W.requires_grad_(False)
    layer.cells[1].p_n.requires_grad_(False)
    agree(layer)
    assert layer.cells[0].W.grad is None


@case("Weights", "weights of `nn.RNN`, `nn.LSTM` and `nn.GRU`, and back")
def _(make: Make) -> None:
    for cell, kind in {"lstm": nn.LSTM, "gru": nn.GRU}.items():
        check_exchange(make, cell, kind)


def check_exchange(make: Make, cell: str, kind: Callable[..., nn.Module]) -> None:
    """The weights of torch's module give its outputs, and those of the layer give a module of the same outputs."""
    for bias in (True, False):
        torch.manual_seed(2)
        twin, back = (kind(I, H, 2, bidirectional=True, batch_first=True, bias=b) for b in (bias, True))
        layer = make(cell, layers=2, bidirectional=True)
        layer.load_torch_state_dict(twin.state_dict())
        back.load_state_dict(layer.torch_state_dict())
        for network in (layer, back):
            assert_close(network(batch())[0], twin(batch())[0], rtol=1e-4, atol=1e-5)


def test_weights_of_an_rnn_are_exchanged() -> None:
    check_exchange(maker("native"), "rnn", nn.RNN)


@case("Weights", "`state_dict`, `load_state_dict(assign=True)`, the meta device, `to_empty`")
def _(make: Make) -> None:
    layer = make(layers=2)
    with torch.device("meta"):
        assigned, filled = make(layers=2), make(layers=2)
    assert assigned.cells[0].W.is_meta
    assigned.load_state_dict(layer.state_dict(), assign=True)
    filled.to_empty(device="cpu").load_state_dict(layer.state_dict())
    for other in (assigned, filled):
        assert_close(other(batch()), layer(batch()))


@case("Weights", "`clip_grad_norm_`, optimizers with `foreach`, `parameters_to_vector`, `share_memory`")
def _(make: Make) -> None:
    layer, other = make().share_memory(), make()
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, foreach=True)
    layer(batch())[0].sum().backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 0.1, foreach=True)
    optimizer.step()
    assert not torch.allclose(layer(batch())[0], other(batch())[0])
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(layer.parameters()), other.parameters())
    assert_close(layer(batch()), other(batch()))


@case("Weights", "forward and backward hooks, of a layer and of a cell")
def _(make: Make) -> None:
    layer, called = make(), list[str]()
    layer.cells[0].register_forward_pre_hook(lambda *_: called.append("before the cell"))
    layer.cells[0].register_forward_hook(lambda *_: called.append("after the cell"))
    layer.register_forward_hook(lambda *_: called.append("after the layer"))
    layer.cells[0].register_full_backward_hook(lambda *_: called.append("gradient of the cell"))
    layer(batch().requires_grad_())[0].sum().backward()
    assert called == ["before the cell", "after the cell", "after the layer", "gradient of the cell"]


@case("Weights", "replicas of `DataParallel`")
def _(make: Make) -> None:
    layer = make(learn_initial_state=True)
    replica = replicated(layer)
    assert not [*replica.parameters()]
    assert_close(replica(batch()), layer(batch()))


def replicated(module: nn.Module) -> Any:
    """As `torch.nn.parallel.replicate` makes it."""
    replica = module._replicate_for_data_parallel()
    for name, parameter in module.named_parameters(recurse=False):
        setattr(replica, name, parameter.view_as(parameter))
    for name, child in module.named_children():
        replica._modules[name] = replicated(child)
    return replica


# numbers


@case("Numbers", "`double`")
def _(make: Make) -> None:
    layer = make().double()
    agree(layer)
    assert layer(batch().double())[0].dtype == torch.float64


@case("Numbers", "`bfloat16`")
def _(make: Make) -> None:
    layer = make().bfloat16()
    y, state = layer(batch().bfloat16())
    assert (y.dtype, state[0][0].dtype) == (torch.bfloat16, torch.bfloat16)
    assert_close(y.float(), reference(layer).float()(batch())[0], rtol=0.05, atol=0.05)


@case("Numbers", "`half` on the CPU", fused="it has no float16")
def _(make: Make) -> None:
    layer = make().half()
    assert_close(layer(batch().half())[0].float(), reference(layer).float()(batch())[0], rtol=0.01, atol=0.01)


@case("Numbers", "autocast to bfloat16")
def _(make: Make) -> None:
    layer = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, state = layer(batch())
    assert state[0][0].dtype == torch.float32
    assert_close(y.float(), reference(layer)(batch())[0], rtol=0.05, atol=0.05)


@case("Numbers", "autocast to float16 on the CPU", fused="it has no float16", native="no autocast to float16")
def _(make: Make) -> None:
    layer = make()
    with torch.autocast("cpu", dtype=torch.float16):
        y, _ = layer(batch())
    assert_close(y.float(), reference(layer)(batch())[0], rtol=0.01, atol=0.01)


@case("Numbers", "an input of another dtype", **dict.fromkeys(BACKENDS, "the weights are torch.float32"))
def _(make: Make) -> None:
    make()(batch().double())


@case("Numbers", "a state of another dtype", **dict.fromkeys(BACKENDS, "the state is torch.float32"))
def _(make: Make) -> None:
    layer = make()
    state = layer.initial(B)
    layer.double()(batch().double(), state)


@case("Numbers", "`inference_mode`, `no_grad`")
def _(make: Make) -> None:
    layer = make()
    expected = layer(batch())[0].detach()
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            assert_close(layer(batch())[0].clone(), expected)


# inputs


@case("Inputs", "a `PackedSequence`, sorted or not")
def _(make: Make) -> None:
    layer, lengths = make(layers=2, bidirectional=True), torch.tensor([2, 5, 3])
    for order, is_sorted in (([0, 1, 2], False), ([1, 2, 0], True)):
        x, own = batch()[order], lengths[order]
        packed, state = layer(pack_padded_sequence(x, own, batch_first=True, enforce_sorted=is_sorted))
        assert_close(pad_packed_sequence(packed, batch_first=True)[0], layer(x, lengths=own)[0])
        assert_close(state, layer(x, lengths=own)[1])


@case("Inputs", "`lengths` as a list")
def _(make: Make) -> None:
    layer = make()
    assert_close(layer(batch(), lengths=[2, 0, 5]), layer(batch(), lengths=torch.tensor([2, 0, 5])))


@case("Inputs", "`batch_first=False`")
def _(make: Make) -> None:
    layer, other = make(bidirectional=True), make(bidirectional=True, batch_first=False)
    (y, state), (z, same) = layer(batch(), lengths=[2, 0, 5]), other(batch().transpose(0, 1), lengths=[2, 0, 5])
    assert_close((z.transpose(0, 1), same), (y, state))


@case("Inputs", "x of any strides: transposed, expanded, every second column")
def _(make: Make) -> None:
    layer, y = make(), make()(batch())[0]
    transposed = batch().permute(2, 1, 0).contiguous().permute(2, 1, 0)
    columns = torch.stack((batch(), torch.ones(B, T, I)), -1).flatten(2)[..., ::2]
    assert_close((layer(transposed)[0], layer(columns)[0]), (y, y))
    assert_close(layer(batch()[:1].expand(B, T, I))[0][2], y[0])


@case("Inputs", "a batch of no rows, with lengths and backward")
def _(make: Make) -> None:
    layer = make(bidirectional=True)
    for lengths in (None, torch.zeros(0, dtype=torch.int64)):
        y, state = layer(batch(0, T, I).requires_grad_(), lengths=lengths)
        y.sum().backward()
        assert (y.shape, state[0][0].shape) == ((0, T, 2 * H), (0, H))
        assert not layer.cells[0].W.grad.any()


@case("Inputs", "what is no tensor", **dict.fromkeys(BACKENDS, "x must be a tensor"))
def _(make: Make) -> None:
    make()(batch().tolist())


# programs


@case("Programs", "`torch.compile(fullgraph=True)`: one operator, one graph", slow=True,
      native=GRAPH_BREAK, loop=GRAPH_BREAK)  # fmt: skip
def _(make: Make) -> None:
    torch._dynamo.reset()
    layer = make("lstm", layers=2, bidirectional=True, learn_initial_state=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    agree(layer, compiled)
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    agree(layer, compiled)
    lengths, flags = torch.tensor([2, 0, 7, 4]), batch(4, 7) > 1
    assert_close(compiled(batch(4, 7, I), None, lengths, flags), layer(batch(4, 7, I), None, lengths, flags))


@case("Programs", "`torch.compile(fullgraph=True)` with random numbers in a step", slow=True,
      native="torch has no kernel for its equation", loop=GRAPH_BREAK)  # fmt: skip
def _(make: Make) -> None:
    torch._dynamo.reset()
    layer = make("lstm", layers=2, dropout=0.2, zoneout=0.5, weight_drop=0.2, variational_dropout=0.2)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    assert not torch.equal(compiled(batch())[0], compiled(batch())[0])
    layer.eval()
    assert_close(compiled(batch()), layer(batch()))


@case("Programs", "`torch.compile`, with graph breaks where they are needed", slow=True)
def _(make: Make) -> None:
    torch._dynamo.reset()
    layer = make()
    compiled = torch.compile(layer, backend="aot_eager")
    agree(layer, compiled)


@case("Programs", "values recorded while a compiled program runs", slow=True, native="do not expose the values")
def _(make: Make) -> None:
    torch._dynamo.reset()
    layer = make()
    compiled = torch.compile(layer, backend="aot_eager")
    compiled(batch())
    with record() as values:
        compiled(batch())
    assert values["1.h"].shape == (B, T, H)


@case("Programs", "`torch.compile` of `torch.func.grad`", slow=True, **FUNC)
def _(make: Make) -> None:
    torch._dynamo.reset()
    layer = make()
    found = torch.compile(grad(loss(layer)), backend="aot_eager")(dict(layer.named_parameters()), batch())
    assert_close(found, gradients_by_name(layer))


@case("Programs", "`torch.export` with dynamic batch and length, saved, loaded and trained", slow=True,
      native="Constraints violated (T)", loop="Constraints violated (T)")  # fmt: skip
def _(make: Make) -> None:
    layer = make(layers=2, bidirectional=True)
    shapes = {"x": {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}}
    for strict in (False, True):
        file = io.BytesIO()
        torch.export.save(torch.export.export(layer, (batch(),), dynamic_shapes=shapes, strict=strict), file)
        file.seek(0)
        loaded = torch.export.load(file).module()
        assert_close(loaded(batch(2, 9, I)), layer(batch(2, 9, I)))
        assert_close(gradients(loaded), gradients(layer))


@case("Programs", "`torch.export` of one length", slow=True)
def _(make: Make) -> None:
    layer = make(layers=2)
    program = torch.export.export(layer, (batch(),), dynamic_shapes={"x": {0: torch.export.Dim("B")}})
    assert_close(program.module()(batch(7, T, I)), layer(batch(7, T, I)))


@case("Programs", "`torch.jit.trace`: the program follows the weights, and can be saved and trained")
def _(make: Make) -> None:
    layer = make(bidirectional=True)
    traced = torch.jit.trace(layer, (batch(),))
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    agree(layer, traced)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    assert_close(torch.jit.load(file)(batch(7, T, I)), layer(batch(7, T, I)))


@case("Programs", "a traced program for another number of steps", loop="Expected 5 elements in a list")
def _(make: Make) -> None:
    layer = make()
    assert_close(torch.jit.trace(layer, (batch(),))(batch(2, 9, I)), layer(batch(2, 9, I)))


@case("Programs", "a traced program with lengths", native="torch packs by the values of the lengths")
def _(make: Make) -> None:
    layer, lengths = make(), torch.tensor([2, 0, 5])
    traced = torch.jit.trace(layer, (batch(), layer.initial(B), torch.tensor([5, 4, 3])))
    assert_close(traced(batch(), layer.initial(B), lengths), layer(batch(), lengths=lengths))


@case("Programs", "a traced or exported stepper")
def _(make: Make) -> None:
    stepper, x = make().stepper(), batch(B, I)
    traced = torch.jit.trace(stepper, (x, stepper.begin(B)))
    assert_close(traced(2 * x, stepper.begin(B)), stepper(2 * x, stepper.begin(B)))


@case("Programs", "`make_fx`, `FakeTensorMode` and other dispatch modes")
def _(make: Make) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx

    layer = make()
    assert_close(make_fx(lambda x: layer(x)[0])(batch())(2 * batch()), layer(2 * batch())[0])
    with FakeTensorMode():
        fake = make()
        stepper = fake.stepper()
        assert fake(torch.zeros(2, T, I))[0].shape == (2, T, H)
        assert stepper.step(torch.zeros(2, I), stepper.begin(2))[0].shape == (2, H)


@case("Programs", "recorded or held values inside of a traced program",
      fused="a program that torch records has no recorded values", native="do not expose the values")  # fmt: skip
def _(make: Make) -> None:
    layer = make()
    with record() as values:
        torch.jit.trace(layer, (batch(),), check_trace=False)
    assert values["1.h"].shape == (B, T, H)


# copies and processes

OWN_CELL = """
from torch import sigmoid, tanh
from elman import Cell

class Own(Cell):
    gates = ("f", "n")

    def step(self, x, h):
        f = sigmoid(x.f + self.recur("f", of=h).f)
        return (f * h + (1 - f) * tanh(x.n),)
"""


def specs(folder: Path) -> Iterator[dict[str, Any]]:
    """Layers whose cells are of a file, or of a class that is made at run time."""
    (folder / "own.py").write_text(OWN_CELL)
    yield {"cell": "gru"}
    yield {"cell": f"{folder / 'own.py'}:Own", "layers": 2}
    yield {"cell": f"{folder / 'own.py'}:Own", "layers": 2, "zoneout": 0.1, "variational_dropout": 0.2}


@pytest.mark.parametrize("number", range(3))
def test_a_layer_is_copied_saved_and_pickled_with_its_weights(number: int, tmp_path: Path) -> None:
    options = [*specs(tmp_path)][number]
    layer, other = Recurrent(I, H, backend="loop", **options).eval(), Recurrent(I, H, **options)
    assert type(layer.cells[0]) is type(other.cells[-1])
    y, file = layer(batch()), io.BytesIO()
    torch.save(layer, file)
    file.seek(0)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)):
        assert_close(copied(batch()), y)
        assert type(copied.cells[0]) is type(layer.cells[0])
        with torch.no_grad():
            copied.cells[0].W.zero_()
        assert_close(layer(batch()), y)


def test_a_copy_has_the_same_class_after_its_file_has_changed(tmp_path: Path) -> None:
    options = [*specs(tmp_path)][1]
    layer = Recurrent(I, H, **options)
    (tmp_path / "own.py").write_text(OWN_CELL.replace("tanh(x.n)", "x.n"))
    assert type(copy.deepcopy(layer).cells[0]) is type(layer.cells[0])
    assert type(Recurrent(I, H, **options).cells[0]) is not type(layer.cells[0])


def test_a_layer_whose_file_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    pickled = pickle.dumps(Recurrent(I, H, **[*specs(tmp_path)][1]))
    (tmp_path / "own.py").unlink()
    with pytest.raises(UserError, match=r"own\.py does not exist"):
        pickle.loads(pickled)


def test_threads_that_start_with_the_same_new_layer_agree() -> None:
    layer, found = Recurrent(I, H, "gru"), dict[int, Tensor]()
    threads = [threading.Thread(target=lambda i=i: found.update({i: layer(batch())[0]})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert_close([*found.values()], [layer(batch())[0]] * 6, rtol=0, atol=0)


FORKED = """
import os, signal, sys, torch, elman
torch.set_num_threads(2)
x = torch.randn(64, 40, 64)
layer = elman.Recurrent(64, 64, "gru")
if sys.argv[1] == "after":
    layer(x)[0].sum().backward()
child = os.fork()
if child == 0:
    signal.alarm(60)
    layer(x)[0].sum().backward()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
layer(x)[0].sum().backward()
"""

SPAWNED = """
import pickle, sys, torch
import torch.multiprocessing as processes

def work(layer, x, queue):
    queue.put(layer(x)[0].detach().numpy())

if __name__ == "__main__":
    layer, x = pickle.load(open(sys.argv[1], "rb"))
    context = processes.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=work, args=(layer.share_memory(), x, queue))
    process.start()
    assert torch.allclose(torch.from_numpy(queue.get(timeout=100)), layer(x)[0])
    process.join()
"""


def run(folder: Path, text: str, *words: object) -> None:
    """Runs a program in a process of its own."""
    (folder / "program.py").write_text(text)
    command = [sys.executable, folder / "program.py", *words]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, env=os.environ, timeout=200)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_forked_process_runs_a_layer_of_its_parent(moment: str, tmp_path: Path) -> None:
    run(tmp_path, FORKED, moment)


@pytest.mark.slow
def test_a_spawned_process_runs_a_layer_with_a_cell_of_a_file(tmp_path: Path) -> None:
    layer = Recurrent(I, H, **[*specs(tmp_path)][2]).eval()
    (tmp_path / "layer").write_bytes(pickle.dumps((layer, batch())))
    run(tmp_path, SPAWNED, tmp_path / "layer")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork in a process with threads
def test_a_forked_process_computes_with_one_thread() -> None:
    torch.set_num_threads(2)
    try:
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os._exit(torch.get_num_threads())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    finally:
        torch.set_num_threads(1)


# the table


def outcome(each: Case, backend: str) -> str:
    """ "works", or the message of the error."""
    try:
        each.run(maker(backend))
    except AssertionError:
        raise
    except UserError as error:
        return str(error) if "\n" not in str(error) else "a UserError of more than one line"
    except Exception as error:  # of torch
        return str(error)
    return WORKS


@pytest.mark.filterwarnings("ignore")  # those of torch.jit.trace, of dynamo and of what is deprecated
@pytest.mark.parametrize("backend", [*BACKENDS, "auto"])
@pytest.mark.parametrize(
    "each", [pytest.param(each, id=each.use, marks=[pytest.mark.slow] if each.slow else []) for each in CASES]
)
def test_a_use_works_or_refuses_as_the_table_has_it(each: Case, backend: str) -> None:
    if backend != "auto":
        assert each.expected[backend] in outcome(each, backend)
    elif each.auto:
        assert outcome(each, backend) == WORKS
    else:
        assert each.expected["fused"] in outcome(each, backend)


def table() -> str:
    """The page's table."""
    lines = list[str]()
    for area, cases in groupby(CASES, lambda each: each.area):
        lines += [
            "",
            f"### {area}",
            "",
            "| use | `fused` | `native` | `loop` | `auto` takes |",
            "|---|---|---|---|---|",
        ]
        for each in cases:
            words = ["yes" if word == WORKS else f"no: {word}" for word in each.expected.values()]
            lines.append(f"| {each.use} | {' | '.join(words)} | {f'`{each.auto}`' if each.auto else 'none'} |")
    return "\n".join(lines).strip() + "\n"


MARKS = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end -->)", re.DOTALL)


def test_the_page_has_the_table_of_these_cases() -> None:
    found = MARKS.search(PAGE.read_text("utf-8"))
    assert found is not None
    assert found[0] == table(), "python tests/test_torch.py writes the table"


# more than a line of a table


def test_the_operator_passes_the_checks_of_torch() -> None:
    from elman.recurrent.fused import Fused

    layer = Recurrent(I, H, "gru")
    cell = layer.cells[0]
    text, _ = Fused().operator(cell)
    x, state = batch().requires_grad_(), [torch.zeros(B, H, requires_grad=True)]
    arguments = (text, x, [*cell.weights.values()], state, [], torch.tensor([2, 0, 5]), None, None, True, True)
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(torch.ops.elman.unroll.default, arguments, test_utils=checks)


@pytest.mark.filterwarnings("ignore")
def test_the_operator_refuses_lengths_that_x_does_not_have() -> None:
    layer = Recurrent(I, H, "gru")
    traced = torch.jit.trace(layer, (batch(), layer.initial(B), torch.tensor([5, 4, 3])), check_trace=False)
    with pytest.raises(Exception, match="lengths must be from 0 to 5, not 3 to 6"):
        traced(batch(), layer.initial(B), torch.tensor([6, 4, 3]))


@pytest.mark.filterwarnings("ignore")
def test_a_program_of_steps_that_draw_random_numbers_is_an_error() -> None:
    stepper = Recurrent(I, H, "gru", zoneout=0.5).stepper()
    with pytest.raises(UserError, match="a program of single steps has no random numbers: call eval"):
        torch.jit.trace(stepper, (batch(B, I), stepper.begin(B)))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (nn.GRU(I, H).state_dict(), r"weight_ih_l0 must be \(16, 3\), not \(12, 3\)"),
        (nn.LSTM(I, H, 2).state_dict(), "unknown weight of torch's module 'weight_ih_l1': did you mean"),
        (nn.LSTM(I, H, proj_size=2).state_dict(), "unknown weight of torch's module 'weight_hr_l0'"),
        ({}, "weight_ih_l0 must be .*, not missing"),
    ],
)
def test_weights_of_another_module_are_an_error_that_names_them(weights: dict[str, Tensor], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recurrent(I, H, "lstm").load_torch_state_dict(weights)


def test_a_cell_that_torch_does_not_have_has_no_torch_state_dict() -> None:
    with pytest.raises(UserError, match="torch has no module with the equation of the cell mgu"):
        Recurrent(I, H, "mgu").torch_state_dict()


def test_lengths_beside_a_packed_sequence_are_an_error() -> None:
    packed = pack_padded_sequence(batch(), [5, 4, 3], batch_first=True)
    with pytest.raises(UserError, match="a PackedSequence has its lengths"):
        Recurrent(I, H)(packed, lengths=[5, 4, 3])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_layer_takes_notice_of_held_units_and_of_the_mode() -> None:
    torch._dynamo.reset()
    layer = Recurrent(I, H, "gru", zoneout=0.9)
    compiled = torch.compile(layer, backend="aot_eager")
    compiled(batch())
    with hold({"1.h.2": 1.0}):
        assert (compiled(batch())[0][..., 2] == 1).all()
    layer.eval()
    assert_close(compiled(batch()), layer(batch()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "compute", [weight_norm, parametrizations.weight_norm, lambda cell, name: prune.l1_unstructured(cell, name, 0.3)]
)
def test_a_compiled_layer_computes_its_weights_at_every_call(compute: Callable[[nn.Module, str], object]) -> None:
    torch._dynamo.reset()
    layer = Recurrent(I, H, "gru")
    compute(layer.cells[0], "U_r_z_n")
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    compiled(batch())
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    agree(layer, compiled)


if __name__ == "__main__":
    PAGE.write_text(MARKS.sub(lambda _: table(), PAGE.read_text("utf-8")), "utf-8")
