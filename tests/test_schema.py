"""Typed JSON: what was stored is read back equal, and what does not fit is one line that names file and field."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

import user_errors
from elman import schema
from elman.errors import UserError
from elman.options import Bound, CountInt, PositiveFloat, PositiveInt, check
from elman.schema import Count, Decode, Limit, from_json, parse, problem, to_json

some = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


class Letters:
    """A class with a form of its own."""

    def __init__(self, letters):
        self.letters = letters

    def __eq__(self, other):
        return isinstance(other, Letters) and other.letters == self.letters

    def __hash__(self):
        return hash(self.letters)

    def to_json(self):
        return {"letters": self.letters}

    @classmethod
    def from_json(cls, value):
        if not isinstance(value, dict) or not isinstance(value.get("letters"), str):
            raise ValueError("letters must be of type str")
        return cls(value["letters"])


class Abstract:
    """Read by a function, as the class does not know its subclasses."""

    def to_json(self):
        return "concrete"


class Concrete(Abstract):
    def __eq__(self, other):
        return isinstance(other, Concrete)

    def __hash__(self):
        return 0


def concrete(value):
    if value != "concrete":
        raise UserError(f"there is no {value}")
    return Concrete()


@dataclass(frozen=True, kw_only=True)
class Inner:
    hidden: PositiveInt
    rate: PositiveFloat | None
    clip_by: Literal["norm", "value"] = "norm"


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner
    flag: bool
    number: int
    count: Count
    real: float
    loss: Annotated[float, Limit(finite=False)]
    either: int | float | str
    name: str
    words: tuple[str, ...]
    pair: tuple[int, str]
    sizes: list[int]
    table: dict[str, Inner]
    mapping: Mapping[str, float]
    letters: Letters
    abstract: Annotated[Abstract, Decode(concrete)]
    free: Any
    even: Annotated[int, Bound("an even number", lambda value: value % 2 == 0)] = 0


VALUE = Outer(
    inner=Inner(hidden=3, rate=None), flag=True, number=-1, count=10**15, real=0.5, loss=math.inf, either=2, name="n",
    words=("a", "b"), pair=(1, "x"), sizes=[1, 2], table={"t": Inner(hidden=1, rate=0.1, clip_by="value")},
    mapping={"m": 1.0}, letters=Letters("xyz"), abstract=Concrete(), free={"a": [1, None, "x"]},
)  # fmt: skip

numbers, reals, texts = (
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
)
inners = st.builds(
    Inner,
    hidden=st.integers(1, 10**9),
    rate=st.none() | st.floats(1e-300, 1e300),
    clip_by=st.sampled_from(["norm", "value"]),
)
plain = st.recursive(
    st.none() | st.booleans() | numbers | reals | texts,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(texts, part, max_size=3),
    max_leaves=8,
)
outers = st.builds(
    Outer, inner=inners, flag=st.booleans(), number=numbers, count=st.integers(0, 2**62), real=reals,
    loss=st.floats(allow_nan=False), either=numbers | reals | texts, name=texts, words=st.lists(texts).map(tuple),
    pair=st.tuples(numbers, texts), sizes=st.lists(numbers, max_size=3),
    table=st.dictionaries(texts, inners, max_size=2),
    mapping=st.dictionaries(texts, reals, max_size=2), letters=texts.map(Letters), abstract=st.just(Concrete()),
    free=plain, even=numbers.map(lambda n: n // 4 * 2),
)  # fmt: skip


def fails(action, *words):
    assert len(user_errors.fails(action, *words)) < 500


def stored(**changes):
    return json.loads(json.dumps(to_json(VALUE))) | changes


@some
@given(outers)
def test_what_was_stored_is_read_back(value):
    found = from_json(Outer, json.loads(json.dumps(to_json(value))), "config.json")
    assert found == value
    assert repr(found.either) == repr(value.either)


def test_an_integer_is_a_float_but_a_boolean_is_no_number():
    assert repr(from_json(float, 3, "f")) == "3.0"
    assert problem(float, True) == "must be of type float"
    assert problem(int, True) == "must be of type int"
    assert problem(int, 1.0) == "must be of type int"
    assert problem(bool, 1) == "must be of type bool"
    assert problem(Literal[1], True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inner": {"hidden": "8", "rate": None, "clip_by": "norm"}}, ["spec.inner.hidden '8' must be of type int"]),
        ({"inner": {"hidden": 0, "rate": None, "clip_by": "norm"}}, ["spec.inner.hidden 0 must be a number above 0"]),
        ({"inner": {"hidden": 10**10, "rate": None, "clip_by": "norm"}}, ["spec.inner.hidden", "1,000,000,000"]),
        ({"inner": {"hidden": 8, "clip_by": "norm"}}, ["spec.inner.rate is missing"]),
        ({"inner": {"hidden": 8, "rte": 1, "clip_by": "norm"}}, ["spec.inner.rte is no field", "'rate'"]),
        ({"inner": {"hidden": 8, "rate": 1, "clip_by": "nrm"}}, ["spec.inner.clip_by 'nrm'", "norm, value", "'norm'"]),
        ({"inner": []}, ["spec.inner [] must be an object"]),
        ({"inner": None}, ["spec.inner None must be an object"]),
        ({"flag": 1}, ["spec.flag 1 must be of type bool"]),
        ({"number": True}, ["spec.number True must be of type int"]),
        ({"number": 2**40}, ["spec.number 1099511627776 must be from"]),
        ({"count": 2**63}, ["spec.count"]),
        ({"real": math.nan}, ["spec.real nan must be finite"]),
        ({"either": [1]}, ["spec.either [1] must be of type int or float or str"]),
        ({"name": "x" * 1_000_001}, ["spec.name 'xxx", "1,000,000 characters"]),
        ({"words": "ab"}, ["spec.words 'ab' must be a list"]),
        ({"words": ["a", 1]}, ["spec.words[1] 1 must be of type str"]),
        ({"pair": [1]}, ["spec.pair", "2 entries"]),
        ({"sizes": [0] * 1_000_001}, ["spec.sizes", "1,000,000 entries"]),
        ({"table": {"t\n": {}}}, [r"spec.table.'t\n'.hidden is missing"]),
        ({"mapping": {"m": "1"}}, ["spec.mapping.m '1' must be of type float"]),
        ({"letters": 1}, ["spec.letters is not valid: letters must be"]),
        ({"abstract": "other"}, ["spec.abstract is not valid: there is no other"]),
        ({"free": [[[[]]] * 2] * 2 + [2**70]}, ["spec.free[2] 1180591620717411303424"]),
        ({"even": 3}, ["spec.even 3 must be an even number"]),
        ({"\x1b[2J": 3}, [r"spec.'\x1b[2J' is no field"]),
        ({"name": "\x1b" * 10, "number": "\x1b[2J"}, [r"spec.number '\x1b[2J' must"]),
    ],
)
def test_what_does_not_fit_is_named(changes, words):
    fails(lambda: from_json(Outer, stored(**changes), "runs/x/config.json", "spec"), "runs/x/config.json: ", *words)


@some
@given(plain)
def test_any_json_for_any_field_is_read_or_refused_in_one_line(value):
    for name in stored():
        try:
            found = from_json(Outer, stored(**{name: value}), "f")
        except UserError as error:
            assert str(error).startswith("f: ")  # noqa: PT017 - it may also fit
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert from_json(Outer, json.loads(json.dumps(to_json(found))), "f") == found


def test_nesting_is_bounded_where_the_type_does_not_bound_it():
    value = []
    for _ in range(30):
        value = [value]
    fails(lambda: from_json(Outer, stored(free=value), "f", "spec"), "f: spec.free[0]", "nested too deep")


@dataclass(frozen=True)
class Refusing:
    low: int
    high: int

    def __post_init__(self):
        if self.low > self.high:
            raise ValueError("low is above high")


def test_what_the_constructor_refuses_is_named():
    fails(lambda: from_json(Refusing, {"low": 2, "high": 1}, "f", "range"), "f: range is not valid: low is above high")


def test_a_union_of_dataclasses_is_read_as_the_one_that_fits():
    kind = Inner | Refusing
    for value in (Inner(hidden=1, rate=0.5), Refusing(1, 2)):
        assert from_json(kind, to_json(value), "f") == value


def test_options_are_checked_as_they_are_stored():
    @dataclass(frozen=True)
    class Options:
        steps: CountInt = 1
        words: tuple[str, ...] = ()
        share: float | str = 0.1

    check(Options(), Options(0, ("a",), "10%"), Options(share=1))
    fails(lambda: check(Options(steps=2**60)), "`steps` 1152921504606846976 must be from")
    fails(lambda: check(Options(words=(1,))), "`words` (1,) [0] 1 must be of type str")
    fails(lambda: check(Options(share=None)), "`share` None must be of type float or str")


def test_what_has_no_form_in_json_is_an_error_of_the_program():
    for value in (object(), {1: 2}, {"a": {2}}, b"bytes"):
        with pytest.raises(TypeError):
            to_json(value)
    with pytest.raises(TypeError):
        from_json(set, [], "f")


# documents


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deep"),
        (b"[" * 30 + b"]" * 30, "nested too deep"),
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"\xff\xfe{}", "damaged"),
        (b"\x00" * 50, "damaged"),
        (b"1" * 10_000, "damaged"),
        (b"[1, 2", "damaged"),
        (b" " * ((64 << 20) + 1), "too large"),
        (b"[" + b"[]," * 5_000_000 + b"1]", "too large"),
    ],
)
def test_a_document_that_is_beyond_the_bounds_is_one_line(content, word):
    fails(lambda: parse(content, "runs/x/config.json"), "runs/x/config.json", word)


def test_a_document_within_the_bounds_is_read():
    assert parse(b'{"a": [1, {"b": null}]}', "f") == {"a": [1, {"b": None}]}
    assert parse(b"[" * 20 + b"]" * 20, "f")


LARGEST = """
import resource
from elman.schema import parse
parse({content}, "f")
try:  # ru_maxrss is at least that of the process that started this one
    print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
except FileNotFoundError:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize(
    "content", ['b"[" + b"{}," * 1_900_000 + b"1]"', "b'[' + b'\"abcdefghijk\",' * 3_900_000 + b'1]'"]
)
def test_the_largest_document_takes_less_than_a_gigabyte(content):
    done = subprocess.run(
        [sys.executable, "-c", LARGEST.format(content=content)], capture_output=True, text=True, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024
    assert int(done.stdout) * unit < 1e9


def test_the_bounds_are_those_that_are_documented():
    assert (schema.MAX_NUMBER, schema.MAX_LENGTH, schema.MAX_DEPTH, schema.MAX_BYTES) == (10**9, 10**6, 20, 1 << 26)
    assert replace(VALUE, number=10**9) == from_json(Outer, stored(number=10**9), "f")
