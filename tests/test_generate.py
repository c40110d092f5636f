"""Generation: the labels set the initial state, the end of a text is learned, and no step has another input."""

import math
import random

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

import specs
from elman.data.rows import padded
from elman.data.windows import IGNORED
from elman.decode import sampling
from elman.decode.sampling import Sampling, sample
from elman.errors import UserError
from elman.recurrent.token_stepper import TokenStepper
from elman.tasks.generate import Generate, GenerateOptions
from elman.tasks.loss import Context
from elman.tasks.task import Reading
from elman.training import loop
from elman.training.api import load, train
from elman.training.trained_model import TrainedModel
from oracles import ORACLES, weights
from runs import RecordingReporter, assert_same, interrupt_after, summary

TOKENS = 5  # and token 5, which starts and ends a text
COLUMNS = {"country": ("Germany", "Italy", "Japan"), "year": ("1990", "2000")}
TINY = {"hidden": 8, "embedding": 8, "batch_size": 16, "precision": "float32", "device": "cpu", "preview": False}
LEARN = TINY | {"hidden": 16, "batch_size": 64, "lr": 0.02, "dropout": 0.0, "warmup": 10, "steps": 300}
LETTERS = {"Italy": "a", "Japan": "b", "Spain": "c"}  # of the names of each country


def columns(count):
    return dict(list(COLUMNS.items())[:count])


def make(count=2, seed=1, labels=None, **options):
    """A generator with so many columns of labels and large random weights."""
    spec = specs.generate(columns(count) if labels is None else labels, **options)
    return specs.randomize(specs.build("generate", spec, seed), 0.6)


def batch(batch_size=4, seed=0):
    """Texts of different lengths with their ends, and two labels each."""
    rng = np.random.default_rng(seed)
    texts = [np.append(rng.integers(0, TOKENS, size), TOKENS) for size in rng.permutation(batch_size)]
    labels = {
        name: torch.from_numpy(rng.integers(0, count, batch_size)) for name, count in (("label", 3), ("label2", 2))
    }
    return labels | {"target": padded(texts, IGNORED)[0]}


def one(labels, target):
    """A batch of one row."""
    names = {f"label{number or ''}": torch.tensor([value]) for number, value in zip((0, 2), labels, strict=False)}
    return names | {"target": torch.tensor([target])}


# the initial state


@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_logits_are_those_of_a_loop_that_starts_from_the_embeddings_of_the_labels(count, feed):
    model = make(count, cell="rnn", layers=2, feed=feed)
    p = {name: value.double().numpy() for name, value in model.state_dict().items()}
    chosen, target = (2, 1)[:count], [3, 0, 0, 4, TOKENS]
    states = []
    for layer in range(2):
        h = p[f"recurrent.learned.{layer}"].copy()
        for role, value in zip(("label", "label2"), chosen, strict=False):
            h += p[f"labels.{role}.weight"][value].reshape(2, 8)[layer]
        states.append(h)
    expected = []
    for token in [TOKENS, *target[:-1]]:
        x = p["embedding.weight"][token] if feed == "token" else np.zeros(6)
        for layer in range(2):
            states[layer] = x = ORACLES["rnn"](weights(model.recurrent.cells[layer]), x, states[layer])["h"]
        expected.append(p["head.weight"] @ x + p["head.bias"])
    assert_allclose(specs.target_logits(model, one(chosen, target)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru", "slstm"])
def test_a_label_has_an_embedding_of_its_own_for_every_state_of_every_layer(cell):
    model = make(cell=cell, layers=2)
    found = model.begin({"label": torch.tensor([0, 2]), "label2": torch.tensor([1, 1])})
    states = len(model.recurrent.cells[0].states)
    tables = {role: table.weight.view(-1, 2, states, 8) for role, table in model.labels.items()}
    for layer in range(2):
        for number in range(states):
            expected = (
                model.recurrent.learned[layer].view(states, 8)[number]
                + tables["label"][[0, 2], layer, number]
                + tables["label2"][1, layer, number]
            )
            assert_close(found[layer][number], expected)


@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_no_step_depends_on_its_target_and_later_ones_do_only_where_tokens_are_fed(feed):
    model, target = make(feed=feed), [0, 1, 2, 3, TOKENS]
    plain = specs.target_logits(model, one((0, 0), target))
    for time in range(5):
        other = specs.target_logits(model, one((0, 0), [*target[:time], 4, *target[time + 1 :]]))
        assert_close(other[: time + 1], plain[: time + 1], rtol=0, atol=1e-6)
        if time < 4:
            assert ((other[time + 1 :] - plain[time + 1 :]).abs().max() > 1e-3) == (feed == "token")
    assert (specs.target_logits(model, one((0, 1), target)) - plain).abs().min(1).values.max() > 1e-4


@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_the_loss_is_that_of_single_steps_over_the_texts_and_their_ends_without_padding(feed):
    model, inputs, nats, count = make(feed=feed, layers=2), batch(), 0.0, 0
    stepper = model.stepper()
    with torch.no_grad():
        for row in range(4):
            labels = {name: inputs[name][row : row + 1] for name in ("label", "label2")}
            state, token = stepper.begin(labels | {"input": torch.zeros(1, 1)}), TOKENS
            for target in [int(token) for token in inputs["target"][row] if token != IGNORED]:
                logits, state = stepper.step(torch.tensor([token]), state)
                nats -= float(logits[0, target] - logits[0].exp().sum().log())
                token, count = target, count + 1
    padded_more = inputs | {"target": torch.cat((inputs["target"], torch.full((4, 3), IGNORED)), 1)}
    for each in (inputs, padded_more):
        loss = model.loss(each)
        assert loss.state is None
        assert int(loss.count) == count
        assert float(loss.sums["loss"].detach()) == pytest.approx(nats, rel=1e-5)
        assert float(loss.mean.detach()) == pytest.approx(nats / count, rel=1e-5)


# what it generates


class SingleSteps(TokenStepper):
    """A stepper without blocks."""

    def __init__(self, stepper):
        super().__init__()
        self.stepper, self.device = stepper, stepper.device

    def begin(self, inputs):
        return self.stepper.begin(inputs)

    def step(self, x, state):
        return self.stepper.step(x, state)


@pytest.mark.parametrize("feed", ["token", "nothing"])
def test_blocks_generate_what_single_steps_generate(feed, monkeypatch):
    monkeypatch.setattr(sampling, "BLOCK", 8)
    model = make(feed=feed, layers=2, backend="fused")
    stepper, labels = model.stepper(), {"label": torch.tensor([0, 1, 2]), "label2": torch.tensor([1, 0, 1])}
    blocks, generated = [], []
    block = stepper.block
    stepper.block = lambda *arguments: blocks.append(block(*arguments)) or blocks[-1]
    for each in (stepper, SingleSteps(model.stepper())):
        drawn = sample(each, [TOKENS, 2], 20, Sampling(), torch.Generator().manual_seed(0), 3, labels)
        generated.append(torch.stack(list(drawn)))
    assert len(blocks) == 3
    assert None not in blocks
    assert_close(*generated)


def trained_model(model):
    """As `elman.load` gives it, but without a run."""
    return TrainedModel(Generate(), model, None)


BOTH = ("country=Japan", "year=2000")


def test_the_end_token_ends_a_text_and_is_not_part_of_it():
    model = make()
    model.head.bias.data[TOKENS] = -100.0
    assert len(trained_model(model).sample(length=70, labels=BOTH, seed=0)) == 70
    model.head.bias.data[TOKENS] = 100.0
    assert trained_model(model).sample("wx", length=70, labels=BOTH, seed=0) == ""
    model.head.bias.data[TOKENS] = 1.0
    streams = trained_model(model).stream(length=70, labels=BOTH, seed=0, num_samples=30)
    texts = ["".join(pieces) for pieces in zip(*streams, strict=True)]
    assert len({len(text) for text in texts}) > 3
    assert set().union(*texts) <= set("vwxyz")


def prompt(spec, labels, text=""):
    return Generate().prompt(spec, text, labels, Reading())


def test_the_labels_condition_the_state_and_the_prompt_is_read():
    spec = make().spec
    for labels, text in ((BOTH, ""), (("year=1990", "country=Italy"), "vy")):
        found = prompt(spec, labels, text)
        named = dict(label.split("=") for label in labels)
        for role in ("label", "label2"):
            assert found.batch[role].tolist() == [COLUMNS[spec.columns[role]].index(named[spec.columns[role]])]
        assert found.tokens == [TOKENS, *("vwxyz".index(char) for char in text)]
        assert found.end == TOKENS


@pytest.mark.parametrize(
    ("count", "labels", "words"),
    [
        (2, ("country=Japn", "year=2000"), "unknown country 'Japn': did you mean 'Japan'?"),
        (2, ("country=Japan",), "give `label` year=VALUE, since the texts have a year"),
        (2, (), "give `label` country=VALUE"),
        (2, ("Japan", "2000"), "`label` Japan must be COLUMN=VALUE with the column country, year"),
        (2, ("town=Rome",), "`label` town=Rome must be COLUMN=VALUE with the column country, year"),
        (2, (*BOTH, "year=1990"), "`label` year=1990 is the second year, after 2000"),
        (1, ("Japn",), "unknown country 'Japn': did you mean 'Japan'?"),
        (1, (), "give `label` WORD, since the texts have a country"),
        (1, ("Japan", "Italy"), "`label` Italy is the second country, after Japan"),
        (0, ("Japan",), r"`label` Japan must be COLUMN=VALUE with the column (there is none)"),
    ],
)
def test_an_unknown_or_missing_label_is_an_error(count, labels, words):
    with pytest.raises(UserError) as raised:
        prompt(specs.generate(columns(count)), labels)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_label_of_a_single_column_is_given_with_its_name_or_without():
    spec = specs.generate({"country": (*COLUMNS["country"], "a=b")})
    for label, index in (("Japan", 2), ("country=Japan", 2), ("a=b", 3)):
        assert int(prompt(spec, (label,)).batch["label"]) == index


# it learns, and only what can be known


def table(path, rows, *names):
    path.write_text("\n".join(["\t".join(names), *("\t".join(row) for row in rows)]) + "\n")
    return path


def names(count=600, seed=3):
    """Words of 1 to 4 letters, the one of their country; given the country each has a probability of a quarter."""
    rng = random.Random(seed)
    countries = [rng.choice(list(LETTERS)) for _ in range(count)]
    return [(LETTERS[country] * rng.randint(1, 4), country, str(row)) for row, country in enumerate(countries)]


def fit(path, out, **options):
    named = {"text_column": "name", "label_column": "country", "split": "split", "test": "0", "eval_every": 1000}
    return train("generate", path, out=out, **LEARN | named | options)


@pytest.fixture(scope="module")
def countries(tmp_path_factory):
    """Two runs: one with the country of each name, one with the countries shuffled. No test changes them."""
    folder = tmp_path_factory.mktemp("countries")
    rows = names()
    shuffled = random.Random(4).sample([country for _, country, _ in rows], len(rows))
    for name, labels in (("true", [country for _, country, _ in rows]), ("shuffled", shuffled)):
        lines = [(text, label, "valid" if row % 3 == 0 else "train")
                 for row, ((text, _, _), label) in enumerate(zip(rows, labels, strict=True))]  # fmt: skip
        fit(table(folder / f"{name}.tsv", lines, "name", "country", "split"), folder / name, backend="native")
    return folder


def test_labels_lower_the_loss_and_shuffled_ones_do_not(countries):
    valid = [text for row, (text, _, _) in enumerate(names()) if row % 3 == 0]
    tokens = sum(len(text) + 1 for text in valid) / len(valid)  # the end counted
    known, unknown = math.log(4) / tokens, math.log(4 * 3) / tokens  # nats per token: four lengths, three letters
    assert summary(countries / "true")["val_loss"] == pytest.approx(known, abs=0.06)
    assert unknown - 0.04 < summary(countries / "shuffled")["val_loss"] < unknown + 0.1


def test_names_of_a_given_country_are_generated_to_their_end(countries):
    model = load(countries / "true")
    for country, letter in LETTERS.items():
        drawn = zip(*model.stream(length=30, labels=(country,), seed=1, num_samples=60), strict=True)
        texts = ["".join(pieces) for pieces in drawn]
        good = [text for text in texts if 1 <= len(text) <= 4 and set(text) == {letter}]
        assert len(good) > 50
        assert {len(text) for text in good} == {1, 2, 3, 4}


def test_labels_on_the_command_line(countries, elman):
    run = countries / "true"
    code, out, _ = elman("sample", run, "--label", "Japan", "--seed=1", "--greedy")
    assert (code, set(out)) == (0, {"b", "\n"})
    for arguments, message in (
        (["sample", run, "--label", "Japn"], "unknown country 'Japn': did you mean 'Japan'?"),
        (["sample", run], "give --label WORD"),
        (["predict", run, "bb"], "a generate model answers nothing: elman sample"),
    ):
        code, _, err = elman(*arguments)
        assert (code, len(err.splitlines())) == (2, 1)
        assert message in err


FLAGS = [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items() if name != "preview"]
FLAGS += ["--no-preview", "--steps=4"]


def test_there_are_no_labels_with_a_dash_or_without_another_column(tmp_path, elman):
    rows = [(f"{text}{number}", country, number) for text, country, number in names(60)]
    three = table(tmp_path / "three.tsv", rows, "name", "country", "number")
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for text, _, _ in rows))
    splits = table(tmp_path / "splits.tsv", [(row[0], "train") for row in rows], "name", "split")
    for number, words in enumerate(
        (
            [three, "--text-column=name", "--label-column", "-"],
            [tmp_path / "lines.txt", "--format=lines"],
            [splits],
            ["builtin:anbn:count=200"],
        )
    ):
        run = tmp_path / f"run{number}"
        code, _, err = elman("train", "generate", *words, *FLAGS, "--out", run)
        assert code == 0, err
        assert load(run).spec.labels == {}
        assert elman("sample", run, "--length=5")[0] == 0
        assert elman("sample", run, "--label=x")[0] == 2


def test_several_columns_are_labels_each_with_its_name(tmp_path):
    rows = [(text, country, str(1990 + int(number) % 2)) for text, country, number in names(60)]
    path = table(tmp_path / "t.tsv", rows, "name", "country", "year")
    out = tmp_path / "run"
    trained = train("generate", path, out=out, **TINY, steps=3, text_column="name", label_column="year, country")
    assert trained.spec.columns == {"text": "name", "label": "year", "label2": "country"}
    labels = {role: encoder.labels for role, encoder in trained.spec.labels.items()}
    assert labels == {"label": ("1990", "1991"), "label2": ("Italy", "Japan", "Spain")}
    assert isinstance(load(out).sample(length=5, labels=("country=Spain", "year=1990")), str)
    with pytest.raises(UserError, match="`label` country=Japan is the second country, after Spain"):
        load(out).sample(length=5, labels=("country=Spain", "country=Japan"))


def test_a_label_that_only_a_held_out_row_has_is_an_error_that_names_the_row(tmp_path):
    rows = [(text, country, "train") for text, country, _ in names(40)] + [("dd", "Chad", "valid")]
    path = table(tmp_path / "t.tsv", rows, "name", "country", "split")
    with pytest.raises(UserError, match=r"t\.tsv row 42 has the country 'Chad', which no training row has: Italy"):
        fit(path, tmp_path / "run")


@pytest.mark.parametrize(
    ("tokens", "options"),
    [("char", {"cell": "gru", "layers": 2}), ("word", {"label_column": "-"}), ("bpe", {"feed": "nothing"})],
)
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, tokens, options):
    rows = [(f"a {text} of {country}", country) for text, country, _ in names(60)]
    path = table(tmp_path / "t.tsv", rows, "name", "country")
    sizes = {"tokens": tokens, "steps": 14, "eval_every": 4, "dropout": 0.3}
    sizes |= {"vocab_size": 270} if tokens == "bpe" else {}
    options = TINY | {"text_column": "name", "label_column": "country"} | sizes | options
    if options.get("feed") == "nothing":
        del options["embedding"]
    train("generate", path, out=tmp_path / "unbroken", **options)
    for update, given in ((3, {"paths": path, "out": tmp_path / "run"} | options), (6, {"resume": tmp_path / "run"})):
        with interrupt_after(update), pytest.raises(loop.Interrupted):
            train("generate", **given)
    train("generate", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", tokens)


@pytest.mark.parametrize("tokens", ["char", "word"])
def test_a_preview_has_the_label_and_the_text(tmp_path, tokens):
    rows = [(f"the {text}", country) for text, country, _ in names(60)]
    options = {"text_column": "name", "label_column": "country", "tokens": tokens, "steps": 3, "preview": True}
    path, reporter = table(tmp_path / "t.tsv", rows, "name", "country"), RecordingReporter()
    trained = train("generate", path, out=tmp_path / "run", reporter=reporter, **TINY | options)
    expected = [f"[{country}]" for country in ("Italy", "Italy", "Japan", "Spain")]
    assert reporter.previews
    for preview in reporter.previews:
        assert [line.split(" ")[0] for line in preview.split("\n") if line.startswith("[")] == expected
    model, tokenizer = trained.model, trained.tokenizer
    model.head.bias.data[model.boundary] = -100.0
    model.head.bias.data[tokenizer.encode(tokenizer.lead + "the")[0]] = 100.0
    first = {"char": "t", "word": "the"}[tokens]
    separator = {"char": "", "word": " "}[tokens]
    lines = model.preview(Context()).splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == expected
    assert all(set(line.split(" ", 1)[1]) == set(first + separator) for line in lines)
    four = separator.join([first] * 4)
    assert trained.sample(length=4, labels=("Japan",)) == four
    assert trained.sample("the", 4, labels=("Japan",)) == separator + four


def test_the_preview_of_texts_without_labels():
    model = make(0)
    model.head.bias.data[TOKENS] = 100.0
    assert model.preview(Context()).split("\n") == [""] * 4


def test_the_labels_of_a_preview_lie_apart():
    """The first, and others at equal distances."""
    labels = {"country": tuple("abcdefgh"), "year": ("1990", "2000")}
    lines = make(labels=labels, tokens=2).preview(Context()).split("\n")
    expected = [f"[{country}] [{year}]" for country, year in zip("aceg", ("1990", "1990", "2000", "2000"), strict=True)]
    assert [line[: len(each)] for line, each in zip(lines, expected, strict=True)] == expected


def test_options_choose_the_sizes(tmp_path):
    path = table(tmp_path / "t.tsv", [row[:2] for row in names(40)], "name", "country")
    spec = Generate().prepare([str(path)], GenerateOptions(text_column="name", label_column="country")).spec
    assert (spec.hidden, spec.embedding, spec.dropout) == (128, 64, 0.2)
    chosen = GenerateOptions(text_column="name", label_column="country", hidden=9, embedding=7, dropout=0.0)
    spec = Generate().prepare([str(path)], chosen).spec
    assert (spec.hidden, spec.embedding, spec.dropout) == (9, 7, 0.0)
