"""The command line, and programs, in processes that are forked from one that has imported torch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

# Importing torch takes longer than most commands: this process has imported it, and forks for each of them.
FORKING = """
import io, json, os, runpy, signal, sys, traceback, warnings
import torch._dynamo  # which an optimizer imports
import elman.cli.compare, elman.cli.demo, elman.cli.doctor, elman.cli.eval, elman.cli.inspect, elman.cli.list
import elman.cli.sample, elman.cli.train, elman.inspect.lm
from elman.cells.shipped import shipped

shipped()  # imports the cells

for line in sys.stdin:
    request = json.loads(line)
    if "wait" in request:
        print(os.waitstatus_to_exitcode(os.waitpid(request["wait"], 0)[1]), flush=True)
        continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads: none is running
        child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be inherited that Ctrl-C is ignored
        os.chdir(request["cwd"])
        os.environ |= request["env"]
        os.dup2(os.open(request["stdin"], os.O_RDONLY), 0)
        os.dup2(os.open(request["stdout"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
        os.dup2(os.open(request["stderr"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sys.stdin = io.TextIOWrapper(open(0, "rb", closefd=False))
        sys.argv, code = request["words"], 0
        try:
            if request["program"] is None:
                runpy.run_module(sys.argv[0], run_name="__main__")
            else:
                exec(compile(request["program"], sys.argv[0], "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)  # the teardown of torch takes a second
    print(child, flush=True)
"""
ENVIRONMENT = {"COLUMNS": "250", "PYTHONIOENCODING": "utf-8"}  # so that no table is cut


class Elman:
    """`elman WORDS`, in a process forked for each command."""

    def __init__(self, folder: Path):
        self.folder, self.env = folder, ENVIRONMENT | {"ELMAN_CACHE": str(folder / "cache")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", FORKING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def request(self, **values) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(values) + "\n")
        return int(self.process.stdout.readline())

    def start(self, *words, cwd, stdin=os.devnull, stdout=None, module="elman", program=None, **env) -> int:
        """Starts a command, or another module of Python, or a program; returns the id of its process."""
        files = {"stdin": stdin, "stdout": stdout or self.folder / "stdout", "stderr": self.folder / "stderr"}
        named = {name: str(path) for name, path in files.items()}
        typed = [module, *map(str, words)]
        return self.request(words=typed, program=program, cwd=str(cwd), env=self.env | env, **named)

    def end(self, process: int) -> SimpleNamespace:
        """Waits for a command that was started. `out` is what it printed where it has no standard output of its own."""
        code = self.request(wait=process)
        out, err = ((self.folder / name).read_bytes().decode() for name in ("stdout", "stderr"))
        return SimpleNamespace(code=code, out=out, err=err)

    def __call__(self, *words, **options) -> SimpleNamespace:
        return self.end(self.start(*words, **options))

    def close(self) -> None:
        """Ends the process that forks."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
