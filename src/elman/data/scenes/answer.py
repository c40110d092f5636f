"""The answer to a question about a scene, computed from the question and the scene alone."""

import operator
import re
from collections.abc import Callable

from elman.data.scenes.scene import SIZES, Scene, Thing
from elman.data.scenes.truth import DESCRIBED, SIDE_WORDS, has_relation


def answer(question: str, scene: Scene) -> str | None:
    """yes, no, a number in digits or a colour. None when the question is not in the grammar, or is about `the` object
    where there is none or more than one."""
    for pattern, reply in ANSWERS.items():
        if match := pattern.fullmatch(question):
            return reply(match, scene)
    return None


def _described(match: re.Match[str], group: int, scene: Scene) -> list[Thing]:
    """The objects with the size, colour and shape in this group of the match and the next two."""
    wanted = {word for word in match.groups()[group - 1 : group + 2] if word not in (None, "object")}
    return [thing for thing in scene.things if wanted <= {*thing[:3]}]


def _exists(match: re.Match[str], scene: Scene) -> str:
    return _yes_no(bool(_described(match, 1, scene)))


def _count(match: re.Match[str], scene: Scene) -> str:
    return str(len(_described(match, 1, scene)))


def _colour(match: re.Match[str], scene: Scene) -> str | None:
    found = _described(match, 1, scene)
    return found[0].colour if len(found) == 1 else None


def _two(match: re.Match[str], scene: Scene, holds: Callable[[Thing, str, Thing], bool]) -> str | None:
    first, second = _described(match, 1, scene), _described(match, 6, scene)
    if len(first) != 1 or len(second) != 1:
        return None
    return _yes_no(holds(first[0], match[5], second[0]))


def _relation(match: re.Match[str], scene: Scene) -> str | None:
    return _two(match, scene, has_relation)


def _size(match: re.Match[str], scene: Scene) -> str | None:
    order = {"larger": operator.gt, "smaller": operator.lt}
    return _two(match, scene, lambda a, word, b: order[word](SIZES[a.size], SIZES[b.size]))


def _more(match: re.Match[str], scene: Scene) -> str:
    return _yes_no(len(_described(match, 1, scene)) > len(_described(match, 5, scene)))


def _yes_no(yes: bool) -> str:
    return "yes" if yes else "no"


ANSWERS: dict[re.Pattern[str], Callable[[re.Match[str], Scene], str | None]] = {
    re.compile(pattern.replace("THING", DESCRIBED)): reply
    for pattern, reply in {
        r"is there an? THING\?": _exists,
        r"how many THING are there\?": _count,
        r"what colour is the THING\?": _colour,
        rf"is the THING ({SIDE_WORDS}) the THING\?": _relation,
        r"is the THING (larger|smaller) than the THING\?": _size,
        r"are there more THING than THING\?": _more,
    }.items()
}
