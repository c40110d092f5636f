"""The data that a report reads: what the model was not trained on, or other data."""

from elman.data.source import Source
from elman.errors import UserError
from elman.inspect.report_options import ReportOptions
from elman.tasks.task import Reading
from elman.training.trained_model import TrainedModel


def held_out(model: TrainedModel, options: ReportOptions) -> Source | None:
    """The data that the options name, else the validation split of the run, else its training split."""
    reading = Reading(unknown=options.unknown, log=options.log)
    if options.text is not None:
        return model.task.source(model.spec, [options.text], None, reading)
    found = split(model, "valid", options)
    if found is None:
        options.log("the run has no validation split: the report is of its training split")
        found = split(model, "train", options)
    return found


def split(model: TrainedModel, name: str, options: ReportOptions) -> Source | None:
    """A split of the data that the run was trained on; data that has changed since is a UserError."""
    paths = model.run.data_paths("`text`")
    found = model.task.source(model.spec, paths, name)
    if found is not None and found.key != model.run.config.key:
        raise UserError(f"{', '.join(paths)} has changed since {model.path} was trained: name other data with `text`")
    return found
