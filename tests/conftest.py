"""What all tests share."""

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # several tests at a time, and threads that wait for each other, only cost time
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Encoded texts go into a folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ELMAN_CACHE", str(folder))
    return folder
