"""The planted faults, as a test."""

import subprocess
import sys
from pathlib import Path

import pytest
from mutants import FAULTS, planted


def test_every_fault_still_has_a_place() -> None:
    for fault in FAULTS:
        planted(fault)


@pytest.mark.slow
def test_every_planted_fault_turns_a_test_red() -> None:
    done = subprocess.run([sys.executable, Path(__file__).parent / "mutants.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
