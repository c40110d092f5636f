"""The words of the package are those of the field: none of the left column of the design's table stands in it.

An identifier counts as the words that it is made of: `_told`, `ToldRows` and `TOLD` all have "told".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "elman"
TEXT_FILES = (".py", ".hpp", ".cpp", ".html", ".css", ".js", ".jinja", ".j2", ".md")


def words(*each: str) -> str:
    """A pattern of whole words, in prose and in identifiers of every case."""
    parts = []
    for word in each:
        first, rest = word[0], word[1:]
        parts += [rf"(?<![A-Za-z])[{first}{first.upper()}]{rest}(?![a-z])", rf"{first.upper()}{rest}(?![a-z])",
                  rf"(?<![A-Za-z]){word.upper()}(?![A-Za-z])"]  # fmt: skip
    return "|".join(parts)


def phrase(text: str) -> str:
    """A pattern of words after each other, on one line or two."""
    return r"(?<![A-Za-z])(?i:" + r"[\s_]+".join(text.split()) + r")(?![a-z])"


@dataclass(frozen=True)
class Rule:
    """Words that have a better one; `allowed` are phrases in which they mean something else, each with its reason."""

    pattern: str
    better: str
    allowed: tuple[tuple[str, str], ...] = ()


RULES = [
    Rule(
        words("told", "tell", "tells", "telling"), "log, report, return",
        ((r"file\.tell\(\)", "of a file"), (r"(?i)tells? (?:\w+ )?apart", "distinguish")),
    ),
    Rule(words("say", "says", "said", "saying"), "return, predict, generate, report"),
    Rule(words("asks", "asked", "asking"), "inputs, needs, request"),
    Rule(
        words("sees", "saw", "seeing"), "takes images, observes, reads",
        ((r"\"saw\"|a saw\b|saw two dogs", "a word of example data"),),
    ),
    Rule(
        words("seen"), "recorded, observed, known",
        ((r"\"seen\"|a tenth has seen and", "seen and unseen pairs, as in zero-shot learning"),),
    ),
    Rule(words("chances") + "|" + phrase("the chance of") + "|" + phrase("the chance that"), "probability"),
    Rule(words("picture", "pictures", "pictured"), "image; a figure is drawn by elman"),
    Rule(words("anew"), "again, reset"),
    Rule(words("besides"), "metrics_by, and, also"),
    Rule(
        words("look", "looks", "looked", "looking"), "validate, attend, attention weights, inspect",
        (
            (r"look[-_ ]?(?:up|ahead|behind)s?", "terms of their own"),
            (r"(?i)looks? (?:like|further ahead)", "resemble; look-ahead"),
            (r"(?i)look(?:s|ing)?[-_ ]inside", "what the package is for, in the words of the design"),
        ),
    ),
    Rule(words("judge", "judged", "judges"), "evaluate, metrics"),
    Rule(phrase("by heart"), "overfitted, memorised"),
    Rule(phrase("kept aside"), "held out"),
    Rule(
        words("place", "places"), "position of a grid; name; address",
        (
            (r"(?i)in[-_ ]place", "a term of PyTorch"),
            (r"(?i)(?:take|takes|took|taking) (?:the )?place", "happens; replaces"),
            (r"(?i)decimal places?", "digits"),
        ),
    ),
    Rule(words("figures"), "metrics, values"),
    Rule(
        words("opening"), "prompt",
        ((r"(?i)opening (?:bracket|quote|tag|brace|parenthesis|delimiter)s?", "the one that closes later"),),
    ),
    Rule(
        words("floor"), "unigram entropy",
        (
            (r"(?:math|torch|np|numpy|std)(?:\.|::)floor|\.floor\(|floor\w*\(|floor division", "the function"),
            (r"[\"`]floor[\"`]", "the operation of a step"),
        ),
    ),
    Rule(
        words("merged"), "deduplicated",
        ((r"(?i)merged (?:pair|piece|token|symbol)s?|pairs? (?:\w+,? ){0,5}merged", "of BPE"),),
    ),
    Rule(r"(?i)(?<!teacher[ _-])(?<![a-z])forcing(?![a-z])", "teacher forcing"),
    Rule(
        r"(?i)(?<!label[ _-])(?<![a-z])smoothing(?![a-z])", "label smoothing",
        ((r"(?i)(?:without|kneser-ney|add-one|laplace|interpolated) smoothing|smoothing of (?:n-grams|the curve)",
          "other kinds of smoothing"),),
    ),
    Rule(
        r"--(?:form|merge|longest|balance|forcing|smoothing|join|size|best|streams|pace|no-repeat|vocabulary|show"
        r"|learned-state|rows|rate|decay|window|back|by|picture|no-picture)(?![a-z-])",
        "the flag of the field",
    ),
    Rule(
        r"(?i)(?<!learning[ _-])(?<![a-z])rate(?![a-z])", "learning rate, lr",
        ((r"(?i)(?:sampling|sample|error|frame|average|dropout|update|bit|drop)[ _]rate", "rates of something else"),),
    ),
    Rule(
        r"(?i)(?<!weight[ _-])(?<![a-z])decay(?![a-z])", "weight decay",
        (
            (r"(?i)(?:cosine|exponential) decay", "of a schedule"),
            (r"(?i)(?:gradients?|memor(?:y|ies)|to|they|of the) decay|decay (?:of|rate)", "of a gradient"),
            (r"\"decay\": \"weight-decay\"|\"learning-rate-decay\": \"lr\"", "flags of other tools"),
        ),
    ),
    Rule(words("fresh", "freshly"), "reset, new, untrained"),
    Rule(
        words("writer", "writers"), "decoder",
        ((r"csv\.writer|writer\.write|ArrowWriter|\bwriter = csv", "of a file"),),
    ),
    Rule(
        words("shares"), "masked softmax, attention weights, fractions",
        ((r"shares (?:the|its|their|no|one|weights)\b", "a verb"),),
    ),
    Rule(r"(?<![\w.])(?:wide|even|past|whole|shared)\(", "masked softmax, float32, layer norm, padding mask"),
    Rule(phrase("training part") + "|" + phrase("validation part") + "|" + phrase("test part")
         + "|" + phrase("train part") + "|" + phrase("valid part"), "split"),
    Rule(words("learnt"), "learned, overfitted"),
    Rule(words("rooms"), "tiles"),
    Rule(r"(?<![\w-])dead (?:lane|row|column|room|element)s?", "padding"),
    Rule(phrase("gone on with") + "|" + phrase("go on with") + "|" + phrase("goes on with"), "resume"),
    Rule(words("verdict", "verdicts"), "prediction"),
    Rule(words("handful", "nobody", "seldom", "stretch", "stretches"), "plain words: no one, rarely, span"),
]  # fmt: skip

# files whose words are not ours
SENTENCES = (r".+", "the sentences of a data set")
FOREIGN = {
    "src/elman/data/builtin/tagged.py": SENTENCES,
    "src/elman/data/builtin/verdicts.py": SENTENCES,
    "src/elman/cli/app.py": (r"FOREIGN = \{.*?\n\}", "the flags of other tools"),
}


def files() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder in (SOURCE, ROOT / "docs"):
        yield from sorted(path for path in folder.rglob("*") if path.suffix in TEXT_FILES)


def hits(path: Path) -> Iterator[str]:
    """`file:line: word -> better` for every word that has one."""
    where, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
    foreign, _ = FOREIGN.get(where, ("(?!)", ""))
    skipped = [match.span() for match in re.finditer(foreign, text, re.DOTALL)]
    named = f"{'' if skipped == [(0, len(text))] else path.stem}\n{text}"  # the name of the file counts as line 0
    for rule in RULES:
        spans = [match.span() for allowed, _ in rule.allowed for match in re.finditer(allowed, named)]
        offset = len(named) - len(text)
        spans += [(begin + offset, end + offset) for begin, end in skipped]
        for match in re.finditer(rule.pattern, named):
            if not any(begin <= match.start() and match.end() <= end for begin, end in spans):
                line = named.count("\n", 0, match.start())
                yield f"{where}:{line}: {' '.join(match[0].split())} -> {rule.better}"


def package(path: Path) -> str:
    inner = path.relative_to(ROOT).parts
    return "/".join(inner[:-1][:3]) or inner[0]


PACKAGES = sorted({package(path) for path in files()})


@pytest.mark.parametrize("name", PACKAGES)
def test_every_word_is_the_word_of_the_field(name: str) -> None:
    found = [hit for path in files() if package(path) == name for hit in hits(path)]
    assert not found, f"{len(found)} words that have a better one\n" + "\n".join(found)


@pytest.mark.parametrize("text", ["told", "_told", "toldRows", "ToldRows", "told_rows", "TOLD", "what is told"])
def test_a_word_is_found_in_every_case(text: str) -> None:
    assert re.search(words("told"), text)


@pytest.mark.parametrize("text", ["untold", "toldest", "UNTOLD"])
def test_a_part_of_another_word_is_not_found(text: str) -> None:
    assert not re.search(words("told"), text)
