"""Questions about pictures: the joins are those of the papers, what each of the two says alone teaches the model
nothing, and nothing is learnt of what cannot be said."""

import json
import math
import random
from collections import Counter
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from oracles import ORACLES, weights
from test_caption import SAID, album
from test_training import Listener, assert_same, interrupt_after
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from elman.cells.tap import record
from elman.data import table_reader
from elman.data.rows import padded
from elman.data.scenes.image import SceneImage
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.nets.fusion import JOINS
from elman.recurrent.layer import Recurrent
from elman.tasks.vqa import Vqa, VqaOptions
from elman.training import loop
from elman.training.api import train

WORDS, ANSWERS = 7, 4
joins = pytest.mark.parametrize("join", JOINS)


def make(join="stacked", seed=1, **options):
    """A model whose weights are large enough for everything to matter."""
    torch.manual_seed(seed)
    task = Vqa(ANSWERS, WORDS, 6, 8, "rnn", 1, join, **{"backend": "loop"} | options).eval()
    for name, weight in task.named_parameters():
        if not name.startswith("encoder"):
            torch.nn.init.normal_(weight, std=0.5 if weight.dim() > 1 else 0.2)
    return task


def batch(batch_size=4, seed=0):
    draw = np.random.default_rng(seed)
    question, lengths = padded([draw.integers(0, WORDS, size) for size in draw.permutation(rows) + 1])
    image = torch.from_numpy(draw.integers(0, 256, (rows, 3, 32, 32)).astype(np.uint8))
    target = torch.from_numpy(draw.integers(0, ANSWERS, rows))
    return {"image": image, "image_of": torch.arange(rows), "question": question, "question_lengths": lengths,
            "target": target}  # fmt: skip


# the equations


def softmax(scores):
    shares = np.exp(scores - scores.max())
    return shares / shares.sum()


def even(x):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5)


def concatenated(p, linear, grid, words, read):
    return np.maximum(0, linear("join.join", np.concatenate((sum(grid) / len(grid), read[-1]))))


def product(p, linear, grid, words, read):
    """Antol et al. 2015: both through a layer with tanh, multiplied element by element."""
    return np.tanh(linear("join.image", sum(grid) / len(grid))) * np.tanh(linear("join.question", read[-1]))


def stacked(p, linear, grid, words, read):
    """A word looks by scaled products (Vaswani et al. 2017), and a second rnn reads it and what it saw. Then Yang et
    al. 2016, u + what is read by softmax(w . h_i), h_i being a place in the light of u, as in Perez et al. 2018; and a
    product of the words and of where was looked."""
    seen, ahead, s = [], [], np.zeros(8)
    keys = [linear("join.attention.U", even(v)) for v in grid]
    for word, all_ in zip(words, read, strict=True):
        query = linear("join.attention.W", np.concatenate((even(word), even(all_))))
        seen.append(softmax(np.array([query @ key / np.sqrt(len(key)) for key in keys])))
        saw = mean(seen[-1], grid)
        s = ORACLES["rnn"](p, np.concatenate((even(word), saw)), s)["h"]
        ahead.append(np.tanh(even(word) + linear("join.of_state", s) + linear("join.of_seen", saw)))
    bag = even(sum(even(word) for word in words))
    u = even(linear("join.question", np.concatenate((even(read[-1]), bag))))
    h = [np.maximum(0, (1 + linear("join.gain", u)) * linear("join.places", v) + linear("join.shift", u)) for v in grid]
    scores = np.array([linear("join.score", each) for each in h])
    one, two = softmax(scores[:, 0]), softmax(scores[:, 1])
    told = linear("join.read", np.concatenate((mean(one, h), mean(two, h))))
    first, second = mean(one, grid), mean(two, grid)
    found = linear("join.found", np.concatenate((even(s), first, second)))
    lit = (1 + linear("join.found_gain", u)) * found + linear("join.found_shift", u)
    roles = np.array([linear("join.role", even(all_)) for all_ in read])
    there = [mean(places, grid)[-2:] for places in seen]
    where = linear("join.where", np.concatenate([mean(softmax(role), there) for role in roles.T]))
    sides = linear("join.sides", linear("join.bag", bag) * where)
    return u + np.maximum(0, told) + np.maximum(0, lit) + sides, [*seen, one, two], ahead


def mean(shares, values):
    return sum(share * value for share, value in zip(shares, values, strict=True))


@joins
def test_the_logits_and_the_places_are_those_of_the_papers(join):
    task, given = make(join), batch()
    p = {name: value.detach().double().numpy() for name, value in task.state_dict().items()}

    def linear(name, x):
        return p[f"{name}.weight"] @ x + p.get(f"{name}.bias", 0)

    def head(name, x):
        return linear(f"{name}.2", np.maximum(0, linear(f"{name}.0", x)))

    with torch.no_grad(), record() as recorded:
        grids, found = task.encoder(given["image"]).double().numpy(), task.logits(given)
    assert grids.shape == (4, 16, 130)
    for row, grid in enumerate(grids):
        h, words, read, length = np.zeros(8), [], [], int(given["question_lengths"][row])
        for word in given["question"][row, :length]:
            h = ORACLES["rnn"](weights(task.recurrent.cells[0]), p["lookup.weight"][word], h)["h"]
            words.append(p["lookup.weight"][word])
            read.append(h)
        second = weights(task.join.recurrent.cells[0]) if join == "stacked" else {}
        both = {"concatenated": concatenated, "product": product, "stacked": stacked}[join](
            second, linear, grid, words, read
        )
        if join == "stacked":
            both, seen, ahead = both
            assert_allclose(found["ahead"][row, :length], ahead, atol=1e-5)
            for places in (recorded["attention"][row], task.looked(given)[row]):
                assert_allclose(places[[*range(length), -2, -1]], seen, atol=1e-5)
                assert not places[length:-2].any()
        assert_allclose(found["both"][row], head("head", both), atol=1e-4)
        assert_allclose(found["question"][row], head("alone.question", h), atol=1e-4)
        assert_allclose(found["image"][row], head("alone.image", grid.mean(0)), atol=1e-4)
    if join != "stacked":
        assert task.looked(given) is None
        assert "ahead" not in found


@joins
def test_the_gradient_is_right(join):
    torch.manual_seed(0)
    module = JOINS[join](5, 2, 3, partial(Recurrent, hidden_size=3, cell="rnn", backend="loop")).double()
    sizes, lengths = ((2, 6, 5), (2, 4, 2), (2, 4, 3), (2, 3)), torch.tensor([4, 2])
    given = [torch.randn(size).double().requires_grad_() for size in sizes]
    inputs = [*given, *module.parameters()]

    def joined(grid, words, read, question, *_):
        return tuple(each for each in module(grid, words, read, lengths, question) if each is not None)

    assert gradcheck(joined, inputs)


# the loss


@joins
def test_what_stands_in_the_padding_reaches_neither_loss_nor_gradient(join):
    task, given = make(join).double(), batch()
    task.encoder.float().register_forward_hook(lambda module, pixels, grid: grid.double())
    past = torch.arange(given["question"].shape[1]) >= given["question_lengths"][:, None]
    other = given | {"question": torch.cat((given["question"].masked_fill(past, 6), torch.full((4, 3), 6)), 1)}
    losses = [task.loss(each)[0] for each in (given, other)]
    assert_close(*losses, rtol=0, atol=1e-6)
    gradients = [torch.autograd.grad(loss, list(task.parameters())) for loss in losses]
    assert_close(*map(list, gradients), rtol=1e-4, atol=1e-6)


@joins
def test_what_one_alone_says_teaches_the_model_nothing(join):
    task, given = make(join).train(), batch()
    shared = [weight for name, weight in task.named_parameters() if not name.startswith("alone")]
    ours = torch.autograd.grad(task.loss(given)[0], shared)
    plain = torch.autograd.grad(F.cross_entropy(task.logits(given)["both"], given["target"]), shared,
                                materialize_grads=True)  # fmt: skip
    assert_close(list(ours), list(plain), rtol=1e-4, atol=1e-7)
    alone = torch.autograd.grad(task.loss(given)[0], list(task.alone.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in alone)


def test_the_next_word_of_a_question_counts_in_the_loss():
    without, given = make().train(), batch()
    ahead, words = without.logits(given)["ahead"].detach(), without.lookup.weight.detach()
    chances, found = (ahead @ words.T).log_softmax(-1), []
    for row, length in enumerate(given["question_lengths"].tolist()):
        found += [-float(chances[row, t, given["question"][row, t + 1]]) for t in range(length - 1)]
    assert len(found) == 6
    loss, _, sums = make(next_word=0.7).train().loss(given)
    plain, _, same = without.loss(given)
    assert float((loss - plain).detach()) == pytest.approx(0.7 * sum(found) / 6, rel=1e-4)
    assert sums == same
    one = {name: value[:, :1] if name == "question" else value for name, value in given.items()}
    one["question_lengths"] = torch.ones(4, dtype=torch.int64)  # no word is next
    assert_close(make(next_word=0.7).train().loss(one)[0], without.loss(one)[0])


def test_answers_that_cannot_be_said_do_not_count_in_the_loss():
    task, given = make(), batch()
    some = given | {"target": torch.tensor([2, IGNORED, 0, IGNORED])}
    chances = task.logits(given)["both"].log_softmax(-1)
    loss, _, sums = task.loss(some)
    nats = -float((chances[0, 2] + chances[2, 0]).detach())
    assert float(sums["nats"]) == pytest.approx(nats, rel=1e-5)
    assert int(sums["tokens"]) == 2
    assert int(sums["right"]) == sum(int(chances[row].argmax() == said) for row, said in ((0, 2), (2, 0)))
    few = {name: value if name == "image" else value[[0, 2]] for name, value in some.items()}
    assert_close(task.loss(few)[0], loss)


def test_a_batch_of_which_nothing_can_be_said_changes_nothing():
    task, given = make(), batch() | {"target": torch.full((4,), IGNORED)}
    loss, _, sums = task.loss(given)
    loss.backward()
    assert float(loss.detach()) == float(sums["nats"]) == int(sums["tokens"]) == 0
    assert all(not weight.grad.any() for weight in task.parameters())


# what is learnt of the data


def rows(*entries):
    image, question, answer, kind = zip(*entries, strict=True)
    columns = {"image": list(image), "question": list(question), "answer": list(answer), "kind": list(kind)}
    return Table("rows", columns, list(range(1, 1 + len(entries))))


P = SceneImage("scene: small red circle 12,40")
TRAINED = rows(*[(P, "is it?", "yes", "is"), (P, "is it?", "no", "is"), (P, "is it?", "no", "is"),
                 (P, "how many?", "2", "count"), (P, "how many?", "2", "count"), (P, "how?", "so", "how"),
                 (P, "how many?", "2", "count"), (P, "how many?", "2", "count")])  # fmt: skip


def test_the_most_frequent_answers_can_be_said():
    config = Vqa.learn(TRAINED, VqaOptions(answers=2))
    assert config["labels"] == ["2", "no"]
    assert config["priors"] == {"": "2", "is": "no", "count": "2", "how": "so"}
    told = []
    assert Vqa.targets(TRAINED, config, told.append)["target"].tolist() == [IGNORED, 1, 1, 0, 0, IGNORED, 0, 0]
    assert told == ["2 of 8 answers are not among the 2 that can be said: they teach nothing, and count as wrong"]
    assert Vqa.targets(TRAINED, Vqa.learn(TRAINED, VqaOptions()), told.append)["target"].min() == 0
    assert len(told) == 1


def test_the_figures_by_hand():
    """Of two kinds; `so` cannot be said, so it counts as wrong whatever is said."""
    held = rows(("p", "is it?", "no", "is"), ("q", "is it?", "yes", "is"), ("p", "how many?", "2", "count"),
                ("q", "how many?", "so", "count"))  # fmt: skip
    priors = {"": "2", "is": "no", "count": "2"}
    said = [("no", "no", "2"), ("no", "yes", "2"), ("2", "2", "2"), ("2", "no", "no")]
    names = ("answer", "question_only", "image_only")
    answers = {row: dict(zip(names, each, strict=True)) for row, each in enumerate(said)}
    figures = make().figures(held, answers, {"priors": priors})
    by_kind = figures.pop("by_kind")
    assert figures == {"accuracy": 0.5, "question_only": 0.75, "image_only": 0.25, "prior": 0.25}
    assert by_kind == {
        "is": {"accuracy": 0.5, "question_only": 1.0, "image_only": 0.0, "prior": 0.5},
        "count": {"accuracy": 0.5, "question_only": 0.5, "image_only": 0.5, "prior": 0.5},
    }
    del answers[0], answers[1]  # those that were not asked
    assert make().figures(held, answers, {"priors": priors})["accuracy"] == 0.5


def test_the_figures_of_a_pair_are_given_by_kind():
    held = rows(("p", "is it?", "no", "is"), ("q", "is it?", "yes", "is"), ("p", "how many?", "2", "count"),
                ("q", "how many?", "3", "count"))  # fmt: skip
    held = replace(held, columns=held.columns | {"pair": ["seen", "unseen", "seen", "unseen"]})
    answers = {row: dict.fromkeys(("answer", "question_only", "image_only"), said)
               for row, said in enumerate(("no", "no", "2", "3"))}  # fmt: skip
    figures = make().figures(held, answers, {"priors": {"": "2", "is": "yes", "count": "3"}})
    pairs = {pair: {kind: (each["accuracy"], each["prior"]) for kind, each in of["by_kind"].items()}
             for pair, of in figures["by_pair"].items()}  # fmt: skip
    assert pairs == {"seen": {"is": (1.0, 0.0), "count": (1.0, 0.0)}, "unseen": {"is": (0.0, 1.0), "count": (1.0, 1.0)}}
    assert {pair: of["accuracy"] for pair, of in figures["by_pair"].items()} == {"seen": 1.0, "unseen": 0.5}


# it learns, and only what can be known

TINY = {"hidden": 32, "embedding": 24, "batch_size": 8, "image_size": 16, "lr": 0.01, "warmup": 5, "dropout": 0.0,
        "preview": False,
        "precision": "float32", "device": "cpu", "backend": "native"}  # fmt: skip
ALL = {"valid": "0", "test": "0"}


def questions(where):
    """Two about each of eight pictures."""
    path = album(where)
    found = ["image,question,answer,kind"]
    for number, words in enumerate(SAID):
        _, size, colour, _ = words.split()
        large = "yes" if size == "large" else "no"
        found += [f"{number}.png,what colour is it?,{colour},colour", f"{number}.png,is it large?,{large},size"]
    path.write_text("\n".join(found))
    return path


@joins
def test_a_few_answers_are_learnt_by_heart(tmp_path, join):
    model = train("vqa", questions(tmp_path), out=tmp_path / "run", **TINY, **ALL, join=join, steps=120)
    source, config = model.task.source(model.config, "train", None, None), model.config["data"]
    figures = model.task.judge(source, config)
    assert figures["accuracy"] == 1.0
    assert figures["by_kind"]["colour"]["accuracy"] == figures["by_kind"]["size"]["accuracy"] == 1.0
    assert figures["prior"] == 0.25
    assert figures["by_kind"]["colour"]["prior"] == figures["by_kind"]["size"]["prior"] == 0.5
    assert figures["question_only"] <= 0.5  # all questions come with either answer as often
    assert figures["image_only"] <= 0.5


@joins
def test_nothing_is_learnt_of_answers_that_have_nothing_to_do_with_their_questions(tmp_path, join, monkeypatch):
    real = table_reader.read

    def shuffled(*given, **how):
        found = real(*given, **how)
        random.Random(3).shuffle(found.columns["answer"])
        return found

    monkeypatch.setattr(table_reader, "read", shuffled)
    options = TINY | {"hidden": 16, "batch_size": 64, "steps": 25, "lr": 0.004, "eval_every": 5, "join": join}
    model = train("vqa", "builtin:scene_questions:count=250", out=tmp_path / "run", **options)
    found = model.task.source(model.config, "test", None, None)
    told = Counter(found.table.columns["answer"])
    chance, count = max(told.values()) / told.total(), told.total()
    entropy = -sum(n / count * math.log(n / count) for n in told.values())
    figures = model.task.judge(found, model.config["data"])
    assert figures["accuracy"] < chance + 4 * math.sqrt(chance * (1 - chance) / count)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["val_loss"] > entropy - 0.35


def test_a_training_that_was_stopped_ends_as_an_unbroken_one(tmp_path):
    path = questions(tmp_path)
    options = TINY | {"batch_size": 3, "steps": 9, "eval_every": 3, "dropout": 0.3, "valid": "0.3", "test": "0"}
    train("vqa", path, out=tmp_path / "unbroken", **options, workers=1)
    with interrupt_after(2), pytest.raises(loop.Interrupted):
        train("vqa", path, out=tmp_path / "run", **options, workers=0)
    train("vqa", resume=tmp_path / "run", workers=1)
    assert_same(tmp_path / "run", tmp_path / "unbroken", "vqa")


@pytest.mark.parametrize(("column", "before"), [("question", "what colour is it?"), ("answer", "red")])
def test_what_is_empty_is_a_bad_row(tmp_path, column, before):
    path = questions(tmp_path)
    path.write_text(path.read_text().replace(f",{before},", ", ,", 1))
    with pytest.raises(UserError, match=rf"t\.csv row 2 has no {column}; --skip-bad leaves such rows out"):
        train("vqa", path, out=tmp_path / "run", **TINY, **ALL, steps=1)
    model = train("vqa", path, out=tmp_path / "run", **TINY, **ALL, steps=1, skip_bad=True)
    assert len(model.task.source(model.config, "train", None, None).table) == 15


def test_a_validation_part_of_which_nothing_can_be_said_is_not_looked_at(tmp_path):
    path, held = questions(tmp_path), tmp_path / "held.csv"
    held.write_text("image,question,answer,kind\n0.png,what colour is it?,teal,colour\n")
    listener = Listener()
    options = TINY | {"valid": str(held), "test": "0", "steps": 4}
    train("vqa", path, out=tmp_path / "run", **options, reporter=listener)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["val_loss"] is None
    assert any("none of its answers can be said" in line for line in listener.told)
