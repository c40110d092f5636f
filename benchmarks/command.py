"""The command line as a subprocess."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ELMAN = [sys.executable, "-m", "elman"]
SEEDS = (0, 1, 2)


def elman(*words: str | Path) -> str:
    """Runs a command and returns its standard output."""
    return subprocess.run([*ELMAN, *map(str, words)], check=True, capture_output=True, text=True).stdout


def summary(run: Path) -> dict[str, Any]:
    """The final values of a run."""
    return json.loads((run / "summary.json").read_text())


def evaluated(run: Path, *words: str) -> dict[str, Any]:
    """The values that `elman eval` prints for a run."""
    return json.loads(elman("eval", run, "--json", *words))


def peak_anonymous(*words: str | Path) -> int:
    """The peak of RssAnon, in bytes, of a command and its worker processes together, read every 20 ms."""
    process = subprocess.Popen([*ELMAN, *map(str, words)], stdout=subprocess.DEVNULL)
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(map(_anonymous, (process.pid, *_children(process.pid)))))
        time.sleep(0.02)
    if process.wait():
        raise RuntimeError(f"{words} failed")
    return highest


def _children(process: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _anonymous(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has just ended
        return 0
    return sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon"))
