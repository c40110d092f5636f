"""Speed of the recurrence: every number that README and docs quote of it, with the command that measures it.

    python benchmarks/speed.py layers        lstm, gru, rnn against torch.nn and handwritten loops, four shapes
    python benchmarks/speed.py cells         every cell, and that of examples/, against the same cell in a Python loop
    python benchmarks/speed.py pointwise     the kernels against themselves with the products alone
    python benchmarks/speed.py sampling      one stream of characters against a loop over nn.LSTMCell
    python benchmarks/speed.py recording     one stream of 100,000 characters, every state and gate recorded
    python benchmarks/speed.py compile       the time to compile a kernel, and to load it again

`--isa avx2` or `--isa avx512` restricts torch, its products and the kernels to those instructions, as on most laptops.
All sides of a comparison are measured in one process, in turn; times are medians in milliseconds, with quartiles where
there is room. torch.nn has the better of 1 and all threads. With the extra `bench`, `layers` also measures
Keras 3 and JAX. Each command writes its table to benchmarks/results/.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from elman.cells.registry import make
from elman.cells.shipped import shipped
from elman.cells.trace import trace
from elman.decode.sampling import Sampling, sample
from elman.inspect.recording import read
from elman.kernels import kernel as kernel_module
from elman.kernels.processor import bfloat16_hardware
from elman.recurrent import fused
from elman.recurrent.layer import Recurrent
from elman.tasks.lm import LMModel, LMOptions, LMSpec
from elman.tokenizers.char import CharTokenizer
from other_layers import TORCH, Handwritten, others
from quality import clock, machine
from timing import SECONDS, THREADS, Run, Shape, in_turn, median, passes, quartiles

CAPS = {  # read when torch is loaded
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"},
    "avx512": {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
}
RESULTS = Path(__file__).parent / "results"
OWN = f"{Path(__file__).parent.parent / 'examples' / 'leaky_gru.py'}:LeakyGRU"


FIRST, LARGE = Shape(32, 64, 64, 256), Shape(64, 100, 512, 512)
SMALL, ONE = Shape(16, 32, 32, 64), Shape(1, 256, 64, 256)


# ---- the tables


def layers(dtypes: list[torch.dtype]) -> Iterator[str]:
    """The three recurrences that torch.nn has."""
    yield from ("| cell | shape | numbers | pass | fused | native | loop | handwritten loop | torch.nn (threads) "
                "| jax | keras | torch.nn / fused | handwritten / fused |", "|---" * 13 + "|")  # fmt: skip
    for dtype in dtypes:
        for shape in (FIRST, LARGE, SMALL, ONE):
            for cell in TORCH:
                for backward in (True, False):
                    yield _row_of_layers(cell, shape, dtype, backward)


def _row_of_layers(cell: str, shape: Shape, dtype: torch.dtype, backward: bool) -> str:
    theirs, gates, step = TORCH[cell]
    kind = (shape, dtype, backward)
    network = theirs(shape.inputs, shape.hidden, batch_first=True)
    runs = {name: passes(Recurrent(shape.inputs, shape.hidden, cell, backend=name), *kind)
            for name in ("fused", "native", "loop")}  # fmt: skip
    runs["handwritten"] = passes(Handwritten(gates, shape, step), *kind)
    runs |= {f"torch {threads}": passes(network, *kind, threads) for threads in sorted({1, THREADS})}
    runs |= others(cell, *kind)
    times = in_turn(runs)
    best = min((name for name in times if name.startswith("torch")), key=lambda name: median(times[name]))
    cells = [f"{quartiles(times[name])}" for name in ("fused", "native", "loop", "handwritten")]
    cells += [f"{quartiles(times[best])} ({best.split()[1]})"]
    cells += [quartiles(times[name]) if name in times else "" for name in ("jax", "keras")]
    ratios = [median(times[name]) / median(times["fused"]) for name in (best, "handwritten")]
    return (f"| {cell} | {shape} | {str(dtype)[6:]} | {'forward + backward' if backward else 'forward'} | "
            + " | ".join([*cells, *(f"**{ratio:.2f}**" for ratio in ratios)]) + " |")  # fmt: skip


def cells(dtypes: list[torch.dtype]) -> Iterator[str]:
    """Every cell: its kernel against its step in a Python loop, which also projects the input before the loop."""
    yield from ("| cell | numbers | fused | loop | loop / fused |", "|---" * 5 + "|")
    for dtype in dtypes:
        for cell in [*(name for name in shipped()), OWN]:
            runs = {name: passes(Recurrent(FIRST.inputs, FIRST.hidden, cell, backend=name), FIRST, dtype, True)
                    for name in ("fused", "loop")}  # fmt: skip
            times = in_turn(runs, SECONDS / 2)
            ratio = median(times["loop"]) / median(times["fused"])
            name = "examples/leaky_gru.py" if cell == OWN else cell
            row = [name, str(dtype)[6:], quartiles(times["fused"]), quartiles(times["loop"]), f"**{ratio:.2f}**"]
            yield f"| {' | '.join(row)} |"


def pointwise(dtypes: list[torch.dtype]) -> Iterator[str]:
    """Forward and backward of the kernel, and of one that does only its products."""
    yield from ("| cell | shape | numbers | kernel | its products alone | ratio |", "|---" * 6 + "|")
    for dtype in dtypes:
        for shape in (FIRST, LARGE):
            for cell in ("lstm", "gru", OWN):
                runs = {}
                for kind, removed in (("kernel", "^$"), ("products", r"^  (forward|backward)_\d+\(.*\n")):
                    layer = Recurrent(shape.inputs, shape.hidden, cell, backend="fused")
                    runs[kind] = passes(layer, shape, dtype, True)
                    with _without(removed):
                        runs[kind]()
                times = in_turn(runs)
                ratio = median(times["kernel"]) / median(times["products"])
                name = "examples/leaky_gru.py" if cell == OWN else cell
                both = (quartiles(times["kernel"]), quartiles(times["products"]))
                yield f"| {' | '.join([name, str(shape), str(dtype)[6:], *both, f'**{ratio:.2f}**'])} |"


@contextmanager
def _without(removed: str) -> Iterator[None]:
    """Kernels compiled in this context lack the lines that a pattern matches."""
    load = kernel_module.load
    fused._by_graph.clear()
    kernel_module.load = lambda text: load(re.sub(removed, "", text, flags=re.M))
    try:
        yield
    finally:
        kernel_module.load = load
        fused._by_graph.clear()


def language_model(vocabulary: int, embedding: int, hidden: int) -> LMModel:
    """An untrained LSTM language model."""
    tokenizer = CharTokenizer("".join(map(chr, range(32, 32 + vocabulary))))
    spec = LMSpec(options=LMOptions(), tokenizer=tokenizer, hidden=hidden, embedding=embedding, dropout=0.0,
                  seed_text=" ")  # fmt: skip
    return LMModel(spec).eval()


def sampling(dtypes: list[torch.dtype]) -> Iterator[str]:
    """One stream of characters, one layer of 256, float32."""
    count, vocabulary, hidden = 1000, 65, 256
    model = language_model(vocabulary, 64, hidden)
    cell, head = nn.LSTMCell(64, hidden), nn.Linear(hidden, vocabulary)
    table = torch.randn(vocabulary, 64)
    stepper, generator = model.stepper(), torch.Generator()

    def ours() -> None:
        torch.set_num_threads(THREADS)
        list(sample(stepper, [0], count, Sampling(), generator))

    def theirs(threads: int) -> Run:
        @torch.inference_mode()
        def generate() -> None:
            torch.set_num_threads(threads)
            token, h, c = torch.zeros(1, dtype=torch.int64), torch.zeros(1, hidden), torch.zeros(1, hidden)
            for _ in range(count):
                h, c = cell(table.index_select(0, token), (h, c))
                token = torch.multinomial(head(h).softmax(-1), 1)[0]

        return generate

    runs = {"elman": ours} | {f"nn.LSTMCell, {n} threads": theirs(n) for n in sorted({1, THREADS})}
    times = in_turn(runs)
    best = min(list(times)[1:], key=lambda name: median(times[name]))
    yield from ("| what | microseconds per character |", "|---|---|")
    yield from (f"| {name} | {quartiles([each * 1e3 / count for each in times[name]])} |" for name in times)
    yield from ("", f"nn.LSTMCell at its best over elman: **{median(times[best]) / median(times['elman']):.2f}**")


def recording(dtypes: list[torch.dtype]) -> Iterator[str]:
    """The first step of `elman inspect`: one stream of 100,000 characters, one layer of 512, float32."""
    steps, vocabulary, hidden = 100_000, 90, 512
    model, ids = language_model(vocabulary, 64, hidden), torch.randint(vocabulary, (steps,)).numpy()
    addresses = read(model, ids[:2000]).values  # the kernel is compiled
    times = [clock(lambda: read(model, ids)) for _ in range(3)]
    yield from ("| what | seconds |", "|---|---|")
    taken = f"{median(times):.1f} ({min(times):.1f}-{max(times):.1f})"
    yield f"| {steps:,} steps, {', '.join(addresses)} of {hidden} units each | {taken} |"


LOADING = """
import sys, time, torch
from elman.cells.registry import make
from elman.cells.trace import trace
from elman.kernels.kernel import Kernel
graph = trace(make(sys.argv[1], 2, 2))
torch.cpu.get_capabilities()
began = time.perf_counter()
Kernel(graph, getattr(torch, sys.argv[2]))
print(time.perf_counter() - began)
"""


def compile_(dtypes: list[torch.dtype]) -> Iterator[str]:
    """Each in a process of its own: the first compiles, the others load from the cache."""
    yield from ("| cell | operations | numbers | compile, s | load, ms |", "|---" * 5 + "|")
    for dtype in dtypes:
        for cell in [*shipped(), OWN]:
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-c", LOADING, cell, str(dtype)[6:]]
                cold, *warm = (
                    float(subprocess.run(command, env=os.environ | {"ELMAN_CACHE": folder}, check=True,
                                         capture_output=True, text=True).stdout) for _ in range(4)
                )  # fmt: skip
            name = "examples/leaky_gru.py" if cell == OWN else cell
            count = len(trace(make(cell, 2, 2)).ops)
            yield f"| {name} | {count} | {str(dtype)[6:]} | {cold:.2f} | {median(warm) * 1e3:.0f} |"


def main() -> None:
    tables = {"layers": layers, "cells": cells, "pointwise": pointwise, "sampling": sampling,
              "recording": recording, "compile": compile_}  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=tables)
    parser.add_argument("--isa", choices=CAPS, help="restrict to these instructions")
    parser.add_argument("--numbers", choices=("bfloat16", "float32"), help="this dtype alone")
    options = parser.parse_args()
    if options.isa and os.environ.get("ATEN_CPU_CAPABILITY") != options.isa:
        sys.exit(subprocess.run([sys.executable, *sys.argv], env=os.environ | CAPS[options.isa]).returncode)
    numbers = ["bfloat16"] * bool(bfloat16_hardware(torch.device("cpu"))) + ["float32"]
    dtypes = [getattr(torch, name) for name in numbers if options.numbers in (None, name)]
    name = f"speed-{options.what}" + (f"-{options.isa}" if options.isa else "")
    lines = [f"# {name}", "", f"`python benchmarks/speed.py {' '.join(sys.argv[1:])}` on {machine()}, "
             f"{torch.backends.cpu.get_cpu_capability()}; medians (quartiles), in ms unless noted", ""]  # fmt: skip
    print("\n".join(lines))
    for line in tables[options.what](dtypes):
        print(line, flush=True)
        lines.append(line)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
