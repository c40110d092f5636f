"""Compiles the C++ of a kernel with the system's compiler, caches the library in the user's cache folder, loads it."""

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
TIMEOUT = 120  # seconds for one compilation

# torch's name of the processor's instruction set, and the compiler's flags for it: never more than torch itself uses,
# so that a cached kernel runs wherever torch reports the same
INSTRUCTION_SETS = {
    "AVX2": ("-mavx2", "-mfma", "-mf16c"),
    "AVX512": ("-mavx2", "-mfma", "-mf16c", "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl",
               "-mprefer-vector-width=512"),
}  # fmt: skip


class NoKernel(Exception):
    """There can be no kernel; the message is the reason, worded to follow "refuses because"."""


def compiler() -> list[str]:
    """The command of the C++ compiler: `CXX`, or the first that is installed. Raises NoKernel."""
    try:
        given = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise NoKernel(f"CXX={os.environ['CXX']} is not a command: {error}") from error
    command = given or [name for name in COMPILERS if shutil.which(name)][:1]
    if not command:
        raise NoKernel(f"there is no C++ compiler ({', '.join(COMPILERS)})")
    path = shutil.which(command[0])
    if path is None:
        raise NoKernel(f"the C++ compiler CXX={command[0]} does not exist")
    return [path, *command[1:]]


def load(text: str) -> ctypes.CDLL:
    """The compiled text, from the cache or compiled now. Raises NoKernel."""
    command = [*compiler(), *FLAGS, *_instruction_sets()]
    executable = Path(command[0]).stat()
    identity = (text, command, executable.st_size, executable.st_mtime_ns, platform.machine(), torch.__version__)
    key = hashlib.sha256(repr(identity).encode()).hexdigest()[:32]
    cache = cache_folder() / "kernels"
    with suppress(OSError):  # missing or not loadable: compiled again
        for file in cache.glob(f"{key}-*.so"):
            if file.stat().st_size == int(file.stem.partition("-")[2]):  # a truncated one would kill the process
                return ctypes.CDLL(str(file))
    try:
        cache.mkdir(parents=True, exist_ok=True)
        return _compile(command, text, cache, key)
    except OSError:  # the cache is not writable: compiled for this process only
        try:
            with tempfile.TemporaryDirectory(prefix="elman-") as folder:
                return _compile(command, text, Path(folder), key)
        except OSError as error:
            raise NoKernel(f"its kernel cannot be written anywhere: {error}") from error


def _compile(command: list[str], text: str, cache: Path, key: str) -> ctypes.CDLL:
    """Compiles into a temporary folder, then renames, so that processes may compile the same kernel at once. The name
    of the library holds its size."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as folder:
        source, made = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        source.write_text(text)
        call = [*command, str(source), "-o", str(made), *_libraries()]
        try:
            done = subprocess.run(call, capture_output=True, text=True, errors="replace", timeout=TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise NoKernel(f"{command[0]} took more than {TIMEOUT} s") from error
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            reason = next((line for line in lines if "error" in line), lines[0])
            raise NoKernel(f"{Path(command[0]).name} could not compile it: {reason}")
        if not made.exists():
            raise NoKernel(f"{Path(command[0]).name} wrote no library")
        library = ctypes.CDLL(str(made))
        made.replace(cache / f"{key}-{made.stat().st_size}.so")
        return library


def _instruction_sets() -> list[str]:
    """The compiler's flags for the instructions that torch uses."""
    flags = list(INSTRUCTION_SETS.get(torch.backends.cpu.get_cpu_capability(), ()))
    return flags + ["-mavx512bf16"] * ("-mavx512f" in flags and torch.cpu.get_capabilities()["avx512_bf16"])


def _libraries() -> list[str]:
    """What a kernel is linked with: torch, and the OpenMP library that torch itself has loaded."""
    torch_folder = Path(torch.__file__).parent
    folders = [torch_folder / "lib", torch_folder.parent / "torch.libs"]
    found = [
        str(path) for folder in folders for name in ("libgomp*.so*", "libiomp5*.so*") for path in folder.glob(name)
    ]
    return [f"-L{folders[0]}", "-ltorch_cpu", "-lc10", *(found[:1] or ["-lgomp"])]
