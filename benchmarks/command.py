"""The command line, as a user would call it."""

import subprocess
import sys
from pathlib import Path

ELMAN = [sys.executable, "-m", "elman"]
SEEDS = (0, 1, 2)


def elman(*words: str | Path) -> str:
    """Runs a command and returns what it prints."""
    return subprocess.run([*ELMAN, *map(str, words)], check=True, capture_output=True, text=True).stdout
