"""Options: every invalid value is reported at once, with its option, what it must be, and the nearest word."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from elman.errors import Stopped, UserError, nearest, unknown
from elman.options import (
    Bound,
    Choices,
    CountFloat,
    CountInt,
    NotWith,
    OnlyWith,
    PositiveFloat,
    PositiveInt,
    Probability,
    ShareFloat,
    build,
    check,
    seconds,
)

Even = Bound("an even number", lambda value: value % 2 == 0)
REGISTRY = ["lstm", "gru"]


@dataclass(frozen=True)
class Numbers:
    """One of each bound, with and without None."""

    units: PositiveInt = 1
    lr: PositiveFloat = 1.0
    warmup: CountInt = 0
    weight_decay: CountFloat = 0.0
    dropout: ShareFloat = 0.0
    top_p: Annotated[float, Probability] = 1.0
    pairs: Annotated[int, Even] = 2
    most: PositiveInt | None = None
    least: Annotated[float | None, Probability] = None
    free: float = -1.0


@dataclass(frozen=True)
class Words:
    """Words with choices, typed or from a registry, and one that may be any."""

    clip_by: Literal["norm", "value"] = "norm"
    for_: Literal["minutes", "hours"] | None = None
    name: str = "anything"
    cell: Annotated[str | None, Choices(lambda: REGISTRY)] = "lstm"


def problems(*options, given=None):
    """The message, split into its problems; empty where all is valid."""
    try:
        check(*options, given=given)
    except UserError as error:
        return str(error).split("; ")
    return []


def test_defaults_are_within_their_bounds():
    assert problems(Numbers(), Words()) == []


@pytest.mark.parametrize(
    ("field", "valid", "invalid"),
    [
        ("units", [1, 10**9], [0, -1]),
        ("lr", [1e-300, 1e300], [0.0, -0.0, -1e-300]),
        ("warmup", [0, 1], [-1]),
        ("weight_decay", [0.0, -0.0, 0.5], [-1e-300]),
        ("dropout", [0.0, 1 - 2**-53], [1.0, 1.5, -1e-300]),
        ("top_p", [1e-300, 1.0], [0.0, -0.5, 1 + 2**-52]),
        ("pairs", [0, -2], [1, -1]),
        ("most", [None, 1], [0, -1]),
        ("least", [None, 1e-300, 1.0], [0.0, 1.5]),
        ("free", [0.0, -5.0], [math.inf]),
    ],
)
def test_bounds_hold_up_to_their_edge_and_not_beyond(field, valid, invalid):
    for value in valid:
        assert problems(Numbers(**{field: value})) == []
    for value in invalid:
        [problem] = problems(Numbers(**{field: value}))
        assert problem.startswith(f"`{field}` {value} must be ")


@pytest.mark.parametrize(
    ("field", "phrase"),
    [
        ("units", "a number above 0"),
        ("weight_decay", "0 or more"),
        ("dropout", "from 0 up to, not including, 1"),
        ("top_p", "above 0 and at most 1"),
        ("pairs", "an even number"),
    ],
)
def test_the_message_has_the_phrase_of_the_bound(field, phrase):
    assert problems(Numbers(**{field: -3})) == [f"`{field}` -3 must be {phrase}"]


@pytest.mark.parametrize("field", ["lr", "weight_decay", "dropout", "top_p", "least"])
def test_what_is_not_a_number_is_within_no_bounds(field):
    [problem] = problems(Numbers(**{field: math.nan}))
    assert problem.startswith(f"`{field}` nan must be ")


def test_every_problem_is_reported_at_once_each_with_its_option():
    found = problems(Numbers(units=0, lr=-1.0, top_p=2.0, most=0), Words(clip_by="nrm", for_="hrs"))
    assert [line.split()[0] for line in found] == ["`units`", "`lr`", "`top_p`", "`most`", "`clip_by`", "`for_`"]


def test_an_invalid_word_gets_the_valid_words_and_the_nearest():
    assert problems(Words(clip_by="Values")) == ["`clip_by` 'Values' must be one of norm, value: did you mean 'value'?"]
    assert problems(Words(for_="hour")) == ["`for_` 'hour' must be one of minutes, hours: did you mean 'hours'?"]
    [problem] = problems(Words(clip_by="zzzz"))  # a word that is similar to neither
    assert problem.startswith("`clip_by` 'zzzz' must be one of norm, value")


def test_choices_come_from_the_registry_as_it_is_when_they_are_checked(monkeypatch):
    assert problems(Words(cell="mine")) == ["`cell` 'mine' must be one of lstm, gru: did you mean 'lstm'?"]
    monkeypatch.setitem(globals(), "REGISTRY", ["lstm", "gru", "mine"])
    assert problems(Words(cell="mine"), Words(cell=None)) == []


def test_valid_words_and_no_word_are_accepted():
    assert problems(Words("value", "hours", ""), Words("norm", None, "zzzz")) == []


def test_an_invalid_value_ends_a_command_with_code_2():
    with pytest.raises(Stopped) as raised:
        check(Numbers(units=0))
    assert raised.value.code == 2


# options without effect


@dataclass(frozen=True)
class Decoder:
    """Options of which some have an effect only beside others."""

    decoder: str = "soft"
    tokens: str | None = None
    encoder: str | None = None
    bidirectional: bool = False
    entropy: Annotated[CountFloat, OnlyWith("decoder", "hard")] = 0.5
    coverage: Annotated[CountFloat, OnlyWith("decoder", "soft", "hard")] = 0.0
    lower: Annotated[bool, NotWith("tokens", "byte")] = False
    size: Annotated[PositiveInt | None, OnlyWith("tokens", "word", "bpe")] = None
    frozen: Annotated[int, OnlyWith("encoder")] = 3
    bridge: Annotated[str, OnlyWith("bidirectional")] = "mean"


@dataclass(frozen=True)
class Search:
    """An option that depends on one of another dataclass."""

    beam: Annotated[PositiveInt, NotWith("sample", True)] = 1


@dataclass(frozen=True)
class Drawing:
    """The other dataclass."""

    sample: bool = False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entropy": 0.1}, "`entropy` 0.1 has no effect with `decoder` soft: leave it out, or pass `decoder` hard"),
        (
            {"decoder": "plain", "coverage": 1.0},
            "`coverage` 1.0 has no effect with `decoder` plain: leave it out, or pass `decoder` soft or hard",
        ),
        (
            {"lower": True, "tokens": "byte"},
            "`lower` has no effect with `tokens` byte: leave one of them out",
        ),
        (
            {"size": 9, "tokens": "char"},
            "`size` 9 has no effect with `tokens` char: leave it out, or pass `tokens` word or bpe",
        ),
        ({"frozen": 1}, "`frozen` 1 has no effect without `encoder`: leave it out, or pass `encoder`"),
        (
            {"bridge": "sum"},
            "`bridge` sum has no effect without `bidirectional`: leave it out, or pass `bidirectional`",
        ),
    ],
)
def test_an_option_without_effect_is_an_error_that_names_both(options, message):
    assert problems(Decoder(**options)) == [message]


@pytest.mark.parametrize(
    "options",
    [
        {"decoder": "hard", "entropy": 0.1},
        {"coverage": 1.0},
        {"lower": True},
        {"size": 9},  # the tokens are chosen later
        {"size": 9, "tokens": "bpe"},
        {"encoder": "resnet", "frozen": 1},
        {"bidirectional": True, "bridge": "sum"},
    ],
)
def test_an_option_with_effect_is_accepted(options):
    assert problems(Decoder(**options)) == []


def test_of_what_was_given_even_the_default_is_an_error():
    assert problems(Decoder(entropy=0.5)) == []
    assert len(problems(Decoder(entropy=0.5), given={"entropy"})) == 1
    assert problems(Decoder(entropy=0.1), given=set()) == []  # restored, not given


def test_an_option_may_depend_on_one_of_another_dataclass():
    assert problems(Search(beam=2), Drawing()) == []
    assert problems(Search(beam=2)) == []
    [problem] = problems(Search(beam=2), Drawing(sample=True))
    assert problem == "`beam` 2 has no effect with `sample`: leave one of them out"


# from a mapping


def test_options_are_built_from_their_fields():
    assert build(Numbers, {"units": 3, "top_p": 0.5}) == Numbers(units=3, top_p=0.5)
    assert build(Numbers, {}) == Numbers()


@pytest.mark.parametrize(("key", "near"), [("unit", "units"), ("LR", "lr"), ("topp", "top_p"), ("drop_out", "dropout")])
def test_an_unknown_option_gets_the_nearest(key, near):
    with pytest.raises(UserError) as raised:
        build(Numbers, {"units": 3, key: 1})
    assert str(raised.value) == f"unknown option '{key}': did you mean '{near}'?"


def test_an_option_that_is_similar_to_none_still_gets_a_valid_one():
    with pytest.raises(UserError, match=r"unknown option 'zzzz': did you mean '(\w+)'\?") as raised:
        build(Words, {"zzzz": 1})
    assert str(raised.value).split("'")[3] in ("clip_by", "for_", "name", "cell")


# words


def test_the_nearest_word_is_the_same_in_upper_and_lower_case():
    assert nearest("LSTM", ["gru", "lstm"]) == "lstm"
    assert nearest("lstm", ["GRU", "LSTM"]) == "LSTM"
    assert nearest("zzz", ["gru", "lstm"]) is None
    assert nearest("zzz", []) is None


def test_an_unknown_word_gets_the_nearest_or_all():
    assert str(unknown("cell", "lsmt", ["gru", "lstm"])) == "unknown cell 'lsmt': did you mean 'lstm'?"
    assert str(unknown("cell", "zzz", ["lstm", "gru"])) == "unknown cell 'zzz': there is gru, lstm"
    assert str(unknown("run", "zzz", [])) == "unknown run 'zzz': there is none"


# spans of time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90s", 90),
        ("5m", 300),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1h30m15s", 5415),
        ("1h15s", 3615),
        ("2m30s", 150),
        ("1.5m", 90),
        ("0.5h", 1800),
        ("0.25", 0.25),
        ("0h0m1s", 1),
        ("100m", 6000),
        (" 90s\n", 90),
    ],
)
def test_a_span_of_time_is_so_many_seconds(text, expected):
    assert seconds(text) == expected


NO_SPANS = [
    *["", " ", "m", "s", "h", "five", "x5", "5x", "5M", "5 m", "-5m", "+5m", "1m2h", "1m1m"],
    *["1..5m", ".5m", "5m.", "1e3", "nan", "inf", "1,5m", "1:30"],
]


@pytest.mark.parametrize("text", NO_SPANS)
def test_what_is_no_span_of_time_is_an_error_that_shows_the_format(text):
    with pytest.raises(UserError) as raised:
        seconds(text)
    assert str(raised.value) == f"`for_` '{text}' is not a span of time: write 90s, 5m or 1h30m"


@pytest.mark.parametrize("text", ["0", "0s", "0m", "0h0m0s", "0.0"])
def test_a_span_of_no_time_is_too_short(text):
    with pytest.raises(UserError, match=f"`for_` {text} must be longer than 0 seconds"):
        seconds(text)
