"""The reports of classifiers, taggers, generators and translators: their values, their pages for text that is not
well-meant, and that they have none of it when it is left out."""

import itertools
import json
import random
import re

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

import elman
from elman.cli import app
from elman.data.source import to
from elman.inspect import predictions
from elman.inspect.alignment import align
from elman.inspect.blocks import MarkedWords, PaintedText
from elman.inspect.confusion import DRAWN, Confusion, confusion
from elman.inspect.display import shortened, token_label
from elman.inspect.generate import generate, principal_components
from elman.inspect.page import page
from elman.inspect.predictions import Predictions
from elman.inspect.prefix_predictions import PrefixedRow, PrefixPredictions, by_fraction
from elman.inspect.report import side_by_side
from elman.inspect.report_options import ReportOptions
from elman.inspect.scored import ScoredTranslations
from elman.inspect.tag import TaggedSentence, hardest_panel, tagged_sentences
from elman.inspect.token_texts import token_texts
from elman.inspect.translate import buckets
from elman.tokenizers.registry import find
from outline import Outline

SMALL = {"steps": 12, "hidden": 8, "embedding": 8, "precision": "float32", "device": "cpu", "preview": False}
SECRET = "xylophone"
NASTY = ["<script>alert(1)</script>", "<b>&amp;", "한국어", "مرحبا", "$x^2$", "\u202eabc", "\x07", SECRET, "a", "it"]


def texts(count, max_length=9, seed=0):
    draw = random.Random(seed)
    found = [" ".join(draw.choices(NASTY, k=draw.randint(1, max_length))) + f" {n}" for n in range(count)]
    return [found[0] + " word" * 450, *found[1:]]


def jsonl(path, **columns):
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def labelled(path, seed=0):
    some = texts(90, seed=seed)
    return jsonl(path, text=some, label=[("<i>no", "yes")[SECRET in text] for text in some])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small model of each kind, by name, trained when it is first needed."""
    folder, found = tmp_path_factory.mktemp("tasks"), {}
    pairs = {"source": texts(80), "target": [text[::-1] for text in texts(80)]}
    words = [text.split()[:30] for text in texts(80)]
    cases = {
        "attention": ("classify", {"pooling": "attention"}, lambda p: labelled(p)),
        "max": ("classify", {"pooling": "max", "tokens": "byte", "max_length": 50}, lambda p: labelled(p)),
        "last": ("classify", {"pooling": "last", "bidirectional": False, "cell": "rnn"}, lambda p: labelled(p)),
        "all": ("classify", {"valid": "0", "test": "0"}, lambda p: labelled(p)),
        "arrays": ("classify", {"format": "arrays", "embedding": None}, arrays),
        "tag": ("tag", {"spelling": 4}, lambda p: jsonl(
            p, words=words, tags=[["X" if word == SECRET else "O" for word in each] for each in words])),
        "label": ("generate", {}, lambda p: jsonl(
            p, text=[text[:20] for text in texts(90)], label=[("one", "<i>two", "three")[n % 3] for n in range(90)])),
        "several": ("generate", {"label_column": "a,b", "tokens": "word"}, lambda p: jsonl(
            p, text=texts(90), a=["p", "q", "r"] * 30, b=["u", "v"] * 45)),
        "nothing": ("generate", {}, lambda p: jsonl(p, text=[text[:20] for text in texts(90)])),
        "translate": ("translate", {"tokens": "bpe", "vocab_size": 300, "reverse": True}, lambda p: jsonl(p, **pairs)),
        "plain": ("translate", {"tokens": "char", "attention": "none", "max_length": 60}, lambda p: jsonl(p, **pairs)),
    }  # fmt: skip

    def get(name):
        if name not in found:
            kind, options, data = cases[name]
            found[name] = elman.train(
                kind, data(folder / f"{name}.{'npz' if name == 'arrays' else 'jsonl'}"), out=folder / name,
                **(SMALL | {"valid": "0.4"} | options),
            )  # fmt: skip
        return found[name]

    get.names = list(cases)
    return get


@pytest.fixture(scope="module")
def reported(made):
    """The report of a model, by name, made when it is first needed."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = elman.report(made(name))
        return found[name]

    return get


def arrays(path):
    random_ = np.random.default_rng(0)
    y = np.arange(60) % 2
    np.savez(path, x=(random_.normal(size=(60, 7, 3)) + y[:, None, None]).astype(np.float32), y=y)
    return path


PANELS = {
    "attention": ["confusion", "prefixes", "pooled", "gates", "curves"],
    "max": ["confusion", "prefixes", "pooled", "gates", "curves"],
    "last": ["confusion", "prefixes", "curves"],  # an rnn has no gates
    "all": ["confusion", "prefixes", "pooled", "gates", "curves"],
    "arrays": ["confusion", "prefixes", "gates", "curves"],
    "tag": ["confusion", "hardest", "gates", "curves"],
    "label": ["samples", "losses", "states-label", "curves"],
    "several": ["samples", "losses", "states-label", "curves"],  # two labels lie on a line
    "nothing": ["samples", "losses", "curves"],
    "translate": ["scores", "alignment", "hardest", "curves"],
    "plain": ["scores", "alignment", "hardest", "curves"],
}
# of kinds that are tested every time
VARIANTS = ("max", "last", "all", "arrays", "several", "nothing", "plain", "attention")
KINDS = [pytest.param(name, marks=[pytest.mark.slow] * (name in VARIANTS)) for name in PANELS]


@pytest.mark.parametrize("name", KINDS)
def test_a_report_of_each_kind_is_a_sound_page_of_its_panels(made, reported, name, tmp_path):
    assert set(made.names) == set(PANELS)
    found = reported(name)
    assert [panel.name for panel in found.panels] == PANELS[name]
    outline = Outline(text := found.save(tmp_path).read_text("utf-8"))
    assert outline.open == []
    assert [tag for tag, _ in outline.tags].count("script") == 1  # that of the page
    assert "alert(1)</script>" not in text
    assert not {"i", "b"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert all(link.startswith(("#", "data:")) for link in outline.links), outline.links
    assert len(text) < 3e6
    assert list(json.loads((tmp_path / "report.json").read_text("utf-8"))) == PANELS[name]
    assert (tmp_path / "report" / "curves.png").stat().st_size > 1000


@pytest.mark.parametrize("name", KINDS)
def test_without_text_a_report_has_no_word_of_it(made, name):
    report = elman.report(made(name), no_text=True)
    text = page(report.title, report.panels) + json.dumps(report.metrics, ensure_ascii=False)
    for word in (SECRET, "한국어", "alert(1)", "مرحبا", SECRET[::-1]):
        assert word not in text
    shown = [block for panel in report.panels for block in (*panel.blocks, *panel.attachments)]
    assert not any(isinstance(block, PaintedText | MarkedWords) for block in shown)


@pytest.mark.parametrize("name", ["attention", "tag"])
@pytest.mark.parametrize(
    ("option", "value"), [("language", "python"), ("properties", [len]), ("unknown", "skip"), ("unit", "1.c.1")]
)
def test_an_option_of_another_kind_is_one_line(made, name, option, value):
    named = {"properties": "property"}.get(option, option)
    with pytest.raises(elman.UserError, match=f"^`{named}` does not go with .*{name}.*: leave it out$"):
        elman.report(made(name), **{option: value})
    default = ReportOptions()
    elman.report(made(name), **{option: getattr(default, option)}, length=10, no_text=True)  # at its default


def test_the_command_line_names_what_does_not_fit(made, tmp_path):
    model, words = (
        made("attention"),
        lambda text: app.app(text.split(), exit_on_error=False, print_error=False, result_action="return_value"),
    )
    with pytest.raises(elman.UserError, match=r"`unit` does not go with .*attention, a run of 'classify'"):
        words(f"inspect {model.path} --unit 1.c.1")
    with pytest.raises(elman.UserError, match="`language` does not go with several runs"):
        words(f"inspect {model.path} {model.path} --language python")
    with pytest.raises(elman.UserError, match="`length` does not go with untrained cells"):
        words("inspect --cells rnn --length 300")
    words(f"inspect {model.path} --no-text --length 20 --seed 3 --out {tmp_path}")
    assert SECRET not in (tmp_path / "report.html").read_text("utf-8")


def test_the_curves_of_several_kinds_name_both_units(made):
    text = side_by_side([made("attention").path, made("label").path])._repr_html_()
    assert "nats per row or token" in text
    assert "nats per row<" in side_by_side([made("attention").path])._repr_html_()


def test_another_table_or_a_part_of_it_is_read(made, tmp_path):
    other, lines = labelled(tmp_path / "other.jsonl", seed=5), []
    here = Predictions(made("attention"), ReportOptions(text=str(other), log=lines.append))
    assert np.sum(here.metrics["confusion"]) == 90
    assert "90 of 90 rows are read" in lines
    some = Predictions(made("attention"), ReportOptions(text=str(other), length=7))
    assert np.sum(some.metrics["confusion"]) == 7
    same = [Predictions(made("attention"), ReportOptions(length=9, seed=1)) for _ in range(2)]
    assert same[0].column("text") == same[1].column("text")


def test_without_a_validation_split_that_is_logged(made):
    lines = []
    here = Predictions(made("all"), ReportOptions(log=lines.append))
    assert len(here) == 90
    assert any("no validation split" in line for line in lines)


# confusion


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_confusion_gives_the_metrics_of_scikit_learn(pairs):
    names = list("abcde")
    targets, predicted = ([names[pair[side]] for pair in pairs] for side in (0, 1))
    found = confusion(targets, predicted, names, "row")
    expected = precision_recall_fscore_support(targets, predicted, labels=names, zero_division=np.nan)[:3]
    np.testing.assert_allclose(found.precision, expected[0])
    np.testing.assert_allclose(found.recall, expected[1])
    np.testing.assert_allclose(found.f1, expected[2])
    assert found.accuracy == pytest.approx(accuracy_score(targets, predicted))
    wrong = [(target, other) for target, other in pairs if target != other]
    assert set(found.worst()) == set(wrong)
    assert [wrong.count(pair) for pair in found.worst()] == sorted(map(wrong.count, set(wrong)), reverse=True)
    assert found.summary()


def test_of_many_classes_the_most_confused_are_drawn():
    counts = np.diag(np.full(30, 5))
    counts[3, 28] = counts[17, 9] = 2
    found = Confusion(tuple(f"class {k}" for k in range(30)), counts, "row")
    assert {3, 28, 17, 9} <= set(found.shown().tolist())
    assert len(found.shown()) == DRAWN
    assert found.shown().tolist() == sorted(found.shown().tolist())
    assert "20 most confused of 30 classes" in found.summary()
    assert "“class 3” predicted as “class 28”, 2 times, 29% of its rows" in found.summary()


def test_the_confusion_is_that_of_the_answers_and_has_the_metrics_of_the_task(made, reported):
    model = made("attention")
    metrics = reported("attention").panels[0].metrics
    source = model.task.source(model.spec, model.run.data_paths(), "valid")
    measured = model.task.measure(model.model, source)
    assert metrics["accuracy"] == pytest.approx(measured["accuracy"])
    assert metrics["macro_f1"] == pytest.approx(measured["macro_f1"])
    predicted = [answer["label"] for answer in model.predict(source.table.columns["text"])]
    pairs = list(zip(source.table.columns["label"], predicted, strict=True))
    for k, target in enumerate(metrics["labels"]):
        for j, other in enumerate(metrics["labels"]):
            assert metrics["counts"][k][j] == pairs.count((target, other))


# predictions of prefixes


@pytest.mark.parametrize("name", ["attention", "last"])
def test_a_prefix_is_predicted_as_the_text_up_to_there(made, name):
    here = Predictions(made(name), ReportOptions())
    prefixes = PrefixPredictions(here)
    for each in prefixes.rows[:4]:
        texts = ["".join(each.pieces[: k + 1]) for k in range(len(each.pieces))]
        assert texts[-1] == here.column("text")[each.row]
        expected = [list(answer["probabilities"].values()) for answer in here.model.predict(texts)]
        np.testing.assert_allclose(each.probabilities, expected, atol=1e-5)
        assert prefixes.labels[each.target] == here.column("label")[each.row]


def prefixed(of_target, pieces=None):
    of_target = np.array(of_target)
    return PrefixedRow(0, 1, np.stack([1 - of_target, of_target], 1), pieces)


def test_the_largest_change_and_the_final_prediction_of_a_row():
    each = prefixed([0.9, 0.8, 0.1, 0.3, 0.7, 0.75])
    assert each.change == (2, pytest.approx(-0.7))
    assert each.settled == 5
    assert each.predicted == 1
    assert prefixed([0.2, 0.1]).settled == 1
    assert prefixed([0.9]).change == (0, 0.0)
    assert each.around(3) == slice(1, 4)
    assert prefixed([0.9, 0.1] + [0.1] * 9).around(6) == slice(0, 6)
    assert prefixed([0.1] * 9 + [0.9]).around(4) == slice(6, 10)


def test_accuracy_is_at_the_same_fraction_of_rows_of_any_length():
    rows = [prefixed([0.0, 1.0]), prefixed([1.0]), prefixed([0.0, 0.0, 0.0, 0.8])]
    correct, probability = by_fraction(rows)
    assert correct[9] == pytest.approx(1 / 3)  # half: the first step of two, the only one, the second of four
    assert correct[10] == pytest.approx(2 / 3)
    assert correct[-1] == 1
    assert probability[-1] == pytest.approx(2.8 / 3)


def test_the_rows_that_are_shown_are_the_most_confident_and_those_of_largest_change(made):
    here = Predictions(made("attention"), ReportOptions())
    prefixes = PrefixPredictions(here)
    shown = prefixes.shown()
    changing, *_ = shown.values()
    assert min(abs(each.change[1]) for each in changing) == pytest.approx(
        sorted((abs(each.change[1]) for each in prefixes.rows), reverse=True)[len(changing) - 1], abs=1e-6
    )
    for name, correct in (("Most confident, correct", True), ("Most confident, wrong", False)):
        every = [answer["probability"] for answer, label in zip(here.answers, here.column("label"), strict=True)
                 if (answer["label"] == label) == correct]  # fmt: skip
        found = [here.answers[each.row]["probability"] for each in shown.get(name, [])]
        assert found == sorted(every, reverse=True)[:2]


def test_a_long_row_is_shown_around_its_largest_change_with_a_mark_where_it_was_cut(made):
    prefixes = PrefixPredictions(Predictions(made("attention"), ReportOptions()))
    words = [f" w{k}" for k in range(300)]
    block = prefixes.painted(prefixed([0.1] * 150 + [0.9] * 150, words))
    assert len(block.text) == len(block.values) == len(block.notes)
    assert block.text.startswith("… w")
    assert block.text.endswith(" …")
    assert " w149 w150" in block.text
    assert block.values[block.text.index("w150")] == pytest.approx(0.8)
    assert block.values[block.text.index("w149")] == pytest.approx(-0.8)


# pooling


def outputs(here, row):
    ids = torch.from_numpy(here.source.values("input")[row])
    with torch.no_grad():
        return here.network.outputs(ids[None], torch.tensor([len(ids)]))[0]


def test_the_weights_of_max_pooling_are_the_fractions_of_units_with_their_maximum(made):
    here = Predictions(made("max"), ReportOptions())
    y = outputs(here, 3).numpy()
    expected = np.zeros(len(y))
    for unit in y.T:
        expected[int(np.argmax(unit))] += 1 / y.shape[1]
    np.testing.assert_allclose(here.answers[3].attention.weights[0], expected, atol=1e-6)


def test_the_weights_of_attention_pooling_give_the_pooled_vector(made):
    here = Predictions(made("attention"), ReportOptions())
    row = next(row for row, ids in enumerate(here.source.values("input")) if 9 < len(ids) < 30)
    kept = here.network.pool.v.weight.detach().clone()
    try:
        with torch.no_grad():
            here.network.pool.v.weight.mul_(3000)  # so that it attends to single words
            answer = here.answers[row]
            weights = torch.from_numpy(answer.attention.weights[0])
            probabilities = here.network.head(weights @ outputs(here, row)).softmax(-1)
    finally:
        with torch.no_grad():
            here.network.pool.v.weight.copy_(kept)
    np.testing.assert_allclose(probabilities, list(answer["probabilities"].values()), atol=1e-5)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    assert float(weights.max()) > 2 / len(weights)


def test_the_pooling_panel_paints_the_weights_of_the_answers(made, reported):
    [panel] = [panel for panel in reported("attention").panels if panel.name == "pooled"]
    blocks = [block for block in panel.blocks if isinstance(block, PaintedText)]
    assert len(blocks) == len(panel.metrics["rows"]) > 4
    for block, row in zip(blocks, panel.metrics["rows"], strict=True):
        assert block.heat
        assert block.values.max() == pytest.approx(1)
        assert np.sum(row["weights"]) == pytest.approx(1, abs=1e-4)
        assert "of the attention" in "".join(block.notes)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(max_examples=60)
def test_the_tokens_of_a_text_joined_are_the_text(text):
    known = ["a few words", "한국어 텍스트"]
    for kind in ("char", "byte", "word", "bpe"):
        tokenizer = find(kind).of_texts(known)
        [ids] = tokenizer.encode_all([text], "replace")
        found = token_texts(tokenizer, text, ids)
        assert len(found) == len(ids)
        assert "".join(found) == text
        assert len(token_texts(tokenizer, text, ids[:2])) == min(2, len(ids))


def test_a_text_is_shortened_to_a_line():
    assert shortened("a\n b\tc  d", 20) == "a b c d"
    assert shortened("x" * 50, 10) == "x" * 9 + "…"
    assert "\x1b" not in shortened("\x1b[31m")


# rows


def test_answers_belong_to_their_rows(made):
    here = Predictions(made("attention"), ReportOptions(length=11, seed=4))
    assert len(here) == 11
    expected = list(here.model.predict(here.column("text")))
    for row in range(11):
        assert here.answers[row].row == row
        assert here.answers[row]["label"] == expected[row]["label"]
        assert here.answers[row]["probability"] == pytest.approx(expected[row]["probability"], abs=1e-5)
        batch = here.batch(row)
        assert here.spec.labels.labels[int(batch["target"][0])] == here.column("label")[row]


def test_padding_does_not_count_in_the_saturation_of_gates(made, monkeypatch):
    given = []
    monkeypatch.setattr(predictions, "saturation", lambda named, values: given.append((named, values)))
    for name in ("attention", "tag"):
        here = Predictions(made(name), ReportOptions())
        here.gates(here.network.recurrent)
        named, values = given.pop()
        assert (
            set(values) == set(named) == {f"1.{direction}{gate}" for direction in ("", "backward.") for gate in "ifo"}
        )
        assert {value.shape for value in values.values()} == {(sum(map(len, here.source.values("input"))), 8)}


# tags


def test_wrong_words_are_marked_with_target_and_prediction():
    each = TaggedSentence(["<b>", "in", "Rome"], ["O", "O", "LOC"], ["O", "O", "PER"], [0.9, 0.8, 0.4])
    assert each.wrong == 1
    assert each.block().words == [("<b>", ""), ("in", ""), ("Rome", "LOC, not PER")]


def test_the_hardest_sentences_have_most_wrong_tags_then_the_least_probable():
    sentences = [
        TaggedSentence(["a", "b"], ["X", "X"], predicted, probabilities)
        for predicted, probabilities in ((["X", "X"], [0.5, 0.9]), (["Y", "Y"], [0.9, 0.9]), (["Y", "X"], [0.9, 0.9]),
                                         (["X", "X"], [0.9, 0.2]))
    ]  # fmt: skip
    found = hardest_panel(sentences)
    assert [each["probabilities"] for each in found.metrics["sentences"]] == [
        [0.9, 0.9], [0.9, 0.9], [0.9, 0.2], [0.5, 0.9]
    ]  # fmt: skip
    assert [each["predictions"] for each in found.metrics["sentences"]][:2] == [["Y", "Y"], ["Y", "X"]]
    assert found.summary.startswith("2 of 4 sentences")
    assert hardest_panel(sentences[:1]).summary.startswith("No tag of 1 sentence")


def test_known_and_unknown_words_are_counted_apart(made, reported):
    model, metrics = made("tag"), reported("tag").panels[0].metrics
    here = Predictions(model, ReportOptions())
    known = set(model.spec.words.symbols)
    correct = {True: [], False: []}
    for words, tags, answer in zip(here.column("words"), here.column("tags"), here.answers, strict=True):
        for word, tag, predicted in zip(words, tags, answer["each"], strict=True):
            correct[word in known].append(tag == predicted)
    assert metrics["known"] == [sum(correct[True]), len(correct[True])]
    assert metrics["unknown"] == [sum(correct[False]), len(correct[False])]
    assert sum(map(sum, correct.values())) == np.trace(metrics["counts"])
    assert sum(each.wrong for each in tagged_sentences(here)) == np.sum(metrics["counts"]) - np.trace(metrics["counts"])


# generation


@pytest.mark.parametrize("name", ["label", pytest.param("several", marks=pytest.mark.slow)])
def test_the_losses_of_labels_add_up_to_that_of_all(reported, name):
    found = reported(name)["losses"].panels[0].metrics
    for column in {each["column"] for each in found["labels"]}:
        some = [each for each in found["labels"] if each["column"] == column]
        assert sum(each["tokens"] for each in some) == found["tokens"]
        total = sum(each["loss"] * each["tokens"] for each in some)
        assert total / found["tokens"] == pytest.approx(found["loss"], rel=1e-5)


def test_the_loss_of_a_label_is_that_of_its_texts_one_by_one(made, reported):
    model = made("label")
    each = reported("label")["losses"].panels[0].metrics["labels"][0]
    source = model.task.source(model.spec, model.run.data_paths(), "valid")
    nats, tokens = 0.0, 0
    for row, label in enumerate(source.table.columns["label"]):
        if label == each["label"]:
            with torch.no_grad():
                loss = model.model.loss(to(source.take(np.array([row])), model.device))
            nats, tokens = nats + float(loss.sums["loss"]), tokens + int(loss.count)
    assert (each["tokens"], each["loss"]) == (tokens, pytest.approx(nats / tokens, rel=1e-4))


def test_samples_for_a_label_start_in_its_state(made):
    """With a head that reads the initial state each label generates its own token, for ever."""
    here = Predictions(made("label"), ReportOptions())
    network = here.network
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            network.labels["label"].weight[:, 8:] = torch.eye(3, 8) * 30  # the cell state; the gates are at a half
            network.head.weight[:3] = torch.eye(3, 8) * 1000
        texts = generate(here, [("one",), ("three",), ("<i>two",)])
    finally:
        network.load_state_dict(kept)
    labels, vocabulary = here.spec.labels["label"].labels, here.spec.tokenizer.vocabulary
    for label, samples in zip(("one", "three", "<i>two"), texts, strict=True):
        assert {text[0] for text in samples} == {vocabulary[labels.index(label)]}


@given(st.integers(0, 1000), st.integers(3, 12))
def test_two_principal_components_keep_the_distances_of_points_in_a_plane(seed, count):
    draw = np.random.default_rng(seed)
    plane, turn = draw.normal(size=(count, 2)), np.linalg.qr(draw.normal(size=(9, 9)))[0][:2]
    points, variance = principal_components(plane @ turn + 5)
    np.testing.assert_allclose(variance.sum(), 1, atol=1e-9)
    for a in range(count):
        for b in range(count):
            assert np.linalg.norm(points[a] - points[b]) == pytest.approx(np.linalg.norm(plane[a] - plane[b]))
    spread = np.sort(np.linalg.eigvalsh(np.cov(plane.T)))[::-1]
    np.testing.assert_allclose(variance, spread / spread.sum(), atol=1e-9)


# translation


@given(st.lists(st.integers(1, 30), min_size=1, max_size=80))
def test_sources_are_grouped_by_length(sizes):
    groups = buckets(np.array(sizes))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(sizes)))
    assert 1 <= len(groups) <= 5
    for one, next_ in itertools.pairwise(groups):
        assert max(sizes[k] for k in one) < min(sizes[k] for k in next_)


def test_groups_by_length_have_about_as_many_sources():
    assert [group.tolist() for group in buckets(np.arange(20)[::-1])] == [
        list(range(begin, begin + 4)) for begin in (16, 12, 8, 4, 0)
    ]


def test_an_alignment_has_the_source_in_reading_order_and_the_weights_of_decoding(made):
    here = Predictions(made("translate"), ReportOptions())
    row = next(row for row, ids in enumerate(here.source.values("source")) if 4 < len(ids) < 20)
    found = align(here.answers[row].attention, here.spec.source.lead)
    batch = here.batch(row)
    assert here.spec.options.reverse
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
    [first] = here.spec.source.encode_all([here.column("source")[row]])
    assert batch["source"][0].tolist() == first[::-1].tolist()
    assert found.source[0].lstrip("·") == shortened(here.spec.source.decode(first[:1]).strip(), 16)
    weights, ids = greedy(here, batch)
    assert found.weights.shape == (len(found.target), len(first))
    np.testing.assert_allclose(found.weights, weights[: len(found.target), ::-1], atol=1e-5)
    texts = [here.spec.target.decode([token]) for token in ids]
    assert [piece.lstrip("·") for piece in found.target[: len(ids)]] == [token_label(text, 16) for text in texts]


def greedy(here, batch):
    """The attention weights and the tokens of a translation that is decoded greedily, one step at a time."""
    stepper, weights, tokens = here.network.stepper(), [], []
    state, token = stepper.begin(batch), torch.tensor([here.network.boundary])
    with torch.no_grad():
        while len(tokens) < 2 * batch["source"].shape[1] + 10:
            logits, state = stepper.step(token, state)
            weights.append(stepper.attention(state)[0].numpy())
            token = logits.argmax(-1)
            if int(token) == here.network.boundary:
                break
            tokens.append(int(token))
    return np.stack(weights), tokens


def test_without_attention_the_reason_is_reported(reported):
    [panel] = reported("plain")["alignment"].panels
    assert "no attention" in panel.summary
    assert not panel.blocks


def test_scores_are_those_of_the_task(made, reported):
    model, metrics = made("plain"), reported("plain").panels[0].metrics
    measured = model.task.measure(model.model, model.task.source(model.spec, model.run.data_paths(), "valid"))
    for name in ("bleu", "chrf", "exact"):
        assert metrics[name] == pytest.approx(measured[name])
    assert metrics["signatures"] == measured["signatures"]
    assert sum(each["sources"] for each in metrics["lengths"]) == metrics["sources"]


def test_references_in_rows_that_are_not_read_count(made, tmp_path):
    other = jsonl(tmp_path / "pairs.jsonl", source=["a it", "a it", "it a"], target=["one", "two", "three"])
    scored = ScoredTranslations(Predictions(made("plain"), ReportOptions(text=str(other), length=1, seed=0)))
    [source] = scored.sources
    assert sorted(scored.references["a it"]) == ["one", "two"]
    scored.predictions[source] = scored.references[source][-1]
    assert scored.corpus([source])[2] == 1
    assert scored.sentence(source) == pytest.approx(100)
