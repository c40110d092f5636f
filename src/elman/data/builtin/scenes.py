"""Images of coloured shapes, and captions that are true of them."""

from collections.abc import Iterator
from typing import Annotated, Any

from elman.data.builtin import Columns, builtin
from elman.data.rng import Rng
from elman.data.scenes.caption import captions as draw_captions
from elman.data.scenes.image import SceneImage
from elman.data.scenes.layout import scene_about, topic
from elman.options import Bound, CountInt, PositiveInt

MAX_SHARED = 2  # things that the topic of a scene describes
AtMost5 = Annotated[int, Bound("from 1 to 5", lambda value: 1 <= value <= 5)]


def splits(count: int) -> Iterator[tuple[str, str]]:
    """The split of each of `count` scenes, and `unseen` for those with a pair of colour and shape that is held out from
    training. A tenth is for validation; for testing, a tenth has seen and a tenth has unseen pairs. Fewer than 10 are
    all for training."""
    tenth = count // 10
    yield from [("train", "seen")] * (count - 3 * tenth)
    yield from [("valid", "seen")] * tenth
    yield from [("test", "seen")] * tenth
    yield from [("test", "unseen")] * tenth


@builtin("scenes", "an image of coloured shapes -> a caption that is true of it", "caption")
def rows(seed: CountInt = 0, count: PositiveInt = 10_000, captions: AtMost5 = 2) -> Columns:
    """`count` scenes with `captions` captions each. All captions of a scene with an unseen pair mention one."""
    rng, names = Rng(seed), set[str]()
    found: dict[str, list[Any]] = {name: [] for name in ("image", "caption", "split", "pair")}
    for split, pair in splits(count):
        unseen = pair == "unseen"
        while True:  # scenes with too few captions and repeated ones are drawn again
            scene = scene_about(rng, topic(rng, unseen), rng.between(0, MAX_SHARED), unseen)
            sentences = draw_captions(rng, scene, captions, unseen)
            if len(sentences) == captions and (name := str(scene)) not in names:
                break
        names.add(name)
        image = SceneImage(name)
        for sentence in sentences:
            for column, value in zip(found.values(), (image, sentence, split, pair), strict=True):
                column.append(value)
    return found
