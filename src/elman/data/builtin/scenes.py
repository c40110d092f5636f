"""Images of coloured shapes, and sentences that are true of them."""

from collections.abc import Iterator
from typing import Annotated

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.scenes.caption import captions as said
from elman.data.scenes.image import SceneImage
from elman.data.scenes.layout import about, topic
from elman.options import Bound, CountInt, PositiveInt

REPEATED = 2  # at most so many things have a phrase in common on purpose
Few = Annotated[int, Bound("from 1 to 5", lambda value: 1 <= value <= 5)]


def parts(count: int) -> Iterator[tuple[str, str]]:
    """Of each of so many scenes the part that it is in, and whether it has pairs of a colour and a shape that training
    does not see. A tenth is for validation; for testing a tenth with seen and a tenth with unseen pairs. Fewer than 10
    are all for training."""
    tenth = count // 10
    yield from [("train", "seen")] * (count - 3 * tenth)
    yield from [("valid", "seen")] * tenth
    yield from [("test", "seen")] * tenth
    yield from [("test", "unseen")] * tenth


def rows(seed: CountInt = 0, count: PositiveInt = 10_000, captions: Few = 2) -> Columns:
    """So many scenes, each with so many captions. All captions of a scene with an unseen pair name one."""
    chance, names = Chance(seed), set[str]()
    found: Columns = {name: [] for name in ("image", "caption", "split", "pair")}
    for split, pair in parts(count):
        unseen = pair == "unseen"
        while True:  # a scene of which there is too little to say is not taken, nor one that is known
            scene = about(chance, topic(chance, unseen), chance.between(0, REPEATED), unseen)
            sentences = said(chance, scene, captions, unseen)
            if len(sentences) == captions and (name := str(scene)) not in names:
                break
        names.add(name)
        picture = SceneImage(name)
        for sentence in sentences:
            for column, value in zip(found.values(), (picture, sentence, split, pair), strict=True):
                column.append(value)  # type: ignore[arg-type]
    return found


SCENES = Builtin("scenes", "a picture of coloured shapes -> a sentence that is true of it", "caption", rows)
