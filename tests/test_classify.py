"""Classification: what it computes, that it learns what there is to learn and nothing else, how it answers."""

import csv
import io
import itertools
import json
import random
import re
import shlex
import shutil
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from test_nets import pool, weights
from test_training import assert_same, interrupt_after
from torch.testing import assert_close

from elman.data.rows import Ragged, Rows
from elman.data.table import Table
from elman.errors import UserError
from elman.nets.pooling import POOLING
from elman.tasks.classify import Classify, ClassifyOptions
from elman.training import loop
from elman.training.api import load, train

POOLS = sorted(POOLING)
SMALL = {"hidden": 8, "embedding": 8, "dropout": 0.0, "precision": "float32", "device": "cpu", "preview": False}
FILLERS = ["the", "film", "plot", "cast", "was", "so", "very", "then", "and", "it"]


def fit(path, out, kind="classify", **options):
    return train(kind, path, out=out, **(SMALL | {"steps": 20, "lr": 0.02} | options))


def ordered(count, seed=0):
    """Texts in which the order of two words, and nothing else, tells the label."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        words = draw.choices(FILLERS, k=draw.randint(2, 9))
        first, second = draw.sample(("good", "bad"), 2)
        words.insert(place := draw.randint(0, len(words)), first)
        words.insert(draw.randint(place + 1, len(words)), second)
        rows.append((" ".join(words), {"good": "praise", "bad": "blame"}[first]))
    return rows


def written(path, rows, header=("text", "label")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def cells_of(path, delimiter=","):
    return list(csv.DictReader(io.StringIO(path.read_text()), delimiter=delimiter))


def accuracy(model, part="valid"):
    return model.task.judge(model.task.source(model.config, part, None, None), model.config["data"])["accuracy"]


def model(pooling="max", bidirectional=True, layers=2, seed=0, **more):
    torch.manual_seed(seed)
    made = Classify(3, 6, 11, 5, layers=layers, bidirectional=bidirectional, pooling=pooling, **more).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.5)  # or the logits would hardly differ
    return made


# what it computes


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLS)
def test_the_logits_are_the_head_over_the_pooled_outputs(pooling, bidirectional):
    task, sizes = model(pooling, bidirectional), (7, 1, 4)
    x, length = torch.randint(0, 11, (3, 7)), torch.tensor(sizes)
    with torch.no_grad():
        found = task.logits(x, length).numpy()
        each = [task.recurrent(task.lookup(row[:size])[None])[0][0].numpy() for row, size in zip(x, sizes, strict=True)]
    W, b = task.head.weight.detach().numpy(), task.head.bias.detach().numpy()
    for row, y in zip(found, each, strict=True):
        pooled = pool(pooling, weights(task.pool), y, 2 if bidirectional else 1)
        np.testing.assert_allclose(row, W @ pooled + b, atol=2e-6)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLS)
def test_padding_changes_no_logits(pooling, bidirectional, residual):
    task, length = model(pooling, bidirectional, residual=residual), torch.tensor([7, 0, 1, 4])
    x = torch.randint(0, 11, (4, 7))
    other = torch.where(torch.arange(7) < length[:, None], x, (x + 5) % 11)
    longer = torch.cat((other, torch.randint(0, 11, (4, 6))), 1)
    with torch.no_grad():
        logits = task.logits(x, length)
        assert torch.equal(task.logits(other, length), logits)
        assert_close(task.logits(longer, length), logits, atol=1e-6, rtol=0)
        assert not torch.allclose(task.logits(other, length.clamp(min=5)), logits, atol=1e-3)


def test_padding_changes_no_gradient():
    task, length, target = model(), torch.tensor([7, 0, 1, 4]), torch.tensor([0, 1, 2, 1])
    found = []
    for shift in (0, 5):
        x = torch.arange(28).view(4, 7) % 11
        x = torch.where(torch.arange(7) < length[:, None], x, (x + shift) % 11)
        task.zero_grad()
        task.loss({"input": x, "input_lengths": length, "target": target})[0].backward()
        found.append([weight.grad.clone() for weight in task.parameters()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLS)
def test_what_it_says_while_reading_is_what_it_says_of_the_beginnings(pooling, bidirectional):
    for task, x in ((model(pooling, bidirectional), torch.randint(0, 11, (6,))), (arrays(), torch.randn(6, 4))):
        running = task.running(x)
        for step in range(6):
            with torch.no_grad():
                alone = task.logits(x[None, : step + 1], torch.tensor([step + 1])).softmax(-1)
            assert_close(running[step], alone[0], atol=1e-6, rtol=0)


def arrays():
    torch.manual_seed(0)
    return Classify(3, 6, features=4)


def test_classes_are_weighed_in_the_loss_and_not_in_what_is_logged():
    given_, x, length = [0.5, 2.0, 4.0], torch.randint(0, 11, (5, 3)), torch.full((5,), 3)
    batch = {"input": x, "input_lengths": length, "target": torch.tensor([0, 2, 1, 1, 0])}
    plain, weighed = model(), model(weights=given_)
    with torch.no_grad():
        chances = np.exp(plain.logits(x, length).double().numpy())
        chances /= chances.sum(1, keepdims=True)
        nats = np.array([-np.log(chances[row, target]) for row, target in enumerate(batch["target"])])
        for task, each in ((plain, np.ones(5)), (weighed, np.array(given_)[batch["target"]])):
            loss, state, counts = task.loss(batch)
            assert state is None
            np.testing.assert_allclose(loss, (nats * each).mean(), rtol=1e-5)
            np.testing.assert_allclose(counts["nats"], nats.sum(), rtol=1e-5)
            assert int(counts["tokens"]) == 5
            assert int(counts["right"]) == (chances.argmax(1) == batch["target"].numpy()).sum()


def test_balanced_classes_weigh_alike_in_all(tmp_path):
    rows = [(f"text {number}", "rare" if number % 5 == 0 else "often") for number in range(60)]
    options = ClassifyOptions(valid="0", test="0", class_weights=True)
    options, data = Classify.prepare([str(written(tmp_path / "t.csv", rows))], options)
    assert data.config["labels"] == ["often", "rare"]
    np.testing.assert_allclose(Classify.new(options, data).weights, [60 / (2 * 48), 60 / (2 * 12)])
    share = 12 / 60
    assert data.floor == pytest.approx(-(share * np.log(share) + (1 - share) * np.log(1 - share)))


@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_the_figures_are_those_of_their_definitions(pairs):
    class Said(Classify):
        def answered(self, source, config, limit=None, **how):
            yield from ((row, {"label": said}) for row, (_, said) in enumerate(pairs))

    table = Table("t", {"text": [""] * len(pairs), "label": [true for true, _ in pairs]}, list(range(len(pairs))))
    source = Rows(table, {"input": Ragged([np.zeros(1, int)] * len(pairs))}, 4, "input")
    found = Said(3, 2, 3, 2).judge(source, {"labels": list("abc")})
    scores = []
    for label in "abc":
        hits = sum(true == said == label for true, said in pairs)
        trues, saids = (sum(pair[place] == label for pair in pairs) for place in (0, 1))
        if trues or saids:
            precision, recall = hits / saids if saids else 0, hits / trues if trues else 0
            scores.append(2 * precision * recall / (precision + recall) if hits else 0)
    assert found["accuracy"] == pytest.approx(sum(true == said for true, said in pairs) / len(pairs))
    assert found["macro_f1"] == pytest.approx(sum(scores) / len(scores))
    assert found["confusion"] == [[pairs.count((true, said)) for said in "abc"] for true in "abc"]


# it learns


def test_verdicts_are_learned_by_heart(tmp_path):
    trained = fit("builtin:verdicts:count=160", tmp_path / "run", steps=150, lr=0.03, hidden=16, valid="0", test="0")
    assert accuracy(trained, "train") > 0.9


def test_the_order_of_words_is_learned_for_texts_never_seen(tmp_path):
    path = written(tmp_path / "t.csv", ordered(400))
    trained = fit(path, tmp_path / "run", steps=120, valid="0.2", test="0.2")
    assert accuracy(trained) > 0.9
    assert accuracy(trained, "test") > 0.9
    assert json.loads((tmp_path / "run/summary.json").read_text())["val_figures"]["accuracy"] > 0.9
    said = trained.predict(["good and then bad", "bad and then good"])
    assert [answer["label"] for answer in said] == ["praise", "blame"]


def test_labels_that_have_nothing_to_do_with_the_texts_are_not_predicted(tmp_path):
    """Nothing of the label reaches what it is said from: with labels shuffled no held-out row is known better than by
    chance, 4 deviations of a binomial to each side."""
    rows = ordered(600)
    labels = [label for _, label in rows]
    random.Random(1).shuffle(labels)
    shuffled = [(text, label) for (text, _), label in zip(rows, labels, strict=True)]
    trained = fit(written(tmp_path / "t.csv", shuffled), tmp_path / "run", steps=120, valid="0.3", test="0.3")
    for part in ("valid", "test"):
        source = trained.task.source(trained.config, part, None, None)
        truth = source.table.columns["label"]
        likely = max(map(truth.count, set(truth))) / len(truth)
        assert accuracy(trained, part) < likely + 4 * np.sqrt(0.25 / len(truth))
        assert accuracy(trained, part) > 0.5 - 4 * np.sqrt(0.25 / len(truth))


def test_only_the_training_part_is_learned_from(tmp_path):
    rows = [(f"common word{number} word{number}", "ab"[number % 2], ["train", "valid", "test"][number % 3])
            for number in range(30)]  # fmt: skip
    path = written(tmp_path / "t.csv", rows, ("text", "label", "split"))
    _, data = Classify.prepare([str(path)], ClassifyOptions())
    known = {word.strip() for word in data.config["tokens"]["vocabulary"]} - {"", "<unk>", "common"}
    assert known == {f"word{number}" for number in range(0, 30, 3)}
    note = next(note for note in data.notes if "valid part" in note)
    assert "66.7% of 30 words are read as <unk>" in note


@pytest.mark.parametrize("options", [{"tokens": "char"}, {"tokens": "bpe", "vocab_size": 300}, {"layers": 2}])
def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path, options):
    path = written(tmp_path / "t.csv", ordered(60))
    options = {"steps": 14, "eval_every": 5, "dropout": 0.3, "batch_size": 8, "pooling": "attention", **options}
    fit(path, tmp_path / "unbroken", **options)
    with interrupt_after(9), pytest.raises(loop.Interrupted):
        fit(path, tmp_path / "run", **options)
    train("classify", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "a classifier that was interrupted")


# arrays


def waves(count=120, features=3):
    """Sequences whose class shifts one feature, each feature of another size and place."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, count)
    x = draw.normal(size=(count, 9, features))
    x[..., 0] += 2 * y[:, None] - 1
    return x * 10.0 ** np.arange(features) + 50 * np.arange(features), y, draw.integers(3, 10, count)


@pytest.mark.parametrize("features", [1, 3])
def test_arrays_are_standardised_by_the_training_part(tmp_path, features):
    x, y, lengths = waves(features=features)
    x = x[..., 0] if features == 1 else x
    np.savez(tmp_path / "x.npz", x=x, y=y, lengths=lengths)
    _, data = Classify.prepare([str(tmp_path / "x.npz")], ClassifyOptions(valid="0.4"))
    steps = np.concatenate([np.asarray(value).reshape(len(value), -1) for value in data.train.table.columns["text"]])
    mean, deviation = steps.mean(0, dtype=np.float64), steps.std(0, dtype=np.float64)
    assert steps.shape[1] == features
    for part in (data.train, data.valid):
        for raw, value in zip(part.table.columns["text"], part.values("input"), strict=True):
            np.testing.assert_allclose(value, (raw.reshape(len(raw), -1) - mean) / deviation, rtol=1e-3, atol=1e-4)
    assert sorted(map(len, data.train.values("input"))) == sorted(map(len, data.train.table.columns["text"]))


def test_a_feature_that_never_changes_is_no_division_by_0(tmp_path):
    x, y, _ = waves()
    x[..., 1] = 5.0
    np.savez(tmp_path / "x.npz", x=x, y=y)
    trained = fit(tmp_path / "x.npz", tmp_path / "run", steps=60)
    changed = x.astype(np.float32)
    changed[..., 1] += 0.01
    (a, b), (c, d) = trained.predict(list(x[:2])), trained.predict(list(changed[:2]))
    assert a["probability"] == pytest.approx(c["probability"], abs=0.05)
    assert b["probability"] == pytest.approx(d["probability"], abs=0.05)
    assert accuracy(trained) > 0.85


def test_a_folder_of_arrays_a_class_is_learned_and_answered(elman, tmp_path):
    x, y, lengths = waves(features=1)
    for number, (values, label, length) in enumerate(zip(x[..., 0], y, lengths, strict=True)):
        (tmp_path / f"data/class{label}").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / f"data/class{label}/{number:03}.npy", values[:length])
    trained = fit(tmp_path / "data", tmp_path / "run", steps=60, valid="0.2")
    assert accuracy(trained) > 0.85
    done = elman("predict", tmp_path / "run", "--file", tmp_path / "data", "-o", tmp_path / "o.jsonl")
    assert done.code == 0, done.err
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    said = trained.predict([np.array(row["array"], np.float32) for row in rows])
    assert [row["predicted_label"] for row in rows] == [answer["label"] for answer in said]
    assert len({row["predicted_label"] for row in rows}) == 2
    # an array is a cell of a CSV as JSON, and no cell is cut
    assert elman("predict", tmp_path / "run", "--file", tmp_path / "data", "-o", tmp_path / "o.csv").code == 0
    cells = cells_of(tmp_path / "o.csv")
    assert [json.loads(cell["array"]) for cell in cells] == [row["array"] for row in rows]


def test_arrays_of_other_sizes_are_told(tmp_path):
    for label, features in (("a", 1), ("b", 2)):
        (tmp_path / f"data/{label}").mkdir(parents=True)
        for number in range(4):
            np.save(tmp_path / f"data/{label}/{number}.npy", np.random.default_rng(number).normal(size=(3, features)))
    with pytest.raises(UserError, match=r"b/\d\.npy row 1 has shape \(3, 2\).*\(steps, 1\)"):
        fit(tmp_path / "data", tmp_path / "run")


# what it answers


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with runs of several kinds, and files to ask about. Nobody changes it."""
    folder = tmp_path_factory.mktemp("place")
    written(folder / "t.csv", ordered(300))
    fit(folder / "t.csv", folder / "run", steps=80)
    shutil.copytree(folder / "run", folder / "runs/film")
    tagged = [(f"the dog{number} runs", "D N V") for number in range(40)]
    fit(written(folder / "tags.csv", tagged, ("words", "tags")), folder / "tagger", "tag", steps=3, spelling=8)
    (folder / "text.txt").write_text("the cat sat on a mat and saw two dogs run by, " * 20)
    fit(folder / "text.txt", folder / "lm", "lm", steps=3, batch_size=4, seq_len=8)
    np.savez(folder / "x.npz", **dict(zip("xy", waves()[:2], strict=True)))
    fit(folder / "x.npz", folder / "waves", steps=3)
    texts = ["good and bad", "  ", "bad then so good", "good bad", "", "bad good"]
    written(folder / "holes.csv", [(str(row), text) for row, text in enumerate(texts)], ("id", "text"))
    written(folder / "one.csv", [(text, "praise") for text, _ in ordered(30)])
    written(folder / "wrong.csv", [*ordered(10), ("good", "great")])
    written(folder / "gap.csv", [*ordered(10), ("", "praise"), ("good", "")])
    written(folder / "uneven.csv", [*tagged, ("a dog runs off", "D N V")], ("words", "tags"))
    (folder / "latin.csv").write_bytes("text,label\nun café,praise\nnon,blame\n".encode("latin-1"))
    (folder / "lists.jsonl").write_text("".join(f'{{"a": ["good", "x{row}"], "b": "x{row}"}}\n' for row in range(30)))
    (folder / "latin.txt").write_bytes("good\ncafé\n".encode("latin-1"))
    (folder / "texts.txt").write_text("good and bad\nbad so good\n")
    (folder / "file").write_text("no folder")
    return folder


def test_the_answer_of_a_row_does_not_depend_on_the_others(place):
    trained, texts = load(place / "run"), [text for text, _ in ordered(150, seed=5)]
    together = trained.predict(texts)
    for row in (0, 63, 64, 65, 149):
        [alone] = trained.predict([texts[row]])
        assert alone["label"] == together[row]["label"]
        assert alone["probabilities"] == pytest.approx(together[row]["probabilities"], abs=1e-6)
    backwards = trained.predict(texts[::-1])[::-1]
    assert [each["probability"] for each in backwards] == pytest.approx([each["probability"] for each in together])
    assert all(sum(each["probabilities"].values()) == pytest.approx(1) for each in together)
    assert all(each["probability"] == max(each["probabilities"].values()) for each in together)


def test_words_lines_and_files_get_the_same_answers(elman, place):
    texts = (place / "texts.txt").read_text().splitlines()
    expected = load(place / "run").predict(texts)
    lines = [f"{each['label']}\t{each['probability']:.3f}" for each in expected]
    for words in (("run", *texts), ("run",), ("run", "--file", place / "texts.txt")):
        done = elman("predict", place / words[0], *words[1:], stdin=place / "texts.txt")
        assert (done.code, done.out.splitlines()) == (0, lines)
    done = elman("predict", place / "run", *texts, "--json")
    for line, answer in zip(done.out.splitlines(), expected, strict=True):
        assert json.loads(line)["probabilities"] == pytest.approx(answer["probabilities"])


def test_lines_piped_in_are_parted_by_line_ends_only(elman, place, tmp_path):
    (tmp_path / "in.txt").write_bytes("good\x0bbad\u2028so\r\nbad good\n".encode())
    done = elman("predict", place / "run", stdin=tmp_path / "in.txt")
    assert len(done.out.splitlines()) == 2
    done = elman("predict", place / "run", "--encoding", "latin-1", stdin=place / "latin.txt")
    assert len(done.out.splitlines()) == 2


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_a_file_is_answered_row_by_row(elman, place, tmp_path, suffix):
    out = tmp_path / f"new/o{suffix}"
    done = elman("predict", place / "run", "--file", place / "holes.csv", "--skip-bad", "-o", out)
    assert done.code == 0, done.err
    assert re.search(r"2 bad rows left out, the first: .*holes.csv row 3", done.err)
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        rows = cells_of(out, ",\t"[suffix == ".tsv"])
    given_ = cells_of(place / "holes.csv")
    assert [(row["id"], row["text"]) for row in rows] == [(row["id"], row["text"]) for row in given_]
    said = iter(load(place / "run").predict([row["text"] for row in given_ if row["text"].strip()]))
    for row in rows:
        if row["text"].strip():
            answer = next(said)
            assert row["label"] == answer["label"]
            assert float(row["probability"]) == pytest.approx(answer["probability"], abs=1e-6)
        else:
            assert row["label"] in ("", None)
    printed = elman("predict", place / "run", "--file", place / "holes.csv", "--skip-bad").out.splitlines()
    assert [bool(line) for line in printed] == [bool(row["text"].strip()) for row in given_]


def test_answers_of_answers_keep_every_column(elman, place, tmp_path):
    files = [place / "t.csv", tmp_path / "a.csv", tmp_path / "b.csv"]
    for before, after in itertools.pairwise(files):
        assert elman("predict", place / "run", "--file", before, "-o", after).code == 0
    rows = cells_of(files[2])
    answers = ["label", "predicted_label", "probability", "predicted_predicted_label", "predicted_probability"]
    assert list(rows[0]) == ["text", *answers]
    assert [row["label"] for row in rows] == [label for _, label in ordered(300)]
    assert all(row["predicted_label"] == row["predicted_predicted_label"] for row in rows)
    assert all(float(row["probability"]) >= 0.5 for row in rows)


def test_rows_of_a_folder_get_each_their_own_answer(elman, place, tmp_path):
    texts = {"a/1.txt": "good so bad", "a/2.txt": "bad so good", "b/1.txt": "good bad", "b/2.txt": "bad bad good"}
    for name, text in texts.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    done = elman("predict", place / "run", "--file", tmp_path / "in")
    expected = [answer["label"] for answer in load(place / "run").predict(list(texts.values()))]
    assert [line.split("\t")[0] for line in done.out.splitlines()] == expected
    assert len(set(expected)) == 2


def test_what_is_longer_is_cut_and_told(elman, place, tmp_path):
    trained = fit(place / "t.csv", tmp_path / "run", steps=2, max_length=4)
    done = elman("predict", tmp_path / "run", "good and then so bad", "bad")
    assert (done.code, len(done.out.splitlines())) == (0, 2)
    assert "1 of 2 rows are longer than --max-length 4 and were cut" in done.err
    long, short = trained.predict(["good and then so bad and it", "good and then so"])
    assert long == short
    assert all(len(value) <= 4 for value in trained.task.source(trained.config, "train", None, None).values("input"))


@pytest.mark.parametrize(
    ("run", "row"),
    [("run", None), ("run", ""), ("run", ["good"]), ("run", np.ones((2, 3))), ("run", 3), ("waves", "good"),
     ("waves", np.ones((2, 2))), ("waves", np.full((2, 3), np.nan)), ("waves", [[1.0, 2.0, 3.0]])],
)  # fmt: skip
def test_a_row_of_another_kind_is_told(place, run, row):
    good = np.ones((2, 3), np.float32) if run == "waves" else "good"
    with pytest.raises(UserError, match="the input row 2") as raised:
        load(place / run).predict([good, row])
    assert "\n" not in str(raised.value)


def test_arrays_from_python_have_one_shape_or_another(place):
    x = np.random.default_rng(0).normal(size=(4, 5, 3))
    trained = load(place / "waves")
    assert trained.predict(x) == trained.predict(list(x))
    assert trained.predict([]) == []


# mistakes


MISTAKES = [
    ("train classify t.csv --out new --text-column texd", "'texd'; did you mean; 'text'"),
    ("train classify t.csv --out new --label-column labels", "'labels'; did you mean; 'label'"),
    ("train classify gap.csv --out new", "gap.csv row 12; no text; --skip-bad"),
    ("train classify latin.csv --out new", "latin.csv; utf-8; 0xe9; offset 17; --encoding latin-1"),
    ("train classify one.csv --out new", "one.csv; one class; 'praise'; two"),
    ("train classify t.csv --out new --test wrong.csv", "wrong.csv row 12; 'great'; blame; praise"),
    ("train classify lists.jsonl --out new --text-column a --label-column b", "lists.jsonl row; a list of words"),
    ("train classify lists.jsonl --out new --text-column b --label-column a", "lists.jsonl row; a list of words"),
    ("train tag uneven.csv --out new", "uneven.csv row 42; 4 words; 3 tags"),
    ("train tag tags.csv --out new --tags-column tag", "'tag'; did you mean; 'tags'"),
    ("train classify t.csv --out new --pooling most", "most; max"),
    ("predict run ''", "the input row 1; no text"),
    ("predict run good ' '", "the input row 2; no text"),
    ("predict run --file holes.csv", "holes.csv row 3; no text; --skip-bad"),
    ("predict run --file holes.csv --column texd", "'texd'; did you mean; 'text'"),
    ("predict run --file tags.csv", "tags.csv; 'text'; tags, words"),
    ("predict run --file latin.csv", "latin.csv; offset 17; --encoding latin-1"),
    ("predict run --file nowhere.csv", "nowhere.csv; does not exist"),
    ("predict run --file x.npz --column array", "x.npz row 1; an array; trained on texts"),
    ("predict waves good", "the input row 1; a text; trained on arrays"),
    ("predict run good --file t.csv", "--file; good; exclude"),
    ("predict run good -o o.csv", "--out; --file"),
    ("predict run --file t.csv -o o.txt", "o.txt; .csv, .tsv or .jsonl"),
    ("predict run --file t.csv -o file/o.csv", "cannot write; file/o.csv"),
    ("predict run --file t.csv --encoding utf-99", "utf-99; utf-8"),
    ("predict runs/flim good", "runs/flim; did you mean; runs/film"),
    ("predict t.csv good", "t.csv; not a run"),
    ("predict lm good", "lm; elman sample"),
    ("predict run", "standard input is empty"),
    ("eval run --reset 4", "--reset; language models; classify"),
    ("eval run --text wrong.csv", "wrong.csv row 12; 'great'"),
    ("eval run --text lists.jsonl", "lists.jsonl; 'text'; a, b"),
    ("sample run", "elman predict"),
]


@pytest.mark.parametrize(("typed", "words"), MISTAKES, ids=[typed for typed, _ in MISTAKES])
def test_a_mistake_is_one_line_and_changes_nothing(elman, place, tmp_path, monkeypatch, typed, words):
    here = Path(shutil.copytree(place, tmp_path / "here"))
    monkeypatch.chdir(here)
    before = {path: path.stat().st_mtime_ns for path in here.rglob("*")}
    done = elman(*shlex.split(typed))
    assert (done.code, done.out) == (2, ""), done.err
    told = [line for line in done.err.splitlines() if "read as" not in line and "names the columns" not in line]
    [line] = told
    assert "Traceback" not in line
    for word in words.split("; "):
        assert word in line, (word, line)
    assert {path: path.stat().st_mtime_ns for path in here.rglob("*")} == before


def test_bytes_piped_in_that_are_no_text_are_told(elman, place):
    done = elman("predict", place / "run", stdin=place / "latin.txt")
    assert (done.code, done.out) == (2, "")
    assert "standard input is not utf-8: byte 0xe9 at offset 8" in done.err


def test_rows_without_a_value_are_left_out_and_counted_in_training(place, tmp_path):
    options, data = Classify.prepare([str(place / "gap.csv")], ClassifyOptions(skip_bad=True, valid="0", test="0"))
    assert len(data.train.table) == 10
    assert any("2 bad rows left out, the first" in note and "row 12" in note for note in data.notes)
    assert options.hidden
