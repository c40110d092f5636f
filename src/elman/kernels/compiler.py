"""Compiles a kernel's C++ with the system's compiler, keeps it in the user's cache folder, loads it."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import torch

from elman.files import cache_folder

COMPILERS = ("g++", "clang++", "c++")
FLAGS = ("-std=c++17", "-O2", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
         "-shared", "-fPIC", "-w")  # fmt: skip
PATIENCE = 120  # seconds for one compilation

# what torch calls the processor's abilities, and how the compiler is told of them: never more than torch itself uses,
# so that a kernel in the cache runs wherever the same torch abilities are
ABILITIES = {
    "AVX2": ("-mavx2", "-mfma", "-mf16c"),
    "AVX512": ("-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl",
               "-mprefer-vector-width=512"),
}  # fmt: skip


class NoKernel(Exception):
    """There can be no kernel; the message says why, in words that follow 'refuses because'."""


def compiler() -> list[str]:
    """The command of the C++ compiler: `CXX`, or the first that is installed. Raises NoKernel."""
    try:
        given = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise NoKernel(f"CXX={os.environ['CXX']} is no command: {error}") from error
    command = given or [name for name in COMPILERS if shutil.which(name)][:1]
    if not command:
        raise NoKernel(f"there is no C++ compiler ({', '.join(COMPILERS)})")
    path = shutil.which(command[0])
    if path is None:
        raise NoKernel(f"the C++ compiler CXX={command[0]} does not exist")
    return [path, *command[1:]]


def load(text: str) -> ctypes.CDLL:
    """The compiled text, from the cache or compiled now. Raises NoKernel."""
    command = [*compiler(), *FLAGS, *_abilities()]
    made_by = Path(command[0]).stat()
    identity = (text, command, made_by.st_size, made_by.st_mtime_ns, platform.machine(), torch.__version__)
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    cache = cache_folder() / "kernels"
    with suppress(OSError):  # not there, or not loadable: it is compiled again
        for file in cache.glob(f"{key}-*.so"):
            if file.stat().st_size == int(file.stem.partition("-")[2]):  # one that was cut off would kill the process
                return ctypes.CDLL(str(file))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return _compile(command, text, cache, key)
    except OSError:  # the cache cannot be written: it is compiled for this process only
        try:
            with tempfile.TemporaryDirectory(prefix="elman-") as folder:
                return _compile(command, text, Path(folder), key)
        except OSError as error:
            raise NoKernel(f"its kernel can be written nowhere: {error}") from error


def _compile(command: list[str], text: str, cache: Path, key: str) -> ctypes.CDLL:
    """Writes aside, then renames: two processes that compile the same at once do not disturb each other. The name of
    what is kept tells its size."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as folder:
        source, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(text)
        line = [*command, str(source), "-o", str(made), *_libraries()]
        try:
            done = subprocess.run(line, capture_output=True, text=True, errors="replace", timeout=PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise NoKernel(f"{command[0]} took more than {PATIENCE} s") from error
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            told = next((part for part in said if "error" in part), said[0])
            raise NoKernel(f"{Path(command[0]).name} could not compile it: {told}")
        if not made.exists():
            raise NoKernel(f"{Path(command[0]).name} wrote no library")
        library = ctypes.CDLL(str(made))
        made.replace(cache / f"{key}-{made.stat().st_size}.so")
        return library


def _abilities() -> list[str]:
    """The compiler's flags for what torch uses of the processor."""
    flags = list(ABILITIES.get(torch.backends.cpu.get_cpu_capability(), ()))
    return flags + ["-mavx512bf16"] * ("-mavx512f" in flags and torch.cpu.get_capabilities()["avx512_bf16"])


def _libraries() -> list[str]:
    """What a kernel is linked to: torch, and the very OpenMP library that torch runs its threads with."""
    torch_folder = Path(torch.__file__).parent
    places = [torch_folder / "lib", torch_folder.parent / "torch.libs"]
    found = [str(path) for place in places for name in ("libgomp*.so*", "libiomp5*.so*") for path in place.glob(name)]
    return [f"-L{places[0]}", "-ltorch_cpu", "-lc10", *(found[:1] or ["-lgomp"])]
