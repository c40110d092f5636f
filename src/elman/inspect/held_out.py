"""The data that a report reads: what the model was not trained on, or other data."""

from elman.data.source import Source
from elman.inspect.report_options import ReportOptions
from elman.tasks.task import Reading
from elman.training.trained_model import TrainedModel

OPTION = "`text`"  # which names the data of a run that was made elsewhere


def held_out(model: TrainedModel, options: ReportOptions) -> Source | None:
    """The data that the options name, else the validation split of the run, else its training split."""
    reading = Reading(unknown=options.unknown, log=options.log)
    if options.text is not None:
        return model.task.source(model.spec, [options.text], None, reading)
    found = model.source("valid", option=OPTION)
    if found is None:
        options.log("the run has no validation split: the report is of its training split")
        found = model.source("train", option=OPTION)
    return found
