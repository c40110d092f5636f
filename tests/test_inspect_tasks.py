"""The reports of classifiers, taggers, generators and translators: what is counted in them, what they show of a text
that was not meant well, and that they hold none of it when asked to."""

import itertools
import json
import random
import re
from types import SimpleNamespace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from test_inspect import Outline

import elman
from elman.cli import app
from elman.inspect import pooled
from elman.inspect import predictions as answered
from elman.inspect.alignment import align
from elman.inspect.confusion import DRAWN, Confusion, counted
from elman.inspect.generate import flattened, write
from elman.inspect.look import Look, look, side_by_side
from elman.inspect.predictions import Predictions, pieces, shortened
from elman.inspect.prefix_predictions import Followed, PrefixPredictions
from elman.inspect.scored import Scored
from elman.inspect.tag import Tagged, hardest_panel
from elman.inspect.tag import tagged as tagged_rows
from elman.inspect.translate import buckets
from elman.tokenizers.registry import BPETokenizer, ByteTokenizer, CharTokenizer, WordTokenizer

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
    """A small model of each kind, by name, made when it is first asked for."""
    folder, found = tmp_path_factory.mktemp("tasks"), {}
    pairs = {"source": texts(80), "target": [text[::-1] for text in texts(80)]}
    words = [text.split()[:30] for text in texts(80)]
    cases = {
        "attention": ("classify", {"pooling": "attention"}, lambda p: labelled(p)),
        "max": ("classify", {"pooling": "max", "tokens": "byte", "max_length": 50}, lambda p: labelled(p)),
        "last": ("classify", {"pooling": "last", "bidirectional": False, "cell": "rnn"}, lambda p: labelled(p)),
        "all": ("classify", {"valid": "0", "test": "0"}, lambda p: labelled(p)),
        "arrays": ("classify", {"format": "arrays"}, arrays),
        "tag": ("tag", {"spelling": 4}, lambda p: jsonl(
            p, words=words, tags=[["X" if word == SECRET else "O" for word in each] for each in words])),
        "label": ("generate", {}, lambda p: jsonl(
            p, text=[text[:20] for text in texts(90)], label=[("one", "<i>two", "three")[n % 3] for n in range(90)])),
        "several": ("generate", {"label_column": "a,b", "tokens": "word"}, lambda p: jsonl(
            p, text=texts(90), a=["p", "q", "r"] * 30, b=["u", "v"] * 45)),
        "nothing": ("generate", {}, lambda p: jsonl(p, text=[text[:20] for text in texts(90)])),
        "translate": ("translate", {"tokens": "bpe", "vocabulary": 300, "reverse": True}, lambda p: jsonl(p, **pairs)),
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


def arrays(path):
    random_ = np.random.default_rng(0)
    y = np.arange(60) % 2
    np.savez(path, x=(random_.normal(size=(60, 7, 3)) + y[:, None, None]).astype(np.float32), y=y)
    return path


KINDS = ["attention", "max", "last", "all", "arrays", "tag", "label", "several", "nothing", "translate", "plain"]
PANELS = {
    "attention": ["confusion", "running", "pooled", "gates", "curves"],
    "max": ["confusion", "running", "pooled", "gates", "curves"],
    "last": ["confusion", "running", "curves"],  # an rnn has no gates
    "all": ["confusion", "running", "pooled", "gates", "curves"],
    "arrays": ["confusion", "running", "gates", "curves"],
    "tag": ["confusion", "hardest", "gates", "curves"],
    "label": ["samples", "losses", "states-label", "curves"],
    "several": ["samples", "losses", "states-label", "curves"],  # two labels lie on a line
    "nothing": ["samples", "losses", "curves"],
    "translate": ["lengths", "alignment", "hardest", "curves"],
    "plain": ["lengths", "alignment", "hardest", "curves"],
}


@pytest.mark.parametrize("name", KINDS)
def test_a_report_of_each_kind_is_a_sound_page_of_its_panels(made, name, tmp_path):
    assert set(made.names) == set(KINDS)
    found = look(made(name))
    assert [panel.name for panel in found.panels] == PANELS[name]
    outline = Outline(page := found.save(tmp_path).read_text("utf-8"))
    assert outline.open == []
    assert [tag for tag, _ in outline.tags].count("script") == 1  # the page's own
    assert "alert(1)</script>" not in page
    assert not {"i", "b"} & {tag for tag, _ in outline.tags}
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", page)
    assert all(link.startswith(("#", "data:")) for link in outline.links), outline.links
    assert len(page) < 3e6
    figures = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert list(figures) == PANELS[name]
    assert len(list((tmp_path / "report").glob("*.png"))) == sum(len(panel.pictures) for panel in found.panels)


@pytest.mark.parametrize("name", KINDS)
def test_without_text_a_report_holds_no_word_of_it(made, name, tmp_path):
    page = look(made(name), quiet=True).save(tmp_path).read_text("utf-8") + (tmp_path / "report.json").read_text()
    for word in (SECRET, "한국어", "alert(1)", "مرحبا", SECRET[::-1]):
        assert word not in page
    assert not {"samples.png", "running.png", "pooled.png"} & {path.name for path in (tmp_path / "report").iterdir()}


@pytest.mark.parametrize("name", ["attention", "tag", "label", "translate"])
@pytest.mark.parametrize(("option", "value"), [("language", "python"), ("own", [len]), ("unknown", "skip")])
def test_an_option_that_fits_another_kind_is_one_line(made, name, option, value):
    flag = {"own": "--property"}.get(option, f"--{option}")
    with pytest.raises(elman.UserError, match=f"^{flag} does not go with .*{name}.*: leave it out$"):
        look(made(name), **{option: value})
    look(made(name), **{option: getattr(Look(), option)}, length=10)  # at its default it says nothing


def test_the_command_line_says_what_does_not_fit(made, tmp_path):
    model, words = (
        made("attention"),
        lambda text: app.app(text.split(), exit_on_error=False, print_error=False, result_action="return_value"),
    )
    with pytest.raises(elman.UserError, match=r"--unit 1\.c\.1 .* language model: .*attention is a run of 'classify'"):
        words(f"inspect {model.path} --unit 1.c.1")
    with pytest.raises(elman.UserError, match="`language` does not go with several runs"):
        words(f"inspect {model.path} {model.path} --language python")
    with pytest.raises(elman.UserError, match="`length` does not go with fresh cells"):
        words("inspect --cells rnn --length 300")
    words(f"inspect {model.path} --no-text --length 20 --seed 3 --out {tmp_path}")
    assert SECRET not in (tmp_path / "report.html").read_text("utf-8")


def test_runs_of_several_kinds_lie_over_each_other(made):
    page = side_by_side([made("attention").path, made("label").path]).page()
    assert "nats a row or token" in page
    assert "nats a row<" in side_by_side([made("attention").path] * 2).page()


def test_another_table_may_be_looked_at_and_a_part_of_it(made, tmp_path):
    other, told = labelled(tmp_path / "other.jsonl", seed=5), []
    found = look(made("attention"), text=str(other), log=told.append)
    assert np.sum(found.panels[0].figures["counts"]) == 90
    assert "90 rows are read, of 90" in told
    some = look(made("attention"), text=str(other), length=7)
    assert np.sum(some.panels[0].figures["counts"]) == 7
    assert look(made("attention"), length=9, seed=1).figures() == look(made("attention"), length=9, seed=1).figures()


def test_without_a_held_out_part_that_is_told(made):
    told = []
    here = Predictions(made("all"), Look(log=told.append))
    assert len(here) == 90
    assert any("no held-out part" in line for line in told)


# confusion


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60))
def test_what_is_confused_is_counted_class_by_class(pairs):
    names = list("abcde")
    found = counted([names[truth] for truth, _ in pairs], [names[said] for _, said in pairs], names, "row")
    for k in range(5):
        hits = sum(truth == said == k for truth, said in pairs)
        of, claimed = (sum(pair[side] == k for pair in pairs) for side in (0, 1))
        expected = [hits / count if count else np.nan for count in (claimed, of, (of + claimed) / 2)]
        np.testing.assert_allclose([found.precision[k], found.recall[k], found.f1[k]], expected)
    assert found.accuracy == sum(truth == said for truth, said in pairs) / len(pairs)
    wrong = [(truth, said) for truth, said in pairs if truth != said]
    assert set(found.worst()) == set(wrong)
    assert [wrong.count(pair) for pair in found.worst()] == sorted(map(wrong.count, set(wrong)), reverse=True)
    assert found.says()


def test_of_many_classes_the_most_confused_are_drawn():
    counts = np.diag(np.full(30, 5))
    counts[3, 28] = counts[17, 9] = 2
    found = Confusion([f"class {k}" for k in range(30)], counts, "row")
    assert {3, 28, 17, 9} <= set(found.shown().tolist())
    assert len(found.shown()) == DRAWN
    assert found.shown().tolist() == sorted(found.shown().tolist())
    assert "20 of 30 classes" in found.says()
    said = found.says().replace("\u2068", "").replace("\u2069", "")
    assert "“class 3” is taken for “class 28”: 2 times, 29% of all “class 3”" in said


def test_the_confusion_is_that_of_the_answers_and_has_the_figures_of_eval(made):
    model = made("attention")
    figures = look(model).panels[0].figures
    source = model.task.source(model.config, "valid", None, None)
    judged = model.task.judge(source, model.config["data"])
    assert figures["accuracy"] == pytest.approx(judged["accuracy"])
    assert figures["macro_f1"] == pytest.approx(judged["macro_f1"])
    said = [answer["label"] for answer in model.predict(source.table.columns["text"])]
    truth = source.table.columns["label"]
    for k, true in enumerate(figures["labels"]):
        for j, other in enumerate(figures["labels"]):
            pairs = zip(truth, said, strict=True)
            assert figures["counts"][k][j] == sum(pair == (true, other) for pair in pairs)


# the verdict after each word


@pytest.mark.parametrize("name", ["attention", "last"])
def test_the_running_verdict_is_that_of_the_text_up_to_there(made, name):
    here = Predictions(made(name), Look())
    running = PrefixPredictions(here, here.task)
    for each in running.many[:4]:
        prefixes = ["".join(each.pieces[: k + 1]) for k in range(len(each.pieces))]
        assert prefixes[-1] == here.column("text")[each.row]
        expected = [list(answer["probabilities"].values()) for answer in here.model.predict(prefixes)]
        np.testing.assert_allclose(each.chances, expected, atol=1e-5)
        assert running.labels[each.truth] == here.column("label")[each.row]


def followed(true, pieces=None):
    true = np.array(true)
    return Followed(0, 1, np.stack([1 - true, true], 1), pieces)


def test_a_turn_is_the_step_that_changes_most_and_settled_is_for_good():
    each = followed([0.9, 0.8, 0.1, 0.3, 0.7, 0.75])
    assert each.turn == (2, pytest.approx(-0.7))
    assert each.settled == 5
    assert each.said == 1
    assert followed([0.2, 0.1]).settled == 1
    assert followed([0.9]).turn == (0, 0.0)
    assert each.window(3) == slice(1, 4)
    assert followed([0.9, 0.1] + [0.1] * 9).window(6) == slice(0, 6)
    assert followed([0.1] * 9 + [0.9]).window(4) == slice(6, 10)


def test_progress_is_taken_at_the_same_share_of_rows_of_any_length():
    rows = [followed([0.0, 1.0]), followed([1.0]), followed([0.0, 0.0, 0.0, 0.8])]
    right, chances = PrefixPredictions.progress(SimpleNamespace(many=rows))
    assert right[9] == pytest.approx(1 / 3)  # half: the first step of two, the only one, the second of four
    assert right[10] == pytest.approx(2 / 3)
    assert right[-1] == 1
    assert chances[-1] == pytest.approx(2.8 / 3)


def test_the_rows_that_are_shown_are_the_surest_and_those_with_the_greatest_turn(made):
    here = Predictions(made("attention"), Look())
    running = PrefixPredictions(here, here.task)
    shown = running.shown()
    turning, *_ = shown.values()
    assert min(abs(each.turn[1]) for each in turning) >= sorted(abs(each.turn[1]) for each in running.many)[-4]
    for name, right in (("Surest, and right", True), ("Surest, and wrong", False)):
        every = [answer["probability"] for answer, label in zip(here.answers, here.column("label"), strict=True)
                 if (answer["label"] == label) == right]  # fmt: skip
        found = [here.answers[each.row]["probability"] for each in shown.get(name, [])]
        assert found == sorted(every, reverse=True)[:2]


def test_a_long_row_is_shown_around_its_turn_with_a_mark_where_it_was_cut(made):
    here = Predictions(made("attention"), Look(text=None))
    running = PrefixPredictions(here, here.task)
    words = [f" w{k}" for k in range(300)]
    text, shades, notes = running.painted(followed([0.1] * 150 + [0.9] * 150, words))
    assert len(text) == len(shades) == len(notes)
    assert text.startswith("… w")
    assert text.endswith(" …")
    assert " w149 w150" in text
    assert shades[text.index("w150")] == pytest.approx(0.8)
    assert shades[text.index("w149")] == pytest.approx(-0.8)


# pooling


def test_a_unit_is_won_by_the_word_with_its_highest_output(made):
    here = Predictions(made("max"), Look())
    row = torch.from_numpy(here.source.values("input")[3])
    with torch.no_grad():
        y = here.task.recurrent(here.task.lookup(row[None]))[0][0].numpy()
    expected = np.zeros(len(row))
    for unit in y.T:
        expected[int(np.argmax(unit))] += 1 / y.shape[1]
    np.testing.assert_allclose(pooled.won(here.task, row), expected, atol=1e-6)


def test_attention_is_what_makes_the_pooled_vector(made):
    here = Predictions(made("attention"), Look())
    row = torch.from_numpy(next(ids for ids in here.source.values("input") if 9 < len(ids) < 30))
    kept = here.task.pool.v.weight.detach().clone()
    with torch.no_grad():
        here.task.pool.v.weight.mul_(3000)  # so that it looks at single words
        weights = pooled.attended(here.task, row)
        y = here.task.recurrent(here.task.lookup(row[None]))[0][0]
        logits = here.task.logits(row[None], torch.tensor([len(row)]))[0]
        here.task.pool.v.weight.copy_(kept)
        np.testing.assert_allclose(here.task.head(weights @ y), logits, atol=1e-5)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
    assert float(weights.max()) > 2 / len(row)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
@settings(max_examples=60)
def test_the_pieces_of_a_text_put_together_are_the_text(text):
    known = ["a few words", "한국어 텍스트"]
    for kind in (CharTokenizer, ByteTokenizer, WordTokenizer, BPETokenizer):
        tokens = kind.of_texts(known)
        [ids] = tokens.encode_all([text], "replace")
        found = pieces(tokens, text, ids)
        assert len(found) == len(ids)
        assert "".join(found) == text
        assert len(pieces(tokens, text, ids[:2])) == min(2, len(ids))


def test_a_text_is_shortened_to_a_line():
    assert shortened("a\n b\tc  d", 20) == "a b c d"
    assert shortened("x" * 50, 10) == "x" * 9 + "…"
    assert shortened("\x1b[31m") == "\ufffd[31m"


# rows


def test_rows_that_are_read_stay_the_same_rows(made):
    here = Predictions(made("attention"), Look(length=11, seed=4))
    assert len(here) == 11
    for row in range(11):
        expected = here.model.predict([here.column("text")[row]])[0]
        assert here.answers[row]["label"] == expected["label"]
        assert here.answers[row]["probability"] == pytest.approx(expected["probability"], abs=1e-5)
        batch = here.batch(row)
        assert here.config["labels"][int(batch["target"][0])] == here.column("label")[row]


def test_no_padding_is_counted_at_the_gates(made, monkeypatch):
    seen = []
    monkeypatch.setattr(answered, "saturation", lambda named, values: seen.append((named, values)))
    for name in ("attention", "tag"):
        here = Predictions(made(name), Look())
        here.gates(here.task.recurrent)
        named, values = seen.pop()
        assert set(values) == set(named) == {f"1.{way}{gate}" for way in ("", "backward.") for gate in "ifo"}
        assert {value.shape for value in values.values()} == {(sum(map(len, here.source.values("input"))), 8)}


# tags


def test_wrong_words_have_their_true_tag_and_what_was_said():
    each = Tagged(["<b>", "in", "Rome"], ["O", "O", "LOC"], ["O", "O", "PER"], [0.9, 0.8, 0.4])
    assert each.wrong == 1
    assert each.html().count('class="wrong"') == 1
    assert "Rome<small>LOC, not PER</small>" in each.html()
    assert "&lt;b&gt; in" in each.html()


def test_the_hardest_sentences_have_most_wrong_words_then_the_least_sure():
    sentences = [
        Tagged(["a", "b"], ["X", "X"], said, sure)
        for said, sure in ((["X", "X"], [0.5, 0.9]), (["Y", "Y"], [0.9, 0.9]), (["Y", "X"], [0.9, 0.9]),
                           (["X", "X"], [0.9, 0.2]))
    ]  # fmt: skip
    found = hardest_panel(sentences)
    assert [each["sure"] for each in found.figures["sentences"]] == [[0.9, 0.9], [0.9, 0.9], [0.9, 0.2], [0.5, 0.9]]
    assert [each["said"] for each in found.figures["sentences"]][:2] == [["Y", "Y"], ["Y", "X"]]
    assert found.says.startswith("2 of 4 sentences")
    assert hardest_panel(sentences[:1]).says.startswith("No word of 1 sentence")


def test_words_that_training_knew_are_counted_apart(made):
    model = made("tag")
    figures = look(model).panels[0].figures
    here, known = Predictions(model, Look()), set(model.config["data"]["words"])
    right = {True: [], False: []}
    for words, tags in zip(here.column("words"), here.column("tags"), strict=True):
        [answer] = model.predict([words])
        for word, tag, said in zip(words, tags, answer["each"], strict=True):
            right[word in known].append(tag == said)
    assert figures["known"] == [sum(right[True]), len(right[True])]
    assert figures["unknown"] == [sum(right[False]), len(right[False])]
    assert sum(map(sum, right.values())) == np.trace(figures["counts"])
    assert sum(each.wrong for each in tagged_rows(here)) == np.sum(figures["counts"]) - np.trace(figures["counts"])


# generation


def test_the_losses_of_labels_add_up_to_that_of_all(made):
    for name in ("label", "several"):
        found = next(panel for panel in look(made(name)).panels if panel.name == "losses").figures
        for column in {each["column"] for each in found["labels"]}:
            some = [each for each in found["labels"] if each["column"] == column]
            assert sum(each["tokens"] for each in some) == found["tokens"]
            total = sum(each["loss"] * each["tokens"] for each in some)
            assert total / found["tokens"] == pytest.approx(found["loss"], rel=1e-5)


def test_the_loss_of_a_label_is_that_of_its_texts_one_by_one(made):
    model = made("label")
    found = next(panel for panel in look(model).panels if panel.name == "losses").figures["labels"]
    source = model.task.source(model.config, "valid", None, None)
    each, nats, tokens = found[0], 0.0, 0
    for row, label in enumerate(source.table.columns["label"]):
        if label == each["label"]:
            _, _, sums = model.task.loss(source.take(np.array([row])))
            nats, tokens = nats + float(sums["nats"]), tokens + int(sums["tokens"])
    assert (each["tokens"], each["loss"]) == (tokens, pytest.approx(nats / tokens, rel=1e-4))


def test_what_is_written_for_a_label_begins_in_its_state(made):
    """With a head that says how the first state lies, each label writes its own token, for ever."""
    here = Predictions(made("label"), Look())
    task = here.task
    kept = {name: value.clone() for name, value in task.state_dict().items()}
    try:
        with torch.no_grad():
            for parameter in task.parameters():
                parameter.zero_()
            task.labels[0].weight[:, 8:] = torch.eye(3, 8) * 30  # the cell state; the gates stand at a half
            task.head.weight[:3] = torch.eye(3, 8) * 1000
        texts = write(here, task, [("one",), ("three",), ("<i>two",)])
    finally:
        task.load_state_dict(kept)
    labels, vocabulary = here.config["labels"]["label"], here.config["tokens"]["vocabulary"]
    for label, written in zip(("one", "three", "<i>two"), texts, strict=True):
        assert {text[0] for text in written} == {vocabulary[labels.index(label)]}


@given(st.integers(0, 1000), st.integers(3, 12))
def test_two_axes_keep_the_distances_of_points_in_a_plane(seed, count):
    draw = np.random.default_rng(seed)
    plane, turn = draw.normal(size=(count, 2)), np.linalg.qr(draw.normal(size=(9, 9)))[0][:2]
    places, shares = flattened(plane @ turn + 5)
    np.testing.assert_allclose(shares.sum(), 1, atol=1e-9)
    for a in range(count):
        for b in range(count):
            assert np.linalg.norm(places[a] - places[b]) == pytest.approx(np.linalg.norm(plane[a] - plane[b]))
    spread = np.sort(np.linalg.eigvalsh(np.cov(plane.T)))[::-1]
    np.testing.assert_allclose(shares, spread / spread.sum(), atol=1e-9)


# translation


@given(st.lists(st.integers(1, 30), min_size=1, max_size=80))
def test_sources_are_put_into_groups_by_length(sizes):
    groups = buckets(np.array(sizes))
    assert sorted(np.concatenate(groups).tolist()) == list(range(len(sizes)))
    assert 1 <= len(groups) <= 5
    for one, next_ in itertools.pairwise(groups):
        assert max(sizes[k] for k in one) < min(sizes[k] for k in next_)


def test_groups_by_length_have_about_as_many_sources():
    assert [group.tolist() for group in buckets(np.arange(20)[::-1])] == [
        list(range(begin, begin + 4)) for begin in (16, 12, 8, 4, 0)
    ]


def test_an_alignment_has_the_source_as_it_is_read_and_the_weights_in_that_order(made):
    here = Predictions(made("translate"), Look())
    row = next(row for row, ids in enumerate(here.source.values("source")) if 4 < len(ids) < 20)
    found = align(here, here.task, row)
    source = here.batch(row)["source"][0]
    assert here.config["reverse"]
    assert found.weights.shape == (len(found.target), len(source))
    np.testing.assert_allclose(found.weights.sum(1), 1, atol=1e-5)
    assert found.target[-1] == "(end)"
    tokens = elman.tokenizers.registry.from_config(here.config["tokens"]["source"])
    first = tokens.encode_all([here.column("source")[row]])[0]
    assert source.tolist() == first[::-1].tolist()
    assert found.source[0].lstrip("·") == shortened(tokens.decode(first[:1]).strip(), 16)
    [answer] = here.model.predict([here.column("source")[row]])
    written = [piece.strip("·") for piece in found.target[:-1]]
    assert len("".join(written).replace("␣", "")) <= len(answer["translation"]) + 2 * len(written)
    forced = here.task.alignment(source, torch.tensor(ids_of(here, row)))
    np.testing.assert_allclose(found.weights, forced.numpy()[:, ::-1], atol=1e-5)


def ids_of(here, row):
    """What is written greedily, a step at a time."""
    stepper, batch, written = here.task.stepper(), here.batch(row), []
    state, token = stepper.begin(batch), torch.tensor([here.task.boundary])
    with torch.no_grad():
        while len(written) < 2 * batch["source"].shape[1] + 10:
            logits, state = stepper.step(token, state)
            token = logits.argmax(-1)
            if int(token) == here.task.boundary:
                break
            written.append(int(token))
    return written


def test_without_attention_that_is_said(made):
    panel = next(panel for panel in look(made("plain")).panels if panel.name == "alignment")
    assert "no attention" in panel.says
    assert not panel.pictures


def test_scores_are_those_of_eval(made):
    model = made("plain")
    figures = look(model).panels[0].figures
    judged = model.task.judge(model.task.source(model.config, "valid", None, None), model.config["data"])
    for name in ("bleu", "chrf", "exact"):
        assert figures[name] == pytest.approx(judged[name])
    assert figures["signatures"] == judged["signatures"]
    assert sum(each["sources"] for each in figures["lengths"]) == figures["sources"]


def test_references_in_rows_that_are_not_read_count(made, tmp_path):
    other = jsonl(tmp_path / "pairs.jsonl", source=["a it", "a it", "it a"], target=["one", "two", "three"])
    here = Predictions(made("plain"), Look(text=str(other), length=1, seed=0))
    scored = Scored(here)
    [source] = scored.sources
    assert sorted(scored.references["a it"]) == ["one", "two"]
    scored.said[source] = scored.references[source][-1]
    assert scored.corpus([source])[2] == 1
    assert scored.sentence(source) == pytest.approx(100)
