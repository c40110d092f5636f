"""Speed of this version against another: `python benchmarks/versions.py PATH/TO/OTHER/src`.

Both are measured in turn, in a process of its own each time: updates of a language model, sampling, and the first call
of a kernel, which compiles it.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from quality import machine

OURS = Path(__file__).parent.parent / "src"
MEASURES = {
    "training, tokens per second": "higher",
    "sampling, characters per second": "higher",
    "compiling a kernel, seconds": "lower",
}
MEASURE = """
import json, sys, tempfile, time
from pathlib import Path
import torch
import elman

text, steps, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
began = time.perf_counter()
elman.Recurrent(8, 8, "lstm", backend="fused")(torch.zeros(2, 3, 8))
compiling = time.perf_counter() - began
with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "run"
    model = elman.train("lm", text, out=run, steps=steps, hidden=256, dropout=0.1, device="cpu")
    summary = json.loads((run / "summary.json").read_text())
model.sample("", 100, seed=0)
began = time.perf_counter()
model.sample("", length, seed=0)
sampling = length / (time.perf_counter() - began)
training = summary.get("units_per_s", summary.get("tokens_per_s"))
print(json.dumps([training, sampling, compiling]))
"""


def measure(source: Path, text: Path, steps: int, length: int) -> list[float]:
    """The measures of the package in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(source), "ELMAN_CACHE": folder, "ELMAN_STATE": folder}
        command = [sys.executable, "-c", MEASURE, str(text), str(steps), str(length)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="the folder `src` of the other version")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--length", type=int, default=20_000)
    options = parser.parse_args()
    found: dict[str, list[list[float]]] = {"other": [], "this": []}
    with tempfile.TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text("".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz \n", k=500_000)))
        for _ in range(options.rounds):
            for name, source in (("other", options.other.resolve()), ("this", OURS)):
                found[name].append(measure(source, text, options.steps, options.length))
    print(f"medians (range) of {options.rounds} rounds on {machine()}\n")
    print("| measure | other | this | this / other | better |\n|---|---|---|---|---|")
    for number, (name, better) in enumerate(MEASURES.items()):
        other, this = ([values[number] for values in found[side]] for side in ("other", "this"))
        ratio = statistics.median(a / b for a, b in zip(this, other, strict=True))
        cells = [f"{statistics.median(each):,.2f} ({min(each):,.2f}-{max(each):,.2f})" for each in (other, this)]
        print(f"| {name} | {' | '.join(cells)} | **{ratio:.3f}** | {better} |")


if __name__ == "__main__":
    main()
