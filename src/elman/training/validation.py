"""How often the validation split is evaluated while training, and how much of it."""

from elman.data.source import Source
from elman.tasks.model import Model
from elman.training.device import Precision
from elman.training.evaluate import evaluate
from elman.training.options import TrainOptions
from elman.training.progress import Progress
from elman.training.reporter import Reporter
from elman.training.schedule import Schedule

TIMES = 20  # validations in a whole training
LONGEST = 60.0  # seconds between two
FRACTION = 0.1  # units evaluated for each unit trained on since the last validation: 3 to 7 % of the time
MOST = 0.09  # of a timed training that is not training
LEAST = 100_000  # units evaluated at the end of even the shortest training
FEW = 5  # batches from which the size of all is estimated


class Validation:
    """The validation split of a training, evaluated as far as the time allows.

    - units: of an average batch, estimated from the first few
    """

    def __init__(self, model: Model, source: Source, precision: Precision, reporter: Reporter):
        self.model, self.source, self.precision, self.reporter = model, source, precision, reporter
        few = min(FEW, len(source))
        self.units = max(1, evaluate(model, source, precision, few).count) / few

    def choose_part(self, progress: Progress) -> None:
        """Sets how many batches a validation takes: what the units since the last one pay for. Where training turns out
        to be faster, its first steps being slow, the part grows, and the best is searched again."""
        part = self._affordable(FRACTION * (progress.units - progress.validated["units"]))
        if progress.part is None or part >= 2 * progress.part:
            progress.part, progress.best, progress.worse = part, None, 0
            self._report(part, "while training")

    def final_part(self, progress: Progress) -> int:
        """How many batches are evaluated at the end."""
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
    """Whether it is time to validate. Counted in updates where training is, so that a resumed run validates where an
    unbroken one does."""
    steps = progress.step - progress.validated["step"]
    if options.eval_every is not None:
        return steps >= options.eval_every
    if schedule.unit == "steps":
        return steps >= max(1, schedule.amount / TIMES)
    if schedule.unit == "epochs":
        return progress.epoch - progress.validated["epoch"] >= max(1, schedule.amount / TIMES)
    idle = progress.seconds - progress.busy  # validations that turn out slow are made less often
    since = progress.seconds - progress.validated["seconds"]
    return since >= min(schedule.amount / TIMES, LONGEST) and idle < MOST * progress.seconds
