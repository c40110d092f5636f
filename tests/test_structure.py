"""The structure of the package: what the design fixes and no other tool checks."""

import ast
import functools
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import grimp
import pytest

from elman.options import choices
from elman.tasks.model import Model
from elman.tasks.task import Task, kinds

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "elman"
MODULES = sorted(SOURCE.rglob("*.py"))
FILE_LINES, FUNCTION_LINES = 350, 60
LONG_FUNCTIONS = {"training/loop.py:train"}  # one loop in one piece is easier to follow than in five
SHARED = ("cli", "inspect", "training")  # code for every kind of task
TEXT_FILES = (".py", ".hpp", ".cpp", ".html", ".css", ".js")


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def parsed(*packages: str) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the modules, of some packages where they are named, with `file:line`."""
    for path in MODULES:
        if not packages or path.relative_to(SOURCE).parts[0] in packages:
            file = name(path)
            for node in nodes(path):
                yield f"{file}:{getattr(node, 'lineno', 0)}", node


def test_no_module_imports_itself_through_others() -> None:
    graph = grimp.build_graph("elman", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) - {"elman"} for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_file_is_long() -> None:
    lengths = {name(path): len(path.read_text("utf-8").splitlines())
               for path in SOURCE.rglob("*") if path.suffix in TEXT_FILES}  # fmt: skip
    assert {file: length for file, length in lengths.items() if length > FILE_LINES} == {}


def test_no_function_is_long() -> None:
    functions = {f"{where.partition(':')[0]}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
                 for where, node in parsed() if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}  # fmt: skip
    long = {each: length for each, length in functions.items() if length > FUNCTION_LINES}
    assert {each: length for each, length in long.items() if each not in LONG_FUNCTIONS} == {}
    assert long.keys() >= LONG_FUNCTIONS, "an exception that is none any more"


def test_a_file_is_named_after_one_noun() -> None:
    assert [name(path) for path in MODULES if path.stem in ("utils", "util", "helpers", "common", "misc")] == []


def test_the_parser_of_the_command_line_is_imported_by_it_alone() -> None:
    imports = [where for where, node in parsed()
               if (isinstance(node, ast.Import) and any(each.name.startswith("cyclopts") for each in node.names))
               or (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cyclopts"))]  # fmt: skip
    assert [where for where in imports if not where.startswith("cli/")] == []


def test_configuration_is_never_captured_from_local_variables() -> None:
    calls = [(where, node.func.id) for where, node in parsed()
             if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]  # fmt: skip
    assert [where for where, function in calls if function == "locals"] == []


def test_training_knows_nothing_of_a_batch() -> None:
    keys = [f"{where}: '{node.value}'" for where, node in parsed("training")
            if isinstance(node, ast.Constant) and node.value in ("target", "nats", "tokens", "right")]  # fmt: skip
    assert keys == []


def test_a_task_defines_few_members() -> None:
    annotated = {"Options", "Spec", "Model"}
    assert annotated <= Task.__annotations__.keys()
    assert len(annotated | Task.__abstractmethods__ | Model.__abstractmethods__) <= 7


# branches on what only one task knows

CONTRACT = {
    "Task",
    "Model",
    "Generates",
    "Predicts",
    "Measures",
    "Previews",
    "GeneratesImages",
    "TableSpec",
    "SequenceSpec",
}  # the base classes
VARIANTS = ("decoder", "attention", "fusion", "pooling", "image_enters")  # options that choose a network
PLAIN_WORDS = {"none", "last", "mean", "max", "text"}  # which are compared for other reasons too


def networks() -> set[str]:
    """The names of all classes of tasks, models and networks."""
    found = (node for _, node in parsed("tasks", "nets") if isinstance(node, ast.ClassDef) and node.bases)
    return {node.name for node in found} - CONTRACT


def variants() -> set[str]:
    """The kinds of task, and the words that choose a network of one."""
    words = set(kinds())
    for task in kinds().values():
        hints = get_type_hints(task.Options, include_extras=True)
        words |= {word for option in VARIANTS for word in choices(hints.get(option))}
    return words - PLAIN_WORDS


def compared(node: ast.AST) -> Iterator[str]:
    """The words that a node compares something with."""
    sides: list[ast.AST] = []
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
    elif isinstance(node, ast.MatchValue):
        sides = [node.value]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
        sides = list(node.args)
    for side in sides:
        for part in [side, *getattr(side, "elts", [])]:
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.value


def test_shared_code_compares_with_no_kind_of_task_and_no_variant_of_one() -> None:
    words = variants()
    assert {"lm", "soft", "general"} <= words
    assert [f"{where}: '{word}'" for where, node in parsed(*SHARED) for word in compared(node) if word in words] == []


def test_shared_code_asks_for_a_capability_and_never_for_a_class_of_task_or_model() -> None:
    forbidden, found = networks(), list[str]()
    for where, node in parsed(*SHARED):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CHECKS:
            names = {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
            found += [f"{where}: {each}" for each in sorted(names & forbidden)]
    assert found == []


CHECKS = ("isinstance", "issubclass")


def test_a_layer_is_there_without_the_compiler_of_torch() -> None:
    """Its import takes a second, in every command."""
    code = "import sys, elman; elman.Recurrent(2, 2); assert 'torch._dynamo' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
