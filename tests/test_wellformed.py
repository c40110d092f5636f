"""What counts as well-formed: by example, on elman's own source code, and wherever that is cut off."""

import math
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from elman.errors import UserError
from elman.inspect import wellformed as module
from elman.inspect.wellformed import LANGUAGES, Score, wellformed

busy = [HealthCheck.too_slow]  # of a busy machine, not of the tests
some = settings(deadline=None, derandomize=True, database=None, max_examples=200, suppress_health_check=busy)
SOURCES = [path.read_text("utf-8") for path in sorted(Path(module.__file__).parents[1].rglob("*.py"))]

PYTHON = '''
x = 1
try:
    import a
except ImportError:
    a = None
finally:
    b = "\\\\" + 'it\\'s'
if x:
    c = f(\\
        b)
elif a:
    c = """
def f(:
"""
else:
    c = {
        "a": [1],
}
@f
# a remark
@g(
    1
)
class C:
    """One."""
x = 2
'''
C = r"""
#include <stdio.h>
/* an odd ) and " here, it's fine */
int main(int n, char **a) { // and ] here
	char c = '{', d = '\'', *s = "a \" ( b \
	goes on";
	return f(a[0], (n + 1));
}
"""
TEX = r"""
\begin{lemma} % an odd } here
Let $U = [0, 1)$ be {\it open}, with \{ and \\{\bf b}.
\begin{align*} a_{i_{j}} \end{align*}
\end{lemma}
"""


def pairs(text, language):
    """The scores as pairs."""
    return {name: (score.right, score.count) for name, score in wellformed([text], language).items()}


@pytest.mark.parametrize(
    ("language", "text", "closers", "quotes"),
    [
        ("text", "a (b [c] {d}) e", (3, 3), (0, 0)),
        ("text", "a (b [c) d] e)", (0, 3), (0, 0)),  # nothing is open any more when ] and the last ) come
        ("text", "((a [b) c)", (1, 2), (0, 0)),  # the first ) closes [ too
        ("text", ") a ( b", (0, 1), (0, 0)),
        ("text", 'he said "it\'s (so)"\nand "that\nis "all"', (1, 1), (2, 3)),
        ("text", 'the ")" counts (', (0, 1), (1, 1)),
        ("python", 'f(\']\', "\'", "\\"]") # don\'t (\n[1]', (2, 2), (3, 3)),
        ("python", 'f("""it\'s ( "fine"\n""", \'\'\'"""\'\'\')', (1, 1), (0, 0)),
        ("python", "x = 'abc)\ny = (1]\n", (0, 1), (0, 1)),
        ("python", "x = 'abc \\\n def'\n", (0, 0), (1, 1)),
        ("python", "(x, 'abc", (0, 0), (0, 0)),  # cut off: no fault
        ("python", "(x, 'abc\\", (0, 0), (0, 0)),
        ("python", "(x, 'abc\n", (0, 0), (0, 1)),
        ("python", "(x, '''abc)\n'\n", (0, 0), (0, 0)),
        ("c", C, (5, 5), (3, 3)),
        ("c", "/* ) ", (0, 0), (0, 0)),
        ("c", "# )", (0, 1), (0, 0)),
        ("latex", TEX, (6, 6), (0, 0)),
        ("latex", r"\begin{a} {\begin{b} } \end{a} \end{b}", (1, 3), (0, 0)),
    ],
)
def test_brackets_and_quotes_by_example(language, text, closers, quotes):
    found = pairs(text, language)
    assert found["closers"] == closers
    assert found["quotes"] == quotes
    assert found["balanced"] == (closers[0] == closers[1] > 0, closers[1] > 0)


@pytest.mark.parametrize(
    ("inner", "parses", "definitions"),
    [
        ("x = 1\n", (1, 1), (0, 0)),
        ("x = = 1\n", (0, 1), (0, 0)),
        ("x = '\\d'\n", (1, 1), (0, 0)),  # warned of, but Python
        ("x = '\0'\n", (0, 1), (0, 0)),
        ("def f(a):\n    return a\n\n", (1, 1), (1, 1)),
        ("def f(a):\nreturn a\n", (1, 2), (0, 1)),
        ("@a\n@b(\n    1,\n)\nclass C:\n    pass\n# a remark\ny = 2\n", (2, 2), (1, 1)),
        ("async def f():\n    await g()\n", (1, 1), (1, 1)),
        ("if a:\n    b\nelif c:\n    d\nelse:\n    e\n", (1, 1), (0, 0)),
        ("try:\n    b\nexcept E:\n    d\nfinally:\n    e\n", (1, 1), (0, 0)),
        ("elsewhere = 1\n", (1, 1), (0, 0)),
        ("f(\n    1,\n)\n", (1, 1), (0, 0)),
        ('def f():\n    """At\ncolumn 0.\n"""\n', (1, 1), (1, 1)),
        ('x = 1\ny = """\nz = = 1\n', (1, 1), (0, 0)),  # all that follows may be in the string
        ("def f(:\n    pass\nclass C:\n    def g(self): pass\n", (1, 2), (1, 2)),
    ],
)
def test_blocks_by_example(inner, parses, definitions):
    found = pairs(f"= cut\n{inner}last = (", "python")
    assert (found["parses"], found["definitions"]) == (parses, definitions)


def test_what_may_be_cut_is_no_block():
    assert pairs("", "python")["parses"] == (0, 0)
    assert pairs("= 1\n", "python")["parses"] == (0, 0)
    assert pairs("= 1\ndef f(", "python")["parses"] == (0, 0)
    assert pairs("    under = 1\n= 1\nx = 2\ndef f(", "python")["parses"] == (1, 1)


def test_samples_are_added_up():
    found = wellformed(["(a)", "(a]", "a", "[(a]"], "text")
    assert found == {"closers": Score(1, 3), "balanced": Score(1, 3), "quotes": Score(0, 0)}
    assert found["closers"].fraction == 1 / 3
    assert math.isnan(found["quotes"].fraction)
    assert wellformed([], "python")["parses"] == Score(0, 0)


def test_source_code_is_well_formed():
    found = wellformed(SOURCES, "python")
    assert all(score.right == score.count for score in found.values())
    assert found["balanced"].count > 40
    assert found["definitions"].count > 200


@pytest.mark.parametrize(("language", "text"), [("python", PYTHON), ("python", SOURCES[9]), ("c", C), ("latex", TEX)])
def test_no_cut_is_a_fault(language, text):
    for end in range(min(len(text), 2000) + 1):
        assert all(score.right == score.count for score in wellformed([text[:end]], language).values()), text[:end]


@some
@given(st.text("()[]{}'\"\\#/* \n@ab:%=", max_size=60), st.sampled_from(sorted(LANGUAGES)))
def test_any_text_has_scores(text, language):
    for score in wellformed([text, "def a" + text], language).values():
        assert 0 <= score.right <= score.count <= 2 * len(text) + 2


@pytest.mark.parametrize("block", ["(" * 20000, "-" * 20000 + "1", "1" + "+ 1" * 20000, "x = '\ud800'"])
def test_what_the_parser_cannot_take_does_not_parse(block):
    assert pairs(f"x\n{block}\ny\n", "python")["parses"] == (0, 1)


def test_a_language_that_is_not_known_is_an_error():
    with pytest.raises(UserError, match="unknown language 'pyhton': did you mean 'python'"):
        wellformed(["a"], "pyhton")
