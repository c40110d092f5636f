"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # several tests at a time, and threads that wait for each other, only cost time
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Encoded texts go into a folder of the test's own; kernels are compiled once for all tests."""
    folder, kernels = tmp_path_factory.mktemp("cache"), tmp_path_factory.getbasetemp() / "kernels"
    kernels.mkdir(exist_ok=True)
    (folder / "kernels").symlink_to(kernels)
    monkeypatch.setenv("ELMAN_CACHE", str(folder))
    return folder
