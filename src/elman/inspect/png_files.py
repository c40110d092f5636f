"""The blocks of a panel as PNG files."""

from functools import singledispatch
from itertools import groupby

from elman.inspect import attention_strip, chart, painting, time_line
from elman.inspect.blocks import Chart, Drawn, FrameStrip, ImageStrip, PaintedText, TimeLine
from elman.inspect.panel import Panel


def png_files(panel: Panel) -> dict[str, bytes]:
    """The images of a panel by the names of their files. Texts under one name are drawn in one image."""
    drawn = [block for block in (*panel.blocks, *panel.attachments) if isinstance(block, Drawn)]
    grouped = {name: list(blocks) for name, blocks in groupby(drawn, key=lambda block: block.name)}
    return {f"{name}.png": _png(blocks[0], blocks) for name, blocks in grouped.items()}


@singledispatch
def _png(first: Drawn, blocks: list) -> bytes:
    """An image of the blocks, which are like the first."""
    raise TypeError(f"{first.kind} is no image")


@_png.register
def _(first: Chart, blocks: list) -> bytes:
    return chart.png(first.figure)


@_png.register
def _(first: PaintedText, blocks: list[PaintedText]) -> bytes:
    return painting.png([(block.title, block.text, block.values) for block in blocks], first.heat)


@_png.register(ImageStrip)
@_png.register(FrameStrip)
def _(first: ImageStrip | FrameStrip, blocks: list) -> bytes:
    return attention_strip.png(first)


@_png.register
def _(first: TimeLine, blocks: list) -> bytes:
    return chart.png(time_line.figure(first))
