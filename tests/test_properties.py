"""What is true of the characters of a text: drawings by hand, whole modules against `ast`, and any text at all."""

import ast
import functools
import importlib.util
import time
import warnings
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings

from elman.errors import UserError
from elman.inspect import language as languages
from elman.inspect.properties import LANGUAGES, guess, properties

some = settings(
    deadline=None, derandomize=True, database=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
BEFORE = {"python": "import os\n", "c": "int z;\n", "latex": "\n\n", "markdown": "\n", "text": "\n\n"}
AFTER = "          \n\n"
MODULES = ["argparse", "difflib", "doctest", "inspect", "pydoc", "tarfile", "textwrap", "tokenize", "turtle", "typing"]


def every(text, language, own=()):
    """All properties by name, also those that hold nowhere."""
    return {each.name: each for each in properties(text, language, own, least=0)}


def marks(found):
    """A mark a character: x where it holds, the last digit of a number, ? where it is not known."""
    shown = np.where(found.values, "x", " ") if found.binary else (found.values.astype(int) % 10).astype(str)
    return "".join(np.where(found.known, shown, "?"))


def check(language, name, drawing, before=None, after=""):
    """A drawing has under each line of a text the marks of its characters and its newline."""
    before = BEFORE[language] if before is None else before
    lines = drawing.split("\n")[1:-1]
    text = "\n".join(lines[::2]) + "\n"
    found, start, shown = marks(every(before + text + AFTER + after, language)[name])[len(before) :], 0, []
    for line in lines[::2]:
        shown += [line, found[start : start + len(line) + 1].rstrip()]
        start += len(line) + 1
    assert shown == [line.rstrip() if n % 2 else line for n, line in enumerate(lines)], "\n" + "\n".join(shown)


def drawings(*cases):
    """Tests of (name, drawing), under the names."""
    return pytest.mark.parametrize(("name", "drawing"), cases, ids=[name for name, _ in cases])


# any text


@pytest.mark.parametrize("language", LANGUAGES)
@drawings(
    ("upper", """
Ab ÄÖß Éa
x  xx  x
"""),
    ("digit", """
a1 22.5 x_3
 x xx x   x
"""),
    ("line_start", """
ab
x

x
 c
x
"""),
    ("near_line_end", """
0123456789
     xxxxxx
ab
xx
"""),
    ("line_position", """
abc d
123450

0
 e
120
"""),
    ("indentation", """
    ab
1234444
\tb
888
   \tc
123888
a b
0000

0
  x
1222
"""),
    ("word_position", """
It's 2nd, foo_bar; 한국어
12010123001234567001230
"""),
    ("url", """
see https://a.b/c?d=e#f "http://x.org" httpx www.y.de.
    xxxxxxxxxxxxxxxxxxx  xxxxxxxxxxxx        xxxxxxxxx
"""),
)  # fmt: skip
def test_lines_words_and_letters_in_every_language(language, name, drawing):
    check(language, name, drawing, before="\n")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("upper", "x          "),
        ("line_start", "??? x      "),
        ("near_line_end", "xxx   ?????"),
        ("line_position", "???01234567"),
        ("indentation", "????0000000"),
        ("word_position", "???01230123"),
    ],
)
def test_the_beginning_and_the_end_of_a_cut_are_not_known(name, expected):
    assert marks(every("Foo\nbar baz", "text")[name]) == expected


# Python


@drawings(
    ("string", """
x = "ab" + 'c' ''
    xxx    xx  x
"""),
    ("single_quoted", """
x = "ab" + 'c' f'"' + "'"
           xx   xx
"""),
    ("double_quoted", """
x = "ab" + 'c' f'"' + "'"
    xxx               xx
"""),
    ("string", r"""
print("a\"b", r'\'', B"x")  # "no"
      xxxxx    xxx    xx
"""),
    ("string", """
f"a{b!r:>{c}}" + rf'{"x"}{{'
 xxxxxxxxxxxx      xxxxxxxx
"""),
    ("string", """
s = '''one
    xxxxxxx
two''' + "x\\
xxxxx    xxxx
y"
x
"""),
    ("string", """
def f(): return '''not a docstring'''
                xxxxxxxxxxxxxxxxxxxx
"""),
    ("string", '''
def f():

    """A docstring."""

    "short"
    xxxxxx
'''),
    ("docstring", """
def f(x):

    '''What it
    xxxxxxxxxxx
    is.'''  # yes
xxxxxxxxx
    return "no"

"""),
    ("docstring", '''
class A: """It"""; x = 1
         xxxxxxx
r"""raw"""
 xxxxxxxx
b"""bytes"""

f"""f{1}"""

"short"

"""a""" "b"

("""in brackets""")

'''),
    ("comment", """
x = 1  # one, "two"
       xxxxxxxxxxxx
# '''
xxxxx
"#"

"""),
    ("condition", """
if x and (y or z[1:2]): a = {1: 2}
  xxxxxxxxxxxxxxxxxxxx
elif not {1: 2}:
    xxxxxxxxxxx
    while a: pass
         xx
z = [x for x in y if x]

else: x = 1 if 2 else 3

"""),
    ("condition", """
if (a and
  xxxxxxxx
    b):  # comment:
xxxxxx
    if(x): y
      xxx
"""),
    ("brackets", """
f(a[1], {2: (3)}) + ")"
 xxxxxxxxxxxxxxx
"""),
    ("bracket_depth", """
f(a[1], {2: (3)}) + ")"
011221112222332100000000
"""),
    ("bracket_depth", """
f(x,  # (
0111111111
  [y
11222
])
100
"""),
    ("identifier", """
for x_1 in None, True: print(f"{y}", z.w, 0xA)
    xxx                xxxxx         x x
"""),
    ("keyword", """
for x_1 in None, True: match(f"{if_}", is_)
xxx     xx xxxx  xxxx
"""),
    ("number", """
x1 = 0xFF + 1_000.5e-3j - "1" + a[-2]
     xxxx   xxxxxxxxxxx            x
"""),
)  # fmt: skip
def test_python(name, drawing):
    check("python", name, drawing)


@drawings(
    # cut inside a docstring: its end would open a string
    ("string", '''
it isn't "so", is it.
??????????????????????
    """
????????
    return "b"
???????????????
def f(x):

    """It."""

    return "a"
           xx
'''),
    # the same, and the docstring has an example that looks like code
    ("docstring", '''
def example(x):
????????????????
    return x
?????????????
and that is it."""
???????????????????
x = "a"
????????
def f():

    """Makes an f.
    xxxxxxxxxxxxxxx
    """
xxxxxx
'''),
    # cut inside a string of code, which is followed by a bracket
    ("string", '''
import it.a
????????????
""")
?????
def f():

    run("""
        xxxx
import b
xxxxxxxxx
""")
xx
'''),
    # a stray quote
    ("string", """
def f():

    x = "a"
        xx
    y = don't
    ??????????
    z = "b"
????????????
def g(): return "c"
                xx
"""),
    # three quotes that nothing closes
    ("string", '''
def f():
?????????
    """It
??????????
def g(): return "c"
                xx
'''),
    # a bracket that nothing closes
    ("brackets", """
x = f(1)
     xx
y = f(2, [3
????????????
z = (4)
????????
def g(a): return b
     xx
"""),
    ("brackets", """
def f(a, b
???????????
def g(a): return b
     xx
"""),
    # a closing bracket of another kind
    ("brackets", """
x = (1]
????????
def g(a): return b
     xx
"""),
    # a file without a newline at its end, and another after it
    ("string", """
x = "a"y = "b"
???????????????
import re

y = "b"
    xx
"""),
    # lines whose indentation fits nothing before: their words do
    ("string", """
        if x:

            y = "a"
                xx
      z = "b"
          xx
   z = "b"
       xx
z = "b"
    xx
"""),
    # Python 2
    ("string", """
print "a" % b
      xx
x = `y`
????????
"""),
)  # fmt: skip
def test_python_that_was_cut_or_is_broken(name, drawing):
    # twenty statements are believed to be code
    many = BEFORE["python"] * 20
    check("python", name, drawing, before="" if "it." in drawing else many, after=many)


# C


def test_much_code_that_was_an_example_in_a_docstring_is_in_doubt():
    found = every("import a\n" * 25 + '"""\nx = "a"\n"""Makes an x."""\n' + "import b\n" * 25, "python")["string"]
    assert set(marks(found)[: 25 * 9]) == {"?"}
    assert set(marks(found)[-25 * 9 :]) == {" "}


def test_a_text_that_ends_inside_a_docstring_is_in_doubt_there():
    before = 'def e():\n    """Long\n    ago."""\n' + "import a\n" * 25 + "def f():"
    text = before + '\n    """It.\n\n    def g(x):\n        return "a"\n\n'
    found = marks(every(text, "python")["string"])
    assert found.index("?") == len(before)
    assert set(found[found.index("?") :]) == {"?"}


@drawings(
    ("string", r"""
char *s = "a\"b" L"c";
          xxxxx   xx
char c = '"', d[] = "\\";
                    xxx
x = "one \
    xxxxxxx
two";
xxx
"""),
    ("string", """
f("it
  ????
g("b");
  xx
"""),
    ("comment", """
int x; /* one "two"
       xxxxxxxxxxxxx
 * three */ int y; // four
xxxxxxxxxx         xxxxxxx
"//"

#define X 1 /* five */
            xxxxxxxxx
"""),
    ("condition", """
static int f(int x) {

	if (x && g(x)) return;
    xxxxxxxxxx
	do { y(); } while(!x);
                  xxx
	for (;;) if_(x);

"""),
    ("brackets", """
static int f(int x[2], ...) {
            xxxxxxxxxxxxxx
	g(x[1] + '(', ")");
  xxxxxxxxxxxxxxxx
"""),
    ("bracket_depth", """
static int f(int x[2], ...) {
000000000000111111221111110000
"""),
    ("block_depth", """
struct a { int b; };
000000000111111111000
int f(void)
000000000000
{
11
	if (x) {
1111111122
	}
211
}
00
"""),
    # two branches open a block that is closed once: it is in doubt up to the end of the function
    ("block_depth", """
{
11
#ifdef X
?????????
	if (x) {
11111111??
#else
??????
	if (y) {
??????????
#endif
???????
	}
???
}
00
{
11
"""),
    ("preprocessor", """
#define f(x) \\
xxxxxxxxxxxxxxx
	"one"
xxxxxx
#if X // two
xxxxxx
int y;

"""),
    ("identifier", """
static struct foo x1 = { .y = NULL, "z" };
              xxx xx      x   xxxx
out:
xxx
"""),
    ("keyword", """
static struct foo x1; return sizeof(long);
xxxxxx xxxxxx         xxxxxx xxxxxx xxxx
"""),
    ("number", """
x1 = -1 + 0xFFul - 1.5e3f;
      x   xxxxxx   xxxxxx
"""),
)  # fmt: skip
def test_c(name, drawing):
    check("c", name, drawing)


@drawings(
    ("comment", """
 * isn't "so"
??????????????
 */ int x; /* y */
???        xxxxxx
"""),
    ("string", """
t be", x);
???????????
	g("b");
   xx
"""),
    ("block_depth", """
	}
???
	if (x) {
??????????
	}
???
}
00
int f(void) {
00000000000011
"""),
)  # fmt: skip
def test_c_that_was_cut(name, drawing):
    check("c", name, drawing, before="")


# LaTeX


@drawings(
    ("math", r"""
Let $x \$ y$ be \(z\) and 5\$.
    xxxxxxx     xxxx
"""),
    ("math", r"""
$$ x \text{$y$} $$ and \[
xxxxxxxxxxxxxxxxx      xxx
z\] % $
xx
"""),
    ("math", r"""
\begin{align*} x &= y \\
xxxxxxxxxxxxxxxxxxxxxxxxx
 z \end{align*} so
xxxxxxxxxxxxxx
\begin{gather}x\end{gather}
xxxxxxxxxxxxxxxxxxxxxxxxxx
\begin{center}x\end{center}

"""),
    # one dollar too many, and another paragraph
    ("math", r"""
A $5 tip, and $x$.
???????????????????

?
So $y$.
   xx
"""),
    ("math", r"""
\item[$x$] so
      xx
"""),
    ("command", r"""
\emph{a} \\ \'e \section*{b} $\alpha_1$ \% \@x
xxxxx    xx xx  xxxxxxxx      xxxxxx    xx xxx
"""),
    ("comment", r"""
5\% of % this \x
       xxxxxxxxx
"""),
    ("bracket_depth", r"""
\frac{a}{\{b_{c}} (d) [e] { %
00000110111112210000000000????
"""),
    # brackets that do not close, a paragraph each
    ("bracket_depth", r"""
{a} {b
1100???

?
c} {d}
??01100
"""),
)  # fmt: skip
def test_latex(name, drawing):
    check("latex", name, drawing)


def test_latex_that_was_cut_is_known_from_the_next_paragraph_on():
    assert marks(every("x$ and $y\n\n$z$", "latex")["math"]) == "?" * 11 + "xx "
    assert marks(every("x$ y\n\\item $z$", "latex")["math"]) == "?" * 5 + "      xx "
    assert marks(every("\\section{a} $z$", "latex")["math"]) == " " * 12 + "xx "


# Markdown


@drawings(
    ("heading", """
# One *two*
xxxxxxxxxxx
## Three
xxxxxxxx
text

Four
xxxx
====
xxxx
"""),
    ("code", """
A `b c` d
  xxxx


```python
xxxxxxxxxx
# one
xxxxxx
```
xx
    x = ~~~ `a

"""),
    ("code", """
```
xxxx
1 `2`
xxxxxx
```
xx
x

"""),
    ("emphasis", """
a *b c* **d** _e_ 2 * 3
  xxxx  xxxx  xx
"""),
    ("link", """
a [b c](https://d.e) [f] ![g](h)
   xxx  xxxxxxxxxxx        x  x
"""),
    ("quotation", """
a "b" c `"` "d `e"`"
  xx        xxxxxxx
"""),
    ("brackets", """
a (b [c]) `(` d
  xxxxxx
"""),
)  # fmt: skip
def test_markdown(name, drawing):
    check("markdown", name, drawing)


@drawings(
    # the end of a block opens none
    ("code", """
x = y
??????
```
???


# a

"""),
)  # fmt: skip
def test_markdown_that_was_cut(name, drawing):
    check("markdown", name, drawing, before="")


def test_a_block_of_code_at_the_end_of_a_cut_is_code():
    assert marks(every("# a\n\n```py\nx", "markdown")["code"]) == "     xxxxxxx"


# text


@drawings(
    ("quotation", """
"Ab," he said, "c
xxxx           xxx
d." “E ‘f’.” «g» „h“ 「i」 j
xx  xxxxxxx  xx  xx  xx
"""),
    # a stray quote does not turn the next paragraph inside out
    ("quotation", """
A 5 " b "c" and d
???????????


"e" f
xx
"""),
    ("quotation", """
A "b
  ??


"e" f
xx
"""),
    ("quotation", """
he said." And "so".
?????????     xxx
"""),
    ("brackets", """
a (b [c] d) e
  xxxxxxxx
1) (f
   ??


(g)
xx
"""),
)  # fmt: skip
def test_text(name, drawing):
    check("text", name, drawing)


def test_a_line_that_was_cut_is_no_label():
    assert (
        marks(every("izen:\nA: b\n\nSecond Citizen:\nAway:", "text")["label"])
        == "????? " + " " * 6 + "x" * 15 + " ?????"
    )


# whole modules


@functools.cache
def source(name):
    """The text of a module of the standard library."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text("utf-8")


def found_by_ast(text):
    """The spans of strings, f-strings whole, the spans of docstrings, and where names begin."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text)
    lines = text.splitlines(keepends=True)
    starts = np.cumsum([0, *map(len, lines)])

    def place(row, column):  # columns are of UTF-8
        return int(starts[row - 1]) + len(lines[row - 1].encode()[:column].decode())

    def span(node):
        return place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)

    strings, docstrings, names, left = [], [], [], list[ast.AST]([tree])
    while left:
        node = left.pop()
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)):
            strings.append(span(node))
            continue
        if isinstance(node, ast.Name):
            names.append(span(node))
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            docstrings.append(span(node.body[0]))
        left += ast.iter_child_nodes(node)
    return strings, docstrings, names


def inside(segment):
    """From where to where a string of one piece is entered, without its letters and its last quote; else None."""
    start = len(segment) - len(segment.lstrip("rRbBuUfF"))
    quote = segment[start : start + 3] if segment[start : start + 3] in ("'''", '"""') else segment[start]
    pieces = segment.replace("\\\\", "").replace("\\" + quote[0], "").count(quote)
    return (start, len(segment) - 1) if pieces == 2 and quote[0] in "'\"" else None


@pytest.mark.parametrize(
    "module", ["argparse", "doctest", "inspect", "tokenize", "typing", "turtle", "tarfile", "json.encoder"]
)
def test_a_whole_module_says_what_its_syntax_tree_says(module):
    text = source(module)
    found = every(text, "python")
    known, string, docstring = found["string"].known, found["string"].values, found["docstring"].values
    assert known.mean() > 0.95
    strings, docstrings, names = found_by_ast(text)
    outside, checked = np.ones(len(text), bool), 0
    for start, end in strings:
        outside[start:end] = False
        if span := inside(text[start:end]):
            expected = np.zeros(end - start, bool)
            expected[slice(*span)] = True
            here = slice(start, end)
            np.testing.assert_array_equal((string | docstring)[here][known[here]], expected[known[here]], text[here])
            checked += 1
    assert checked > 0.8 * len(strings)
    assert not ((string | docstring) & known & outside).any()
    for start, end in docstrings:
        if text[start:end].lstrip("rR")[:3] in ("'''", '"""') and known[start]:
            assert docstring[end - 2]
            assert not string[end - 2]
    for start, end in names:
        if known[start:end].all():
            assert found["identifier"].values[start:end].all()


@functools.cache
def whole(name):
    return every(source(name), "python")


@settings(some, max_examples=25)
@example("doctest", 0.8544922087681288, 5_000)  # it begins with an empty line
@given(st.sampled_from(MODULES), st.floats(0, 1), st.integers(5_000, 20_000))
def test_a_cut_of_a_module_says_what_the_whole_says(module, where, length):
    start = int(where * len(source(module)))
    end = min(start + length, len(source(module)))
    for name, found in every(source(module)[start:end], "python").items():
        both = found.known & whole(module)[name].known[start:end]
        np.testing.assert_array_equal(
            found.values[both], whole(module)[name].values[start:end][both], f"{name}, {start}:{end}"
        )


@settings(some, max_examples=4)
@given(st.lists(st.sampled_from(MODULES), min_size=2, max_size=2), st.integers(0, 3000))
def test_modules_one_after_another_say_what_they_say_alone(modules, cut):
    texts = [source(module)[cut if n == 0 else 0 :] for n, module in enumerate(modules)]
    found, start = every("".join(texts), "python"), len(texts[0])
    for module, text in zip(modules[1:], texts[1:], strict=True):
        for name, alone in whole(module).items():
            if name not in ("near_line_end", "line_start", "line_position", "indentation", "word_position", "url"):
                both = alone.known & found[name].known[start : start + len(text)]
                np.testing.assert_array_equal(found[name].values[start : start + len(text)][both], alone.values[both])
        assert found["string"].known[start : start + len(text)].mean() > 0.95
        start += len(text)


# any text in any language

PIECES = [
    *('"""', "'''", '"', "'", "(", ")", "[", "]", "{", "}", "\\", "$", "$$", "%", "#", "`", "```", "*", "_", "<", ">"),
    *(" ", "\n", "\r\n", "\r", "\f", "\t", "\0", "\ud800", "\ufeff", "\u2028", "한국어", "é", "“", "”", ":", ";", "0"),
    *("\ndef f(", "\nclass A:", "\nimport os\n", "\n@x\n", "if ", "elif x", "while (", "f'{", "rb'", "x = ", "\n    "),
    *("/*", "*/", "//", "\nint f() {", "\n}", "\n#if 0\n", "\n#define x \\\n", "\n  ", "\n\n", "\n# a\n", "\n==\n"),
    *("\\begin{align}", "\\end{align}", "\\(", "\\[", "```py\n", "[a](b)", "http://a.b", "1e"),
]
texts = st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@pytest.mark.parametrize("language", LANGUAGES)
@settings(some, max_examples=120)
@given(texts)
def test_any_text_has_a_value_for_each_character(language, text):
    for found in properties(text, language, least=0):
        assert found.values.shape == found.known.shape == (len(text),)
        assert found.known.dtype == bool
        assert found.values.dtype == (bool if found.binary else np.float32)
        assert np.isfinite(found.values).all()
    assert guess(["-"], text) in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_carriage_return_before_a_newline_changes_nothing(language):
    text = (BEFORE[language] + 'if (x):\n    y = \'a\' # "b" $z$ `c`\n\n/* d */ "e\n') * 3
    windows = text.replace("\n", "\r\n")
    kept = np.array([char != "\r" for char in windows])
    for plain, found in zip(every(text, language).values(), every(windows, language).values(), strict=True):
        np.testing.assert_array_equal(found.values[kept], plain.values, plain.name)
        np.testing.assert_array_equal(found.known[kept], plain.known, plain.name)
        np.testing.assert_array_equal(found.values[~kept], plain.values[np.array(list(text)) == "\n"], plain.name)


LONG = {
    "python": [
        "def f(\n",
        'import a, """\n',
        "import a, '''\n\"\"\"\n",
        "(",
        "((]",
        "a ",
        "    def f():\n  x = 1\n",
        "@x(\n",
    ],
    "c": ["a ", "(", "(]", "{", "}", "f(a) ", "/*", "#if 0\n", "\\\n", '"', "'", "case ", "a b(c)\n"],
    "latex": ["$", "\\", "{", "%", "\\begin{align}", "[", "a$ \n\n"],
    "markdown": ["`", "*", "_", "[", "](", "# a\n", "```\n", "```a\n", "- a\n", "> a\n"],
    "text": ['"', "(", ")", "http://"],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_long_texts_of_one_thing_take_no_longer_than_others(language):
    for piece in ("\n", " ", "a", "\t", *LONG[language]):
        start = time.process_time()
        properties(BEFORE[language] + piece * (10_000 // len(piece)) + "a b\n", language)
        assert time.process_time() - start < 2, piece


def test_100_000_characters_of_python_take_less_than_two_seconds():
    text = (source("argparse") * 2)[:100_000]
    start = time.process_time()
    properties(text, "python")
    assert time.process_time() - start < 2


# which ones


def test_a_property_that_all_but_a_few_characters_share_is_left_out():
    text = 'x = "' + "a" * 18 + '"\n'
    before = "import os\n" * 9
    names = [each.name for each in properties(before + text, "python")]
    assert {"string", "upper", "bracket_depth"}.isdisjoint(names)
    names = [each.name for each in properties(before + text.replace("a", "aa"), "python")]
    assert "string" in names
    assert "comment" not in names
    assert len(names) == len(set(names))


def test_a_text_has_the_properties_of_its_language():
    assert "docstring" in every("", "python")
    assert "docstring" not in every("", "c")
    assert properties("", "text") == []
    with pytest.raises(UserError, match=r"unknown language 'pyton': did you mean 'python'\?"):
        properties("", "pyton")


def test_a_property_is_named_and_has_a_meaning():
    for language in LANGUAGES:
        for name, found in every("", language).items():
            assert found.name == name
            assert found.meaning
            assert "\n" not in found.meaning


# the user's own


def vowel(text):
    """a vowel

    and no consonant"""
    return [char in "aeiou" for char in text]


def test_an_own_property_is_a_function_of_the_text():
    text = "banana\r\n" * 20

    def weight(text):
        return np.where(np.arange(len(text)) < 5, np.nan, np.arange(len(text)))

    found = every(text, "text", [vowel, weight])
    assert (found["vowel"].meaning, found["weight"].meaning) == ("a vowel", "weight")
    assert found["vowel"].binary
    assert marks(found["vowel"])[:8] == " x x x  "
    assert not found["weight"].binary
    assert marks(found["weight"])[:8] == "?????567"
    assert {"vowel", "weight"} <= {each.name for each in properties(text, "text", [vowel, weight])}


def test_an_own_property_takes_the_place_of_one_with_its_name():
    def upper(text):
        return [True] * len(text)

    assert marks(every("ab", "text", [upper])["upper"]) == "xx"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([True], r"the property own returned 1 values for 3 characters: .* one bool or number for each character"),
        ("abc", r"the property own returned a str: a property returns one bool or number .*, here 3"),
        (["a", "b", "c"], r"returned an array \(3,\) of <U1"),
        (np.zeros((3, 2)), r"returned an array \(3, 2\) of float64"),
        ([1, [2], 3], r"returned a list"),
        ([1, None, 3], r"returned an array \(3,\) of object"),
        (None, r"returned a NoneType"),
        (1.0, r"returned a float"),
        ((True for _ in "abc"), r"returned a generator"),
        (np.zeros(3, complex), r"of complex128"),
    ],
)
def test_an_own_property_of_another_shape_or_type_is_an_error(given, says):
    def own(text):
        return given

    with pytest.raises(UserError, match=says) as raised:
        properties("abc", "text", [own])
    assert "\n" not in str(raised.value)


def test_an_error_in_an_own_property_names_it():
    def broken(text):
        raise ValueError("one\ntwo")

    with pytest.raises(UserError, match=r"^the property broken failed: ValueError: one two$"):
        properties("abc", "text", [broken])
    with pytest.raises(UserError, match=r"^the property partial failed: ZeroDivisionError: "):
        properties("abc", "text", [functools.partial(lambda n, text: n / 0, 1)])


@pytest.mark.parametrize("values", [[0, 1, 2], (0.5, 1e300, -1e300), np.array([1, 2, 3], np.uint8), [np.nan] * 3])
def test_any_numbers_are_an_own_property(values):
    def own(text):
        return values

    found = every("abc", "text", [own])["own"]
    assert found.values.dtype == np.float32
    assert not np.isnan(found.values).any()


# which language

TELLING = {
    "python": "import os\n\n\ndef f(x):\n    if x:\n        return 1\n",
    "c": "#include <a.h>\n\nint main(void) {\n    f(x);\n}\n",
    "latex": "\\section{A}\nLet $x$ be so.\n",
    "markdown": "# A\n\nSome `text`.\n\n- b\n",
    "text": "Once upon a time;\nthere (was) # one: {\n",
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", ["-", "a.txt", "a", "/dev/stdin", "a.unheard"])
def test_a_text_tells_its_language_where_its_name_does_not(language, path):
    assert guess([path], TELLING[language]) == language


@pytest.mark.parametrize(
    ("paths", "language"),
    [
        (["a.py"], "python"),
        (["A.H"], "c"),
        (["a/b.tex"], "latex"),
        (["a.md", "b.md", "c.py"], "markdown"),
        ([], "text"),
    ],
)
def test_a_suffix_tells_the_language_of_any_text(paths, language):
    assert guess(paths, TELLING["text"]) == language


def test_a_folder_has_the_language_of_most_of_its_files(tmp_path, monkeypatch):
    for name in ("a.c", "b/c.h", "b/d.py", ".git/e.py", ".f.py", "g.py~"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert guess([str(tmp_path)], "") == "c"
    monkeypatch.setattr(languages, "FILES", 1)
    assert guess([str(tmp_path / "b")], "") == "c"
    monkeypatch.setattr(languages, "FILES", 0)
    assert guess([str(tmp_path)], TELLING["latex"]) == "latex"


def test_few_lines_of_prose_that_look_like_code_tell_nothing():
    assert guess(["a.txt"], "He said:\nand so it was.\n" * 50 + "import os\n") == "text"
