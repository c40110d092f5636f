"""Early ends of a training: a signal, a loss that is not finite, data that cannot be read."""

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from elman.errors import Stopped, Unreadable, UserError
from elman.tasks.task import Task
from elman.training.run import Run


class Interrupted(Stopped):
    """Training was stopped by a signal (Ctrl-C, SIGTERM) and is saved. `code` is the exit code for this signal."""

    def __init__(self, number: int, task: Task, run: Run, step: int):
        command = f"elman train {task.kind} --resume {shlex.quote(str(run.path))}"
        super().__init__(f"stopped at step {step} and saved; resume with: {command}")
        self.code = 128 + number


class Diverged(Stopped):
    """The loss, its gradient or a weight is not finite; the message gives the step and the weights that are kept."""

    def __init__(self, step: int, what: str, kept: int, run: Run, lr: float, clip: float):
        super().__init__(
            f"step {step}: {what} is not finite; the weights of step {kept} are kept in {run.path}. "
            f"Try a `lr` below {lr:g} or a `clip` below {clip:g}"
        )


@contextmanager
def unreadable(save: Callable[[], None], run: Run) -> Iterator[None]:
    """Saves before an error of unreadable data ends training."""
    try:
        yield
    except Unreadable as error:
        save()
        raise UserError(
            f"{error}; `skip_bad` leaves such rows out of a new run. the weights so far are kept in {run.path}"
        ) from None


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM in a list instead of stopping at once; the second stops at once."""
    received: list[int] = []

    def note(number: int, frame: Any) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread handles signals
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
