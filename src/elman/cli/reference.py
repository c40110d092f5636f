"""The reference page of all options, docs/options.md: `python -m elman.cli.reference > docs/options.md`."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_type_hints

from elman.cli.compare import CompareOptions
from elman.cli.eval import EvaluationOptions
from elman.cli.inspect import CellsOptions, InspectOptions
from elman.cli.parameters import field_docs, flag, flags, is_parsed
from elman.cli.predict import PredictOptions
from elman.cli.sample import SampleOptions
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.inspect.report_options import ReportOptions
from elman.options import choices
from elman.tasks.task import kinds
from elman.training.options import TrainOptions

VERBS = {
    "sample": (SampleOptions, Sampling),
    "predict": (PredictOptions, Search, Sampling),
    "eval": (EvaluationOptions,),
    "inspect": (InspectOptions, ReportOptions, CellsOptions),
    "compare": (CompareOptions,),
}


def page() -> str:
    """The page, in Markdown."""
    users: dict[type, list[str]] = {TrainOptions: ["train"]}
    for kind, task in sorted(kinds().items()):
        for each in task.Options.__mro__:
            if dataclasses.is_dataclass(each):
                users.setdefault(each, []).append(f"train {kind}")
    for verb, groups in VERBS.items():
        for each in groups:
            users.setdefault(each, []).append(verb)
    sections = [
        "# Options\n\nWritten by `make reference` from the options themselves; `elman VERB --help` has the same."
    ]
    sections += [_section(kind, verbs) for kind, verbs in users.items()]
    return "\n\n".join(filter(None, sections)) + "\n"


def _section(kind: type, verbs: list[str]) -> str:
    """The options that a dataclass adds to its bases."""
    own = [field for field in dataclasses.fields(kind) if field.name in kind.__annotations__]  # type: ignore[arg-type]
    lines = list(_lines(kind, own))
    if not lines:
        return ""
    return "\n".join([f"## {', '.join(f'elman {verb}' for verb in verbs)}\n", *lines])


def _lines(kind: type, fields: list[dataclasses.Field]) -> Iterator[str]:
    hints, docs = get_type_hints(kind, include_extras=True), field_docs(kind)
    for field in fields:
        if is_parsed(hints[field.name]):
            words = choices(hints[field.name])
            notes = [f"one of {', '.join(words)}"] if words else []
            if field.default not in (None, "", ()) and field.default is not False:
                notes.append(f"default {_shown(field.default)}")
            about = f" ({'; '.join(notes)})" if notes else ""
            yield f"- `{flag(field.name)}`{about}: {flags(docs.get(field.name, ''))}"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    print(page(), end="")
