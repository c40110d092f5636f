"""Data that is generated: what is true of each row is computed again in another way, and no row occurs twice."""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import combinations, groupby, product

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from elman.data import builtin
from elman.data.builtin import datasets, generate
from elman.data.clip import LazyClip
from elman.data.image import LazyImage
from elman.data.rng import Rng
from elman.errors import UserError

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=busy)
seeds = st.integers(0, 2**32 - 1)
WITH_PARTS = ["anbn", "dyck", "parity"]
COLUMNS = {
    "translate": ["source", "target"],
    "classify": ["text", "label"],
    "tag": ["words", "tags"],
    "generate": ["text"],
    "caption": ["image", "caption"],
    "vqa": ["image", "question", "answer", "kind"],
    "video": ["file", "label", "split"],
}
MORE = {name: ["split"] for name in WITH_PARTS} | {name: ["split", "pair"] for name in ("scenes", "scene_questions")}


@cache
def rows(spec):
    """The rows of some data, each a dict."""
    found = generate(f"builtin:{spec}")
    return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]


def part(spec, split):
    return [row for row in rows(spec) if row["split"] == split]


def inputs(columns):
    """What each row is about. Rows about one image are consecutive and count once."""
    first = next(iter(columns.values()))
    if isinstance(first[0], LazyImage | LazyClip):
        return [name for name, _ in groupby(map(str, first))]
    return [value if isinstance(value, str) else " ".join(value) for value in first]


# what a row says, worked out in another way than the package does


def backwards(row):
    word, letters = row["source"], []
    for letter in word:
        letters.insert(0, letter)
    assert re.fullmatch("[a-z]{3,10}", word)
    return row["target"] == "".join(letters)


def same(row):
    return row["source"] == row["target"] and re.fullmatch("[a-z]{3,10}", row["source"])


MONTHS = {name: i + 1 for i, name in enumerate(re.findall("...", "janfebmaraprmayjunjulaugsepoctnovdec"))}
NUMERIC = [
    r"(?P<day>\d\d?)\. ?(?P<month>\d\d?)\. ?(?P<year>\d{4})",
    r"(?P<year>\d{4})([/.-])(?P<month>\d\d?)\2(?P<day>\d\d?)",
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)",
]
WORDY = [
    r"(?P<day>\d\d?)(?P<th>st|nd|rd|th)?(\.|-)?( of)?[ -]?(?P<month>[a-z]+),?[ -](?P<year>\d{4})",
    r"(?P<month>[a-z]+) (?P<day>\d\d?)(?P<th>st|nd|rd|th)?,? (?P<year>\d{4})",
    r"(?P<year>\d{4})[ -](?P<month>[a-z]+)[ -](?P<day>\d\d?)",
]


def weekday(year, month, day):
    """Zeller's congruence."""
    if month < 3:
        year, month = year - 1, month + 12
    return ["sat", "sun", "mon", "tue", "wed", "thu", "fri"][
        (day + 13 * (month + 1) // 5 + year + year // 4 - year // 100 + year // 400) % 7
    ]


def written_date(row):
    text = row["source"].lower()
    named = re.match(r"((mon|tue|wed|thu|fri|sat|sun)(day|sday|nesday|rsday|urday)?,? )?(the )?", text)
    rest = text[named.end() :]
    readings = [match for form in NUMERIC + WORDY if (match := re.fullmatch(form, rest))]
    assert len(readings) == 1, f"{text} has {len(readings)} readings"
    read = readings[0].groupdict()
    year, day = int(read["year"]), int(read["day"])
    month = int(read["month"]) if read["month"].isdigit() else MONTHS[read["month"][:3]]
    assert 1900 <= year <= 2100
    assert not named[2] or named[2] == weekday(year, month, day)
    if read.get("th"):
        assert read["th"] == ("th" if day // 10 == 1 else ["th", "st", "nd", "rd", *["th"] * 6][day % 10])
    return row["target"] == f"{year}-{month:02}-{day:02}"


def nested(row):
    text, before = row["text"], None
    assert set(text) <= set("()[]")
    while text != before:
        before, text = text, text.replace("()", "").replace("[]", "")
    return row["label"] == ("unbalanced" if text else "balanced")


def odd_ones(row):
    assert set(row["text"]) <= {"0", "1"}
    return row["label"] == ["even", "odd"][int(row["text"], 2).bit_count() & 1]


def counted(row):
    runs = [(letter, len(list(run))) for letter, run in groupby(row["text"])]
    return [letter for letter, _ in runs] == ["a", "b"] and runs[0][1] == runs[1][1]


# the common words, and where a word that may be a name is none
COMMON = set(
    re.findall(
        r"\S+",
        "lives in and met flew from to wrote about asked wait call visit with is north of was cold left for the mayor "
        "called nobody knew a friend mine , born trains are late prices teachers papers near they say it seems i hear "
        "after all",
    )
)
BEFORE_PLACES = {"in", "from", "near", "of", "for", "visit", "about"}


def is_name(words, i):
    before, after = words[i - 1] if i else "", words[i + 1] if i + 1 < len(words) else ""
    common = {
        "will": after == "call",
        "may": after == "visit",
        "rose": before == "prices",
        "mark": before == "teachers",
    }
    return not common.get(words[i], words[i] in COMMON)


def named(row):
    words, tags = row["words"], []
    for i in range(len(words)):
        if not is_name(words, i):
            tags.append("O")
        elif i and is_name(words, i - 1):
            tags.append("I" + tags[-1][1:])
        elif i == 0:
            end = next(j for j in range(len(words)) if not is_name(words, j))
            tags.append("B-LOC" if words[end] in ("is", "was") else "B-PER")
        else:
            goes_to = words[i - 1] == "to" and words[i - 2] != "wrote"
            tags.append("B-LOC" if goes_to or words[i - 1] in BEFORE_PLACES else "B-PER")
    return row["tags"] == tags


PRAISE = {"good", "brilliant", "clever", "moving", "funny", "convincing", "original", "charming", "fresh", "gripping"}
BLAME = {"bad", "dull", "silly", "boring", "clumsy", "tedious", "predictable", "lifeless", "stale", "awful"}


def opinion(clause):
    words = clause.split()
    assert (words[-1] in PRAISE) != (words[-1] in BLAME)
    turned = sum(word in ("not", "never", "hardly", "nobody") for word in words)
    return (words[-1] in PRAISE) == (turned % 2 == 0)


def judged(row):
    text = row["text"]
    if text.startswith("although "):
        less, more = text.removeprefix("although ").split(" , ")
    elif " , although " in text:
        more, less = text.split(" , although ")
    elif " , but " in text:
        less, more = text.split(" , but ")
    else:
        clauses = text.split(" , and ")
        assert len({opinion(clause) for clause in clauses}) == 1
        return (row["label"] == "positive") == opinion(clauses[0])
    assert opinion(less) != opinion(more)
    return (row["label"] == "positive") == opinion(more)


def things(row):
    """The words of each object in the image, and its position."""
    found = [text.split() for text in row["image"].name.removeprefix("scene: ").split("; ")]
    return [(words, *map(int, place.split(","))) for *words, place in found]


def alike(words, row):
    """The things of which all of this is true: `small red circles`."""
    wanted = {word.removesuffix("s") for word in words.split()} - {"object"}
    return [thing for thing in things(row) if wanted <= set(thing[0])]


def stands(a, side, b):
    ahead = {"left": b[1] - a[1], "right": a[1] - b[1], "above": b[2] - a[2], "below": a[2] - b[2]}
    return ahead[side.split()[0]] > 5


NUMBERS = {"a": 1, "an": 1, "two": 2, "three": 3, "four": 4, "five": 5}
SIDES = "left of|right of|above|below"


def sentence(row):
    """Whether some choice of things for the nouns makes the caption true."""

    def meant(noun):
        number, words = noun.split(" ", 1)
        found = alike(words, row)
        return [(thing,) for thing in found] if NUMBERS[number] == 1 else [found] * (len(found) == NUMBERS[number])

    bare = re.sub("^there (is|are) | (is|are)(?= )", "", row["caption"])
    if " among " in bare:
        noun, rest = bare.split(" among ")
        return bool(meant(noun)) and rest == f"{[*NUMBERS][len(things(row))]} objects"
    first, *others = re.split(rf" (?:and )?(?={SIDES})| and ", bare)
    others = [re.fullmatch(rf"({SIDES})? ?(.*)", other).groups() for other in others]
    return any(
        all(a != b for some, more in combinations(chosen, 2) for a, b in product(some, more))
        and all(stands(a, side, b) for (side, _), group in zip(others, chosen[1:], strict=True) if side
                for a, b in product(chosen[0], group))
        for chosen in product(*map(meant, (first, *(noun for _, noun in others))))
    )  # fmt: skip


QUESTIONS = {
    "existence": r"is there an? (.+)\?",
    "count": r"how many (.+) are there\?",
    "colour": r"what colour is the (.+)\?",
    "relation": rf"is the (.+) ({SIDES}) the (.+)\?",
    "comparison": r"(?:is the|are there) (.+?) (larger than the|smaller than the|than) (.+)\?",
}


def asked(row):
    first, *rest = re.fullmatch(QUESTIONS[row["kind"]], row["question"]).groups()
    if row["kind"] == "count":
        return row["answer"] == str(len(alike(first, row)))
    if row["kind"] == "colour":
        [[words, *_]] = alike(first, row)
        return row["answer"] == words[1]
    if row["kind"] == "existence":
        said = alike(first, row) != []
    elif rest[0] == "than":
        said = len(alike(first.removeprefix("more "), row)) > len(alike(rest[1], row))
    else:
        [one], [other] = alike(first, row), alike(rest[1], row)
        sizes = {"larger than the": ("large", "small"), "smaller than the": ("small", "large")}
        said = (one[0][0], other[0][0]) == sizes[rest[0]] if rest[0] in sizes else stands(one, rest[0], other)
    return row["answer"] == ("yes" if said else "no")


@cache
def moments(clip):
    """The pixels of each frame, their centroid, and their mean distance from it."""
    found = []
    for frame in clip.frames(None):
        pixels = np.asarray(frame.value, float)
        down, across = np.indices(pixels.shape)
        x, y = ((pixels * axis).sum() / pixels.sum() for axis in (across, down))
        spread = np.sqrt((pixels * ((across - x) ** 2 + (down - y) ** 2)).sum() / pixels.sum())
        found.append((pixels, np.array([x, y]), spread))
    return found


def acts(row):
    """Whether what is seen in the frames of a span is what it says; which way something rotates is not measured."""
    found = moments(row["file"])
    begin, end = (round(25 * float(row[name])) for name in ("start", "end")) if "start" in row else (0, len(found))
    (first, at, spread), (_, then, wider) = found[begin], found[end - 1]
    steps = end - 1 - begin
    if row["label"] in (ways := {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}):
        return np.abs((then - at) - 1.5 * steps * np.array(ways[row["label"]])).max() < 0.1 * (steps + 1)
    if row["label"] in ("growing", "shrinking"):
        return steps == 0 or (wider > spread) == (row["label"] == "growing")
    same = all((first == pixels).all() for pixels, *_ in found[begin:end])  # half a turn may look the same
    return same if row["label"] == "still" else steps == 0 or (not same and abs(wider / spread - 1) < 0.25)


ORACLES = {
    "clips": acts, "clip_labels": acts,
    "anbn": counted, "copy": same, "dates": written_date, "dyck": nested, "parity": odd_ones, "reverse": backwards,
    "scene_questions": asked, "scenes": sentence, "tagged": named, "verdicts": judged,
}  # fmt: skip


@pytest.mark.parametrize("name", datasets())
def test_targets_are_true_of_their_inputs(name):
    few = {"video": ":count=40", "caption": ":count=1000", "vqa": ":count=1000"}.get(datasets()[name].kind, "")
    wrong = [row for row in rows(name + few) if not ORACLES[name](row)]
    assert wrong == []


@pytest.mark.parametrize("name", datasets())
@settings(some, max_examples=20)
@given(seed=seeds, count=st.integers(20, 60))
def test_as_many_different_rows_as_requested(name, seed, count):
    data = datasets()[name]
    options = {"max_length": 10} if name in WITH_PARTS else {}
    found = data.rows(seed, count, **options)
    wanted = ["file", "start", "end", "label", "split"] if name == "clips" else COLUMNS[data.kind] + MORE.get(name, [])
    assert list(found) == wanted
    assert len({len(values) for values in found.values()}) == 1
    about = inputs(found)
    assert len(about) == count
    if name == "anbn":  # has but one text for each n, and trains on them again and again
        about = [text for text, split in zip(about, found["split"], strict=True) if split != "train"]
    assert len(set(about)) == len(about)
    assert found == data.rows(seed, count, **options)


@pytest.mark.parametrize("name", datasets())
def test_another_seed_gives_other_rows(name):
    assert rows(f"{name}:count=300,seed=1") != rows(f"{name}:count=300,seed=2")


@pytest.mark.parametrize("name", WITH_PARTS)
def test_splits_have_nothing_in_common_and_the_test_split_is_longer(name):
    parts = {split: {row["text"] for row in part(name, split)} for split in ("train", "valid", "test")}
    assert all(parts.values())
    assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
    longest = max(map(len, parts["train"]))
    assert max(map(len, parts["valid"])) <= longest < min(map(len, parts["test"]))
    assert max(map(len, parts["test"])) == 2 * longest


@pytest.mark.parametrize("name", ["dyck", "parity"])
def test_of_every_length_half_the_rows_have_either_label(name):
    labels = Counter((len(row["text"]), row["label"]) for row in rows(name))
    sizes = {size for size, _ in labels}
    assert sizes == set(range(1, 81) if name == "parity" else range(2, 81, 2))
    assert len(labels) == 2 * len(sizes)
    assert all(len({count for (of, _), count in labels.items() if of == size}) == 1 for size in sizes)


@pytest.mark.parametrize("name", ["dyck", "parity", "verdicts"])
@pytest.mark.parametrize("count", [2, 18, 300, 1999])
def test_half_the_rows_have_either_label(name, count):
    labels = Counter(row["label"] for row in rows(f"{name}:count={count}"))
    pairs_cut = 2 if name in WITH_PARTS else 1
    assert abs(2 * labels.most_common()[0][1] - count) <= pairs_cut


def test_dyck_cannot_be_decided_by_counting():
    missed = [row["text"] for row in rows("dyck") if row["label"] == "unbalanced"]
    assert all(2 * len(re.findall(r"[(\[]", text)) == len(text) for text in missed)

    def counters_accept(text):
        depth = dict.fromkeys("([", 0)
        for bracket in text:
            depth[{")": "(", "]": "["}.get(bracket, bracket)] += 1 if bracket in "([" else -1
            if min(depth.values()) < 0:
                return False
        return not any(depth.values())

    assert np.mean([counters_accept(text) for text in missed]) > 0.3


def test_balanced_texts_of_a_length_are_all_as_likely():
    shapes = Counter()
    for seed in range(3000):
        first, second = rows(f"dyck:count=2,seed={seed},max_length=6")
        balanced = first if first["label"] == "balanced" else second
        shapes[balanced["text"].translate(str.maketrans("[]", "()"))] += 1
    counts = [count for shape, count in shapes.items() if len(shape) == 6]
    assert len(counts) == 5
    assert all(150 < count < 250 for count in counts)


def test_dates_come_in_many_spellings():
    shapes = {re.sub("[a-z]+", "a", re.sub("[0-9]", "9", row["source"].lower())) for row in rows("dates")}
    assert len(shapes) >= 15
    cased = [row["source"] for row in rows("dates") if any(map(str.isalpha, row["source"]))]
    assert all(sum(map(case, cased)) > 1000 for case in (str.islower, str.isupper))
    assert sum(re.search("[A-Z][a-z]", text) is not None for text in cased) > 1000
    assert {row["target"][:4] for row in rows("dates")} == set(map(str, range(1900, 2101)))
    assert {row["target"][5:7] for row in rows("dates")} == {f"{month:02}" for month in range(1, 13)}
    assert {row["target"][8:] for row in rows("dates")} == {f"{day:02}" for day in range(1, 32)}


@some
@given(longest=st.integers(1, 40), more=st.integers(0, 100), letters=st.integers(2, 26), seed=seeds)
def test_anbn_has_every_n_in_one_split(longest, more, letters, seed):
    found = datasets()["anbn"].rows(seed, 2 * longest + more, longest, letters)
    sizes = {"train": [], "valid": [], "test": []}
    for text, split in zip(found["text"], found["split"], strict=True):
        n = len(text) // letters
        assert text == "".join(chr(ord("a") + i // n) for i in range(n * letters))
        sizes[split].append(n)
    assert sorted({*sizes["train"], *sizes["valid"], *sizes["test"]}) == list(range(1, 2 * longest + 1))
    assert sorted(sizes["test"]) == list(range(longest + 1, 2 * longest + 1))
    assert sorted(sizes["valid"]) == [n for n in range(1, longest + 1) if n % 10 == 5]
    often = Counter(sizes["train"]).values()
    assert max(often) - min(often) <= 1


def test_names_are_decided_by_their_context():
    tags = {}
    for row in rows("tagged"):
        for word, tag in zip(row["words"], row["tags"], strict=True):
            tags.setdefault(word, Counter())[tag] += 1
    assert sum({"B-PER", "B-LOC"} <= set(found) for found in tags.values()) >= 10
    assert all({"O", "B-PER"} <= set(tags[word]) for word in ("will", "may", "rose", "mark"))
    assert {"I-PER", "I-LOC"} <= set().union(*tags.values())


def test_no_word_by_itself_gives_a_verdict():
    positive, seen = Counter(), Counter()
    for row in rows("verdicts"):
        for word in set(row["text"].split()):
            seen[word] += 1
            positive[word] += row["label"] == "positive"
    assert all(0.45 < positive[word] / seen[word] < 0.55 for word in seen)
    assert any(" but " in row["text"] for row in rows("verdicts"))


def test_rng_is_the_mersenne_twister_and_nothing_else():
    # NumPy's own, seeded in the same way; what Python makes of it in randrange or shuffle may change with its version
    rng, oracle = Rng(12345), np.random.RandomState([12345])
    for end in [*range(1, 200), 2**31, 2**40 + 1]:
        assert rng.below(end) == int(oracle.random_sample() * end)


def test_all_orders_are_as_likely():
    rng = Rng(0)
    orders = Counter("".join(rng.shuffled("abcd")) for _ in range(24_000))
    assert len(orders) == 24
    assert all(850 < count < 1150 for count in orders.values())


def test_rows_depend_on_nothing_but_their_options():
    code = (
        "from elman.data.builtin import datasets, generate; import hashlib, json;"
        "made = [generate(f'builtin:{name}:count=300') for name in datasets()];"
        "print(hashlib.sha256(json.dumps(made, default=str).encode()).hexdigest())"
    )
    random.seed(1)
    before = random.getstate()
    made = [generate(f"builtin:{name}:count=300") for name in datasets()]
    assert random.getstate() == before
    environment = os.environ | {"PYTHONHASHSEED": "77", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == hashlib.sha256(json.dumps(made, default=str).encode()).hexdigest()


def test_options_are_taken():
    assert len(rows("dates:count=7,seed=3")) == 7
    assert rows("dates:count=7,seed=3") == rows("dates:seed=3,count=7")
    assert rows("dates:seed=0") == rows("dates") == rows("dates:")
    assert max(len(row["source"]) for row in rows("copy:max_length=30")) == 30
    assert {len(row["text"]) for row in part("dyck:count=200,max_length=8", "test")} == {10, 12, 14, 16}
    assert {len(row["text"]) for row in part("parity:count=60,max_length=8", "train")} <= set(range(1, 9))
    assert rows("anbn:count=6,max_length=1,letters=3")[-1] == {"text": "aabbcc", "split": "test"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "clips")) for name in datasets()]
)
def test_every_data_is_described(name):
    data = datasets()[name]
    assert data.name == name
    assert data.summary
    assert "\n" not in data.summary
    assert {"seed", "count"} <= set(data.options())
    count = data.options()["count"]
    assert len(inputs(generate(f"builtin:{name}"))) == count
    assert 2_000 <= count <= 20_000


def test_a_new_file_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from elman.data.builtin import builtin\n"
        "@builtin('mine', 'my own', 'generate')\n"
        "def rows(seed: int = 0, count: int = 2, more: int = 1):\n"
        "    return {'text': [str(seed + more)] * count}\n"
    )
    monkeypatch.setattr(builtin, "__path__", [*builtin.__path__, str(tmp_path)])
    monkeypatch.setattr(builtin.DATASETS, "_found", dict(builtin.DATASETS._found))
    try:
        assert "mine" in datasets()
        assert generate("builtin:mine:more=4,seed=2") == {"text": ["6", "6"]}
    finally:
        sys.modules.pop("elman.data.builtin.mine", None)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("builtin:revers", "unknown built-in data 'revers': did you mean 'reverse'?"),
        ("builtin:", "unknown built-in data '': there is anbn, "),
        ("builtin:dates:cuont=5", "unknown option of builtin:dates 'cuont': did you mean 'count'?"),
        ("builtin:dates:max_length=5", "unknown option of builtin:dates 'max_length'"),
        ("builtin:dates:count", "'count' is not an option of builtin:dates: write name=number"),
        ("builtin:dates:count=many", "builtin:dates has count=many: write an integer, as in count=20000"),
        ("builtin:dates:count=2.5", "builtin:dates has count=2.5: write an integer"),
        ("builtin:dates:count=", "builtin:dates has count=: write an integer"),
        ("builtin:dates:count=0", "builtin:dates has count=0: count must be a number above 0, as in count=20000"),
        ("builtin:dates:seed=-1", "builtin:dates has seed=-1: seed must be 0 or more"),
        ("builtin:dates:count=5,count=6", "builtin:dates has count twice, 5 and 6: give it once"),
        ("builtin:copy:max_length=2", "builtin:copy has max_length=2: max_length must be 3 or more, as in"),
        ("builtin:dyck:max_length=7", "builtin:dyck has max_length=7: max_length must be an even number above 0"),
        ("builtin:dyck:max_length=0", "builtin:dyck has max_length=0: max_length must be an even number above 0"),
        ("builtin:parity:max_length=0", "builtin:parity has max_length=0: max_length must be a number above 0"),
        ("builtin:anbn:letters=27", "builtin:anbn has letters=27: letters must be from 2 to 26, as in letters=2"),
        ("builtin:anbn:letters=1", "builtin:anbn has letters=1: letters must be from 2 to 26"),
        ("builtin:anbn:count=199", "builtin:anbn:count=199: 199 rows are too few for n up to 200: give a count of 200"),
        (
            "builtin:parity:max_length=3",
            "builtin:parity:max_length=3: only 14 different rows were found: give a smaller count",
        ),
    ],
)
def test_a_mistake_is_reported_in_a_line(spec, message):
    with pytest.raises(UserError) as raised:
        generate(spec)
    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)
