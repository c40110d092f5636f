"""Drawn scenes: their images, captions and questions."""

import re
from collections import Counter, defaultdict
from functools import cache
from itertools import combinations, product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from elman.cli.list import list_
from elman.data import table_reader
from elman.data.builtin import generate
from elman.data.rng import Rng
from elman.data.scenes import caption, layout, question, truth
from elman.data.scenes.answer import answer
from elman.data.scenes.image import SceneImage
from elman.data.scenes.scene import COLOURS, HELD_OUT_PAIRS, SHAPES, SIDE, SIZES, Scene, Thing
from elman.errors import UserError

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=busy)
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
UNSEEN = [f"{colour} {shape}" for colour, shape in HELD_OUT_PAIRS]


@st.composite
def rngs(draw):
    return Rng(draw(st.integers(0, 2**32 - 1)))


@st.composite
def scenes(draw, held_out=None):
    rng = draw(rngs())
    held_out = draw(st.booleans()) if held_out is None else held_out
    return layout.scene_about(rng, layout.topic(rng, held_out), rng.between(0, 5), held_out)


@cache
def rows(spec):
    """The rows of some data, each a dict."""
    found = generate(f"builtin:{spec}")
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def scene(text):
    return Scene.parse(f"scene: {text}")


# scenes and their images


@some
@given(scene=scenes())
def test_a_scene_is_known_by_its_name(scene):
    assert Scene.parse(str(scene)) == scene
    image = SceneImage(str(scene))
    assert str(image) == image.name
    assert image.image() == scene.draw()
    assert (image.image().mode, image.image().size) == ("RGB", (64, 64))


@some
@given(scene=scenes())
def test_objects_do_not_overlap(scene):
    assert 2 <= len(scene.things) <= 5
    covered = np.zeros((64, 64), int)
    for left, top, right, bottom in (thing.box for thing in scene.things):
        assert 0 < left < right < 64 > bottom > top > 0
        covered[top - 1 : bottom + 1, left - 1 : right + 1] += 1  # with a pixel around
    assert covered.max() == 1


@some
@given(scene=scenes())
def test_a_image_has_each_thing_in_its_box_and_nothing_else(scene):
    pixels, ground = np.array(scene.draw()).astype(int), np.array(Scene(()).draw()).astype(int)
    painted = (pixels != ground).any(2)
    for thing in scene.things:
        left, top, right, bottom = thing.box
        assert tuple(pixels[thing.y, thing.x]) == COLOURS[thing.colour]
        own = painted[top:bottom, left:right]
        assert all(edge.any() for edge in (own[0], own[-1], own[:, 0], own[:, -1])), "the box is tight"
        painted[top:bottom, left:right] = False
    assert not painted.any()


@pytest.mark.parametrize("size", SIZES)
def test_shapes_are_what_they_are_called(size):
    ground = np.array(Scene(()).draw(256)).astype(int)
    drawn = {}
    for shape in SHAPES:
        image = Scene((Thing(size, "blue", shape, 32, 32),)).draw(256)
        drawn[shape] = (np.array(image) != ground).any(2)
        assert drawn[shape].any(0).sum() == drawn[shape].any(1).sum() == 8 * SIZES[size]
        assert (drawn[shape] ^ drawn[shape][:, ::-1]).sum() <= 0.06 * drawn[shape].sum()
    box = (8 * SIZES[size]) ** 2
    filled = {shape: pixels.sum() / box for shape, pixels in drawn.items()}
    assert filled["square"] == 1
    assert filled["circle"] == pytest.approx(np.pi / 4, abs=0.03)
    assert filled["triangle"] == pytest.approx(1 / 2, abs=0.03)
    assert 0.25 < filled["star"] < 0.45
    middle = drawn["triangle"].sum(1)[drawn["triangle"].any(1)]
    assert middle[0] < middle[len(middle) // 2] < middle[-1], "it stands on its base"


def test_colours_and_sizes_are_distinguished():
    grounds = np.array(Scene(()).draw()).reshape(-1, 3).astype(float)
    for one, other in combinations(COLOURS.values(), 2):
        assert np.linalg.norm(np.subtract(one, other)) > 75
    for colour in COLOURS.values():
        assert np.linalg.norm(grounds - colour, axis=1).min() > 75
    assert SIZES["large"] > 1.7 * SIZES["small"]


@pytest.mark.parametrize("size", [16, 32, 100, 256])
def test_a_scene_is_drawn_at_any_size(size):
    image = scene("large red square 20,20; small blue circle 50,50").draw(size)
    assert image.size == (size, size)
    assert image.getpixel((size * 20 // 64, size * 20 // 64)) == COLOURS["red"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small red circle 12,40", "'small red circle 12,40' is not a scene"),
        ("scene: ", "'' is not an object of a scene"),
        ("scene: small red circle 12", "'small red circle 12' is not an object"),
        ("scene: small red circle 12,40;", "'small red circle 12,40;' is not an object"),
        ("scene: tiny red circle 12,40", "unknown size of an object 'tiny'"),
        ("scene: small rde circle 12,40", "did you mean 'red'"),
        ("scene: small red cube 12,40", "unknown shape of an object 'cube'"),
        ("scene: small red circle 4,40", "'small red circle 4,40' does not fit in"),
        ("scene: large red circle 40,60", "'large red circle 40,60' does not fit in"),
    ],
)
def test_a_name_that_is_none_is_reported_in_a_line(name, message):
    with pytest.raises(UserError) as raised:
        SceneImage(name).image()
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_size_that_is_none_is_reported():
    with pytest.raises(UserError, match="15 pixels wide"):
        Scene(()).draw(15)


# what is said


FOUR = scene("small red circle 12,40; small blue square 40,38; large blue square 44,14; large green star 16,14")
SAID = {
    "a red circle left of a small blue square": True,
    "a red circle right of a small blue square": False,
    "a red circle above a small blue square": False,  # as high
    "a small red circle is left of a large blue square": True,
    "a small red circle is below a large blue square": True,
    "a large red circle is left of a blue square": False,
    "a star is above a circle": True,
    "a circle is above a star": False,
    "a star and a circle": False,  # says nothing
    "a circle left of a square and below a star": True,
    "a circle left of a square and above a star": False,
    "a circle is left of two blue squares and below a star": True,
    "two squares right of a circle": True,
    "two squares below a star": False,  # one of them is not
    "two squares are right of a circle": True,
    "two squares is right of a circle": False,
    "there is a star": True,
    "there is a triangle": False,
    "there are two squares": True,
    "there are three squares": False,
    "there are two circles": False,
    "there is a square": True,
    "there is a square and a small square": True,
    "there is a small square and a small square": False,  # there is but one
    "there are two squares and a blue square": False,
    "there are two squares and a green star and a red object": True,
    "there are two small objects and two large objects": True,
    "a star among four objects": True,
    "a star among three objects": False,
    "two squares among four objects": True,
    "two red squares among four objects": False,
    "a star is left of a star": False,
    "a blue square above a blue square": True,
}
NO_CAPTIONS = [
    "", "a", "red circle", "a red circle", "a circle red left of a star", "a red small circle left of a star",
    "an red circle above a star", "a orange circle above a star", "a red circles above a star", "two star above a star",
    "there are a star", "there is two stars", "there is a star and", "a star among a star", "a star among two stars",
    "a star above a star below a star", "A star above a star", "a star above a star.", "a star near a star",
    "there is a star and a star and a star and a star", "the star above a star", "a starfish above a star",
]  # fmt: skip


@pytest.mark.parametrize(("sentence", "true"), SAID.items())
def test_truth_by_hand(sentence, true):
    assert truth.is_true(sentence, FOUR) == true


@pytest.mark.parametrize("sentence", NO_CAPTIONS)
def test_what_is_no_caption(sentence):
    assert truth.parse(sentence) is None
    assert truth.mentions(sentence) == []
    assert truth.mentioned(sentence, FOUR) == []


def test_a_relation_that_is_not_clear_does_not_hold():
    for apart, clear in ((1, False), (5, False), (6, True), (20, True)):
        two = Scene((Thing("small", "red", "circle", 20, 20), Thing("small", "blue", "star", 20 + apart, 40)))
        assert truth.is_true("a circle left of a star", two) == clear
        assert not truth.is_true("a star left of a circle", two)


@pytest.mark.parametrize(
    ("sentence", "places"),
    [
        ("a small red circle left of a blue square", {3: [0], 8: [1, 2]}),
        ("there are two blue squares and a star", {4: [1, 2], 7: [3]}),
        ("there is a square", {}),
        ("there is a star and a small square", {3: [3], 7: [1]}),
        ("a square right of a star", {1: [1, 2], 5: [3]}),
        ("a square below a star", {1: [1], 4: [3]}),  # only one of the squares is
        ("a square is below a green star", {1: [1], 6: [3]}),
        ("a square above a star", {4: [3]}),  # is not true, and names a star all the same
        ("two squares among four objects", {1: [1, 2], 4: [0, 1, 2, 3]}),
    ],
)
def test_what_each_noun_names_by_hand(sentence, places):
    if "right of a star" in sentence or "left of a blue" in sentence:  # either square may be meant
        places = {index: things for index, things in places.items() if len(things) == 1}
    found = defaultdict(list)
    for index, thing in truth.mentioned(sentence, FOUR):
        found[index].append(FOUR.things.index(thing))
    assert found == places
    words = sentence.split()
    assert all(words[index].rstrip("s") in (*SHAPES, "object") for index in found)


@some
@given(scene=scenes(), rng=rngs())
def test_captions_are_true_and_their_opposites_are_not(scene, rng):
    mentioned, sentence = caption.draw(rng, scene)
    assert truth.is_true(sentence, scene)
    for relation in re.findall("left of|right of|above|below", sentence):
        assert not truth.is_true(sentence.replace(relation, OPPOSITE[relation], 1), scene)
    words = sentence.split()
    shown = {thing.colour for thing in scene.things}
    for place, word in enumerate(words):
        if word in COLOURS:
            for other in COLOURS.keys() - shown:
                article = "an" if other == "orange" else "a"
                before = [article if w in ("a", "an") and i == place - 1 else w for i, w in enumerate(words[:place])]
                changed = " ".join([*before, other, *words[place + 1 :]])
                assert truth.parse(changed) is not None
                assert not truth.is_true(changed, scene)
    described = [index for index, _ in truth.mentions(sentence)]
    assert described == [i for i, word in enumerate(words) if word.rstrip("s") in (*SHAPES, "object")]
    named = truth.mentioned(sentence, scene)
    for index, mention in zip(described, mentioned, strict=False):
        assert {thing for place, thing in named if place == index} == set(mention.things)
        assert words[index] == (mention.phrase.shape or "object") + "s" * (len(mention.things) > 1)
    for index, phrase in truth.mentions(sentence):
        assert " ".join(words[: index + 1]).removesuffix("s").endswith(phrase)


@some
@given(scene=scenes(), other=scenes(), rng=rngs())
def test_truth_is_what_brute_force_finds(scene, other, rng):
    """A caption of one scene, held_out of another by regular expressions and counting."""
    _, sentence = caption.draw(rng, scene)
    numbers = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5}

    def fits(words, thing):
        return all(word in str(thing).split() for word in words.split() if not word.startswith("object"))

    def choices(words):
        number, *rest = words.split()
        found = [thing for thing in other.things if fits(" ".join(rest).removesuffix("s"), thing)]
        return [c for c in combinations(found, numbers[number]) if numbers[number] == 1 or len(c) == len(found)]

    plain = re.sub(r" (is|are) ", " ", re.sub(r"^there (is|are) ", "", sentence))
    if " among " in plain:
        noun, total = plain.split(" among ")
        expected = bool(choices(noun)) and numbers[total.split()[0]] == len(other.things)
    else:
        parts = re.split(r" (left of|right of|above|below) | and (?:(left of|right of|above|below) )?", plain)
        nouns = parts[::3]
        relations = [a or b for a, b in zip(parts[1::3], parts[2::3], strict=True)]
        expected = any(
            sum(map(len, chosen)) == len(set().union(*chosen))
            and all(clearly(a, relation, b)
                    for relation, group in zip(relations, chosen[1:], strict=True) if relation
                    for a, b in product(chosen[0], group))
            for chosen in product(*map(choices, nouns))
        )  # fmt: skip
    assert truth.is_true(sentence, other) == expected


def clearly(a, relation, b):
    axis, sign = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}[relation]
    return sign * ((b.x, b.y)[axis] - (a.x, a.y)[axis]) > 5


@some
@given(scene=scenes(), rng=rngs())
def test_a_relation_is_that_of_the_larger_distance(scene, rng):
    mentioned, sentence = caption.draw(rng, scene)
    said = re.findall("left of|right of|above|below", sentence)
    for relation, mention in zip(said, mentioned[1:], strict=False):
        for a, b in product(mentioned[0].things, mention.things):
            along, across = abs(a.x - b.x), abs(a.y - b.y)
            assert (along >= across) if relation.endswith("of") else (across >= along)
            assert max(along, across) >= 12


def test_there_are_many_captions():
    """Of two things that training may show, each named by words that do not fit the other: all possible captions."""
    appearances = [f"{size} {colour} {shape}" for size, colour, shape in product(SIZES, COLOURS, SHAPES)]
    appearances = [appearance for appearance in appearances if appearance.split(" ", 1)[1] not in UNSEEN]
    assert len(appearances) == 56
    names = defaultdict(set)
    for appearance in appearances:
        size, colour, shape = appearance.split()
        for name in (
            appearance,
            f"{colour} {shape}",
            f"{size} {shape}",
            shape,
            f"{colour} object",
            f"{size} {colour} object",
        ):
            names[name].add(appearance)
    possible = set()
    for one, other in product(names, repeat=2):
        if names[one] - names[other] and names[other] - names[one]:
            first, second = (("an " if name[0] in "aeiou" else "a ") + name for name in (one, other))
            possible |= {f"{first} {relation} {second}" for relation in OPPOSITE}
    assert len(possible) > 50_000
    assert all(truth.parse(sentence) for sentence in sorted(possible)[::97])
    drawn = [row["caption"] for row in rows("scenes:count=3000,captions=2,seed=5") if row["pair"] == "seen"]
    of_two = [
        sentence for sentence in drawn if re.fullmatch("an? [^0-9]* (left of|right of|above|below) an? .*", sentence)
    ]
    of_two = {sentence for sentence in of_two if " and " not in sentence and " is " not in sentence}
    assert of_two <= possible
    assert len(of_two) > 300
    assert len(set(drawn)) > 3000


# what is asked

ASKED = {
    "is there a small red circle?": "yes",
    "is there a large red circle?": "no",
    "is there a green object?": "yes",
    "is there an orange object?": "no",
    "how many blue squares are there?": "2",
    "how many triangles are there?": "0",
    "how many large objects are there?": "2",
    "what colour is the star?": "green",
    "what colour is the large square?": "blue",
    "what colour is the square?": None,
    "what colour is the triangle?": None,
    "is the circle left of the small square?": "yes",
    "is the circle right of the small square?": "no",
    "is the circle below the star?": "yes",
    "is the circle above the square?": None,
    "are there more squares than circles?": "yes",
    "are there more stars than circles?": "no",
    "are there more stars than squares?": "no",
    "are there more triangles than stars?": "no",
    "is the star larger than the circle?": "yes",
    "is the star smaller than the circle?": "no",
    "is the circle smaller than the star?": "yes",
    "is the large square larger than the star?": "no",
    "is the large square smaller than the star?": "no",
    "how many blue squares?": None,
    "": None,
}


@pytest.mark.parametrize(("asked", "expected"), ASKED.items())
def test_answers_by_hand(asked, expected):
    assert answer(asked, FOUR) == expected


@some
@given(rng=rngs(), held_out=st.booleans(), most=st.integers(1, 5))
def test_answers_are_those_that_the_words_have(rng, held_out, most):
    scene, asked = question.draw(rng, most, held_out)
    assert 1 <= len(asked) <= most
    for text, said in asked.values():
        assert answer(text, scene) == said
    assert any(thing.pair in HELD_OUT_PAIRS for thing in scene.things) == held_out


def template(text):
    kinds = {
        **dict.fromkeys(COLOURS, "COLOUR"),
        **dict.fromkeys((*SHAPES, "object"), "SHAPE"),
        **dict.fromkeys(SIZES, "SIZE"),
    }
    return " ".join(kinds.get(word.strip("?").removesuffix("s"), word) for word in text.split())


# what of a question one may appearance at: all of it, its form, how it begins and ends, and each word that it may have
FEATURES = {"text": str, "template": template, "start": lambda t: t.split()[:5], "end": lambda t: t.split()[-3:]} | {
    word: lambda text, word=word: word in text for word in (*COLOURS, *SHAPES, *SIZES, *OPPOSITE, "object", "larger")
}


@pytest.mark.parametrize("kind", question.KINDS)
def test_the_words_of_a_question_are_independent_of_the_answer(kind):
    """The most frequent answer to all questions with the same feature in one half of the data is right in the other
    half hardly more often than the most frequent answer to all questions of the kind."""
    asked = [row for row in rows("scene_questions:count=6000,seed=3") if row["kind"] == kind and row["pair"] == "seen"]
    learned, held_out = asked[::2], asked[1::2]
    assert len(held_out) > 1500
    [(commonest, _)] = Counter(row["answer"] for row in learned).most_common(1)
    constant = max(Counter(row["answer"] for row in held_out).values()) / len(held_out)
    assert constant < {"colour": 0.18, "count": 0.24}.get(kind, 0.53)
    for name, feature in FEATURES.items():
        seen = defaultdict(Counter)
        for row in learned:
            seen[str(feature(row["question"]))][row["answer"]] += 1
        guess = {text: answers.most_common(1)[0][0] for text, answers in seen.items()}
        right = np.mean([guess.get(str(feature(row["question"])), commonest) == row["answer"] for row in held_out])
        assert right < constant + 0.03, name


def test_colours_of_which_training_lacks_a_shape_are_there_as_often():
    rng, partial, answers = Rng(0), {colour for colour, _ in HELD_OUT_PAIRS}, {True: [], False: []}
    for _ in range(20_000):
        phrase, number = layout.topic(rng, False), rng.between(0, 4)
        scene = layout.scene_about(rng, phrase, number, False)
        asked, said = question.QuestionMaker(rng, False, scene, phrase, number).existence()
        colour = COLOURS.keys() & set(asked.split())
        if asked.endswith("object?") and colour:
            answers[colour <= partial].append(said == "yes")
    assert min(map(len, answers.values())) > 2000
    assert abs(np.mean(answers[True]) - np.mean(answers[False])) < 0.045


def test_absent_phrases_often_have_words_of_present_ones():
    lines = [
        row for row in rows("scene_questions:count=2000,seed=3") if row["kind"] == "existence" and row["answer"] == "no"
    ]
    parts = [
        all(word in row["image"].name for word in row["question"].strip("?").split()[3:] if word != "object")
        for row in lines
    ]
    assert 0.25 < np.mean(parts) < 0.75


def test_there_are_questions_of_all_kinds():
    kinds = Counter(row["kind"] for row in rows("scene_questions:count=1000"))
    assert set(kinds) == {"existence", "count", "colour", "relation", "comparison"}
    assert min(kinds.values()) > 700
    counted = Counter(row["answer"] for row in rows("scene_questions:count=1000") if row["kind"] == "count")
    assert set(counted) == set("01234")
    words = Counter(word for row in rows("scene_questions:count=1000") for word in ("more", "larger", "smaller")
                    if f" {word} " in row["question"])  # fmt: skip
    assert min(words.values()) > 100


# as data


@pytest.mark.parametrize(("data", "each", "sentence"), [("scenes", 2, "caption"), ("scene_questions", 5, "question")])
def test_splits_of_the_data(data, each, sentence):
    found = rows(f"{data}:count=300,seed=1")
    names = defaultdict(set)
    for row in found:
        names[row["split"], row["pair"]].add(row["image"].name)
    assert {part: len(own) for part, own in names.items()} == {
        ("train", "seen"): 210, ("valid", "seen"): 30, ("test", "seen"): 30, ("test", "unseen"): 30,
    }  # fmt: skip
    assert len(set().union(*names.values())) == 300
    assert all(1 <= count <= each for count in Counter(row["image"].name for row in found).values())
    assert len({(row["image"].name, row[sentence]) for row in found}) == len(found)
    for row in found:
        pairs = {thing.pair for thing in Scene.parse(row["image"].name).things}
        assert bool(pairs & set(HELD_OUT_PAIRS)) == (row["pair"] == "unseen")
        if row.get("kind") != "colour":
            assert any(pair in row[sentence] for pair in UNSEEN) == (row["pair"] == "unseen")
        elif not row[sentence].endswith("object?"):
            assert ((row["answer"], row[sentence].split()[-1].strip("?")) in HELD_OUT_PAIRS) == (
                row["pair"] == "unseen"
            )


def test_every_row_is_true():
    assert len(rows("scenes:count=300,captions=5,seed=2")) == 1500
    for row in rows("scenes:count=300,captions=5,seed=2"):
        assert truth.is_true(row["caption"], Scene.parse(row["image"].name))
    for row in rows("scene_questions:count=300,seed=2"):
        assert answer(row["question"], Scene.parse(row["image"].name)) == row["answer"]


@pytest.mark.parametrize("data", ["scenes", "scene_questions"])
def test_the_seed_decides(data):
    spec = f"builtin:{data}:count=40"
    assert generate(f"{spec},seed=1") == generate(f"{spec},seed=1")
    assert generate(f"{spec},seed=1") != generate(f"{spec},seed=2")


@pytest.mark.parametrize("captions", [1, 5])
def test_captions_of_a_scene_are_different(captions):
    found = rows(f"scenes:count=50,captions={captions}")
    assert len(found) == 50 * captions
    assert len({(row["image"].name, row["caption"]) for row in found}) == len(found)


@pytest.mark.parametrize("data", ["scenes", "scene_questions"])
def test_a_few_scenes_are_all_for_training(data):
    assert {(row["split"], row["pair"]) for row in rows(f"{data}:count=9")} == {("train", "seen")}


@pytest.mark.parametrize("spec", ["scenes:captions=6", "scenes:captions=0", "scene_questions:questions=6"])
def test_options_have_bounds(spec):
    with pytest.raises(UserError, match="must be from 1 to 5"):
        generate(f"builtin:{spec}")


def test_scenes_are_listed_and_read(capsys):
    list_("data")
    lines = capsys.readouterr().out
    assert "builtin:scenes" in lines
    assert "builtin:scene_questions" in lines
    read = table_reader.read(["builtin:scenes:count=20"], table_reader.TableOptions())
    assert list(read.columns) == ["image", "caption", "split", "pair"]
    assert len(read) == 40
    assert read.columns["image"][0].image().size == (SIDE, SIDE)


@some
@given(appearances=st.lists(st.sampled_from(layout.APPEARANCES), min_size=2, max_size=5), rng=rngs())
def test_all_objects_have_a_position(appearances, rng):
    placed = layout._arranged(rng, appearances)
    assert Counter(thing[:3] for thing in placed.things) == Counter(appearance[:3] for appearance in appearances)


@some
@given(rng=rngs(), held_out=st.booleans(), number=st.integers(0, 5))
def test_a_scene_is_about_its_topic(rng, held_out, number):
    phrase = layout.topic(rng, held_out)
    assume(any(phrase.describes(appearance) for appearance in layout.APPEARANCES))
    found = layout.scene_about(rng, phrase, number, held_out)
    words = {phrase.size, phrase.colour, phrase.shape} - {""}
    assert sum(words <= set(str(thing).split()) for thing in found.things) == number
