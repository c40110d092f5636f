"""The command line, as a user would call it."""

import subprocess
import sys
import time
from pathlib import Path

ELMAN = [sys.executable, "-m", "elman"]
SEEDS = (0, 1, 2)


def elman(*words: str | Path) -> str:
    """Runs a command and returns what it prints."""
    return subprocess.run([*ELMAN, *map(str, words)], check=True, capture_output=True, text=True).stdout


def peak_anonymous(*words: str | Path) -> int:
    """The highest RssAnon in bytes that a command and its worker processes reach together, read every 20 ms."""
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
