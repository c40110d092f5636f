"""`elman compare`: several cells, each trained for the same time on the same text."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from elman.cells.registry import cell_names, find
from elman.cli.parameters import command
from elman.cli.screen import Screen
from elman.errors import UserError
from elman.inspect.cell_comparison import contest
from elman.options import check
from elman.tasks.lm import LM, LMOptions
from elman.training import api
from elman.training.loop import DEFAULT_SPAN
from elman.training.options import TrainOptions
from elman.training.run import free_path


@command
def compare_(
    *paths: str,
    cells: str = "rnn,gru,lstm",
    by: Literal["parameters", "size"] = "parameters",
    model: LMOptions = LMOptions(),
    training: TrainOptions = TrainOptions(),
    out: Path | None = None,
) -> None:
    """Train several cells on one text, each for the same time; one table and one chart.

    Parameters
    ----------
    paths
        Files, folders, or - for standard input.
    cells
        Cells with a comma between them, as in rnn,lstm:forget_bias=0,mine.py:MyCell.
    by
        Each cell has as many parameters as the first, or as many units.
    out
        The folder for the runs and the report; runs/compare-NAME when not given.
    """
    check(model, training)
    specs = cell_names(cells)
    if len(specs) < 2:
        raise UserError(f"--cells {cells} names {len(specs)} cell: at least two are compared")
    for spec in specs:
        find(spec)  # a wrong name is told before the first is trained
    if not paths:
        raise UserError("there is no text: elman compare FILE --cells rnn,lstm")
    if out is not None and out.exists():
        raise UserError(f"{out} exists: choose another --out")
    unit, amount = training.span() or DEFAULT_SPAN
    chosen, data = LM.prepare(list(paths), replace(model, cell=specs[0]), amount if unit == "for" else None)
    wanted = _parameters(chosen, data, specs[0])
    folder = out or free_path(f"compare-{Path(paths[0]).stem.strip('.') or 'text'}")
    trained = []
    for spec in specs:
        hidden = chosen.hidden if by == "size" else _hidden(chosen, data, spec, wanted)
        options = replace(chosen, cell=spec, hidden=hidden)
        place = folder / (Path(spec).name.replace(":", "-").replace("=", "-"))
        with Screen() as screen:
            trained.append(api.begin(LM, list(paths), options, training, place, screen))
    report = contest(trained)
    print(f"written: {report.save(folder)}")
    for name, each in report.panels[1].figures.items():
        summary = each["summary"]
        loss = "" if summary["val_loss"] is None else f"{summary['val_loss']:.4f} nats, "
        print(f"{name:>24}: {loss}{summary['parameters']:,} parameters, {summary['tokens_per_s']:,.0f} tokens/s, "
              f"gradient reaches {each['reach']} steps")  # fmt: skip


def _parameters(options: LMOptions, data: api.Data, spec: str) -> int:
    return sum(weight.numel() for weight in LM.new(replace(options, cell=spec), data).parameters())


def _hidden(options: LMOptions, data: api.Data, spec: str, wanted: int) -> int:
    """The units with which the model has as many parameters, to the nearest."""
    low, high = 1, 2
    while _parameters(replace(options, hidden=high), data, spec) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if _parameters(replace(options, hidden=middle), data, spec) < wanted else (low, middle)
        )
    return min(low, high, key=lambda size: abs(_parameters(replace(options, hidden=size), data, spec) - wanted))
