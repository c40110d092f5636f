"""Images of coloured shapes, and questions about them that are independent of the answer."""

from typing import Any

from elman.data.builtin import Columns, builtin
from elman.data.builtin.scenes import AtMost5, splits
from elman.data.rng import Rng
from elman.data.scenes.image import SceneImage
from elman.data.scenes.question import draw
from elman.options import CountInt, PositiveInt


@builtin("scene_questions", "an image of coloured shapes and a question about it -> the answer", "vqa")
def rows(seed: CountInt = 0, count: PositiveInt = 10_000, questions: AtMost5 = 5) -> Columns:
    """`count` scenes with at most `questions` questions about each, each of another kind: a kind is skipped where the
    scene has no question of it. In scenes with a held-out pair, the questions are about that."""
    rng, names = Rng(seed), set[str]()
    found: dict[str, list[Any]] = {name: [] for name in ("image", "question", "answer", "kind", "split", "pair")}
    for split, pair in splits(count):
        while True:
            scene, drawn = draw(rng, questions, pair == "unseen")
            if (name := str(scene)) not in names:
                break
        names.add(name)
        image = SceneImage(name)
        for kind, (question, answer) in drawn.items():
            for column, value in zip(found.values(), (image, question, answer, kind, split, pair), strict=True):
                column.append(value)
    return found
