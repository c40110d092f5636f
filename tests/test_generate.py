"""Generation: the labels set the first state, an end is learned, and nothing else tells what to write."""

import json
import math
import random

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracles import ORACLES, weights
from test_training import assert_same, interrupt_after
from test_translate import said
from torch.testing import assert_close

from elman.data.rows import padded
from elman.data.windows import IGNORED
from elman.decode import sampling
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError
from elman.recurrent.token_stepper import TokenStepper
from elman.tasks.generate import Generate
from elman.training import loop
from elman.training.api import load, train
from elman.training.trained_model import Model

TOKENS = 5  # and token 5, which begins and ends
CONFIG = {
    "tokens": {"kind": "char", "vocabulary": "vwxyz"},
    "columns": {"text": "name", "label": "country", "label2": "year"},
    "labels": {"label": ["Germany", "Italy", "Japan"], "label2": ["1990", "2000"]},
}
TINY = {"hidden": 8, "embedding": 8, "batch_size": 16, "precision": "float32", "device": "cpu", "preview": False}
LEARN = TINY | {"hidden": 16, "batch_size": 64, "lr": 0.02, "dropout": 0.0, "warmup": 10, "steps": 300}
EACH = {"Italy": "a", "Japan": "b", "Spain": "c"}  # what names are made of


def make(labels=(3, 2), seed=1, **options):
    """A generator whose weights are large enough for everything to matter."""
    torch.manual_seed(seed)
    task = Generate(TOKENS, 6, 8, list(labels), **{"backend": "loop"} | options).eval()
    for weight in task.parameters():
        torch.nn.init.normal_(weight, std=0.6)
    return task


def batch(batch_size=4, seed=0):
    """Texts of different lengths with their ends, and two labels each."""
    draw = np.random.default_rng(seed)
    texts = [np.append(draw.integers(0, TOKENS, size), TOKENS) for size in draw.permutation(batch_size)]
    labels = {
        name: torch.from_numpy(draw.integers(0, count, batch_size)) for name, count in (("label", 3), ("label2", 2))
    }
    return labels | {"target": padded(texts, IGNORED)[0]}


def one(labels, target):
    """A batch of one row."""
    names = {f"label{number or ''}": torch.tensor([value]) for number, value in zip((0, 2), labels, strict=False)}
    return names | {"target": torch.tensor([target])}


# the first state


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_the_logits_are_those_of_a_loop_that_begins_with_what_the_labels_say(count, feed):
    task = make((3, 2)[:count], cell="rnn", layers=2, feed=feed)
    p = {name: value.double().numpy() for name, value in task.state_dict().items()}
    chosen, target = (2, 1)[:count], [3, 0, 0, 4, TOKENS]
    states = []
    for layer in range(2):
        h = p[f"recurrent.learned.{layer}"][0].copy()
        for number, value in enumerate(chosen):
            h += p[f"labels.{number}.weight"][value].reshape(2, 8)[layer]
        states.append(h)
    expected = []
    for token in [TOKENS, *target[:-1]]:
        x = p["lookup.weight"][token] if feed == "token" else np.zeros(6)
        for layer in range(2):
            states[layer] = x = ORACLES["rnn"](weights(task.recurrent.cells[layer]), x, states[layer])["h"]
        expected.append(p["head.weight"] @ x + p["head.bias"])
    assert_allclose(said(task, one(chosen, target)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "slstm"])
def test_every_layer_and_every_state_of_a_cell_has_a_share_of_its_own_in_a_label(cell):
    task = make(cell=cell, layers=2)
    given = {"label": torch.tensor([0, 2]), "label2": torch.tensor([1, 1])}
    found = task.first(given, 2)
    states = len(task.recurrent.cells[0].states)
    shares = [table.weight.view(-1, 2, states, 8) for table in task.labels]
    for layer in range(2):
        for number in range(states):
            expected = (
                task.recurrent.learned[layer][number] + shares[0][[0, 2], layer, number] + shares[1][1, layer, number]
            )
            assert_close(found[layer][number], expected)


@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_no_step_knows_the_token_that_it_is_to_say_and_what_is_fed_matters_only_where_something_is(feed):
    task, target = make(feed=feed), [0, 1, 2, 3, TOKENS]
    plain = said(task, one((0, 0), target))
    for place in range(5):
        other = said(task, one((0, 0), [*target[:place], 4, *target[place + 1 :]]))
        assert_close(other[: place + 1], plain[: place + 1], rtol=0, atol=1e-6)
        if place < 4:
            assert ((other[place + 1 :] - plain[place + 1 :]).abs().max() > 1e-3) == (feed == "token")
    assert (said(task, one((0, 1), target)) - plain).abs().min(1).values.max() > 1e-4


@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_the_loss_is_what_the_stepper_gives_the_texts_and_their_ends_whatever_the_padding(feed):
    task, given, nats, count = make(feed=feed, layers=2), batch(), 0.0, 0
    stepper = task.stepper()
    with torch.no_grad():
        for row in range(4):
            labels = {name: given[name][row : row + 1] for name in ("label", "label2")}
            state, token = stepper.begin(labels | {"input": torch.zeros(1, 1)}), TOKENS
            for target in [int(token) for token in given["target"][row] if token != IGNORED]:
                logits, state = stepper.step(torch.tensor([token]), state)
                nats -= float(logits[0, target] - logits[0].exp().sum().log())
                token, count = target, count + 1
    more = given | {"target": torch.cat((given["target"], torch.full((4, 3), IGNORED)), 1)}
    for each in (given, more):
        loss, carried, sums = task.loss(each)
        assert carried is None
        assert int(sums["tokens"]) == count
        assert float(sums["nats"]) == pytest.approx(nats, rel=1e-5)
        assert float(loss.detach()) == pytest.approx(nats / count, rel=1e-5)


# what it writes


class Stepwise(TokenStepper):
    """A stepper without blocks."""

    def __init__(self, stepper):
        super().__init__()
        self.stepper, self.device = stepper, stepper.device

    def begin(self, inputs):
        return self.stepper.begin(inputs)

    def step(self, x, state):
        return self.stepper.step(x, state)


@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_a_block_writes_what_single_steps_write(feed, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 8)
    task = make(feed=feed, layers=2, backend="fused")
    stepper, given = task.stepper(), {"label": torch.tensor([0, 1, 2]), "label2": torch.tensor([1, 0, 1])}
    done = []
    block, stepper.block = stepper.block, lambda *asked: done.append(block(*asked)) or done[-1]
    for each in (stepper, Stepwise(task.stepper())):
        drawn = sample(each, [TOKENS, 2], 20, Sampling(), torch.Generator().manual_seed(0), 3, given)
        done.append(torch.stack(list(drawn)))
    assert len(done) == 5
    assert None not in done
    assert_close(done[3], done[4])


def model(task, config=CONFIG, tmp_path=None):
    return Model(task, {"data": config}, tmp_path)


BOTH = ("country=Japan", "year=2000")


def test_the_end_ends_and_is_not_written():
    task = make()
    task.head.bias.data[TOKENS] = -100.0
    assert len(model(task).sample(length=70, labels=BOTH, seed=0)) == 70
    task.head.bias.data[TOKENS] = 100.0
    assert model(task).sample("wx", length=70, labels=BOTH, seed=0) == ""
    task.head.bias.data[TOKENS] = 1.0
    texts = [
        "".join(pieces)
        for pieces in zip(*model(task).stream(length=70, labels=BOTH, seed=0, num_samples=30), strict=True)
    ]
    assert len({len(text) for text in texts}) > 3
    assert set().union(*texts) <= set("vwxyz")


def test_the_labels_given_set_what_is_written_and_the_prompt_is_read():
    task = make()
    for labels, prompt in ((BOTH, ""), (("year=1990", "country=Italy"), "vy")):
        opened, given, end = task.opening(CONFIG, prompt, labels, "error", print)
        named = dict(label.split("=") for label in labels)
        places = [CONFIG["labels"][role].index(named[CONFIG["columns"][role]]) for role in ("label", "label2")]
        assert [int(opened[role]) for role in ("label", "label2")] == places
        assert given == [TOKENS, *("vwxyz".index(char) for char in prompt)]
        assert end == TOKENS


@pytest.mark.parametrize(
    ("columns", "labels", "words"),
    [
        (2, ("country=Japn", "year=2000"), "unknown country 'Japn': did you mean 'Japan'?"),
        (2, ("country=Japan",), "give --label year=VALUE: the texts have a year"),
        (2, (), "give --label country=VALUE"),
        (2, ("Japan", "2000"), "--label Japan must be COLUMN=VALUE with the column country, year"),
        (2, ("town=Rome",), "--label town=Rome must be COLUMN=VALUE with the column country, year"),
        (2, (*BOTH, "year=1990"), "--label year=1990 is the second year, after 2000"),
        (1, ("Japn",), "unknown country 'Japn': did you mean 'Japan'?"),
        (1, (), "give --label WORD: the texts have a country"),
        (1, ("Japan", "Italy"), "--label Italy is the second country, after Japan"),
        (0, ("Japan",), r"--label Japan must be COLUMN=VALUE with the column (there is none)"),
    ],
)
def test_a_label_that_is_wrong_or_missing_is_told(columns, labels, words):
    roles = ("label", "label2")[:columns]
    config = CONFIG | {"labels": {role: CONFIG["labels"][role] for role in roles}}
    with pytest.raises(UserError) as raised:
        make((3, 2)[:columns]).opening(config, "", labels, "error", print)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_one_column_is_given_by_its_value_alone_or_with_its_name():
    config = CONFIG | {"labels": {"label": [*CONFIG["labels"]["label"], "a=b"]}}
    for label, place in (("Japan", 2), ("country=Japan", 2), ("a=b", 3)):
        opened, _, _ = make((4,)).opening(config, "", (label,), "error", print)
        assert int(opened["label"]) == place


# it learns, and only what can be known


def table(path, rows, *names):
    path.write_text("\n".join(["\t".join(names), *("\t".join(row) for row in rows)]) + "\n")
    return path


def names(count=600, seed=3):
    """Words of 1 to 4 letters, the one of their country, and how likely each word is: a quarter, given the country."""
    draw = random.Random(seed)
    countries = [draw.choice(list(EACH)) for _ in range(count)]
    return [(EACH[country] * draw.randint(1, 4), country, str(row)) for row, country in enumerate(countries)]


def fit(path, out, **options):
    columns = {"text_column": "name", "label_column": "country", "split": "split", "test": "0", "eval_every": 1000}
    return train("generate", path, out=out, **LEARN | columns | options)


@pytest.fixture(scope="module")
def countries(tmp_path_factory):
    """Two runs, one that was given the countries, one that was given those of other rows. Nobody changes them."""
    folder = tmp_path_factory.mktemp("countries")
    rows = names()
    shuffled = random.Random(4).sample([country for _, country, _ in rows], len(rows))
    for name, labels in (("true", [country for _, country, _ in rows]), ("shuffled", shuffled)):
        lines = [(text, label, "valid" if row % 3 == 0 else "train")
                 for row, ((text, _, _), label) in enumerate(zip(rows, labels, strict=True))]  # fmt: skip
        fit(table(folder / f"{name}.tsv", lines, "name", "country", "split"), folder / name, backend="native")
    return folder


def loss(run):
    return json.loads((run / "summary.json").read_text())["val_loss"]


def test_labels_help_where_they_tell_something_and_not_where_they_are_of_other_rows(countries):
    valid = [text for row, (text, _, _) in enumerate(names()) if row % 3 == 0]
    tokens = sum(len(text) + 1 for text in valid) / len(valid)  # the end counted
    known, unknown = math.log(4) / tokens, math.log(4 * 3) / tokens  # nats a token: four lengths, three letters
    assert loss(countries / "true") == pytest.approx(known, abs=0.06)
    assert unknown - 0.04 < loss(countries / "shuffled") < unknown + 0.1


def test_it_writes_names_of_the_country_that_is_asked_for_to_their_end(countries):
    written = load(countries / "true")
    for country, letter in EACH.items():
        drawn = zip(*written.stream(length=30, labels=(country,), seed=1, batch_size=60), strict=True)
        texts = ["".join(pieces) for pieces in drawn]
        good = [text for text in texts if 1 <= len(text) <= 4 and set(text) == {letter}]
        assert len(good) > 50
        assert {len(text) for text in good} == {1, 2, 3, 4}


def test_labels_on_the_command_line(countries, elman):
    run = countries / "true"
    code, out, _ = elman("sample", run, "--label", "Japan", "--seed=1", "--greedy")
    assert (code, set(out)) == (0, {"b", "\n"})
    for words, told in (
        (["sample", run, "--label", "Japn"], "unknown country 'Japn': did you mean 'Japan'?"),
        (["sample", run], "give --label WORD"),
        (["predict", run, "bb"], "a generator writes: elman sample RUN --label WORD"),
    ):
        code, _, err = elman(*words)
        assert (code, len(err.splitlines())) == (2, 1)
        assert told in err


FLAGS = [f"--{name}={value}" for name, value in TINY.items() if name != "show"] + ["--no-preview", "--steps=4"]


def test_no_label_is_asked_for_with_a_dash_or_where_there_is_no_other_column(tmp_path, elman):
    rows = [(f"{text}{number}", country, number) for text, country, number in names(60)]
    three = table(tmp_path / "three.tsv", rows, "name", "country", "number")
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for text, _, _ in rows))
    parts = table(tmp_path / "parts.tsv", [(row[0], "train") for row in rows], "name", "split")
    for number, words in enumerate(
        (
            [three, "--text-column=name", "--label-column", "-"],
            [tmp_path / "lines.txt", "--format=lines"],
            [parts],
            ["builtin:anbn:count=200,max_length=8"],
        )
    ):
        run = tmp_path / f"run{number}"
        code, _, err = elman("train", "generate", *words, *FLAGS, "--out", run)
        assert code == 0, err
        assert load(run).config["data"]["labels"] == {}
        assert elman("sample", run, "--length=5")[0] == 0
        assert elman("sample", run, "--label=x")[0] == 2


def test_several_columns_are_labels_each_by_its_name(tmp_path):
    rows = [(text, country, str(1990 + int(number) % 2)) for text, country, number in names(60)]
    path = table(tmp_path / "t.tsv", rows, "name", "country", "year")
    out = tmp_path / "run"
    trained = train("generate", path, out=out, **TINY, steps=3, text_column="name", label_column="year, country")
    assert trained.config["data"]["columns"] == {"text": "name", "label": "year", "label2": "country"}
    assert trained.config["data"]["labels"] == {"label": ["1990", "1991"], "label2": ["Italy", "Japan", "Spain"]}
    assert isinstance(load(out).sample(length=5, labels=("country=Spain", "year=1990")), str)
    with pytest.raises(UserError, match="--label country=Japan is the second country, after Spain"):
        load(out).sample(length=5, labels=("country=Spain", "country=Japan"))


def test_a_label_that_only_a_held_out_row_has_is_told_with_the_row(tmp_path):
    rows = [(text, country, "train") for text, country, _ in names(40)] + [("dd", "Chad", "valid")]
    path = table(tmp_path / "t.tsv", rows, "name", "country", "split")
    with pytest.raises(UserError, match=r"t\.tsv row 42 has the country 'Chad', which no training row has: Italy"):
        fit(path, tmp_path / "run")


@pytest.mark.parametrize(
    ("tokens", "options"),
    [("char", {"cell": "gru", "layers": 2}), ("word", {"label_column": "-"}), ("bpe", {"feed": "nothing"})],
)
def test_a_training_that_was_stopped_ends_as_an_unbroken_one_bit_for_bit(tmp_path, tokens, options):
    rows = [(f"a {text} of {country}", country) for text, country, _ in names(60)]
    path = table(tmp_path / "t.tsv", rows, "name", "country")
    sizes = {"tokens": tokens, "vocab_size": {"bpe": 270}.get(tokens), "steps": 14, "eval_every": 4, "dropout": 0.3}
    options = TINY | {"text_column": "name", "label_column": "country"} | sizes | options
    train("generate", path, out=tmp_path / "unbroken", **options)
    for update, given in ((3, {"paths": path, "out": tmp_path / "run"} | options), (6, {"resume": tmp_path / "run"})):
        with interrupt_after(update), pytest.raises(loop.Interrupted):
            train("generate", **given)
    train("generate", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", tokens)


@pytest.mark.parametrize("tokens", ["char", "word"])
def test_what_is_shown_while_training_has_the_label_and_the_text(tmp_path, tokens):
    rows = [(f"the {text}", country) for text, country, _ in names(60)]
    options = {"text_column": "name", "label_column": "country", "tokens": tokens, "steps": 3}
    trained = train(
        "generate", table(tmp_path / "t.tsv", rows, "name", "country"), out=tmp_path / "run", **TINY | options
    )
    trained.task.head.bias.data[trained.task.boundary] = -100.0
    trained.task.head.bias.data[trained.tokens.encode(trained.tokens.lead + "the")[0]] = 100.0
    first = {"char": "tttt", "word": "the the the the"}[tokens]
    shown = trained.task.sampler(trained.config["data"])(4).splitlines()
    assert shown == [f"[{country}] {first}" for country in ("Italy", "Italy", "Japan", "Spain")]
    assert trained.sample(length=4, labels=("Japan",)) == first
    assert trained.sample("the", 4, labels=("Japan",)) == {"char": first, "word": " " + first}[tokens]
