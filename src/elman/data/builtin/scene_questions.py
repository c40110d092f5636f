"""Images of coloured shapes, and questions about them whose words do not give the answer away."""

from elman.data.builtin import Builtin, Columns
from elman.data.builtin.chance import Chance
from elman.data.builtin.scenes import Few, parts
from elman.data.scenes.image import SceneImage
from elman.data.scenes.question import draw
from elman.options import CountInt, PositiveInt


def rows(seed: CountInt = 0, count: PositiveInt = 10_000, questions: Few = 5) -> Columns:
    """So many scenes, with at most so many questions about each: a kind is left out of a scene of which nothing of that
    kind can be asked. With an unseen pair, it is what is asked about."""
    chance, names = Chance(seed), set[str]()
    found: Columns = {name: [] for name in ("image", "question", "answer", "kind", "split", "pair")}
    for split, pair in parts(count):
        while True:
            scene, asked = draw(chance, questions, pair == "unseen")
            if (name := str(scene)) not in names:
                break
        names.add(name)
        picture = SceneImage(name)
        for kind, (question, answer) in asked.items():
            for column, value in zip(found.values(), (picture, question, answer, kind, split, pair), strict=True):
                column.append(value)  # type: ignore[arg-type]
    return found


QUESTIONS = Builtin(
    "scene_questions", "a picture of coloured shapes and a question about it -> the answer", "vqa", rows
)
