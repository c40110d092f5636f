"""Validation while training: when, and on how much of the split."""

from elman.data.source import Source
from elman.tasks.model import Model
from elman.training.device import Precision
from elman.training.evaluate import evaluate
from elman.training.options import TrainOptions
from elman.training.progress import Progress
from elman.training.reporter import Reporter
from elman.training.schedule import Schedule

TIMES = 20  # validations of a training
LONGEST = 60.0  # seconds between two
FRACTION = 0.1  # units evaluated for each unit trained on since the last validation: 3 to 7 % of the time
MOST = 0.09  # fraction of a timed training that is not spent on updates
LEAST = 100_000  # units evaluated at the end of the shortest training
FEW = 5  # batches from which the size of all is estimated


class Validation:
    """The validation split of a training. The part that is evaluated is limited by time.

    - units: units of an average batch, estimated from the first few
    """

    def __init__(self, model: Model, source: Source, precision: Precision, reporter: Reporter):
        self.model, self.source, self.precision, self.reporter = model, source, precision, reporter
        few = min(FEW, len(source))
        self.units = max(1, evaluate(model, source, precision, few).count) / few

    def choose_part(self, progress: Progress) -> None:
        """Sets the number of batches of a validation in proportion to the units trained on since the last one. Where
        training turns out to be faster than in its first steps, the part grows, and the best loss is reset."""
        part = self._affordable(FRACTION * (progress.units - progress.validated["units"]))
        if progress.part is None or part >= 2 * progress.part:
            progress.part, progress.best, progress.worse = part, None, 0
            self._report(part, "while training")

    def final_part(self, progress: Progress) -> int:
        """The number of batches that are evaluated at the end."""
        part = self._affordable(max(FRACTION * progress.units, LEAST))
        self._report(part, "at the end")
        return part

    def _affordable(self, units: float) -> int:
        return min(len(self.source), max(1, round(units / self.units)))

    def _report(self, part: int, when: str) -> None:
        if part < len(self.source):
            units, total = round(part * self.units), round(len(self.source) * self.units)
            self.reporter.log(f"validation {when}: the first {units:,} of about {total:,} units")


def due(progress: Progress, schedule: Schedule, options: TrainOptions) -> bool:
    """Whether to validate now. Counted in updates where the training is, so that a resumed run validates at the same
    updates as an unbroken one."""
    steps = progress.step - progress.validated["step"]
    if options.eval_every is not None:
        return steps >= options.eval_every
    if schedule.unit == "steps":
        return steps >= max(1, schedule.amount / TIMES)
    if schedule.unit == "epochs":
        return progress.epoch - progress.validated["epoch"] >= max(1, schedule.amount / TIMES)
    idle = progress.seconds - progress.busy  # slow validations are made less often
    since = progress.seconds - progress.validated["seconds"]
    return since >= min(schedule.amount / TIMES, LONGEST) and idle < MOST * progress.seconds
