"""The training loop, the same for every task. It knows `Loss`, and nothing else of a batch."""

import math
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from elman.data.source import Batch, Source, to
from elman.errors import UserError
from elman.recurrent.state import State, flatten, over, unflatten
from elman.tasks.capabilities import Images, Measures, Previews
from elman.tasks.loss import Context
from elman.tasks.model import Model
from elman.tasks.task import Dataset, Task
from elman.training.device import Precision, find_device, find_precision
from elman.training.diagnostics import Diagnostics
from elman.training.evaluate import Evaluation, evaluate
from elman.training.interruption import Diverged, Interrupted, signals, unreadable
from elman.training.memory import FreedMemory
from elman.training.meter import Meter
from elman.training.options import TrainOptions
from elman.training.prefetch import Prefetch
from elman.training.progress import Progress
from elman.training.random_states import RandomStates
from elman.training.reporter import Reporter, Silent
from elman.training.run import Checkpoint, Run
from elman.training.schedule import Schedule, Unit
from elman.training.validation import Validation, due

BETAS = (0.9, 0.99)
ADAM = ("step", "exp_avg", "exp_avg_sq")  # its state for a parameter
DEFAULT_SPAN: tuple[Unit, float] = ("for", 300.0)
INTERVAL = 1.0  # seconds between two lines of the log
PREVIEWS = 8  # in a whole training
MEASURED = 500  # rows whose metrics are computed at the end


def train(
    task: Task, model: Model, data: Dataset, options: TrainOptions, run: Run, reporter: Reporter | None = None
) -> dict[str, Any]:
    """Trains the model and writes the run folder; resumes where the folder has a resumable state.

    Returns the summary; the model then has its best weights. Raises Interrupted, and Diverged where a loss, gradient or
    weight is not finite; no such weight is ever saved.
    """
    reporter, device = reporter or Silent(), find_device(options.device)
    precision = find_precision(options.precision, device)
    model.to(device).train()
    lr, clip = options.lr or task.lr, options.clip or task.clip
    optimizer = torch.optim.AdamW(
        model.parameters(), lr, BETAS, weight_decay=options.weight_decay, fused=device.type in ("cpu", "cuda")
    )
    # before random states are restored: these call the cell, which may draw random numbers
    backends = _backends(model)
    validation = Validation(model, data.valid, precision, reporter) if data.valid else None
    progress, state = _begin(model, optimizer, data.train, options, run, device)
    schedule, diagnostics = progress.schedule, Diagnostics(data.unigram_entropy)
    workers = data.train.workers if options.workers is None else options.workers
    prefetch = Prefetch(data.train, workers) if workers else nullcontext(data.train)
    began, before = time.perf_counter(), progress.seconds
    reporter.log(f"{backends}; {precision}; on {device}")

    def done() -> float:
        progress.seconds = before + time.perf_counter() - began
        return schedule.progress(progress.seconds, progress.epoch + progress.index / len(data.train), progress.step)

    def synchronize() -> None:
        """Reads from the device: the units, which are added to the progress, and whether a loss, gradient or weight was
        not finite, which raises Diverged."""
        meter.count_units(progress)
        step = meter.bad_step()
        if step is not None:
            raise Diverged(step, "the loss or the norm of its gradient", progress.best_step, run, lr, clip)
        if not all(torch.isfinite(weight).all() for weight in model.parameters()):
            raise Diverged(progress.step, "a weight", progress.best_step, run, lr, clip)

    def save() -> None:
        tensors = _optimizer_tensors(optimizer), flatten(state)
        run.save_resume(Checkpoint(dict(model.state_dict()), *tensors, progress, RandomStates.record()))

    def save_all() -> None:
        """Saves the resumable state, and the weights as the best where there are none."""
        synchronize()
        save()
        if progress.best_step == 0:
            run.save_model(model.state_dict(), {"step": progress.step, "val_loss": None})

    def validate() -> Evaluation | None:
        """Evaluates the validation split; saves the resumable state, and the weights where they are the best. After
        `synchronize`."""
        found = None
        if validation is not None:
            validation.choose_part(progress)
            found = evaluate(model, validation.source, precision, progress.part)
        loss = None if found is None else found.loss
        better = loss is None or (math.isfinite(loss) and (progress.best is None or loss < progress.best))
        if better:
            progress.best, progress.best_step = loss, progress.step
        progress.worse = 0 if better else progress.worse + 1
        progress.validated = {
            "step": progress.step, "epoch": progress.epoch, "seconds": progress.seconds, "units": progress.units
        }  # fmt: skip
        save()  # first: it records which weights are the best, in case the process ends before the next line
        if better:
            run.save_model(model.state_dict(), {"step": progress.step, "val_loss": loss})
        return found

    meter, memory, next_preview = Meter(task.unit, device, progress, done()), FreedMemory(), 0.0
    with prefetch as source, signals() as received, unreadable(save_all, run):
        while done() < 1.0 and not (options.patience and progress.worse >= options.patience):
            started = time.perf_counter()
            factor = schedule.factor(done(), progress.step, options.warmup)
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            for _ in range(options.accumulate):
                if progress.index == 0:
                    state = None
                requested = time.perf_counter()
                batch = source.batch(progress.epoch, progress.index)
                progress.waited += time.perf_counter() - requested
                with torch.autocast(device.type, precision.dtype, enabled=precision.dtype != torch.float32):
                    result = model(to(batch, device), state, Context(done(), progress.step))
                state = result.state
                (result.mean / options.accumulate).backward()
                meter.add(result)
                progress.index += 1
                if progress.index == len(source):
                    progress.epoch, progress.index = progress.epoch + 1, 0
            norm = torch.nn.utils.get_total_norm([w.grad for w in model.parameters() if w.grad is not None])
            if options.clip_by == "norm":
                torch.nn.utils.clip_grads_with_norm_(model.parameters(), clip, norm)
            else:
                torch.nn.utils.clip_grad_value_(model.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            progress.step += 1
            meter.update(progress.step, norm, clip)
            progress.busy += time.perf_counter() - started

            now = done()
            validates = now < 1.0 and due(progress, schedule, options)
            if validates or meter.seconds(progress) >= INTERVAL:
                synchronize()
                found = validate() if validates else None
                status = meter.read(progress, len(source), now, found, lr * factor, state)
                run.log(status.line())
                reporter.status(status)
                for line in diagnostics.check(status) if validates else ():
                    reporter.log(line)
                memory.release()
            if validates and options.preview and now >= next_preview:
                _preview(model, data, Context(now, progress.step), run, reporter)
                next_preview = now + 1 / PREVIEWS
            if received:
                save_all()
                raise Interrupted(received[0], task, run, progress.step)

        synchronize()
        found = validate() if progress.validated["step"] < progress.step else None
        progress.finished = True
        save()
        run.put_model(model)
        summary = _summary(task, model, data, validation, progress, device, precision)
        run.log(meter.read(progress, len(source), 1.0, found, 0.0).line() | {"end": True})
        run.save_summary(summary)
    return summary


def _begin(
    model: Model,
    optimizer: torch.optim.Optimizer,
    source: Source,
    options: TrainOptions,
    run: Run,
    device: torch.device,
) -> tuple[Progress, State]:
    """Progress and carried state of a new training, or of the one in the folder, whose weights, optimizer and random
    states are restored."""
    span = options.span()
    if not run.begun():
        progress = Progress(Schedule(*(span or DEFAULT_SPAN)))
        run.save_resume(Checkpoint(dict(model.state_dict()), {}, {}, progress, RandomStates.record()))
        run.save_model(model.state_dict(), {"step": 0, "val_loss": None})
        return progress, None
    saved = run.load_resume()
    progress, batches = saved.progress, len(source)
    if progress.finished and span is None and run.summary().get("steps") == progress.step:
        raise UserError(f"{run.path} is finished: train it further with `for_`, `epochs` or `steps`")
    if progress.index >= batches:
        raise UserError(
            f"{run.path}/resume/training.json: progress.index {progress.index} is beyond the {batches} batches"
        )
    run.put_model(model, "last")
    _set_optimizer_tensors(optimizer, saved.optimizer, run)
    if saved.state:
        _check_state(model, to(source.batch(progress.epoch, progress.index), device), saved.state, run)
    saved.random.restore(f"{run.path}/resume/training.json")
    if span is not None:
        epochs = progress.epoch + progress.index / batches
        reached = {"for": progress.seconds, "epochs": epochs, "steps": progress.step}[span[0]]
        progress.schedule = Schedule(*span, start=reached, start_step=progress.step)
        progress.finished, progress.worse = False, 0
    if progress.best_step == progress.step:  # the process may have ended between the two files
        run.save_model(saved.model, {"step": progress.step, "val_loss": progress.best})
    run.trim_log(progress.step)
    # copied: the alignment in memory affects how a product rounds, and a loaded tensor is aligned as in its file
    return progress, over(unflatten(saved.state), lambda value: value.to(device, copy=True))


@torch.no_grad()
def _check_state(model: Model, batch: Batch, state: dict[str, Tensor], run: Run) -> None:
    """Raises a UserError where a state is not of the shapes of the model's own. Runs the model, hence before the random
    states are restored."""
    model.eval()
    own = flatten(model.loss(batch).state)
    model.train()
    forms = [{name: (value.shape, value.is_floating_point()) for name, value in each.items()} for each in (own, state)]
    if forms[0] != forms[1]:
        raise UserError(f"{run.path}/resume/state.safetensors does not fit the model of config.json")


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of the optimizer by parameter number and name: `3.exp_avg`."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def _set_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], run: Run) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    parameters = optimizer.param_groups[0]["params"]
    numbers = set(map(str, range(len(parameters))))
    misfit = UserError(f"{run.path}/resume/optimizer.safetensors does not fit the model of config.json")
    for key, value in tensors.items():
        number, _, name = key.partition(".")
        weight = parameters[int(number)] if number in numbers else None
        shape = () if name == "step" or weight is None else weight.shape
        if weight is None or name not in ADAM or value.shape != shape or not value.is_floating_point():
            raise misfit
        state.setdefault(int(number), {})[name] = value
    if any(len(values) != len(ADAM) for values in state.values()):
        raise misfit
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _backends(model: Model) -> str:
    """The backend of each recurrent layer, and why it was chosen."""
    chosen = dict.fromkeys(f"backend {layer.choose()}" for layer in model.layers())
    return "; ".join(chosen) or "no recurrent layer"


@torch.no_grad()
def _preview(model: Model, data: Dataset, context: Context, run: Run, reporter: Reporter) -> None:
    """Reports a preview of the model; images are also written into the run folder."""
    if not isinstance(model, Previews):
        return
    batch = to((data.valid or data.train).batch(0, 0), model.device)
    model.eval()
    generator = torch.Generator().manual_seed(0)  # of its own: a preview does not change training
    preview = model.preview(replace(context, batch=batch, generator=generator))
    model.train()
    path = None
    if isinstance(preview, Images):
        path = run.save_preview(f"step-{context.step:08d}.png", preview.png())
    if preview is not None:
        reporter.preview(preview, path)


def _summary(
    task: Task, model: Model, data: Dataset, validation: Validation | None, progress: Progress, device: torch.device,
    precision: Precision,
) -> dict[str, Any]:  # fmt: skip
    """The final values: those of the best weights on the validation split, or on the part of it that
    `Validation.final_part` allows."""
    found, metrics = None, dict[str, Any]()
    if validation is not None:
        found = evaluate(model, validation.source, precision, validation.final_part(progress))
        metrics = task.measure(model, validation.source, MEASURED) if isinstance(task, Measures) else {}
    means = {} if found is None else {f"val_{name}": value for name, value in found.means.items()}
    bits = {"val_bits": found.loss / math.log(2)} if task.nats and found is not None else {}
    return {
        "val_loss": None,
        **means,
        **bits,
        "val_count": None if found is None else found.count,
        "val_metrics": metrics,
        "unit": task.unit,
        "units": progress.units,
        "units_per_s": progress.units / max(progress.busy, 1e-9),
        "waiting": progress.waited / max(progress.busy, 1e-9),
        "train_seconds": progress.seconds,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "backend": _backends(model).removeprefix("backend "),
        "device": str(device),
        "precision": str(precision),
        "steps": progress.step,
        "epochs": progress.epoch + progress.index / len(data.train),
        "best_step": progress.best_step,
    }
