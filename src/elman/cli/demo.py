"""`elman demo`: a network that generates text, trained in two minutes."""

import json
import random
import sys
import sysconfig
from pathlib import Path

from elman.cli.parameters import command
from elman.cli.sample import SampleOptions, write
from elman.cli.screen import Screen
from elman.decode.sampling import Sampling
from elman.errors import UserError
from elman.files import cache_folder
from elman.files import write as write_file
from elman.options import seconds
from elman.training import api

SKIPPED = {"test", "tests", "idle_test", "site-packages", "__pycache__", "lib2to3"}
SPEED = 60.0  # characters per second, which can be read along
SEED = 0


@command
def demo_(*, text: Path | None = None, for_: str = "90s", out: Path | None = None) -> None:
    """Train a character model for a minute and a half and generate text with it.

    Parameters
    ----------
    text
        Your own text; the source code of Python's standard library on this machine when not given.
    for_
        How long to train.
    out
        The run folder.
    """
    seconds(for_)
    source = text or standard_library()
    with Screen() as screen:
        model = api.train("lm", source, for_=for_, out=out, reporter=screen)
    print()
    write(model, SampleOptions(chars_per_second=SPEED), Sampling(temperature=0.8))
    summary = json.loads((model.path / "summary.json").read_bytes())
    print(f"\nThat was {summary['parameters']:,} weights after {summary['train_seconds']:.0f} seconds"
          + (f", {summary['val_bits']:.2f} bits per character." if summary.get("val_bits") else "."))  # fmt: skip
    print(f"more of it:      elman sample {model.path} --prompt 'def '")
    print("your own text:   make demo TEXT=mine.txt    or    elman train lm mine.txt --for 5m")


def standard_library() -> Path:
    """One text of the library's source, its files in an order that depends on a seed, in the cache folder."""
    root = Path(sysconfig.get_paths()["stdlib"])
    files = [path for path in sorted(root.rglob("*.py")) if not SKIPPED & set(path.relative_to(root).parts)]
    if not files:
        raise UserError(f"no source code of the standard library in {root}: pass a text, elman demo --text FILE")
    random.Random(SEED).shuffle(files)
    texts, skipped = [], 0
    for path in files:
        try:
            texts.append(path.read_text("utf-8"))
        except (UnicodeDecodeError, OSError):
            skipped += 1
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"the standard library of Python {version}: {len(texts)} files, {skipped} skipped that are not UTF-8")
    home = cache_folder() / f"python-{version}.txt"
    write_file(home, "\n".join(texts).encode())
    return home
