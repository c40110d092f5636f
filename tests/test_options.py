"""Options: every wrong value is told at once, with its flag, what it must be, and the nearest word."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest

from elman.errors import Stopped, UserError, nearest, unknown
from elman.options import (
    Bound,
    CountFloat,
    CountInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    ShareFloat,
    build,
    check,
    flag,
    seconds,
)

Even = Bound("an even number", lambda value: value % 2 == 0)


@dataclass(frozen=True)
class Numbers:
    """One of each bound, with and without None."""

    units: PositiveInt = 1
    rate: PositiveFloat = 1.0
    warmup: CountInt = 0
    decay: CountFloat = 0.0
    dropout: ShareFloat = 0.0
    top_p: Annotated[float, Probability] = 1.0
    pairs: Annotated[int, Even] = 2
    most: PositiveInt | None = None
    least: Annotated[float | None, Probability] = None
    free: float = -1.0


@dataclass(frozen=True)
class Words:
    """Words of which one is to be chosen, and one that may be any."""

    clip_by: Literal["norm", "value"] = "norm"
    for_: Literal["minutes", "hours"] | None = None
    name: str = "anything"


def problems(*options):
    """What is told, a line a problem; nothing where all is right."""
    try:
        check(*options)
    except UserError as error:
        return str(error).split("; ")
    return []


def test_defaults_are_within_their_bounds():
    assert problems(Numbers(), Words()) == []


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        ("units", [1, 10**9], [0, -1]),
        ("lr", [1e-300, 1e300], [0.0, -0.0, -1e-300]),
        ("warmup", [0, 1], [-1]),
        ("decay", [0.0, -0.0, 0.5], [-1e-300]),
        ("dropout", [0.0, 1 - 2**-53], [1.0, 1.5, -1e-300]),
        ("top_p", [1e-300, 1.0], [0.0, -0.5, 1 + 2**-52]),
        ("pairs", [0, -2], [1, -1]),
        ("most", [None, 1], [0, -1]),
        ("least", [None, 1e-300, 1.0], [0.0, 1.5]),
        ("free", [0.0, -5.0], [math.inf]),
    ],
)
def test_bounds_hold_up_to_their_edge_and_not_beyond(field, right, wrong):
    for value in right:
        assert problems(Numbers(**{field: value})) == []
    for value in wrong:
        [told] = problems(Numbers(**{field: value}))
        assert told.startswith(f"{flag(field)} {value} must be ")


@pytest.mark.parametrize(
    ("field", "phrase"),
    [
        ("units", "a number above 0"),
        ("decay", "0 or more"),
        ("dropout", "from 0 up to, not including, 1"),
        ("top_p", "above 0 and at most 1"),
        ("pairs", "an even number"),
    ],
)
def test_a_bound_is_told_in_words(field, phrase):
    assert problems(Numbers(**{field: -3})) == [f"{flag(field)} -3 must be {phrase}"]


@pytest.mark.parametrize("field", ["lr", "decay", "dropout", "top_p", "least"])
def test_what_is_not_a_number_is_within_no_bounds(field):
    assert [told.startswith(f"{flag(field)} nan must be ") for told in problems(Numbers(**{field: math.nan}))] == [True]


def test_every_problem_is_told_at_once_each_with_its_flag():
    told = problems(Numbers(units=0, lr=-1.0, top_p=2.0, most=0), Words(clip_by="nrm", for_="hrs"))
    assert [line.split()[0] for line in told] == ["--units", "--lr", "--top-p", "--most", "--clip-by", "--for"]


def test_a_word_that_cannot_be_chosen_is_told_the_words_and_the_nearest():
    assert problems(Words(clip_by="Values")) == ["--clip-by 'Values' must be one of norm, value: did you mean 'value'?"]
    assert problems(Words(for_="hour")) == ["--for 'hour' must be one of minutes, hours: did you mean 'hours'?"]
    [told] = problems(Words(clip_by="zzzz"))  # a word that is like neither
    assert told.startswith("--clip-by 'zzzz' must be one of norm, value")


def test_words_that_can_be_chosen_and_no_word_are_right():
    assert problems(Words("value", "hours", ""), Words("norm", None, "zzzz")) == []


def test_a_wrong_value_ends_a_command_with_code_2():
    with pytest.raises(Stopped) as raised:
        check(Numbers(units=0))
    assert raised.value.code == 2


@pytest.mark.parametrize(
    ("field", "written"),
    [("lr", "--lr"), ("clip_by", "--clip-by"), ("for_", "--for"), ("eval_every_x", "--eval-every-x")],
)
def test_a_flag_is_a_field_as_it_is_written_on_the_command_line(field, written):
    assert flag(field) == written


# from a mapping


def test_options_are_built_from_their_fields():
    assert build(Numbers, {"units": 3, "top_p": 0.5}) == Numbers(units=3, top_p=0.5)
    assert build(Numbers, {}) == Numbers()


@pytest.mark.parametrize(
    ("key", "near"), [("unit", "units"), ("Rate", "lr"), ("topp", "top_p"), ("drop_out", "dropout")]
)
def test_an_unknown_option_is_told_the_nearest(key, near):
    with pytest.raises(UserError) as raised:
        build(Numbers, {"units": 3, key: 1})
    assert str(raised.value) == f"unknown option '{key}': did you mean '{near}'?"


def test_an_option_that_is_like_none_is_still_told_one_that_there_is():
    with pytest.raises(UserError, match=r"unknown option 'zzzz': did you mean '(\w+)'\?") as raised:
        build(Words, {"zzzz": 1})
    assert str(raised.value).split("'")[3] in ("clip_by", "for_", "name")


# words


def test_the_nearest_word_is_the_same_in_upper_and_lower_case():
    assert nearest("LSTM", ["gru", "lstm"]) == "lstm"
    assert nearest("lstm", ["GRU", "LSTM"]) == "LSTM"
    assert nearest("zzz", ["gru", "lstm"]) is None
    assert nearest("zzz", []) is None


def test_an_unknown_word_is_told_the_nearest_or_all():
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
def test_what_is_no_span_of_time_is_told_how_to_write_one(text):
    with pytest.raises(UserError) as raised:
        seconds(text)
    assert str(raised.value) == f"--for '{text}' is not a span of time: write 90s, 5m or 1h30m"


@pytest.mark.parametrize("text", ["0", "0s", "0m", "0h0m0s", "0.0"])
def test_a_span_of_no_time_is_too_short(text):
    with pytest.raises(UserError, match=f"--for {text} must be longer than 0 seconds"):
        seconds(text)
