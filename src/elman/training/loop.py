"""The training loop: one function, for every task."""

import math
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from elman.data.windows import IGNORED
from elman.errors import Stopped, Unreadable, UserError
from elman.recurrent.state import State, flatten, over, unflatten
from elman.tasks.task import Data, Source, Task, to
from elman.training.device import Precision, find_device, find_precision
from elman.training.diagnostics import Diagnostics, same
from elman.training.evaluate import evaluate
from elman.training.meter import Meter
from elman.training.options import TrainOptions
from elman.training.prefetch import Prefetch
from elman.training.progress import Progress
from elman.training.reporter import Reporter, Silent
from elman.training.run import Run, Training, random_states, set_random_states
from elman.training.schedule import Stretch

BETAS = (0.9, 0.99)
DEFAULT_SPAN = ("for", 300.0)
LOOKS = 20  # at the validation part, in a whole training
LONGEST = 60.0  # seconds between two looks
PART = 0.1  # tokens looked at, for each token trained on between two looks: 3 to 7 % of the time
MOST = 0.09  # of a timed training that is not training
LEAST = 100_000  # tokens looked at, at the end of even the shortest training
FEW = 5  # batches from which the size of all is told
JUDGED = 500  # rows that are judged at the end
SAMPLES, SHOWN = 8, 160  # samples in a whole training, tokens of each


class Interrupted(Stopped):
    """Training was asked to stop (Ctrl-C, SIGTERM) and is saved. `code` is the exit code that belongs to the signal."""

    def __init__(self, number: int, task: Task, run: Run, step: int):
        command = f"elman train {task.kind} --resume {shlex.quote(str(run.path))}"
        super().__init__(f"stopped at step {step} and saved; go on with: {command}")
        self.code = 128 + number


class Diverged(Stopped):
    """The loss or its gradient is not finite; the message says at which step and what is kept."""


def train(task: Task, data: Data, options: TrainOptions, run: Run, reporter: Reporter | None = None) -> dict[str, Any]:
    """Trains the task and fills the run folder; goes on from the folder's resumable state where there is one.

    Returns the summary; the task then has its best weights. Raises Interrupted and Diverged after saving.
    """
    reporter, device = reporter or Silent(), find_device(options.device)
    precision = find_precision(options.precision, device)
    task.to(device).train()
    highest, clip = options.lr or task.lr, options.clip or task.clip
    optimizer = torch.optim.AdamW(
        task.parameters(), highest, BETAS, weight_decay=options.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    progress, state = _begin(task, optimizer, len(data.train), options, run, device)
    stretch, vitals = Stretch(**progress.stretch), Diagnostics(data.floor)
    workers = data.train.workers if options.workers is None else options.workers
    source = Prefetch(data.train, workers) if workers else data.train
    began, before = time.perf_counter(), progress.seconds
    reporter.log(f"{_backends(task)}; {precision}; on {device}")

    def done() -> float:
        progress.seconds = before + time.perf_counter() - began
        return stretch.progress(progress.seconds, progress.epoch + progress.index / len(source), progress.step)

    def check() -> None:
        if not all(torch.isfinite(weight).all() for weight in task.parameters()):
            raise Diverged(_diverged("a weight", progress, highest, clip, run))

    def save() -> None:
        tensors = _optimizer_tensors(optimizer), flatten(state)
        run.save_resume(Training(dict(task.state_dict()), *tensors, asdict(progress), random_states()))

    def keep() -> None:
        """Saves everything, and weights as the best if there are none."""
        check()
        save()
        if progress.best_step == 0:
            run.save_model(task.state_dict(), {"step": progress.step, "val_loss": None})

    def look() -> dict[str, float]:
        """Takes the loss of the validation part; saves everything, and the weights as the best if they are."""
        check()
        seen = evaluate(task, data.valid, device, precision, progress.part) if data.valid else {}
        loss = seen.get("loss")
        better = loss is None or (math.isfinite(loss) and (progress.best is None or loss < progress.best))
        if better:
            progress.best, progress.best_step = loss, progress.step
        progress.worse = 0 if better else progress.worse + 1
        progress.looked = {
            "step": progress.step, "epoch": progress.epoch, "seconds": progress.seconds, "tokens": progress.tokens
        }  # fmt: skip
        save()  # first: it says whose the best weights are, should the next line not be reached
        if better:
            run.save_model(task.state_dict(), {"step": progress.step, "val_loss": loss})
        return seen

    meter, shown = Meter(task.unit, device, progress, done()), 0.0
    with _signals() as stop, _readable(keep, run):
        while done() < 1.0 and not (options.patience and progress.worse >= options.patience):
            started = time.perf_counter()
            factor = stretch.rate(done(), progress.step, options.warmup)
            for group in optimizer.param_groups:
                group["lr"] = highest * factor
            loss = torch.zeros((), device=device)
            for _ in range(options.accumulate):
                if progress.index == 0:
                    state = None
                asked = time.perf_counter()
                made = source.batch(progress.epoch, progress.index)
                progress.waited += time.perf_counter() - asked
                batch = to(made, device) | {"progress": torch.tensor(done())}
                with torch.autocast(device.type, precision.dtype, enabled=precision.dtype != torch.float32):
                    loss, state, counts = task(batch, state)
                (loss / options.accumulate).backward()
                meter.add(counts)
                progress.tokens += int(counts["tokens"])
                progress.index += 1
                if progress.index == len(source):
                    progress.epoch, progress.index = progress.epoch + 1, 0
            norm = torch.nn.utils.get_total_norm([w.grad for w in task.parameters() if w.grad is not None])
            if not torch.isfinite(norm + loss.detach()):
                progress.step += 1
                what = f"the loss ({loss.item():g}) or the norm of its gradient ({norm.item():g})"
                raise Diverged(_diverged(what, progress, highest, clip, run))
            if options.clip_by == "norm":
                torch.nn.utils.clip_grads_with_norm_(task.parameters(), clip, norm)
            else:
                torch.nn.utils.clip_grad_value_(task.parameters(), clip)
            meter.clip(norm > clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.step += 1
            progress.busy += time.perf_counter() - started

            seen, share = dict[str, float](), done()
            looks = share < 1.0 and _due(progress, stretch, options)
            if looks:
                _choose_part(progress, data.valid, reporter)
                seen = look()
            if looks or meter.seconds(progress) >= 1.0:
                status = meter.read(progress, len(source), share, seen, norm, highest * factor, same(state))
                run.log(status.line())
                reporter.status(status)
                for line in vitals.check(status) if looks else ():
                    reporter.log(line)
            if looks and options.preview and share >= shown:
                _show(task, data, reporter)
                shown = share + 1 / SAMPLES
            if stop:
                keep()
                raise Interrupted(stop[0], task, run, progress.step)

        seen = look() if progress.looked["step"] < progress.step else {}
        progress.finished = True
        save()
        run.put_model(task)
        summary = _summary(task, data, progress, device, precision, reporter)
        run.log(meter.read(progress, len(source), 1.0, seen, torch.zeros(()), 0.0).line() | {"end": True})
        run.save_summary(summary)
    return summary


def _begin(
    task: Task, optimizer: torch.optim.Optimizer, batches: int, options: TrainOptions, run: Run, device: torch.device
) -> tuple[Progress, State]:
    """A new training, or the one in the folder with all it had."""
    span = options.span()
    if not run.begun():
        progress = Progress(asdict(Stretch(*(span or DEFAULT_SPAN))))
        run.save_resume(Training(dict(task.state_dict()), {}, {}, asdict(progress), random_states()))
        run.save_model(task.state_dict(), {"step": 0, "val_loss": None})
        return progress, None
    saved = run.load_resume()
    progress = Progress(**saved.progress)
    if progress.finished and span is None and run.summary().get("steps") == progress.step:
        raise UserError(f"{run.path} is finished: say how much more with --for, --epochs or --steps")
    run.put_model(task, "last")
    _set_optimizer_tensors(optimizer, saved.optimizer, run)
    set_random_states(saved.random)
    if span is not None:
        epochs = progress.epoch + progress.index / batches
        reached = {"for": progress.seconds, "epochs": epochs, "steps": progress.step}[span[0]]
        progress.stretch = asdict(Stretch(*span, start=reached, start_step=progress.step))
        progress.finished, progress.worse = False, 0
    if progress.best_step == progress.step:  # should it have been killed between the two files
        run.save_model(saved.model, {"step": progress.step, "val_loss": progress.best})
    run.trim_log(progress.step)
    # copied: where a tensor lies in memory decides how a product rounds, and a loaded one lies as in its file
    return progress, over(unflatten(saved.state), lambda value: value.to(device, copy=True))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state by number of the parameter and name: `3.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def _set_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], run: Run) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        weight = optimizer.param_groups[0]["params"][int(number)]
        if value.dim() and value.shape != weight.shape:
            raise UserError(f"{run.path}/resume/optimizer.safetensors does not fit the model of config.json")
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _backends(task: Task) -> str:
    """What runs each recurrent layer, and why."""
    chosen = dict.fromkeys(f"backend {layer.choose()}" for layer in task.layers())
    return "; ".join(chosen) or "no recurrent layer"


def _due(progress: Progress, stretch: Stretch, options: TrainOptions) -> bool:
    """Whether it is time to look at the validation part. Counted in updates where training is, so that a run that
    went on looks where an unbroken one does."""
    steps = progress.step - progress.looked["step"]
    if options.eval_every is not None:
        return steps >= options.eval_every
    if stretch.unit == "steps":
        return steps >= max(1, stretch.amount / LOOKS)
    if stretch.unit == "epochs":
        epochs = progress.epoch - progress.looked["epoch"]
        return epochs >= max(1, stretch.amount / LOOKS)
    idle = progress.seconds - progress.busy  # looks that turn out slow are taken less often
    since = progress.seconds - progress.looked["seconds"]
    return since >= min(stretch.amount / LOOKS, LONGEST) and idle < MOST * progress.seconds


def _choose_part(progress: Progress, source: Source | None, reporter: Reporter) -> None:
    """How many batches of the validation part a look takes: what the tokens since the last look pay for. Where training
    turns out to be faster, its first steps being slow, the part grows, and the best is looked for anew."""
    if source is None:
        return
    part = _affordable(source, PART * (progress.tokens - progress.looked["tokens"]))
    if progress.part is None or part >= 2 * progress.part:
        progress.part, progress.best, progress.worse = part, None, 0
        _tell_part(part, source, "while training", reporter)


def _affordable(source: Source, tokens: float) -> int:
    """As many batches as hold about so many tokens, at least one."""
    return min(len(source), max(1, round(tokens / _size(source))))


def _size(source: Source) -> float:
    """The targets of a batch, about: those of the first few, which are short and long in their share."""
    few = [source.batch(0, index)["target"] for index in range(min(FEW, len(source)))]
    return max(1, sum(int((target != IGNORED).sum()) for target in few)) / len(few)


def _tell_part(part: int, source: Source, when: str, reporter: Reporter) -> None:
    if part < len(source):
        size = _size(source)
        tokens, all_tokens = round(part * size), round(len(source) * size)
        reporter.log(f"validation {when}: the first {tokens:,} of some {all_tokens:,} targets")


def _show(task: Task, data: Data, reporter: Reporter) -> None:
    write = task.sampler(data.config)
    if write is not None:
        task.eval()
        reporter.sample(write(SHOWN))
        task.train()


def _diverged(what: str, progress: Progress, rate: float, clip: float, run: Run) -> str:
    return (
        f"step {progress.step}: {what} is not finite; the weights of step {progress.best_step} are kept in {run.path}. "
        f"Try a --lr below {rate:g} or a --clip below {clip:g}"
    )


def _summary(
    task: Task, data: Data, progress: Progress, device: torch.device, precision: Precision, reporter: Reporter
) -> dict[str, Any]:
    """The final figures, of the best weights on the whole validation part, or on as much as takes a twentieth of the
    time that training took."""
    loss = tokens = accuracy = None
    judged: dict[str, Any] = {}
    if data.valid:
        part = _affordable(data.valid, max(PART * progress.tokens, LEAST))
        _tell_part(part, data.valid, "at the end", reporter)
        sums = evaluate(task, data.valid, device, precision, part)
        loss, tokens, accuracy = sums["loss"], int(sums["tokens"]), sums.get("accuracy")
        judged = task.judge(data.valid, data.config, JUDGED)
    return {
        "val_loss": loss,
        "val_bits": None if loss is None else loss / math.log(2),
        "val_tokens": tokens,
        "val_accuracy": accuracy,
        "val_figures": judged,
        "tokens": progress.tokens,
        "tokens_per_s": progress.tokens / max(progress.busy, 1e-9),
        "waiting": progress.waited / max(progress.busy, 1e-9),
        "train_seconds": progress.seconds,
        "parameters": sum(weight.numel() for weight in task.parameters()),
        "backend": _backends(task).removeprefix("backend "),
        "device": str(device),
        "precision": str(precision),
        "steps": progress.step,
        "epochs": progress.epoch + progress.index / len(data.train),
        "best_step": progress.best_step,
    }


@contextmanager
def _readable(keep: Callable[[], None], run: Run) -> Iterator[None]:
    """What turns out to be unreadable ends training; what was learnt is kept."""
    try:
        yield
    except Unreadable as error:
        keep()
        raise UserError(
            f"{error}; --skip-bad leaves such rows out of a new run. What was learnt is kept in {run.path}"
        ) from None


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collects Ctrl-C and SIGTERM in a list instead of stopping at once; the second stops at once."""
    came: list[int] = []

    def note(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    try:
        old = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread: signals are another's business
        yield came
        return
    try:
        yield came
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
