"""Translation: encoder, attention and decoder are those of the papers, and no step knows what it is to say."""

import json
import math
import random
import zipfile
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import sacrebleu
import torch
from numpy.testing import assert_allclose
from oracles import ORACLES, weights
from test_training import assert_same, interrupt_after
from torch.testing import assert_close

from elman.data.rows import padded
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.decode.sampling import Sampling
from elman.decode.search import Search
from elman.errors import UserError
from elman.files import seal, unseal
from elman.tasks.translate import Translate, TranslateOptions
from elman.tokenizers.registry import BPETokenizer, CharTokenizer, WordTokenizer
from elman.training import loop
from elman.training.api import load, train

PLAINLY = ("general", "dot", "scaled", "none", "additive")
KINDS = [*((kind, False) for kind in PLAINLY), ("general", True), ("dot", True)]
SOURCES, TARGETS = 7, 5  # tokens; of the targets token 5 begins and ends
CHARS = {"kind": "char", "vocabulary": list("abcdefg")}
CONFIG = {
    "tokens": {"source": CHARS, "target": CHARS | {"vocabulary": list("vwxyz")}},
    "reverse": False,
    "max_length": 40,
}
TINY = {"hidden": 8, "embedding": 8, "batch_size": 16, "precision": "float32", "device": "cpu", "preview": False}
WORDS = ("the", "old", "cat", "sat", "on", "a", "mat", "and", "saw", "two", "dogs", "run")


def make(attention="general", input_feeding=False, seed=1, **options):
    """A translator whose weights are large enough for everything to matter."""
    torch.manual_seed(seed)
    options = {"backend": "loop"} | options
    task = Translate(SOURCES, TARGETS, 6, 8, attention=attention, input_feeding=input_feeding, **options).eval()
    for weight in task.parameters():
        torch.nn.init.normal_(weight, std=0.8 if weight.dim() > 1 else 0.2)
    return task


def batch(batch_size=4, seed=0):
    """Rows of different lengths; each target has its end."""
    draw = np.random.default_rng(seed)
    sources = [draw.integers(0, SOURCES, size) for size in draw.permutation(batch_size) + 1]
    targets = [np.append(draw.integers(0, TARGETS, size), TARGETS) for size in draw.permutation(batch_size)]
    source, lengths = padded(sources)
    return {"source": source, "source_lengths": lengths, "target": padded(targets, IGNORED)[0]}


def fed(target):
    """What the decoder is given where the target is to be said."""
    return torch.cat((torch.full_like(target[:, :1], TARGETS), target[:, :-1].clamp(min=0)), 1)


def decoded(task, tokens, given):
    return task.decode(tokens, task.begin(given), given)[0]


def begun(task, given):
    return task.begin(given)


# the equations


def by_the_papers(task, source, tokens):
    """One source (S,) and the tokens (T,) that are fed: logits (T, V) and where was looked (T, S), of a model with two
    layers of the cell of Elman. Bahdanau 2015: what is read with the state before the step enters the step. Luong 2015:
    it is read with the state after the step, h~ = tanh(W [h; c]), and h~ may be fed to the next."""
    p = {name: value.detach().double().numpy() for name, value in task.state_dict().items()}

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)

    def run(cell, inputs):
        h, out = np.zeros(8), []
        for x in inputs:
            h = ORACLES["rnn"](weights(cell), x, h)["h"]
            out.append(h)
        return out

    memory, states = [p["source_lookup.weight"][token] for token in source], []
    for layer in range(2):
        forwards = run(task.encoder.cells[2 * layer], memory)
        backwards = run(task.encoder.cells[2 * layer + 1], memory[::-1])[::-1]
        states.append(np.tanh(linear(f"bridge.{layer}", np.concatenate((forwards[-1], backwards[0])))))
        memory = [np.concatenate(both) for both in zip(forwards, backwards, strict=True)]
    kind, feeding = task.config()["attention"], task.config()["input_feeding"]
    if kind == "dot":
        memory = [linear("memory", m) for m in memory]
    score = {
        "additive": lambda q, m: (
            p["attention.v.weight"][0] @ np.tanh(linear("attention.W", q) + linear("attention.U", m))
        ),
        "general": lambda q, m: q @ linear("attention.W", m),
        "dot": lambda q, m: q @ m,
        "scaled": lambda q, m: (
            linear("attention.W", q)
            @ linear("attention.U", (m - m.mean()) / np.sqrt(m.var() + 1e-5))
            / math.sqrt(len(linear("attention.W", q)))
        ),
        "none": lambda q, m: 0.0,
    }[kind]

    def read(query):
        scores = np.array([math.exp(score(query, m)) for m in memory])
        places = scores / scores.sum()
        return sum(place * m for place, m in zip(places, memory, strict=True)), places

    logits, looked, attentional = [], [], np.zeros(6)
    for token in tokens:
        x = p["head.weight"][token]
        context, places = read(states[-1])
        if kind == "additive":
            x = np.concatenate((x, context))
        elif feeding:
            x = np.concatenate((x, attentional))
        for layer, cell in enumerate(task.decoder.cells):
            states[layer] = x = ORACLES["rnn"](weights(cell), x, states[layer])["h"]
        if kind != "additive":
            context, places = read(x)
        attentional = np.tanh(linear("join", x if kind == "none" else np.concatenate((x, context))))
        logits.append(linear("head", attentional))
        looked.append(places)
    return np.array(logits), np.array(looked)


@pytest.mark.parametrize(("attention", "feeding"), KINDS)
def test_the_logits_and_the_alignment_are_those_of_the_papers(attention, feeding):
    task = make(attention, feeding, cell="rnn", layers=2)
    source, target = torch.tensor([3, 0, 6, 2]), torch.tensor([1, 4, 0])
    tokens = torch.cat((torch.tensor([TARGETS]), target))
    logits, looked = by_the_papers(task, source.tolist(), tokens.tolist())
    with torch.no_grad():
        found = task.head(decoded(task, tokens[None], {"source": source[None], "source_lengths": torch.tensor([4])}))[0]
    assert_allclose(found, logits, rtol=1e-4, atol=1e-5)
    if attention == "none":
        with pytest.raises(ValueError, match="looks nowhere"):
            task.alignment(source, target)
        return
    alignment = task.alignment(source, target)
    assert alignment.shape == (4, 4)  # a row for each of the three tokens, and the last for the end
    assert_allclose(alignment, looked, rtol=1e-4, atol=1e-5)
    assert_close(alignment.sum(1), torch.ones(4))
    assert np.abs(looked - looked[0]).max() > 0.05


@pytest.mark.parametrize("attention", ["general", "dot", "none"])
@pytest.mark.parametrize(
    "options", [{}, {"cell": "gru", "layers": 2, "residual": True, "backend": "auto"}, {"bidirectional": False}]
)
def test_the_whole_target_at_once_gives_what_single_steps_give(attention, options):
    task, given = make(attention, **options), batch()
    tokens, state = fed(given["target"]), begun(task, given)
    with torch.no_grad():
        whole, step = task.decode(tokens, state, given)[0], task.decoder.unrolled()
        for time, token in enumerate(tokens.unbind(1)):
            out, state = task.advance(step, token, state)
            assert_close(out, whole[:, time], rtol=0, atol=1e-5)


# padding


@pytest.mark.parametrize(("attention", "feeding"), KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_stands_in_the_padding_reaches_neither_loss_nor_gradient(attention, feeding, bidirectional):
    task, given = make(attention, feeding, layers=2, bidirectional=bidirectional), batch()
    other = dict(given)
    past = torch.arange(given["source"].shape[1]) >= given["source_lengths"][:, None]
    other["source"] = torch.cat((given["source"].masked_fill(past, 6), torch.full((4, 3), 6)), 1)
    other["target"] = torch.cat((given["target"], torch.full((4, 2), IGNORED)), 1)
    ours, theirs = (task.loss(each) for each in (given, other))
    assert_close(ours[0], theirs[0], rtol=0, atol=1e-6)
    assert int(ours[2]["tokens"]) == int(theirs[2]["tokens"]) == int((given["target"] >= 0).sum())
    gradients = [torch.autograd.grad(each[0], list(task.parameters()), allow_unused=True) for each in (ours, theirs)]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("attention", "feeding"), KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_sentence_is_translated_alike_whatever_stands_beside_it(attention, feeding, bidirectional):
    task, how = make(attention, feeding, layers=2, bidirectional=bidirectional), Search(beam=3, best=3, max_length=7)
    texts = ["a", "cab", "gfedcba", "fa", "dddd"]
    given = Table("the input", {"source": texts}, list(range(5)))
    together = task.predict(given, CONFIG, print, search=how)
    alone = [task.predict(given.take([row]), CONFIG, print, search=how)[0] for row in range(5)]
    for ours, theirs in zip(together, alone, strict=True):
        assert [each["translation"] for each in ours["candidates"]] == [
            each["translation"] for each in theirs["candidates"]
        ]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
    assert len({round(answer["score"], 2) for answer in together}) > 1


# the loss


@pytest.mark.parametrize(("attention", "feeding"), KINDS)
def test_the_loss_is_what_the_stepper_gives_the_target_and_its_end(attention, feeding):
    task, given = make(attention, feeding), batch()
    stepper, nats, count = task.stepper(), 0.0, 0
    with torch.no_grad():
        for row in range(4):
            size = int(given["source_lengths"][row])
            state = stepper.begin(
                {"source": given["source"][row : row + 1, :size], "source_lengths": torch.tensor([size])}
            )
            token = TARGETS
            for said in [int(token) for token in given["target"][row] if token != IGNORED]:
                logits, state = stepper.step(torch.tensor([token]), state)
                nats -= float(logits[0, said] - logits[0].exp().sum().log())
                token, count = said, count + 1
            assert token == TARGETS
    loss, carried, sums = task.loss(given)
    assert carried is None
    assert int(sums["tokens"]) == count
    assert float(sums["nats"]) == pytest.approx(nats, rel=1e-5)
    assert float(loss.detach()) == pytest.approx(nats / count, rel=1e-5)


def spread(task, given):
    """The logits (N, V) of each token of the targets, and the tokens."""
    with torch.no_grad():
        logits = task.head(decoded(task, fed(given["target"]), given))
    counted = given["target"] != IGNORED
    return logits[counted], given["target"][counted]


def test_smoothing_acts_in_training_only_and_is_not_logged():
    task, given = make(label_smoothing=0.3), batch()
    chances, target = spread(task, given)
    chances = chances.double().softmax(-1).numpy()
    goal = np.full_like(chances, 0.3 / (TARGETS + 1))  # Szegedy 2016: the rest is spread over all
    goal[np.arange(len(target)), target.numpy()] += 0.7
    smooth, plain = -(goal * np.log(chances)).sum(1).mean(), -np.log(chances[np.arange(len(target)), target]).mean()
    given["progress"] = torch.tensor(0.5)
    for training, expected in ((True, smooth), (False, plain)):
        loss, _, sums = task.train(training).loss(given)
        assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
        assert float(sums["nats"] / sums["tokens"]) == pytest.approx(plain, rel=1e-5)
    assert abs(smooth - plain) > 0.05


def test_a_target_token_is_learned_by_reading_it_and_by_saying_it():
    task, given = make(), batch()
    (gradient,) = torch.autograd.grad(task.loss(given)[0], [task.head.weight])
    weight, step = task.head.weight.detach().clone(), 1e-2
    slope = torch.zeros_like(weight)
    for place in np.ndindex(*weight.shape):
        for side in (step, -step):
            task.head.weight.data = weight.clone()
            task.head.weight.data[place] += side
            slope[place] += task.loss(given)[0].detach() / (2 * side)
    assert_close(gradient, slope, rtol=0.02, atol=1e-3)


def said(task, given):
    """The logits (N, V) of all tokens of the targets, as the loss has them."""
    seen = []
    handle = task.head.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    task.loss(given)
    handle.remove()
    return seen[-1]


@pytest.mark.parametrize(("attention", "feeding"), KINDS)
def test_no_step_knows_the_token_that_it_is_to_say_nor_a_later_one(attention, feeding):
    task = make(attention, feeding)
    given = {"source": torch.tensor([[1, 2, 3]]), "source_lengths": torch.tensor([3])}
    target = torch.tensor([[0, 1, 2, 3, TARGETS]])
    plain = said(task, given | {"target": target})
    for place in range(5):
        changed = target.clone()
        changed[0, place] = 4
        other = said(task, given | {"target": changed})
        assert_close(other[: place + 1], plain[: place + 1], rtol=0, atol=1e-6)
        assert place == 4 or (other[place + 1] - plain[place + 1]).abs().max() > 1e-3


# scheduled sampling


def fed_in_training(task, given, progress):
    """The tokens (B, T) that the decoder is given while the loss is taken."""
    seen, advance = [], task.advance
    task.advance = lambda step, token, state: seen.append(token) or advance(step, token, state)
    task.train().loss(given | {"progress": torch.tensor(progress)})
    return torch.stack(seen, 1)


@pytest.mark.parametrize(("progress", "share"), [(0.5, 0.65), (1.0, 0.3)])
def test_so_many_of_the_tokens_that_are_fed_are_true(progress, share):
    task = make(teacher_forcing=0.3)
    task.head.bias.data[4] = 100.0  # its own choice is always 4, which no target has
    given = batch() | {"target": torch.randint(0, 4, (4, 500))}
    tokens = fed_in_training(task, given, progress)
    true = tokens == fed(given["target"])
    assert true[:, 0].all()
    assert (tokens[~true] == 4).all()
    assert float(true[:, 1:].float().mean()) == pytest.approx(share, abs=0.05)  # 4.9 deviations of 1,996 draws


def test_its_own_tokens_are_the_likeliest_of_the_step_before():
    task, given = make("additive", teacher_forcing=1e-9), batch() | {"target": torch.randint(0, TARGETS, (4, 6))}
    torch.manual_seed(0)
    own = fed_in_training(task, given, 1.0)
    stepper = task.eval().stepper()
    with torch.no_grad():
        state = stepper.begin(given)
        for time in range(5):
            logits, state = stepper.step(own[:, time], state)
            assert own[:, time + 1].tolist() == logits.argmax(-1).tolist()


@pytest.mark.parametrize("attention", ["general", "none"])
def test_nothing_but_true_tokens_is_fed_at_first_and_when_it_is_evaluated(attention):
    task, given = make(attention, teacher_forcing=0.3), batch()
    forced = make(attention, teacher_forcing=1.0).train().loss(given | {"progress": torch.tensor(1.0)})[0]
    assert_close(task.train().loss(given | {"progress": torch.tensor(0.0)})[0], forced)
    assert_close(task.eval().loss(given)[0], forced)  # without a progress: none is needed
    torch.manual_seed(0)
    assert (task.train().loss(given | {"progress": torch.tensor(1.0)})[0] - forced).abs() > 1e-3


# what it says


def test_the_source_is_turned_round_and_nothing_else():
    rows = Table("rows", {"source": ["abc", "de"], "target": ["vw", "x"]}, [1, 2])
    turned, plain = (Translate.inputs(rows, CONFIG | {"reverse": on}, print)["source"].values for on in (True, False))
    assert [ids.tolist() for ids in turned] == [[2, 1, 0], [4, 3]] == [ids[::-1].tolist() for ids in plain]
    targets = [Translate.targets(rows, CONFIG | {"reverse": on}, print)["target"].values for on in (True, False)]
    assert [[ids.tolist() for ids in each] for each in targets] == [[[0, 1, 5], [2, 5]]] * 2
    task = make()
    backwards = task.predict(rows, CONFIG | {"reverse": True}, print)
    rows.columns["source"] = ["cba", "ed"]
    assert backwards == task.predict(rows, CONFIG, print)


@pytest.mark.parametrize(("attention", "feeding"), KINDS)
def test_without_beams_it_says_the_likeliest_token_at_each_step(attention, feeding):
    task = make(attention, feeding, seed=3)
    for text in ("abc", "gg", "fedcba"):
        source = torch.tensor([["abcdefg".index(char) for char in text]])
        state = task.begin({"source": source, "source_lengths": torch.tensor([len(text)])})
        token, found, score = TARGETS, "", 0.0
        step = task.decoder.unrolled()
        with torch.no_grad():
            while len(found) < 9:
                out, state = task.advance(step, torch.tensor([token]), state)
                chances = task.head(out)[0].log_softmax(-1)
                token = int(chances.argmax())
                score += float(chances[token])
                if token == TARGETS:
                    break
                found += "vwxyz"[token]
        [answer] = task.predict(Table("", {"source": [text]}, [1]), CONFIG, print, search=Search(max_length=9))
        assert answer["translation"] == found
        assert answer["score"] == pytest.approx(score / min(9, len(found) + 1), rel=1e-4)
        assert answer.get("cut", False) == (token != TARGETS)


def test_what_is_cut_is_marked_and_told():
    task, told = make(), []
    task.head.bias.data[TARGETS] = -100.0  # never ends
    rows = Table("", {"source": ["a", "abc"]}, [1, 2])
    assert [answer["cut"] for answer in task.predict(rows, CONFIG, told.append)] == [True, True]
    [line] = told
    assert line.startswith("2 of 2 translations were cut")
    task.head.bias.data[TARGETS] = 100.0
    assert [answer["translation"] for answer in task.predict(rows, CONFIG, told.append)] == ["", ""]
    assert not any("cut" in answer for answer in task.predict(rows, CONFIG, told.append))
    assert told == [line]


def test_rows_of_different_batches_are_drawn_with_different_numbers():
    task, rows = make(), Table("", {"source": ["abcd"] * 128}, list(range(128)))  # two batches
    how = {"drawn": True, "search": Search(max_length=12, min_length=11), "sampling": Sampling(temperature=3.0)}
    texts = [answer["translation"] for answer in task.predict(rows, CONFIG, print, seed=1, **how)]
    assert len(set(texts)) > 120
    assert texts == [answer["translation"] for answer in task.predict(rows, CONFIG, print, seed=1, **how)]
    assert texts != [answer["translation"] for answer in task.predict(rows, CONFIG, print, seed=2, **how)]


def test_it_is_judged_as_sacrebleu_counts_with_all_the_references_of_a_source():
    sources = ["eins", "zwei", "eins", "drei", "eins"]
    targets = ["the cat sat on the old mat .", "two dogs run in the park", "a cat sat on a mat .", "he saw it all day",
               "on the mat there sat a cat ."]  # fmt: skip
    outputs = {"eins": "a cat sat on the old mat .", "zwei": "two dogs run in the park", "drei": "he saw it"}
    asked = []

    def answered(source, config, limit=None):
        asked.append(limit)
        return [(row, {"translation": outputs[text]}) for row, text in enumerate(sources)]

    task = make()
    task.answered = answered
    table = Table("", {"source": sources, "target": targets}, list(range(5)))
    figures = task.judge(SimpleNamespace(table=table), CONFIG, 77)
    streams = [[targets[0], targets[1], targets[3]], [targets[2], None, None], [targets[4], None, None]]
    lines = [outputs["eins"], outputs["zwei"], outputs["drei"]]
    assert asked == [77]
    assert figures["bleu"] == pytest.approx(sacrebleu.corpus_bleu(lines, streams).score)
    assert figures["chrf"] == pytest.approx(sacrebleu.corpus_chrf(lines, streams).score)
    assert 1 < figures["bleu"] < 99
    assert figures["bleu"] > 1 + sacrebleu.corpus_bleu(lines, streams[:1]).score
    assert figures["exact"] == pytest.approx(1 / 3)
    assert figures["sources"] == 3
    assert "version" in " ".join(figures["signatures"])


# it learns, and only what can be known

LEARN = TINY | {"hidden": 32, "embedding": 32, "batch_size": 64, "lr": 0.02, "dropout": 0.0, "warmup": 10, "steps": 150}


@pytest.mark.parametrize(("attention", "feeding"), [("general", False), ("dot", False), ("additive", False)])
def test_words_are_reversed_that_it_never_saw(tmp_path, attention, feeding):
    options = {"attention": attention, "input_feeding": feeding, "test": "0", "eval_every": 1000}
    data = "builtin:reverse:count=1500,max_length=4"
    model = train("translate", data, out=tmp_path / "run", **LEARN, **options)
    figures = json.loads((tmp_path / "run" / "summary.json").read_text())["val_figures"]
    assert figures["exact"] > 0.9
    assert figures["sources"] > 100
    alignment = model.task.alignment(torch.tensor([1, 2, 3, 4]), torch.tensor([4, 3, 2, 1]))
    assert alignment.shape == (5, 4)


@pytest.mark.parametrize("attention", ["general", "additive"])
def test_nothing_is_learned_of_targets_that_have_nothing_to_do_with_their_sources(tmp_path, attention):
    draw = random.Random(5)
    sources = {"".join(draw.choices("klmnop", k=draw.randint(4, 6))): None for _ in range(800)}
    rows = [f"{source}\t{''.join(draw.choices('abcd', k=draw.randint(1, 3)))}\n" for source in sources]
    (tmp_path / "pairs.tsv").write_text("source\ttarget\n" + "".join(rows))
    options = {"attention": attention, "label_smoothing": 0.0, "valid": "0.3", "test": "0", "tokens": "char"}
    model = train(
        "translate", tmp_path / "pairs.tsv", out=tmp_path / "run", **LEARN | options | {"hidden": 16, "steps": 80}
    )
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    targets = model.task.source(model.config, "valid", None, None).table.columns["target"]
    size = sum(map(len, targets)) / len(targets)
    entropy = (math.log(3) + size * math.log(4)) / (size + 1)  # of three lengths and four letters, nats a token
    assert entropy - 0.05 < summary["val_loss"] < entropy + 0.3
    chance = 1 / 12  # of the likeliest: one letter
    assert summary["val_figures"]["exact"] < chance + 4 * math.sqrt(chance / summary["val_figures"]["sources"])


# going on


def sentences(path, count=60, seed=0):
    """A table of two columns, with tabs."""
    draw = random.Random(seed)
    lines = [" ".join(draw.choice(WORDS) for _ in range(draw.randint(2, 5))) for _ in range(count)]
    path.write_text("english\tshouted\n" + "".join(f"{line}\t{line.upper()}\n" for line in lines))
    return path


COLUMNS = {"source_column": "english", "target_column": "shouted"}


@pytest.mark.parametrize(
    ("tokens", "options"),
    [
        ("char", {"teacher_forcing": 0.5, "attention": "additive"}),
        ("word", {"input_feeding": True, "reverse": True}),
        ("bpe", {"vocabulary": 270, "cell": "gru", "layers": 2}),
    ],
)
def test_a_training_that_was_stopped_ends_as_an_unbroken_one_bit_for_bit(tmp_path, tokens, options):
    path = sentences(tmp_path / "pairs.tsv")
    options = TINY | COLUMNS | options | {"tokens": tokens, "steps": 14, "eval_every": 4, "dropout": 0.3}
    train("translate", path, out=tmp_path / "unbroken", **options)
    with interrupt_after(3), pytest.raises(loop.Interrupted):
        train("translate", path, out=tmp_path / "run", **options)
    with interrupt_after(6), pytest.raises(loop.Interrupted):
        train("translate", path if tokens == "word" else (), resume=tmp_path / "run")
    train("translate", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", tokens)


@pytest.fixture
def run(tmp_path):
    """A run that was stopped."""
    options = TINY | COLUMNS | {"steps": 6, "tokens": "word"}
    with interrupt_after(2), pytest.raises(loop.Interrupted):
        train("translate", sentences(tmp_path / "pairs.tsv"), out=tmp_path / "run", **options)
    return tmp_path / "run"


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_goes_on_only_with_what_it_was_begun_with(run, tmp_path, monkeypatch):
    before, path = files(run), tmp_path / "pairs.tsv"
    for change, words in [
        ({"reverse": True}, "--reverse True differs from False"),
        ({"seed": 3}, "--seed 3 differs from 0"),
        ({"tokens": "bpe"}, "--tokens bpe differs from word"),
    ]:
        with pytest.raises(UserError, match=words):
            train("translate", resume=run, **change)
    with pytest.raises(UserError, match="is not the text"):
        train("translate", sentences(tmp_path / "other.tsv", seed=1), resume=run)
    with monkeypatch.context() as patch:  # as another version of a library might find other pieces
        of_texts = WordTokenizer.of_texts
        patch.setattr(WordTokenizer, "of_texts", lambda *given: WordTokenizer(of_texts(*given).vocabulary[::-1]))
        with pytest.raises(
            UserError, match=r"pairs\.tsv no longer gives the tokens and shown that .*run was begun with"
        ):
            train("translate", resume=run)
    assert files(run) == before
    train("translate", path, resume=run, reverse=False, seed=0, tokens="word", source_column="english")
    assert json.loads((run / "summary.json").read_text())["steps"] == 6


def older(run, *names):
    """Takes options from a run, as if it had been made before there were any."""
    for path in (run / "config.json", run / "resume" / "config.json"):
        config = unseal(path)
        for name in names:
            del config["options"][name]
        path.write_bytes(seal(config))


def test_options_that_an_older_run_lacks_have_their_defaults(run, tmp_path, elman):
    older(run, "merge", "skip_bad", "residual", "header", "accumulate", "seed", "smoothing", "longest")
    with pytest.raises(UserError, match="`deduplicate` True differs from False"):
        train("translate", resume=run, deduplicate=True)
    with pytest.raises(UserError, match="`seed` 3 differs from 0"):
        train("translate", resume=run, seed=3)
    train("translate", resume=run)
    assert json.loads((run / "summary.json").read_text())["steps"] == 6
    model = load(run)
    for path in (None, str(tmp_path / "pairs.tsv")):
        assert len(model.task.source(model.config, "valid", path, None)) > 0
    code, out, _ = elman("predict", run, "--file", tmp_path / "pairs.tsv", "--max-length", 3)
    assert (code, len(out.splitlines())) == (0, 60)


def test_a_language_model_of_an_older_run_goes_on_too(tmp_path):
    (tmp_path / "text.txt").write_text(" ".join(WORDS) * 20)
    options = TINY | {"steps": 6, "batch_size": 4, "seq_len": 8}
    with interrupt_after(2), pytest.raises(loop.Interrupted):
        train("lm", tmp_path / "text.txt", out=tmp_path / "run", **options)
    older(tmp_path / "run", "fresh", "lower", "pattern", "patience")
    train("lm", resume=tmp_path / "run")
    model = load(tmp_path / "run")
    assert len(model.task.source(model.config, "valid", None, None)) > 0


# from files, and on the command line


FLAGS = [f"--{name}={value}" for name, value in TINY.items() if name != "show"] + ["--no-preview", "--steps=4"]


def test_it_trains_on_pairs_with_tabs_in_a_file_or_in_a_zip_and_on_named_columns(tmp_path, elman):
    (tmp_path / "deu.txt").write_text("".join(f"go {n}\tgeh {n}\tCC-BY {n}\n" for n in range(50)))
    with zipfile.ZipFile(tmp_path / "deu.zip", "w") as file:
        file.write(tmp_path / "deu.txt", "deu.txt")
        file.writestr("_about.txt", "no pairs")
    sides = ["--source-column=1", "--target-column=2"]
    for number, name in enumerate(("deu.txt", "deu.zip:deu.txt")):
        out = tmp_path / f"run{number}"
        words = ["train", "translate", tmp_path / name, *sides, *FLAGS, "--out", out]
        code, told, err = elman(*words)
        assert code == 0, err
        assert "source is the column 1; target is the column 2" in told + err
    first, second = (load(tmp_path / name).config["data"] for name in ("run0", "run1"))
    assert first["tokens"] == second["tokens"]
    assert first["key"] == second["key"]
    train("translate", resume=tmp_path / "run1", steps=2)  # the member is found again

    (tmp_path / "t.csv").write_text(
        "id,english,german,note\n" + "".join(f'{n},"one, {n}",ein {n},x\n' for n in range(50))
    )
    words = ["train", "translate", tmp_path / "t.csv", *FLAGS, "--out", tmp_path / "run2"]
    code, _, err = elman(*words, "--source-column=english", "--target-column=germann")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "'germann': did you mean 'german'?" in err
    assert elman(*words, "--source-column=german", "--target-column=english")[0] == 0
    data = load(tmp_path / "run2").config["data"]
    assert data["columns"] == {"source": "german", "target": "english"}
    assert "," in BPETokenizer(data["tokens"]["target"]["model"]).decode(range(256))


def test_input_feeding_goes_with_what_reads_after_the_step(tmp_path):
    for attention in ("additive", "none"):
        with pytest.raises(UserError, match=f"--input-feeding goes with --attention general or dot: {attention}"):
            train("translate", "builtin:copy:count=300", out=tmp_path / "run", attention=attention, input_feeding=True)
    assert not (tmp_path / "run").exists()


def test_the_tokens_are_pieces_where_the_targets_have_spaces():
    rows = {"source": ["ab", "cd"], "target": ["v w", "x y"]}
    for targets, unit in ((["v w", "x y"], "bpe"), (["vw", "x"], "char")):
        learned = Translate.learn(Table("", rows | {"target": targets}, [1, 2]), TranslateOptions())
        assert {tokens["kind"] for tokens in learned["tokens"].values()} == {unit}
    assert learned["tokens"]["source"] == CharTokenizer.of_texts(["ab", "cd"]).to_config()


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    """A run that knows some letters. Nobody changes it."""
    run = tmp_path_factory.mktemp("letters") / "run"
    train("translate", "builtin:copy:count=300,max_length=4", out=run, **LEARN | {"steps": 20, "backend": "native"})
    return run


def test_what_is_asked_of_a_search_reaches_it(letters, elman):
    def ask(*words):
        code, out, err = elman("predict", letters, *words)
        assert code == 0, err
        return out.splitlines(), err

    def answers(*words):
        return [json.loads(line) for line in ask(*words, "--json")[0]]

    two = answers("abc", "dd", "--beam=3", "--n-best=2")
    assert len(two) == 2
    for answer in two:
        assert len(answer["candidates"]) == 2
        assert answer["candidates"][0]["translation"] == answer["translation"] != answer["candidates"][1]["translation"]
        assert answer["candidates"][0]["score"] == answer["score"] >= answer["candidates"][1]["score"]
    shown, _ = ask("abc", "dd", "--beam=3", "--n-best=2")
    assert shown == ["\t".join(each["translation"] for each in answer["candidates"]) for answer in two]
    assert all("candidates" not in answer for answer in answers("abc", "--beam=3"))

    two_letters = ["--min-length=2", "--max-length=2"]
    short, err = ask("abc", "dd", *two_letters)
    assert [len(line) for line in short] == [2, 2]
    assert "2 of 2 translations were cut" in err
    assert [answer["cut"] for answer in answers("abc", "dd", *two_letters)] == [True, True]
    assert {len(line) for line in ask("abc", "dd", "--min-length=9", "--max-length=10")[0]} <= {9, 10}

    long = ["aaaa", "--min-length=12", "--max-length=13"]
    assert max(Counter(ask(*long)[0][0]).values()) > 1
    assert max(Counter(ask(*long, "--no-repeat-ngram=1")[0][0]).values()) == 1

    drawn = [ask("abc", "--sample", f"--seed={seed}", "--temperature=3", "--max-length=20") for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert answers("abc", "--sample", "--n-best=3")[0]["candidates"][2]
    code, _, err = elman("predict", letters, "abc", "--n-best=2")
    assert (code, err) == (2, "elman: --n-best 2 is more than --beam 1: pass --beam 2\n")


def test_a_table_of_answers_says_which_are_cut_also_where_the_first_is_not(letters, monkeypatch, tmp_path, elman):
    (tmp_path / "in.csv").write_text("id,source\n1,abc\n2,def\n")
    model = load(letters)
    said = [{"translation": "abc", "score": -0.5}, {"translation": "dede", "score": -2.0, "cut": True}]
    monkeypatch.setattr(type(model.task), "predict", lambda *given, **how: said)
    words = ["predict", letters, "--file", tmp_path / "in.csv", "-o"]
    assert elman(*words, tmp_path / "out.csv")[0] == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines == ["id,source,translation,score,cut", "1,abc,abc,-0.5,", "2,def,dede,-2.0,True"]
