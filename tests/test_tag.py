"""Tagging: a word's tag from its sentence and its spelling, in any form that sentences come in."""

import json
import random
import sys

import numpy as np
import pytest
import torch
from test_training import assert_same, interrupt_after
from torch.testing import assert_close

from elman.data.rows import Ragged, Rows
from elman.data.table import Table
from elman.data.windows import IGNORED
from elman.errors import UserError
from elman.tasks.tag import LETTERS, Tag, TagOptions
from elman.training import loop
from elman.training.api import load, train

SMALL = {"hidden": 8, "embedding": 8, "spelling": 8, "dropout": 0.0, "precision": "float32", "device": "cpu",
         "preview": False}  # fmt: skip
ENDINGS = {"ing": "V", "ly": "R", "ness": "N"}
NEWS = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O
. . O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

BRUSSELS NNP B-NP B-LOC
1996-08-22 CD I-NP O

"""


def fit(path, out, **options):
    return train("tag", path, out=out, **(SMALL | {"steps": 20, "lr": 0.02} | options))


def spelled(count, seed=0):
    """Sentences of words that hardly ever come twice: their ending, and nothing else, tells the tag."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        endings = draw.choices(list(ENDINGS), k=draw.randint(1, 7))
        rows.append((["".join(draw.choices("abcdeo", k=6)) + ending for ending in endings],
                     [ENDINGS[ending] for ending in endings]))  # fmt: skip
    return rows


def lists(path, rows):
    path.write_text("".join(json.dumps({"words": words, "tags": tags}) + "\n" for words, tags in rows))
    return path


def spaced(path, rows):
    path.write_text("words,tags\n" + "".join(f"{' '.join(words)},{' '.join(tags)}\n" for words, tags in rows))
    return path


def blocks(path, rows):
    path.write_text("\n".join("".join(f"{w}\t{t}\n" for w, t in zip(*row, strict=True)) for row in rows))
    return path


def accuracy(model, part="valid"):
    return model.task.judge(model.task.source(model.config, part, None, None), model.config["data"])["accuracy"]


def tagger(**more):
    torch.manual_seed(0)
    made = Tag(9, 7, 4, 5, 6, 3, **more).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=0.5)
    return made


def sentences(sizes, steps, seed=0):
    """Random words, and their letters: the first ones, so many that no word has none; in the padding as well."""
    draw = torch.Generator().manual_seed(seed)
    words = torch.randint(0, 9, (len(sizes), steps), generator=draw)
    letters = torch.randint(1, 8, (len(sizes), steps, LETTERS), generator=draw)
    long = torch.randint(1, LETTERS + 1, (len(sizes), steps, 1), generator=draw)
    letters = letters.masked_fill(torch.arange(LETTERS) >= long, 0)
    return {"input": words, "letters": letters, "input_lengths": torch.tensor(sizes)}


# what it computes


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_logits_are_those_of_each_word_spelled_alone_in_its_sentence_alone(bidirectional):
    task, sizes = tagger(bidirectional=bidirectional, layers=2), (5, 1, 3)
    batch = sentences(sizes, 5)
    with torch.no_grad():
        found = task.logits(batch)
        for row, size in enumerate(sizes):
            read = []
            for word, letters in zip(batch["input"][row, :size], batch["letters"][row, :size], strict=True):
                y, _ = task.speller(task.letters(letters[letters > 0])[None])
                read.append(torch.cat((task.lookup(word), y[0, -1, :3], y[0, 0, 3:])))
            y, _ = task.recurrent(torch.stack(read)[None])
            assert_close(found[row, :size], task.head(y[0]), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_padding_changes_no_logits(layers):
    task, sizes = tagger(layers=layers), [5, 0, 1, 3]
    batch, other = sentences(sizes, 5), sentences(sizes, 8, seed=1)
    for row, size in enumerate(sizes):
        for name in ("input", "letters"):
            other[name][row, :size] = batch[name][row, :size]
    with torch.no_grad():
        plain, padded = task.logits(batch), task.logits(other)
    for row, size in enumerate(sizes):
        assert_close(padded[row, :size], plain[row, :size], atol=1e-6, rtol=0)


def test_the_loss_is_the_mean_over_words_and_not_over_padding():
    task, batch = tagger(), sentences([4, 2], 4)
    batch["target"] = torch.tensor([[0, 1, 2, 3], [3, 0, IGNORED, IGNORED]])
    with torch.no_grad():
        loss, state, counts = task.loss(batch)
        chances = np.exp(task.logits(batch).double().numpy())
    chances /= chances.sum(-1, keepdims=True)
    known = [(row, step, int(tag)) for row, tags in enumerate(batch["target"]) for step, tag in enumerate(tags)
             if tag != IGNORED]  # fmt: skip
    nats = [-np.log(chances[place]) for place in known]
    assert state is None
    assert int(counts["tokens"]) == len(nats) == 6
    np.testing.assert_allclose([loss, counts["nats"]], [np.mean(nats), np.sum(nats)], rtol=1e-5)
    assert int(counts["right"]) == sum(chances[row, step].argmax() == tag for row, step, tag in known)


# words and letters


def test_words_never_seen_are_tagged_by_their_spelling(tmp_path):
    path = spaced(tmp_path / "t.csv", spelled(250))
    trained = fit(path, tmp_path / "run", steps=120)
    assert len(trained.config["data"]["words"]) < 20
    assert accuracy(trained) > 0.9
    assert accuracy(trained, "test") > 0.9
    [answer] = trained.predict(["zzzzing zzzzly zzzzness"])
    assert answer["each"] == ["V", "R", "N"]


def test_what_has_nothing_to_do_with_the_words_is_not_predicted(tmp_path):
    rows, draw = spelled(250), random.Random(1)
    shuffled = [(words, [draw.choice("VRN") for _ in tags]) for words, tags in rows]
    trained = fit(spaced(tmp_path / "t.csv", shuffled), tmp_path / "run", steps=120, valid="0.3", test="0.3")
    for part in ("valid", "test"):
        words = sum(map(len, trained.task.source(trained.config, part, None, None).values("input")))
        assert abs(accuracy(trained, part) - 1 / 3) < 4 * np.sqrt(1 / 3 * 2 / 3 / words)


def test_only_words_seen_twice_in_training_have_a_vector(tmp_path):
    rows = [(["twice", "twice", f"once{row}"], ["A", "A", "B"]) for row in range(3)]
    options = TagOptions(valid="0", test="0")
    _, data = Tag.prepare([str(spaced(tmp_path / "t.csv", rows))], options)
    assert data.config["words"] == ["twice"]
    assert data.config["letters"] == sorted(set("twiceonce012"))
    values = dict(zip(("input", "letters"), (data.train.values(name) for name in ("input", "letters")), strict=True))
    assert [value.tolist() for value in values["input"]] == [[1, 1, 0]] * 3
    spelling = values["letters"][0]
    assert spelling.shape == (3, LETTERS)
    assert [len(set(row[row > 0])) for row in spelling] == [5, 5, 5]
    assert not (spelling == 1).any()  # no letter is unknown
    assert data.floor == pytest.approx(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))


def test_the_last_letters_of_a_word_are_read_and_one_never_seen_is_told_from_none(tmp_path):
    trained = fit(spaced(tmp_path / "t.csv", spelled(60)), tmp_path / "run")

    def chances(word):
        return trained.predict([[word]])[0]["probabilities"][0]

    end = "abcdeoabcdeoaing"
    assert len(end) == LETTERS
    assert chances("cccc" + end) == pytest.approx(chances("dd" + end), abs=1e-7)
    assert chances("cccc" + end[1:]) != pytest.approx(chances("d" + end[1:]), abs=1e-7)
    assert chances("aQing") == pytest.approx(chances("aXing"), abs=1e-7)  # both unknown
    assert chances("aQing") != pytest.approx(chances("aing"), abs=1e-7)


# forms


def test_lists_spaced_texts_and_a_word_a_line_are_the_same_sentences(tmp_path):
    rows, found = spelled(40), []
    for path in (lists(tmp_path / "t.jsonl", rows), spaced(tmp_path / "t.csv", rows), blocks(tmp_path / "t.txt", rows)):
        _, data = Tag.prepare([str(path)], TagOptions(valid="0", test="0"))
        found.append((data.config, [[value.tolist() for value in data.train.values(name)]
                                    for name in ("input", "letters", "target")]))  # fmt: skip
    assert found[0] == found[1] == found[2]
    assert found[0][0]["columns"] == {"words": "words", "tags": "tags"}


def test_the_answer_of_a_sentence_depends_on_no_form_and_no_other_sentence(tmp_path):
    trained = fit(lists(tmp_path / "t.jsonl", spelled(60)), tmp_path / "run")
    rows = [words for words, _ in spelled(100, seed=3)]
    together = trained.predict(rows)
    for answer, other in zip(together, trained.predict([" ".join(words) for words in rows]), strict=True):
        assert answer == other
    for row in (0, 50, 99):
        [alone] = trained.predict([rows[row]])
        assert alone["each"] == together[row]["each"]
        assert alone["probabilities"] == pytest.approx(together[row]["probabilities"], abs=1e-6)
        assert len(alone["each"]) == len(rows[row])
        assert alone["tags"].split() == alone["each"]


def test_a_conll_file_is_trained_on_and_answered(tmp_path, monkeypatch, capsys):
    path = tmp_path / "news.conll"
    path.write_text(NEWS + "".join(NEWS.replace("EU", f"EU{n}").replace("Peter", f"Peter{n}").replace("22", str(n))
                                   for n in range(30)))  # fmt: skip
    trained = fit(path, tmp_path / "run", steps=80)
    assert trained.config["data"]["tags"] == ["B-LOC", "B-MISC", "B-ORG", "B-PER", "I-PER", "O"]
    figures = json.loads((tmp_path / "run/summary.json").read_text())["val_figures"]
    assert figures["accuracy"] > 0.9
    assert figures["entity_f1"] > 0.9

    from elman.cli import app

    for suffix in (".jsonl", ".csv"):
        out = tmp_path / f"o{suffix}"
        monkeypatch.setattr(sys, "argv", ["elman", "predict", str(trained.path), "--file", str(path), "-o", str(out)])
        with pytest.raises(SystemExit) as end:
            app.main()
        assert not end.value.code, capsys.readouterr().err
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert len(rows) == 93
    assert rows[0]["words"] == ["EU", "rejects", "German", "call", "."]
    assert rows[0]["tags"] == rows[0]["each"] == rows[0]["predicted_tags"].split()
    assert all(len(row["each"]) == len(row["words"]) == len(row["probabilities"]) for row in rows)
    header, first = (tmp_path / "o.csv").read_text().splitlines()[:2]
    assert header == "words,2,3,tags,predicted_tags"
    assert first.startswith("EU rejects German call .,NNP VBZ JJ NN .,")
    # its own output is a table again
    again = trained.predict([line.split(",")[0] for line in (tmp_path / "o.csv").read_text().splitlines()[1:2]])
    assert again[0]["each"] == rows[0]["each"]


# figures and mistakes


def said(pairs, tags):
    """What `judge` makes of sentences with these true and said tags."""

    class Said(Tag):
        def answered(self, source, config, limit=None, **how):
            yield from ((row, {"each": said}) for row, (_, said) in enumerate(pairs))

    table = Table("t", {"words": [""] * len(pairs), "tags": [true for true, _ in pairs]}, list(range(len(pairs))))
    source = Rows(table, {"input": Ragged([np.zeros(1, int)] * len(pairs))}, 4, "input")
    return Said(2, 2, len(tags), 2, 2, 2).judge(source, {"tags": tags, "max_length": 4})


IOB = ["B-LOC", "B-PER", "I-PER", "O"]


def test_entities_are_counted_whole(tmp_path):
    pairs = [
        (["B-PER", "I-PER", "O", "B-LOC"], ["B-PER", "O", "O", "B-LOC"]),  # a name cut short, a place found
        ("B-PER O", ["B-PER", "B-LOC"]),  # a name found, a place that is none; tags as a text
        (["O", "B-PER", "B-PER"], ["O", "B-PER", "I-PER"]),  # two names taken for one
        (["O"] * 6, ["O"] * 4),  # of a sentence that was cut
    ]
    found = said(pairs, IOB)
    right, true, claimed = 2, 2 + 1 + 2, 2 + 2 + 1
    precision, recall = right / claimed, right / true
    assert found["entity_f1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert found["accuracy"] == pytest.approx((3 + 1 + 2 + 4) / (4 + 2 + 3 + 4))


def test_where_no_entity_is_said_nor_there_f1_is_0_and_nothing_is_warned_of():
    assert said([(["O", "O"], ["O", "O"])], IOB) == {"accuracy": 1.0, "entity_f1": 0.0}


def test_tags_that_are_no_entities_have_no_such_figure():
    assert said([(["N", "V"], ["N", "N"])], ["N", "V"]) == {"accuracy": 0.5}


def test_without_seqeval_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "seqeval.metrics", None)
    assert said([(["B-PER"], ["B-PER"])], IOB) == {
        "accuracy": 1.0,
        "entity_f1": "needs seqeval: pip install 'elman[tag]'",
    }


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        ([(["a", "b"], ["X"])], {}, r"t.csv row 12 has 2 words and 1 tags"),
        ([(["a"], ["X", "Y"])], {}, r"t.csv row 12 has 1 words and 2 tags"),
        ([], {"words_column": "word"}, "'word'.*did you mean 'words'"),
        ([([], ["X"])], {}, "row 12 has no words; --skip-bad"),
    ],
)
def test_a_mistake_is_told_with_its_row(tmp_path, rows, options, words):
    good = [([f"a{row}", "b"], ["X", "Y"]) for row in range(10)]
    with pytest.raises(UserError, match=words) as raised:
        fit(spaced(tmp_path / "t.csv", good + rows), tmp_path / "run", valid="0", test="0", **options)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_one_tag_only_and_a_tag_of_the_test_file_only_are_told(tmp_path):
    one = spaced(tmp_path / "one.csv", [([f"a{row}"], ["X"]) for row in range(10)])
    with pytest.raises(UserError, match="one tag only, 'X'"):
        fit(one, tmp_path / "run", valid="0", test="0", words_column="words", tags_column="tags")
    good = spaced(tmp_path / "t.csv", [([f"a{row}", "b"], ["X", "Y"]) for row in range(10)])
    other = spaced(tmp_path / "other.csv", [(["a", "b"], ["X", "Z"])])
    with pytest.raises(UserError, match=r"other.csv row 2 has the tag 'Z'"):
        fit(good, tmp_path / "run", valid="0", test=str(other))


@pytest.mark.parametrize("row", ["", " ", [], None, 3, np.ones(3)])
def test_a_sentence_without_words_is_told(tmp_path, row):
    trained = fit(spaced(tmp_path / "t.csv", spelled(20)), tmp_path / "run", steps=1)
    with pytest.raises(UserError, match="the input row 2"):
        trained.predict(["a b", row])


def test_a_longer_sentence_is_cut_with_its_tags_and_told(tmp_path):
    path = spaced(tmp_path / "t.csv", [(["a", "b", "c", "d", "e"], list("XYXYX")), (["a", "b"], list("XY"))])
    _, data = Tag.prepare([str(path)], TagOptions(max_length=3, valid="0", test="0"))
    assert [len(value) for value in data.train.values("target")] == [3, 2]
    assert any("1 of 2 rows are longer than --max-length 3 and were cut" in note for note in data.notes)
    trained = fit(path, tmp_path / "run", steps=1, max_length=3, valid="0", test="0")
    told = []
    assert [len(each["each"]) for each in trained.predict(["a b c d", "a"], told.append)] == [3, 1]
    assert told == ["1 of 2 rows are longer than --max-length 3 and were cut"]
    assert set(trained.task.judge(trained.task.source(trained.config, "train", None, None), data.config)) == {
        "accuracy"
    }


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path):
    path = spaced(tmp_path / "t.csv", spelled(60))
    options = {"steps": 14, "eval_every": 5, "dropout": 0.3, "batch_size": 8}
    fit(path, tmp_path / "unbroken", **options)
    with interrupt_after(9), pytest.raises(loop.Interrupted):
        fit(path, tmp_path / "run", **options)
    train("tag", resume=tmp_path / "run")
    assert_same(tmp_path / "run", tmp_path / "unbroken", "a tagger that was interrupted")
    assert load(tmp_path / "run").predict(["a b"]) == load(tmp_path / "unbroken").predict(["a b"])
