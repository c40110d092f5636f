"""`elman compare`: several cells, each trained for the same time on the same text."""

from dataclasses import dataclass
from pathlib import Path

from elman.cells.registry import cell_names
from elman.cli.output import for_line
from elman.cli.parameters import command
from elman.cli.screen import Screen
from elman.errors import UserError
from elman.options import check
from elman.search.compare import Equal, compare
from elman.tasks.lm import LM, LMOptions
from elman.training.options import TrainOptions
from elman.training.run import free_path


@dataclass(frozen=True)
class CompareOptions:
    """What is compared."""

    cells: str = "rnn,gru,lstm"
    """Cells separated by commas, as in rnn,lstm:forget_bias=0,mine.py:MyCell."""
    equal: Equal = "parameters"
    """What every cell has in common with the first: the number of parameters, or of hidden units."""
    out: Path | None = None
    """The folder of the runs and the report; runs/compare-NAME when not given."""


@command
def compare_(
    *paths: str,
    options: CompareOptions = CompareOptions(),
    model: LMOptions = LMOptions(),
    training: TrainOptions = TrainOptions(),
) -> None:
    """Train language models with different cells on one text, each for the same time; one table and one chart.

    Parameters
    ----------
    paths
        Files, folders, or - for standard input.
    """
    check(options, model, training)
    cells = cell_names(options.cells)
    if len(cells) < 2:
        raise UserError(f"`cells` {options.cells} names {len(cells)} cell: at least two are compared")
    if not paths:
        raise UserError("there is no text: elman compare FILE `cells` rnn,lstm")
    folder = options.out or free_path(f"compare-{Path(paths[0]).stem.strip('.') or 'text'}")
    report = compare(LM(), paths, cells, options.equal, model, training, folder, Screen)
    print(f"report: {for_line(str(report.save(folder)))}")
    for name, each in report.panels[1].metrics.items():
        summary = each["summary"]
        loss = "" if summary["val_loss"] is None else f"{summary['val_loss']:.4f} nats, "
        print(f"{name:>24}: {loss}{summary['parameters']:,} parameters, {summary['units_per_s']:,.0f} tokens/s, "
              f"gradient reaches {each['reach']} steps")  # fmt: skip
