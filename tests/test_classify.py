"""Classification: what a model computes, and that it learns what can be learned and nothing else."""

import csv
import random

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch.testing import assert_close

import specs
from elman.errors import UserError
from elman.nets.pooling import POOLING
from elman.tasks.classify import Classify, ClassifyOptions
from elman.tasks.row_input import TextInput
from elman.training import loop
from elman.training.api import load, train
from runs import assert_same, interrupt_after, measure, source, summary
from test_nets import pool, weights

POOLS = sorted(POOLING)
SMALL = {"hidden": 8, "embedding": 8, "dropout": 0.0, "precision": "float32", "device": "cpu", "preview": False,
         "steps": 20, "lr": 0.02}  # fmt: skip
FILLERS = ["the", "film", "plot", "cast", "was", "so", "very", "then", "and", "it"]


def fit(path, out, kind="classify", **options):
    return train(kind, path, out=out, **(SMALL | options))


def ordered(count, seed=0):
    """Texts whose label depends on the order of two words, and on nothing else."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        words = rng.choices(FILLERS, k=rng.randint(2, 9))
        first, second = rng.sample(("good", "bad"), 2)
        words.insert(position := rng.randint(0, len(words)), first)
        words.insert(rng.randint(position + 1, len(words)), second)
        rows.append((" ".join(words), {"good": "praise", "bad": "blame"}[first]))
    return rows


def table(path, rows, header=("text", "label")):
    """A CSV file of rows."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def waves(count=120, features=3):
    """Sequences whose class shifts one feature; the features differ in mean and scale."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, count)
    x = rng.normal(size=(count, 9, features))
    x[..., 0] += 2 * y[:, None] - 1
    return x * 10.0 ** np.arange(features) + 50 * np.arange(features), y, rng.integers(3, 10, count)


def model(pooling="max", bidirectional=True, layers=2, **options):
    """A classifier with large random weights, so that its logits differ."""
    spec = specs.classify(layers=layers, bidirectional=bidirectional, pooling=pooling, **options)
    return specs.randomize(specs.build("classify", spec), 0.5)


def arrays():
    return specs.build("classify", specs.classify(features=4))


# what it computes


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLS)
def test_logits_are_the_head_over_the_pooled_outputs(pooling, bidirectional):
    module, sizes = model(pooling, bidirectional), (7, 1, 4)
    x, length = torch.randint(0, 11, (3, 7)), torch.tensor(sizes)
    with torch.no_grad():
        found = module.logits(x, length).numpy()
        each = [module.recurrent(module.embedding(row[:size])[None])[0][0].numpy()
                for row, size in zip(x, sizes, strict=True)]  # fmt: skip
    W, b = module.head.weight.detach().numpy(), module.head.bias.detach().numpy()
    for row, y in zip(found, each, strict=True):
        pooled = pool(pooling, weights(module.pool), y, 2 if bidirectional else 1)
        np.testing.assert_allclose(row, W @ pooled + b, atol=2e-6)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLS)
def test_padding_does_not_change_the_logits(pooling, bidirectional, residual):
    module, length = model(pooling, bidirectional, residual=residual), torch.tensor([7, 0, 1, 4])
    x = torch.randint(0, 11, (4, 7))
    other = torch.where(torch.arange(7) < length[:, None], x, (x + 5) % 11)
    longer = torch.cat((other, torch.randint(0, 11, (4, 6))), 1)
    with torch.no_grad():
        logits = module.logits(x, length)
        assert torch.equal(module.logits(other, length), logits)
        assert_close(module.logits(longer, length), logits, atol=1e-6, rtol=0)
        assert not torch.allclose(module.logits(other, length.clamp(min=5)), logits, atol=1e-3)


def test_padding_does_not_change_the_gradient():
    module, length, target = model(), torch.tensor([7, 0, 1, 4]), torch.tensor([0, 1, 2, 1])
    found = []
    for shift in (0, 5):
        x = torch.arange(28).view(4, 7) % 11
        x = torch.where(torch.arange(7) < length[:, None], x, (x + shift) % 11)
        module.zero_grad()
        module.loss({"input": x, "input_lengths": length, "target": target}).mean.backward()
        found.append([weight.grad.clone() for weight in module.parameters()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", POOLS)
def test_prefix_probabilities_are_those_of_each_prefix_alone(pooling, bidirectional):
    for module, x in ((model(pooling, bidirectional), torch.randint(0, 11, (6,))), (arrays(), torch.randn(6, 4))):
        prefixes = module.prefix_probabilities(x)
        for step in range(6):
            with torch.no_grad():
                alone = module.logits(x[None, : step + 1], torch.tensor([step + 1])).softmax(-1)
            assert_close(prefixes[step], alone[0], atol=1e-6, rtol=0)


def test_class_weights_count_in_the_mean_loss_and_not_in_the_sums():
    given_, x, length = (0.5, 2.0, 4.0), torch.randint(0, 11, (5, 3)), torch.full((5,), 3)
    batch = {"input": x, "input_lengths": length, "target": torch.tensor([0, 2, 1, 1, 0])}
    plain, weighted = model(), model(class_weights=given_)
    with torch.no_grad():
        probabilities = np.exp(plain.logits(x, length).double().numpy())
        probabilities /= probabilities.sum(1, keepdims=True)
        nats = np.array([-np.log(probabilities[row, target]) for row, target in enumerate(batch["target"])])
        for module, each in ((plain, np.ones(5)), (weighted, np.array(given_)[batch["target"]])):
            loss = module.loss(batch)
            assert loss.state is None
            np.testing.assert_allclose(loss.mean, (nats * each).mean(), rtol=1e-5)
            np.testing.assert_allclose(loss.sums["loss"], nats.sum(), rtol=1e-5)
            assert int(loss.count) == 5
            assert int(loss.sums["correct"]) == (probabilities.argmax(1) == batch["target"].numpy()).sum()


def test_class_weights_are_inverse_to_the_frequencies(tmp_path):
    rows = [(f"text {number}", "rare" if number % 5 == 0 else "often") for number in range(60)]
    options = ClassifyOptions(valid="0", test="0", class_weights=True)
    data = Classify().prepare([str(table(tmp_path / "t.csv", rows))], options)
    assert data.spec.labels.labels == ("often", "rare")
    np.testing.assert_allclose(data.spec.class_weights, [60 / (2 * 48), 60 / (2 * 12)])
    fraction = 12 / 60
    entropy = -(fraction * np.log(fraction) + (1 - fraction) * np.log(1 - fraction))
    assert data.unigram_entropy == pytest.approx(entropy)


@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30))
def test_metrics_equal_their_definitions(pairs):
    targets, predictions = zip(*pairs, strict=True)
    rows = specs.rows(text=[""] * len(pairs), label=list(targets))
    answers = {row: specs.answer(row, label=label) for row, label in enumerate(predictions)}
    found = Classify().metrics(rows, answers, specs.classify(3))
    scores = []
    for label in "abc":
        hits = sum(target == predicted == label for target, predicted in pairs)
        of_target, of_prediction = targets.count(label), predictions.count(label)
        if of_target or of_prediction:
            precision, recall = hits / of_prediction if of_prediction else 0, hits / of_target if of_target else 0
            scores.append(2 * precision * recall / (precision + recall) if hits else 0)
    assert found["accuracy"] == pytest.approx(sum(a == b for a, b in pairs) / len(pairs))
    assert found["macro_f1"] == pytest.approx(sum(scores) / len(scores))
    assert found["confusion"] == [[pairs.count((target, predicted)) for predicted in "abc"] for target in "abc"]


def test_metrics_compare_each_answer_with_its_own_row(tmp_path):
    """Whatever the order of the batches."""
    data = Classify().prepare([str(table(tmp_path / "t.csv", ordered(90)))], ClassifyOptions(hidden=8, batch_size=7))
    module = specs.randomize(specs.build("classify", data.spec), 0.5)
    answers, targets = list(Classify().predict(module, data.train.table, print)), data.train.table.columns["label"]
    correct = [answer["label"] == target for answer, target in zip(answers, targets, strict=True)]
    assert Classify().measure(module, data.train)["accuracy"] == pytest.approx(np.mean(correct))
    assert 0 < sum(correct) < len(correct)
    assert np.sum(Classify().measure(module, data.train, limit=9)["confusion"]) == 9


# it learns


def test_a_small_data_set_is_overfitted(trained):
    options = SMALL | {"steps": 150, "lr": 0.03, "hidden": 16, "valid": "0", "test": "0"}
    assert measure(load(trained("classify", "builtin:verdicts:count=160", **options)), "train")["accuracy"] > 0.9


def test_the_order_of_words_is_learned_for_new_texts(tmp_path):
    fitted = fit(table(tmp_path / "t.csv", ordered(400)), tmp_path / "run", steps=120, valid="0.2", test="0.2")
    assert measure(fitted)["accuracy"] > 0.9
    assert measure(fitted, "test")["accuracy"] > 0.9
    assert summary(tmp_path / "run")["val_metrics"]["accuracy"] > 0.9
    answers = fitted.predict(["good and then bad", "bad and then good"])
    assert [answer["label"] for answer in answers] == ["praise", "blame"]


def test_shuffled_labels_are_not_predicted(tmp_path):
    """No label reaches the input: with shuffled labels the accuracy on held-out rows is that of guessing, within 4
    standard deviations of a binomial."""
    rows = ordered(600)
    labels = [label for _, label in rows]
    random.Random(1).shuffle(labels)
    shuffled = [(text, label) for (text, _), label in zip(rows, labels, strict=True)]
    fitted = fit(table(tmp_path / "t.csv", shuffled), tmp_path / "run", steps=120, valid="0.3", test="0.3")
    for split in ("valid", "test"):
        target = source(fitted, split).table.columns["label"]
        most = max(map(target.count, set(target))) / len(target)
        assert measure(fitted, split)["accuracy"] < most + 4 * np.sqrt(0.25 / len(target))
        assert measure(fitted, split)["accuracy"] > 0.5 - 4 * np.sqrt(0.25 / len(target))


def test_the_vocabulary_is_that_of_the_training_split(tmp_path):
    rows = [(f"common word{number} word{number}", "ab"[number % 2], ["train", "valid", "test"][number % 3])
            for number in range(30)]  # fmt: skip
    path = table(tmp_path / "t.csv", rows, ("text", "label", "split"))
    data = Classify().prepare([str(path)], ClassifyOptions())
    assert isinstance(data.spec.input, TextInput)
    known = {word.strip() for word in data.spec.input.tokenizer.vocabulary} - {"", "<unk>", "common"}
    assert known == {f"word{number}" for number in range(0, 30, 3)}
    note = next(note for note in data.notes if "valid split: 6" in note)
    assert "66.7% of 30 words are unknown and read as <unk>" in note


@pytest.mark.parametrize("options", [{"tokens": "char"}, {"tokens": "bpe", "vocab_size": 300}, {"layers": 2}])
def test_a_resumed_run_equals_an_unbroken_one(tmp_path, options):
    path = table(tmp_path / "t.csv", ordered(60))
    options = {"steps": 14, "eval_every": 5, "dropout": 0.3, "batch_size": 8, "pooling": "attention", **options}
    fit(path, tmp_path / "unbroken", **options)
    with interrupt_after(9), pytest.raises(loop.Interrupted):
        fit(path, tmp_path / "run", **options)
    train("classify", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "an interrupted classifier")


# arrays


@pytest.mark.parametrize("features", [1, 3])
def test_arrays_are_standardised_by_the_training_split(tmp_path, features):
    x, y, lengths = waves(features=features)
    x = x[..., 0] if features == 1 else x
    np.savez(tmp_path / "x.npz", x=x, y=y, lengths=lengths)
    data = Classify().prepare([str(tmp_path / "x.npz")], ClassifyOptions(valid="0.4"))
    steps = np.concatenate([np.asarray(value).reshape(len(value), -1) for value in data.train.table.columns["text"]])
    mean, deviation = steps.mean(0, dtype=np.float64), steps.std(0, dtype=np.float64)
    assert steps.shape[1] == features
    for split in (data.train, data.valid):
        for raw, value in zip(split.table.columns["text"], split.values("input"), strict=True):
            np.testing.assert_allclose(value, (raw.reshape(len(raw), -1) - mean) / deviation, rtol=1e-3, atol=1e-4)
    assert sorted(map(len, data.train.values("input"))) == sorted(map(len, data.train.table.columns["text"]))


def test_a_constant_feature_is_not_divided_by_0(tmp_path):
    x, y, _ = waves()
    x[..., 1] = 5.0
    np.savez(tmp_path / "x.npz", x=x, y=y)
    fitted = fit(tmp_path / "x.npz", tmp_path / "run", embedding=None, steps=60)
    changed = x.astype(np.float32)
    changed[..., 1] += 0.01
    (a, b), (c, d) = fitted.predict(list(x[:2])), fitted.predict(list(changed[:2]))
    assert a["probability"] == pytest.approx(c["probability"], abs=0.05)
    assert b["probability"] == pytest.approx(d["probability"], abs=0.05)
    assert measure(fitted)["accuracy"] > 0.85


def test_arrays_of_different_widths_are_an_error(tmp_path):
    for label, features in (("a", 1), ("b", 2)):
        (tmp_path / f"data/{label}").mkdir(parents=True)
        for number in range(4):
            np.save(tmp_path / f"data/{label}/{number}.npy", np.random.default_rng(number).normal(size=(3, features)))
    with pytest.raises(UserError, match=r"b/\d\.npy row 1 has shape \(3, 2\).*\(steps, 1\)"):
        fit(tmp_path / "data", tmp_path / "run", embedding=None)


def test_rows_without_a_value_are_skipped_and_counted(tmp_path):
    path = table(tmp_path / "gap.csv", [*ordered(10), ("", "praise"), ("good", "")])
    data = Classify().prepare([str(path)], ClassifyOptions(skip_bad=True, valid="0", test="0"))
    assert len(data.train.table) == 10
    assert any("2 bad rows" in note and "the first" in note and "row 12" in note for note in data.notes)
    assert data.spec.hidden == 128


# what it answers


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A classifier of texts. No test changes it."""
    path = table(tmp_path_factory.mktemp("data") / "t.csv", ordered(300))
    return trained("classify", path, **SMALL | {"steps": 80})


@pytest.fixture(scope="module")
def of_arrays(trained, tmp_path_factory):
    """A classifier of arrays. No test changes it."""
    path = tmp_path_factory.mktemp("data") / "x.npz"
    np.savez(path, **dict(zip("xy", waves()[:2], strict=True)))
    return trained("classify", path, **SMALL | {"embedding": None, "steps": 3})


def test_the_answer_to_a_row_does_not_depend_on_the_others(run):
    """Nor on the order in which rows are batched by length."""
    fitted, texts = load(run), [text for text, _ in ordered(150, seed=5)]
    together = list(fitted.predict(texts))
    for row in (0, 63, 64, 65, 149):
        [alone] = fitted.predict([texts[row]])
        assert alone["label"] == together[row]["label"]
        assert alone["probabilities"] == pytest.approx(together[row]["probabilities"], abs=1e-6)
    assert [answer.row for answer in together] == list(range(150))
    backwards = list(fitted.predict(texts[::-1]))[::-1]
    assert [each["probability"] for each in backwards] == pytest.approx([each["probability"] for each in together])
    assert all(sum(each["probabilities"].values()) == pytest.approx(1) for each in together)
    assert all(each["probability"] == max(each["probabilities"].values()) for each in together)


@pytest.mark.parametrize("pooling", POOLS)
def test_the_attention_of_an_answer_is_what_each_step_contributes(pooling):
    """Computed again from the equations, one row at a time."""
    module = model(pooling)
    spec, texts = module.spec, ["abcdefg", "k", "cab", "ijk", "aab"]
    rows = specs.rows(text=texts)
    answers = list(Classify().predict(module, rows, print))
    for text, answer in zip(texts, answers, strict=True):
        ids = torch.tensor(spec.input.tokenizer.encode(text))
        with torch.no_grad():
            y = module.recurrent(module.embedding(ids)[None])[0][0].numpy()
        if pooling == "max":
            expected = np.bincount(y.argmax(0), minlength=len(text)) / y.shape[1]
        elif pooling == "attention":
            p = weights(module.pool)
            scores = np.exp([p["v"][0] @ np.tanh(p["W"] @ h + p["W.bias"]) for h in y])
            expected = scores / scores.sum()
        else:
            assert answer.attention is None
            continue
        assert answer.attention.keys is None  # the steps of the row itself
        assert answer.attention.queries == ("",)
        np.testing.assert_allclose(answer.attention.weights, expected[None], atol=1e-6)
        assert answer.attention.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("kind", "row"),
    [("text", None), ("text", ""), ("text", ["good"]), ("text", np.ones((2, 3))), ("text", 3), ("array", "good"),
     ("array", np.ones((2, 2))), ("array", np.full((2, 3), np.nan)), ("array", [[1.0, 2.0, 3.0]])],
)  # fmt: skip
def test_a_row_of_another_type_is_an_error(run, of_arrays, kind, row):
    good = np.ones((2, 3), np.float32) if kind == "array" else "good"
    with pytest.raises(UserError, match="the input row 2") as raised:
        load(of_arrays if kind == "array" else run).predict([good, row])
    assert "\n" not in str(raised.value)


def test_arrays_may_be_stacked(of_arrays):
    x, fitted = np.random.default_rng(0).normal(size=(4, 5, 3)), load(of_arrays)
    stacked, listed = ([answer.values for answer in fitted.predict(rows)] for rows in (x, list(x)))
    assert stacked == listed
    assert list(fitted.predict([])) == []
