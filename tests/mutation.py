"""Mutation testing by Cosmic Ray: a random sample of small changes to the source, each of which must fail a test.

    python tests/mutation.py                        300 mutants, the same each time
    python tests/mutation.py --number 20 --seed 7   20 others
    python tests/mutation.py --package decode       of one package
    python tests/mutation.py --changed main         every mutant of the lines that differ from a commit

Each mutant is tested in a copy of the repository, by the tests of its package. The exit code is 1 if one survives that
docs/mutation-testing.md does not list.
"""

import argparse
import os
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.plugins import get_operator, operator_names
from cosmic_ray.testing import run_tests
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "mutation-testing.md"
TESTS = {
    "cells": "test_cells.py",
    "kernels": "test_fused.py",
    "recurrent": "test_recurrent.py test_fused.py",
    "decode": "test_sampling.py test_search.py",
    "training": "test_train.py test_resume.py test_run.py test_optimization.py test_validation.py test_schedule.py "
    "test_divergence.py test_diagnostics.py test_prefetch.py test_readback.py",
}
TYPES = ("BitOr",)  # `X | None` is an annotation, which no test can fail on
TIMEOUT = 900.0  # seconds for the tests of one mutant; one that never ends counts as caught


def mutants(package: str) -> Iterator[MutationSpec]:
    """Every mutant of a package, in a fixed order; paths are relative to the repository."""
    names = [name for name in sorted(operator_names()) if not any(word in name for word in TYPES)]
    operators = {name: get_operator(name)() for name in names if not get_operator(name).arguments()}
    for path in sorted((ROOT / "src" / "elman" / package).rglob("*.py")):
        nodes = list(ast_nodes(get_ast_from_path(path)))
        for name, operator in operators.items():
            positions = (position for node in nodes for position in operator.mutation_positions(node))
            for occurrence, (begin, end) in enumerate(positions):
                yield MutationSpec(path.relative_to(ROOT), name, occurrence, begin, end)  # type: ignore[arg-type]


def changed(commit: str) -> Callable[[MutationSpec], bool]:
    """Whether a mutant is on a line that differs from a commit."""
    lines, file = set[tuple[str, int]](), ""
    command = ["git", "diff", "--unified=0", commit, "--", "src"]
    for line in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines():
        if line.startswith("+++ "):
            file = line.removeprefix("+++ b/")
        elif match := re.match(r"@@ .* \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(match[1]), int(match[2] or 1)
            lines |= {(file, number) for number in range(first, first + count)}
    return lambda mutant: (str(mutant.module_path), mutant.start_pos[0]) in lines


def copy(folder: Path) -> Path:
    """A copy of what the tests need."""
    for name in ("src", "tests", "examples", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def command(package: str, folder: Path) -> str:
    """The tests of a package, in a copy."""
    tests = " ".join(str(folder / "tests" / name) for name in TESTS[package].split())
    python = f"env PYTHONPATH={folder / 'src'} OMP_NUM_THREADS=1 {sys.executable}"
    return f"{python} -m pytest -q -x -p no:cacheprovider --rootdir {folder} -c {folder / 'pyproject.toml'} {tests}"


def package(mutant: MutationSpec) -> str:
    return mutant.module_path.parts[2]


def survivor(mutant: MutationSpec, folder: Path) -> str | None:
    """The changed line of a mutant that no test fails on, None for one that is caught. `folder` is a copy."""
    there = MutationSpec(folder / mutant.module_path, mutant.operator_name, mutant.occurrence, mutant.start_pos,
                         mutant.end_pos)  # type: ignore[arg-type]  # fmt: skip
    result = mutate_and_test([there], command(package(mutant), folder), TIMEOUT)
    if result.test_outcome is TestOutcome.INCOMPETENT:
        raise SystemExit(result.output)
    if result.test_outcome is not TestOutcome.SURVIVED:
        return None
    new = [line[1:].strip() for line in (result.diff or "").splitlines() if re.match(r"\+(?!\+\+)", line)]
    return f"{mutant.module_path.relative_to('src/elman')}:{mutant.start_pos[0]} `{' '.join(new)}`"


def main() -> int:
    parser = argparse.ArgumentParser(description="Mutation testing.")
    parser.add_argument("--number", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--package", choices=TESTS)
    parser.add_argument("--changed", metavar="COMMIT")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    found = [mutant for name in TESTS if given.package in (None, name) for mutant in mutants(name)]
    if given.changed:
        found = list(filter(changed(given.changed), found))
    else:
        found = random.Random(given.seed).sample(found, min(given.number, len(found)))
    listed, unlisted, caught = PAGE.read_text("utf-8"), 0, 0
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(given.processes) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for number in range(given.processes):
            copies.put(folder := copy(Path(home) / str(number)))
        for name in sorted(set(map(package, found))):  # where they fail anyway, every mutant would seem caught
            outcome, output = run_tests(command(name, folder), TIMEOUT)
            if outcome is not TestOutcome.SURVIVED:
                raise SystemExit(f"the tests of {name} fail without any mutant\n{output}")

        def run(mutant: MutationSpec) -> str | None:
            folder = copies.get()
            try:
                return survivor(mutant, folder)
            finally:
                copies.put(folder)

        for mutant, line in zip(found, pool.map(run, found), strict=True):
            caught += line is None
            known = line is not None and re.sub(r":\d+ ", " ", line) in listed
            unlisted += line is not None and not known
            print("caught" if line is None else "survived, listed" if known else "SURVIVED",
                  line or f"{mutant.module_path}:{mutant.start_pos[0]} {mutant.operator_name}", flush=True)  # fmt: skip
    print(f"{caught} of {len(found)} mutants caught")
    return int(unlisted > 0)


if __name__ == "__main__":
    sys.exit(main())
