"""Nothing is read back from the device in the loop between two lines of the log, so that a GPU is never waited for."""

import traceback
from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from elman.training import loop
from elman.training.api import train
from runs import at_each_update

READS = ("tolist", "numpy", "item", "cpu", "__bool__", "__int__", "__float__", "__index__", "__array__")
CPU_ONLY = "check_bounds"  # a function, which reads lengths that are on the CPU
SIZES = {"hidden": 8, "embedding": 8, "batch_size": 4, "precision": "float32", "device": "cpu", "preview": False}
STEPS = 30
TASKS = {
    "lm": ("lm", "text.txt", {"seq_len": 8}),
    "lm with longer bptt": ("lm", "text.txt", {"seq_len": 8, "bptt": 13, "reset_probability": 0.5}),
    "lm with shorter bptt": ("lm", "text.txt", {"seq_len": 8, "bptt": 3, "layers": 2, "dropout": 0.2}),
    "classify": ("classify", "rows.csv", {"dropout": 0.2}),
    "translate": ("translate", "pairs.csv", {"dropout": 0.2}),
}


class Readbacks(TorchDispatchMode):
    """Counts reads of tensors by where they happen."""

    def __init__(self, monkeypatch):
        super().__init__()
        self.positions = Counter()
        for name in READS:
            monkeypatch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self._count()
        return function(*args, **(kwargs or {}))

    def _counted(self, read):
        def call(*arguments, **options):
            self._count()
            return read(*arguments, **options)

        return call

    def _count(self):
        frame = next((each for each in reversed(traceback.extract_stack()) if "/elman/" in each.filename), None)
        if frame is None or frame.name != CPU_ONLY:
            self.positions[f"{frame.filename}:{frame.lineno}" if frame else "elsewhere"] += 1


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "text.txt").write_text("the cat sat on a mat and saw two dogs run by, " * 20)
    words = ("one", "two", "three", "four", "five")
    (tmp_path / "rows.csv").write_text(
        "text,label\n" + "".join(f"{' '.join(words[: n % 5 + 1])} {n},{'ab'[n % 2]}\n" for n in range(60))
    )
    (tmp_path / "pairs.csv").write_text(
        "source,target\n"
        + "".join(f"{' '.join(words[: n % 5 + 1])},{' '.join(words[n % 4 :])} {n}\n" for n in range(60))
    )
    return tmp_path


@pytest.mark.parametrize("case", TASKS)
def test_nothing_is_read_back_between_two_lines_of_the_log(folder, monkeypatch, case):
    kind, name, options = TASKS[case]
    monkeypatch.setattr(loop, "INTERVAL", 1e9)
    counts, readbacks = [], Readbacks(monkeypatch)
    with readbacks, at_each_update(lambda *_: counts.append(readbacks.positions.copy())):
        train(kind, folder / name, out=folder / "run", steps=STEPS, eval_every=STEPS + 1, **SIZES, **options)
    assert len(counts) == STEPS
    assert counts[-1] - counts[1] == Counter()
    assert readbacks.positions - counts[-1] != Counter()  # the end reads, or the test sees nothing
