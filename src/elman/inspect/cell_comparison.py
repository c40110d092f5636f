"""Several cells trained alike, side by side: loss by seconds, and how far the gradient of each reaches."""

from collections.abc import Sequence

import numpy as np

from elman.inspect.curves import curves
from elman.inspect.flow import chart, reach, whole
from elman.inspect.lm import text_flow
from elman.inspect.panel import Panel, Report, table
from elman.tasks.lm import LM
from elman.training.trained_model import Model

READ = 4000  # tokens of the held-out text for gradient flow


def contest(models: Sequence[Model]) -> Report:
    """The report on language models of different cells, trained on one text for the same time."""
    norms: dict[str, np.ndarray] = {}
    rows, figures = [], {}
    for model in models:
        assert isinstance(model.task, LM)
        source = model.task.source(model.config, "valid", None, None) or model.task.source(
            model.config, "train", None, None
        )
        found = text_flow(model.task, source.ids[:READ])  # type: ignore[union-attr]
        place = found.longest
        name, summary = model.path.name, model.run.summary()
        norms[f"{name} ({place})"] = found.states[place]
        life = found.half_life(place)
        rows.append([name, model.task.recurrent.hidden_size, summary["parameters"], summary["val_loss"],
                     summary["val_bits"], round(summary["tokens_per_s"]), whole(life, len(found.states[place])),
                     reach(found)])  # fmt: skip
        figures[name] = {"summary": summary, "half_life": life, "reach": reach(found), "states": found.states}
    rows.sort(key=lambda row: row[3] if row[3] is not None else np.inf)
    head = ["cell", "units", "parameters", "validation, nats", "bits", "tokens a second", "half-life, steps",
            "9/10 of the weight gradient from"]  # fmt: skip
    drawn = chart(norms)
    says = "The longest-lived state of each trained cell: a loss at step T, and the state k steps before."
    flows = Panel("reach", "How far the gradient reaches", says, figures, {"reach": drawn}, table(head, rows))
    return Report("Cells side by side", [curves([model.run for model in models]), flows])
